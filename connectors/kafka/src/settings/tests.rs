use super::*;

fn passed(pairs: &[(&str, &str)]) -> PassThrough {
    let servers = [("bootstrap.servers", "localhost:9092")];
    servers.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn problems(pairs: &[(&str, &str)]) -> String {
    issues(&passed(pairs)).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_source_decides_is_refused() {
    for (key, _) in REFUSED {
        let text = problems(&[(key, "x")]);
        assert!(text.starts_with(&format!("kafka.{key}: can't be set")), "{text}");
    }
}

#[test]
fn servers_are_needed() {
    let text = issues(&PassThrough::new()).iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains("kafka.bootstrap.servers: missing"), "{text}");
    assert_eq!(problems(&[]), "");
}

#[test]
fn each_wrong_setting_is_named_and_no_secret_shown() {
    let text = problems(&[("fetch.wait.max.ms", "soon"), ("sasl.passwort", "hush-1"), ("no.such.setting", "1")]);
    assert!(text.contains("kafka.fetch.wait.max.ms: invalid value"), "{text}");
    assert!(text.contains("kafka.no.such.setting: no such configuration property"), "{text}");
    assert!(!text.contains("hush-1"), "{text}");
}

#[test]
fn names_of_the_java_client_are_translated() {
    let jaas = r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p\"q";"#;
    let pairs =
        passed(&[("sasl.jaas.config", jaas), ("fetch.max.wait.ms", "7"), ("isolation.level", "read_committed")]);
    assert!(issues(&pairs).is_empty());
    let config = client_config(&pairs, "g", true);
    let got = |key: &str| config.get(key).unwrap_or_default().to_owned();
    assert_eq!((got("sasl.username"), got("sasl.password")), ("u".into(), "p\"q".into()));
    assert_eq!(
        (got("fetch.wait.max.ms"), got("group.id"), got("auto.offset.reset")),
        ("7".into(), "g".into(), "error".into())
    );
    let text = problems(&[("sasl.jaas.config", "x.Krb5LoginModule required password=\"hush-2\";")]);
    assert!(text.contains("PlainLoginModule") && !text.contains("hush-2"), "{text}");
    assert!(problems(&[("ssl.truststore.location", "/t.jks")]).contains("kafka.ssl.ca.location"));
    assert_eq!(problems(&[("ssl.truststore.location", "/t.pem"), ("ssl.truststore.type", "PEM")]), "");
    assert!(problems(&[("fetch.max.wait.ms", "7"), ("fetch.wait.max.ms", "7")]).contains("same setting"));
}

#[test]
fn a_queue_is_small_unless_the_user_says_otherwise() {
    let got = |pairs: &[(&str, &str)], key: &str| {
        let config = client_config(&passed(pairs), "g", true);
        assert!(config.create_native_config().is_ok(), "{pairs:?}");
        config.get(key).unwrap_or_default().to_owned()
    };
    assert_eq!(got(&[], "queued.min.messages"), "20000");
    assert_eq!(got(&[("queued.min.messages", "100000")], "queued.min.messages"), "100000");
    // One name, or which of the two counts would be left to chance.
    assert_eq!(got(&[("max.partition.fetch.bytes", "1048576")], "fetch.message.max.bytes"), "1048576");
    assert_eq!(got(&[("max.partition.fetch.bytes", "1048576")], "max.partition.fetch.bytes"), "");
}

#[test]
fn a_group_of_the_users_own_is_kept() {
    let config = client_config(&passed(&[("group.id", "mine")]), "tidegate-x-y", false);
    assert_eq!(config.get("group.id"), Some("mine"));
    assert_eq!(config.get("auto.offset.reset"), Some("earliest"));
}

#[test]
fn a_request_takes_fifteen_seconds_at_most() {
    assert_eq!(request_timeout(&passed(&[])), Duration::from_secs(15));
    assert_eq!(request_timeout(&passed(&[("socket.timeout.ms", "2000")])), Duration::from_secs(2));
    assert_eq!(request_timeout(&passed(&[("socket.timeout.ms", "60000")])), Duration::from_secs(15));
}
