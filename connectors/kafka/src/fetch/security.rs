//! `Security`: how connections are protected, from the settings of librdkafka.

use super::sasl::{Login, Mechanism};
use super::tls::Trusted;

/// What every connection does before the first request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Security {
    /// Encrypted, if somebody's certificates are trusted.
    pub(super) tls: Option<Trusted>,
    pub(super) login: Option<Login>,
}

/// The settings, one by one.
#[derive(Default)]
pub(super) struct Keys {
    protocol: String,
    mechanism: String,
    user: Option<String>,
    password: Option<String>,
    ca_location: Option<String>,
    ca_pem: Option<String>,
}

impl Keys {
    /// Takes a setting; false if it is none of these, or asks for what is not done here.
    pub(super) fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "security.protocol" => {
                self.protocol = value.to_ascii_lowercase();
                return ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"].contains(&self.protocol.as_str());
            }
            "sasl.mechanism" | "sasl.mechanisms" => value.clone_into(&mut self.mechanism),
            "sasl.username" => self.user = Some(value.to_owned()),
            "sasl.password" => self.password = Some(value.to_owned()),
            "ssl.ca.location" if value != "probe" => self.ca_location = Some(value.to_owned()),
            "ssl.ca.pem" => self.ca_pem = Some(value.to_owned()),
            "ssl.endpoint.identification.algorithm" => return value == "https",
            "enable.ssl.certificate.verification" => return value == "true",
            _ => return false,
        }
        true
    }

    /// All together.
    ///
    /// # Errors
    /// The key that asks for what is not done here.
    pub(super) fn finish(self) -> Result<Security, &'static str> {
        let mut tls = None;
        if self.protocol.ends_with("ssl") {
            let file = self.ca_location.map(Trusted::File);
            tls = Some(self.ca_pem.map(Trusted::Pem).or(file).ok_or("security.protocol (without ssl.ca.location)")?);
        }
        let mut login = None;
        if self.protocol.starts_with("sasl") {
            let mechanism = Mechanism::parse(&self.mechanism).ok_or("sasl.mechanism")?;
            let (user, password) = self.user.zip(self.password).ok_or("sasl.username")?;
            login = Some(Login { mechanism, user, password });
        }
        Ok(Security { tls, login })
    }
}
