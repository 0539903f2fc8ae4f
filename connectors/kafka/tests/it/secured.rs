//! Encrypted connections and logins, against a broker that wants them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use aws_lc_rs::pbkdf2;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ApiKey, RequestHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, encode_request_header_into_buffer};
use tidegate_api::{ErrorKind, Result};

use crate::broker_or_skip;
use crate::setup::{Row, bind, offset, read, try_source};
use crate::stand::{create, produce, producer, stand_with};

/// A broker with a listener for each way to protect a connection.
struct Secured {
    dir: tempfile::TempDir,
    plain: String,
    ssl: String,
    sasl: String,
    sasl_ssl: String,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority of its own (ca.pem) and the broker's certificate with its key (broker.pem).
fn certificates(dir: &Path) {
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority");
    openssl(dir, "req -newkey rsa:2048 -nodes -keyout broker.key -out broker.csr -subj /CN=broker");
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign =
        "x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out broker.crt";
    openssl(dir, sign);
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    std::fs::write(dir.join("broker.pem"), read("broker.key") + &read("broker.crt")).unwrap();
}

impl Secured {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let [plain, ssl, sasl, sasl_ssl, controller] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
        let listeners = format!("PLAINTEXT://{plain},SSL://{ssl},SASL_PLAINTEXT://{sasl},SASL_SSL://{sasl_ssl}");
        let mut extra = format!(
            "listeners={listeners},CONTROLLER://{controller}\nadvertised.listeners={listeners}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,\
             CONTROLLER:PLAINTEXT\n\
             controller.quorum.voters=1@{controller}\nssl.keystore.type=PEM\nssl.keystore.location={}/broker.pem\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n",
            dir.path().display()
        );
        let modules = "org.apache.kafka.common.security";
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            let key = |mechanism: &str| format!("listener.name.{listener}.{mechanism}.sasl.jaas.config={modules}");
            extra += &format!("{}.plain.PlainLoginModule required user_me=\"hush, hush\";\n", key("plain"));
            for scram in ["scram-sha-256", "scram-sha-512"] {
                extra += &format!("{}.scram.ScramLoginModule required;\n", key(scram));
            }
        }
        let port = plain.rsplit(':').next().unwrap();
        assert_eq!(stand_with("up", port, dir.path(), &extra).unwrap(), plain);
        Self { dir, plain, ssl, sasl, sasl_ssl }
    }

    fn ca(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }

    /// Makes the user known to SCRAM.
    fn add_scram_user(&self, name: &str, password: &str) {
        let (salt, rounds) = ([7_u8; 16], NonZeroU32::new(4096).unwrap());
        let user = |mechanism, algorithm, length: usize| {
            let mut salted = vec![0; length];
            pbkdf2::derive(algorithm, rounds, &salt, password.as_bytes(), &mut salted);
            ScramCredentialUpsertion::default()
                .with_name(StrBytes::from_string(name.to_owned()))
                .with_mechanism(mechanism)
                .with_iterations(4096)
                .with_salt(Bytes::copy_from_slice(&salt))
                .with_salted_password(salted.into())
        };
        let both = vec![user(1, pbkdf2::PBKDF2_HMAC_SHA256, 32), user(2, pbkdf2::PBKDF2_HMAC_SHA512, 64)];
        // One after the other: a user may be named once in a request.
        for one in both {
            let mut answer = self.ask(&AlterUserScramCredentialsRequest::default().with_upsertions(vec![one]));
            let answer = AlterUserScramCredentialsResponse::decode(&mut answer, 0).unwrap();
            assert_eq!(answer.results[0].error_code, 0, "{answer:?}");
        }
    }

    fn ask(&self, request: &AlterUserScramCredentialsRequest) -> Bytes {
        let key = ApiKey::AlterUserScramCredentials as i16;
        let header = RequestHeader::default().with_request_api_key(key).with_correlation_id(1);
        let mut bytes = BytesMut::new();
        encode_request_header_into_buffer(&mut bytes, &header).unwrap();
        request.encode(&mut bytes, 0).unwrap();
        let mut framed = BytesMut::new();
        framed.put_i32(i32::try_from(bytes.len()).unwrap());
        framed.extend_from_slice(&bytes);
        let mut stream = std::net::TcpStream::connect(&self.plain).unwrap();
        stream.write_all(&framed).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        stream.read_exact(&mut answer).unwrap();
        // Correlation id and no tagged fields.
        Bytes::from(answer).split_off(5)
    }
}

async fn read_all(broker: &str, settings: &[(&str, &str)]) -> Result<Vec<Row>> {
    let mut source = try_source(broker, "guarded", settings, &Arc::default()).await?;
    bind(&mut source, &["partition", "offset", "value"])?;
    read(&source, &offset(r#"{"guarded":{"0":0}}"#), &offset(r#"{"guarded":{"0":500}}"#)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_connections_are_read_by_both_clients() {
    broker_or_skip!();
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: protected connections: no openssl on this machine");
        return;
    }
    let secured = Secured::start();
    secured.add_scram_user("me", "hush, hush");
    create(&secured.plain, "guarded", 1).await.unwrap();
    produce(&producer(&secured.plain), "guarded", 0, 0..500);
    let ca = secured.ca();
    let tls = [("kafka.ssl.ca.location", ca.as_str())];
    let login = [("kafka.sasl.username", "me"), ("kafka.sasl.password", "hush, hush")];
    let mut ways = vec![(&secured.ssl, "SSL", None)];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        ways.push((&secured.sasl, "SASL_PLAINTEXT", Some(mechanism)));
    }
    ways.push((&secured.sasl_ssl, "SASL_SSL", Some("SCRAM-SHA-256")));
    for (broker, protocol, mechanism) in ways {
        for client in ["own", "librdkafka"] {
            let mut settings = vec![("fetch.client", client), ("kafka.security.protocol", protocol)];
            settings.extend(mechanism.map(|it| ("kafka.sasl.mechanism", it)));
            settings.extend(tls);
            settings.extend(login);
            let rows = read_all(broker, &settings).await.unwrap();
            assert_eq!(rows.len(), 500, "{client} {protocol} {mechanism:?}");
        }
    }
    let pem = std::fs::read_to_string(secured.dir.path().join("ca.pem")).unwrap();
    let settings = [("fetch.client", "own"), ("kafka.security.protocol", "SSL"), ("kafka.ssl.ca.pem", pem.as_str())];
    assert_eq!(read_all(&secured.ssl, &settings).await.unwrap().len(), 500, "certificates in the settings");
    let nobody = [("kafka.security.protocol", "SASL_PLAINTEXT"), ("kafka.sasl.mechanism", "PLAIN")];
    let nobody = [&nobody[..], &[("kafka.sasl.username", "me"), ("kafka.sasl.password", "wrong")]].concat();
    let error = read_all(&secured.sasl, &nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    stand_with("down", "0", secured.dir.path(), "");
}
