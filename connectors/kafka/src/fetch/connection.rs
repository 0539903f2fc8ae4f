//! `Connection`: one connection to one broker, with one request at a time.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use rdkafka::types::RDKafkaErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::options::Options;
use super::sasl::{Login, Mechanism, Scram};
use super::tls::{self, Stream};
use super::wire::{self, Answer, FETCH_VERSIONS, Question, error_name, invalid};

/// Bytes read at once where the fields of an answer are; records go past this buffer.
const BUFFER: usize = 16 << 10;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// An open connection.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    client: String,
    /// The version of fetch that both sides know.
    version: i16,
    correlation: i32,
    longest: usize,
    patience: Duration,
}

/// Why there is no connection.
pub(super) enum Refused {
    /// It may go better later.
    Away(io::Error),
    /// Nor will it: the broker takes neither name nor password, or knows no fetch that we know.
    Never(RDKafkaErrorCode, String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Away(error)
    }
}

impl Connection {
    /// Connects, logs in, and asks what the broker understands.
    pub(super) async fn open(
        address: &Address,
        options: &Options,
        connector: Option<&TlsConnector>,
    ) -> Result<Self, Refused> {
        let stream = timeout(options.connect_timeout, connect(address, connector)).await.map_err(|_| late())??;
        let mut connection = Self {
            stream: BufReader::with_capacity(BUFFER, stream),
            client: options.client_id.clone(),
            version: *FETCH_VERSIONS.start(),
            correlation: 0,
            longest: options.answer_bytes,
            patience: options.request_timeout,
        };
        if let Some(login) = &options.security.login {
            connection.log_in(login).await?;
        }
        let (lowest, highest) = connection.fetch_versions().await?;
        connection.version = highest.min(*FETCH_VERSIONS.end());
        if connection.version < lowest.max(*FETCH_VERSIONS.start()) {
            let text = format!("it knows fetch in the versions {lowest} to {highest}; set fetch.client to librdkafka");
            return Err(Refused::Never(RDKafkaErrorCode::UnsupportedVersion, text));
        }
        Ok(connection)
    }

    /// Asks for records and hands the answers to `each` as they come.
    pub(super) async fn fetch(&mut self, question: &Question<'_>, each: impl FnMut(Answer)) -> io::Result<()> {
        let request = wire::fetch(question);
        let waits = Duration::from_millis(question.wait_ms.unsigned_abs().into());
        let (patience, version) = (self.patience + waits, self.version);
        let asked = async {
            let left = self.ask(ApiKey::Fetch, version, &request).await?;
            wire::read_answer(&mut self.stream, left, version, each).await
        };
        timeout(patience, asked).await.map_err(|_| late())?
    }

    /// The versions of fetch that the broker understands.
    async fn fetch_versions(&mut self) -> io::Result<(i16, i16)> {
        let mut answer = self.call(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).await?;
        // Six bytes for each entry: checked before memory is reserved for them.
        let count = answer.get(2..6).map_or(0, |mut it| it.get_i32());
        if usize::try_from(count).map_or(true, |it| it > answer.len() / 6) {
            return Err(invalid("an answer is shorter than what it holds"));
        }
        let known = ApiVersionsResponse::decode(&mut answer, 0).map_err(|e| invalid(&e.to_string()))?;
        let fetch = known.api_keys.iter().find(|it| it.api_key == ApiKey::Fetch as i16);
        Ok(fetch.map_or((0, 0), |it| (it.min_version, it.max_version)))
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), Refused> {
        let name = StrBytes::from_static_str(login.mechanism.name());
        let hello = SaslHandshakeRequest::default().with_mechanism(name);
        let answer = self.call(ApiKey::SaslHandshake, 1, &hello).await?;
        // What follows the error are names of mechanisms, which nobody reads.
        match answer.get(..2).map(|mut it| it.get_i16()) {
            Some(0) => {}
            Some(code) => return Err(no_login(&format!("{}: {}", login.mechanism.name(), error_name(code)))),
            None => return Err(invalid("an answer is shorter than what it holds").into()),
        }
        if login.mechanism == Mechanism::Plain {
            self.authenticate(login.plain()).await?;
            return Ok(());
        }
        let scram = Scram::new(login.clone())?;
        let challenge = self.authenticate(scram.first().into_bytes()).await?;
        let answered = tokio::task::spawn_blocking(move || scram.answer(&String::from_utf8_lossy(&challenge)));
        let proof = answered.await.map_err(io::Error::other)??;
        let last = self.authenticate(proof.message.clone().into_bytes()).await?;
        if proof.is_proven_by(&String::from_utf8_lossy(&last)) {
            return Ok(());
        }
        Err(no_login("the broker does not know the password either"))
    }

    async fn authenticate(&mut self, bytes: Vec<u8>) -> Result<Bytes, Refused> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes.into());
        let mut answer = self.call(ApiKey::SaslAuthenticate, 0, &request).await?;
        let answer = SaslAuthenticateResponse::decode(&mut answer, 0).map_err(|e| invalid(&e.to_string()))?;
        if answer.error_code == 0 {
            return Ok(answer.auth_bytes);
        }
        let text = answer.error_message.map_or_else(|| error_name(answer.error_code), |it| it.to_string());
        Err(no_login(&text))
    }

    /// A question with a small answer.
    async fn call<R: Encodable + HeaderVersion>(&mut self, key: ApiKey, version: i16, body: &R) -> io::Result<Bytes> {
        let patience = self.patience;
        let asked = async {
            let left = self.ask(key, version, body).await?;
            let mut bytes = vec![0; left];
            self.stream.read_exact(&mut bytes).await?;
            Ok(bytes.into())
        };
        timeout(patience, asked).await.map_err(|_| late())?
    }

    /// Sends a request and reads the beginning of its answer. Returns the bytes that are left.
    async fn ask<R: Encodable + HeaderVersion>(&mut self, key: ApiKey, version: i16, body: &R) -> io::Result<usize> {
        self.correlation = self.correlation.wrapping_add(1);
        let request = wire::request(key, version, self.correlation, &self.client, body)?;
        let stream = self.stream.get_mut();
        stream.write_all(&request).await?;
        stream.flush().await?;
        let length = self.stream.read_i32().await?;
        let correlation = self.stream.read_i32().await?;
        if correlation != self.correlation {
            return Err(invalid("an answer to another question"));
        }
        let left = usize::try_from(length).ok().and_then(|it| it.checked_sub(4));
        left.filter(|it| *it <= self.longest).ok_or_else(|| {
            invalid(&format!("an answer of {length} bytes (kafka.receive.message.max.bytes: {})", self.longest))
        })
    }
}

async fn connect(address: &Address, connector: Option<&TlsConnector>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    match connector {
        Some(connector) => tls::encrypt(connector, &address.host, stream).await,
        None => Ok(Box::new(stream)),
    }
}

fn no_login(why: &str) -> Refused {
    Refused::Never(RDKafkaErrorCode::Authentication, format!("no login: {why}"))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
