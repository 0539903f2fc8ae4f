//! Logging in with a name and a password: PLAIN, and SCRAM (RFC 5802), which shows the password to nobody.

use std::io;
use std::num::NonZeroU32;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Rounds from which on a server is not believed: the answer would take minutes.
const MOST_ROUNDS: u32 = 1_000_000;

/// Name and password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) mechanism: Mechanism,
    pub(super) user: String,
    pub(super) password: String,
}

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("mechanism", &self.mechanism).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Mechanism {
    /// Kafka's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Plain, Self::ScramSha256, Self::ScramSha512].into_iter().find(|it| name.eq_ignore_ascii_case(it.name()))
    }
}

impl Login {
    /// All that PLAIN says.
    pub(super) fn plain(&self) -> Vec<u8> {
        format!("\0{}\0{}", self.user, self.password).into_bytes()
    }
}

/// One SCRAM conversation.
pub(super) struct Scram {
    login: Login,
    hashes: Hashes,
    nonce: String,
}

#[derive(Clone, Copy)]
struct Hashes {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

/// The client's last word, and what the server has to prove then.
pub(super) struct Proof {
    pub(super) message: String,
    expected: Vec<u8>,
}

impl Scram {
    pub(super) fn new(login: Login) -> io::Result<Self> {
        let mut bytes = [0; 24];
        SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        Ok(Self::with_nonce(login, STANDARD.encode(bytes)))
    }

    fn with_nonce(login: Login, nonce: String) -> Self {
        let hashes = match login.mechanism {
            Mechanism::ScramSha512 => {
                Hashes { digest: &digest::SHA512, hmac: hmac::HMAC_SHA512, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512 }
            }
            _ => Hashes { digest: &digest::SHA256, hmac: hmac::HMAC_SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 },
        };
        Self { login, hashes, nonce }
    }

    fn first_bare(&self) -> String {
        let user = self.login.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    /// Answers the server's challenge. Takes a moment: a hash is repeated thousands of times.
    pub(super) fn answer(&self, challenge: &str) -> io::Result<Proof> {
        let field = |name: &str| challenge.split(',').find_map(|it| it.strip_prefix(name));
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the broker's challenge (SCRAM) is wrong");
        let nonce = field("r=").filter(|it| it.starts_with(&self.nonce) && it.len() > self.nonce.len());
        let nonce = nonce.ok_or_else(wrong)?;
        let salt = STANDARD.decode(field("s=").ok_or_else(wrong)?).map_err(|_| wrong())?;
        let rounds = field("i=").and_then(|it| it.parse::<NonZeroU32>().ok());
        let rounds = rounds.filter(|it| it.get() <= MOST_ROUNDS).ok_or_else(wrong)?;

        let Hashes { digest, hmac, pbkdf2 } = self.hashes;
        let mut salted = vec![0; digest.output_len()];
        pbkdf2::derive(pbkdf2, rounds, &salt, self.login.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac, key), text);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(digest, client_key.as_ref());
        // "biws": no channel binding.
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.first_bare());
        let signature = sign(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = sign(&salted, b"Server Key");
        let expected = sign(server_key.as_ref(), signed.as_bytes()).as_ref().to_vec();
        Ok(Proof { message: format!("{without_proof},p={}", STANDARD.encode(proof)), expected })
    }
}

impl Proof {
    /// True if the server knows the password too.
    pub(super) fn is_proven_by(&self, last: &str) -> bool {
        let signature = last.split(',').find_map(|it| it.strip_prefix("v="));
        let signature = signature.and_then(|it| STANDARD.decode(it).ok()).unwrap_or_default();
        constant_time::verify_slices_are_equal(&signature, &self.expected).is_ok()
    }
}

#[cfg(test)]
mod tests;
