//! Brokers that know only older versions of fetch. The broker here is a new one behind a proxy that hides what it knows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

use tidegate_api::ErrorKind;

use crate::broker_or_skip;
use crate::setup::{bind, offset, read, try_source};
use crate::stand::{create, produce, producer, stand_with};

/// Passes on what comes at `listener` to `broker`; answers to the oldest question for versions, which is our client's, say
/// that fetch is known up to `highest`.
fn proxy(listener: TcpListener, broker: String, highest: Arc<AtomicI16>) {
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(&broker)) else { return };
            let highest = highest.clone();
            std::thread::spawn(move || pass_on(client, server, highest.load(Ordering::Relaxed)));
        }
    });
}

fn frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = length.to_vec();
    bytes.resize(4 + usize::try_from(u32::from_be_bytes(length)).unwrap(), 0);
    stream.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

fn pass_on(mut client: TcpStream, mut server: TcpStream, highest: i16) {
    // One question at a time, as far as it matters: the first answer is that of the first question.
    let Ok(question) = frame(&mut client) else { return };
    let Ok(mut answer) = server.write_all(&question).and_then(|()| frame(&mut server)) else { return };
    // ApiVersions (18) in version 0.
    if question[4..8] == [0, 18, 0, 0] {
        for entry in answer[14..].chunks_exact_mut(6).filter(|it| it[..2] == [0, 1]) {
            let known = i16::from_be_bytes([entry[4], entry[5]]);
            entry[4..].copy_from_slice(&known.min(highest).to_be_bytes());
        }
    }
    if client.write_all(&answer).is_err() {
        return;
    }
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_of_fetch_are_understood() {
    broker_or_skip!();
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outside = listener.local_addr().unwrap().to_string();
    let extra = format!("advertised.listeners=PLAINTEXT://{outside}");
    let broker = stand_with("up", "0", dir.path(), &extra).unwrap();
    let highest = Arc::new(AtomicI16::new(i16::MAX));
    proxy(listener, broker.clone(), highest.clone());
    create(&broker, "old", 1).await.unwrap();
    produce(&producer(&broker), "old", 0, 0..300);
    let at = |it: i64| offset(&format!(r#"{{"old":{{"0":{it}}}}}"#));
    for version in (4..=13).chain([3]) {
        highest.store(version, Ordering::Relaxed);
        let settings = [("fetch.client", "own"), ("poll.timeout.ms", "20000")];
        let mut source = try_source(&broker, "old", &settings, &Arc::default()).await.unwrap();
        bind(&mut source, &["partition", "offset", "value"]).unwrap();
        let rows = read(&source, &at(7), &at(300)).await;
        if version >= 4 {
            assert_eq!(rows.unwrap().len(), 293, "version {version}");
        } else {
            let error = rows.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("set fetch.client to librdkafka"), "{error}");
        }
    }
    stand_with("down", "0", dir.path(), "");
}
