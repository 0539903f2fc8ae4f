use super::*;

/// The example of RFC 7677.
#[test]
fn scram_speaks_as_its_standard() {
    let login = Login { mechanism: Mechanism::ScramSha256, user: "user".to_owned(), password: "pencil".to_owned() };
    let scram = Scram::with_nonce(login.clone(), "rOprNGfwEbeRWgbNEkqO".to_owned());
    assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let proof = scram.answer(&format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")).unwrap();
    assert_eq!(proof.message, format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
    assert!(proof.is_proven_by("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    assert!(!proof.is_proven_by("v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    assert!(!proof.is_proven_by("e=other-error"));
}

#[test]
fn wrong_challenges_are_refused() {
    let login = Login { mechanism: Mechanism::ScramSha512, user: "a,b=c".to_owned(), password: "x".to_owned() };
    let scram = Scram::with_nonce(login.clone(), "abc".to_owned());
    assert_eq!(scram.first(), "n,,n=a=2Cb=3Dc,r=abc");
    for challenge in
        ["", "r=abc,s=AAAA,i=1", "r=zabc1,s=AAAA,i=1", "r=abc1,s=A,i=1", "r=abc1,s=AAAA,i=0", "r=abc1,s=AAAA,i=9999999"]
    {
        assert!(scram.answer(challenge).is_err(), "{challenge}");
    }
    assert!(!format!("{login:?}").contains('x'));
}
