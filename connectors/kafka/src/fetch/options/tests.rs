use super::super::sasl::{Login, Mechanism};
use super::*;

fn config(settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

#[test]
fn plain_connections_are_ours() {
    let settings = [
        ("bootstrap.servers", "a:1,b:2"),
        ("security.protocol", "plaintext"),
        ("isolation.level", "read_uncommitted"),
        ("queued.max.messages.kbytes", "2"),
        ("fetch.wait.max.ms", "30"),
        ("fetch.min.bytes", "7"),
    ];
    let options = supports(&config(&settings)).unwrap();
    assert!(!options.read_committed);
    assert_eq!((options.queue_bytes, options.min_bytes, options.wait), (2048, 7, Duration::from_millis(30)));
    assert!(supports(&config(&[])).unwrap().read_committed);
}

#[test]
fn what_changes_connections_is_left_to_librdkafka_and_named_without_its_value() {
    for (key, value) in [
        ("security.protocol", "other"),
        ("client.rack", "a"),
        ("socket.receive.buffer.bytes", "65536"),
        ("ssl.key.pem", "hush"),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("enable.ssl.certificate.verification", "false"),
        ("broker.address.family", "v6"),
    ] {
        let error = supports(&config(&[(key, value)])).unwrap_err();
        assert_eq!(error, format!("kafka.{key} is a matter for librdkafka"));
    }
    for (mechanism, told) in
        [("GSSAPI", "sasl.mechanism"), ("OAUTHBEARER", "sasl.mechanism"), ("PLAIN", "sasl.username")]
    {
        let settings =
            [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", mechanism), ("sasl.password", "hush")];
        let error = supports(&config(&settings)).unwrap_err();
        assert_eq!(error, format!("kafka.{told} is a matter for librdkafka"));
    }
}

#[test]
fn logins_and_certificates_are_taken_over() {
    let settings = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "scram-sha-512"),
        ("sasl.username", "me"),
        ("sasl.password", " hush "),
        ("ssl.ca.location", "/ca.pem"),
    ];
    let security = supports(&config(&settings)).unwrap().security;
    let login = Login { mechanism: Mechanism::ScramSha512, user: "me".into(), password: " hush ".into() };
    assert_eq!(security, Security { tls: Some(Trusted::File("/ca.pem".into())), login: Some(login) });
    // A name and a password alone change nothing.
    assert_eq!(supports(&config(&settings[1..])).unwrap().security, Security::default());
    let wrong = Trusted::Pem("no certificate".into()).connector().err();
    assert_eq!(wrong.unwrap(), "no certificates to trust were found (kafka.ssl.ca.location)");
    assert!(Trusted::File("/not/there.pem".into()).connector().err().unwrap().contains("kafka.ssl.ca.location"));
}
