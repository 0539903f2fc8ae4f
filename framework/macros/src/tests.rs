//! What the derive refuses, and the outline of what it writes.

use syn::{DeriveInput, parse_quote};

use super::expand;

fn refusal(input: &DeriveInput) -> String {
    expand(input).expect_err("must be refused").to_string()
}

#[test]
fn a_key_without_documentation_is_refused() {
    let text = refusal(&parse_quote!(
        struct C {
            port: u16,
        }
    ));
    assert!(text.contains("no documentation"), "{text}");
}

#[test]
fn only_structs_with_named_fields_have_keys() {
    assert!(
        refusal(&parse_quote!(
            enum C {
                A,
            }
        ))
        .contains("structs")
    );
    assert!(
        refusal(&parse_quote!(
            struct C(u16);
        ))
        .contains("named fields")
    );
}

#[test]
fn names_that_differ_in_dots_or_case_only_are_refused() {
    let text = refusal(&parse_quote!(
        struct C {
            /// One.
            start_at: u64,
            /// Two.
            #[config(name = "end.at", synonym = "StartAt")]
            end_at: u64,
        }
    ));
    assert_eq!(text, "'start.at' and 'StartAt' are the same key");
}

#[test]
fn an_optional_key_has_no_default() {
    let text = refusal(&parse_quote!(
        struct C {
            /// A port.
            #[config(default = "1")]
            port: Option<u16>,
        }
    ));
    assert!(text.contains("no default"), "{text}");
}

#[test]
fn unknown_attributes_and_importances_are_refused() {
    let unknown = parse_quote!(
        struct C {
            /// A port.
            #[config(defualt = "1")]
            port: u16,
        }
    );
    assert!(refusal(&unknown).contains("expected name, default"));
    let importance = parse_quote!(
        struct C {
            /// A port.
            #[config(importance = "huge")]
            port: u16,
        }
    );
    assert!(refusal(&importance).contains("high, medium or low"));
}

#[test]
fn names_docs_and_prefixes_reach_the_keys() {
    let input = parse_quote!(
        struct C {
            /// First line
            /// and second.
            #[config(name = "the.port", default = "9", synonym = "p")]
            port: u16,
            /// Passed on.
            #[config(prefix = "kafka.")]
            rest: PassThrough,
        }
    );
    let text = expand(&input).expect("is fine").to_string();
    for part in [
        r#"name : "the.port" , synonyms : & ["p"] , doc : "First line and second.""#,
        r#"default : :: std :: option :: Option :: Some ("9")"#,
        r#"name : "kafka.""#,
        "let rest = reader . below (& keys [1usize]) ;",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
