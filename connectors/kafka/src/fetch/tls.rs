//! TLS as the settings ask for it: who is trusted, and connections that are encrypted.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whose certificates are trusted. Those of the machine are a matter for librdkafka: no broker here could test them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trusted {
    /// Those in a file, as PEM.
    File(String),
    /// These, as PEM.
    Pem(String),
}

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Trusted {
    /// What encrypts connections. Reads files.
    ///
    /// # Errors
    /// If there is no certificate to trust, in words.
    pub(super) fn connector(&self) -> Result<TlsConnector, String> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::File(path) => {
                let found = CertificateDer::pem_file_iter(path).map_err(|e| format!("kafka.ssl.ca.location: {e}"))?;
                add(&mut roots, "ssl.ca.location", found)?;
            }
            Self::Pem(text) => add(&mut roots, "ssl.ca.pem", CertificateDer::pem_slice_iter(text.as_bytes()))?,
        }
        if roots.is_empty() {
            return Err("no certificates to trust were found (kafka.ssl.ca.location)".to_owned());
        }
        // Named, since the process holds more than one provider.
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }
}

fn add<E: std::fmt::Display>(
    roots: &mut RootCertStore,
    key: &str,
    found: impl Iterator<Item = Result<CertificateDer<'static>, E>>,
) -> Result<(), String> {
    for certificate in found {
        let certificate = certificate.map_err(|e| format!("kafka.{key}: {e}"))?;
        roots.add(certificate).map_err(|e| format!("kafka.{key}: {e}"))?;
    }
    Ok(())
}

/// Encrypts a connection; the broker's certificate must be for `host`.
pub(super) async fn encrypt(connector: &TlsConnector, host: &str, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(connector.connect(name, stream).await?))
}
