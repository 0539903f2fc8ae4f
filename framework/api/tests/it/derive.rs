//! What `#[derive(ConfigDef)]` makes of a struct.

use std::num::NonZeroU32;
use std::time::Duration;

use tidegate_api::prelude::*;

/// One field of each form.
#[derive(ConfigDef)]
struct Full {
    /// A required key.
    #[config(importance = "high")]
    host: String,
    /// A key with a default.
    #[config(default = "10 seconds", synonym = "wait", synonym = "pause")]
    poll_timeout: Duration,
    /// A key with a name of its own.
    #[config(name = "parts.most", importance = "low")]
    parts: Option<NonZeroU32>,
    /// A list.
    #[config(default = "")]
    topics: Vec<String>,
    /// A secret.
    password: Option<Secret>,
    /// Passed on.
    #[config(prefix = "kafka.")]
    kafka: PassThrough,
}

/// No keys at all.
#[derive(ConfigDef)]
struct Empty {}

fn issues<C: ConfigDef>(settings: &[(&str, &str)]) -> Vec<String> {
    let issues = C::parse(&Settings::from_iter(settings.iter().copied())).err().unwrap_or_default();
    issues.iter().map(ToString::to_string).collect()
}

#[test]
fn keys_describe_themselves() {
    let [host, poll, parts, topics, password, kafka] = Full::keys() else { panic!("six keys") };
    assert_eq!((host.name, host.doc, host.importance), ("host", "A required key.", Importance::High));
    assert_eq!((host.default, host.optional, host.kind), (None, false, "text"));
    assert_eq!((poll.name, poll.default, poll.synonyms), ("poll.timeout", Some("10 seconds"), &["wait", "pause"][..]));
    assert_eq!((parts.name, parts.optional, parts.kind), ("parts.most", true, "a positive whole number"));
    assert_eq!(topics.default, Some(""));
    assert!(password.secret && password.optional && !password.prefix);
    assert!(kafka.prefix && kafka.secret && kafka.optional);
}

#[test]
fn all_forms_are_read() {
    let settings = Settings::from_iter([
        ("HOST", "here"),
        ("pause", "2m"),
        ("partsMost", "4"),
        ("topics", "a, b"),
        ("password", "s3cret"),
        ("kafka.sasl.password", "s3cret too"),
    ]);
    let config = Full::parse(&settings).unwrap();
    assert_eq!((config.host.as_str(), config.poll_timeout), ("here", Duration::from_secs(120)));
    assert_eq!((config.parts, config.topics.len()), (NonZeroU32::new(4), 2));
    assert_eq!(config.password.as_ref().map(Secret::expose), Some("s3cret"));
    assert_eq!(config.kafka["sasl.password"], "s3cret too");
    let shown = format!("{config:?}");
    assert!(shown.contains("here") && shown.contains("sasl.password"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = Full::parse(&Settings::from_iter([("host", "h")])).unwrap();
    assert_eq!(config.poll_timeout, Duration::from_secs(10));
    assert!(config.parts.is_none() && config.topics.is_empty() && config.password.is_none() && config.kafka.is_empty());
}

#[test]
fn all_issues_come_at_once() {
    assert_eq!(
        issues::<Full>(&[("pause", "long"), ("wait", "1s"), ("parts.most", "0"), ("hots", "x")]),
        [
            "host: missing; expected text",
            "wait: 'wait' and 'pause' are the same key",
            "parts.most: '0' is not a positive whole number",
            "hots: unknown key; did you mean 'host'?",
        ]
    );
}

#[test]
fn a_secret_is_not_in_its_own_refusal() {
    /// Reads nothing.
    #[derive(Clone)]
    struct Never;
    impl ConfigValue for Never {
        const KIND: &'static str = "a token";
        const SECRET: bool = true;
        fn parse_value(text: &str) -> Result<Self, String> {
            Err(format!("'{text}' is not a token"))
        }
    }
    impl std::fmt::Debug for Never {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("[hidden]")
        }
    }
    /// One secret.
    #[derive(ConfigDef)]
    struct OneSecret {
        /// A token.
        token: Never,
    }
    let config = OneSecret::parse(&Settings::from_iter([("token", "s3cret")]));
    let issues = config.map(|it| it.token).unwrap_err();
    assert_eq!(issues, [ConfigIssue::new("token", "expected a token")]);
}

#[test]
fn a_struct_without_keys_refuses_all() {
    assert!(Empty::parse(&Settings::default()).is_ok());
    assert_eq!(issues::<Empty>(&[("a", "1")]), ["a: unknown key"]);
}
