//! Sizes as they are written.

use tidegate_api::config::{ByteSize, ConfigValue};

#[test]
fn sizes() {
    let cases = [("100MB", 100_000_000), ("64 MiB", 64 << 20), ("7", 7), ("2g", 2_000_000_000), (" 3 kib ", 3072)];
    for (text, bytes) in cases {
        assert_eq!(ByteSize::parse_value(text), Ok(ByteSize(bytes)), "{text}");
    }
    for text in ["", "0", "MB", "12 parsecs", "-1", "99999999999 GiB"] {
        let error = ByteSize::parse_value(text).unwrap_err();
        assert!(error.contains("64MB"), "{text}: {error}");
    }
}
