use std::path::{Path, PathBuf};

use super::{PathPattern, braces, matches};

#[test]
fn names_match_as_in_hadoop() {
    for (pattern, yes, no) in [
        ("*.json", ["a.json", ".json"], ["a.jsonl", "json"]),
        ("part-?", ["part-1", "part-가"], ["part-", "part-12"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[^a-c]x", ["dx", "-x"], ["ax", "bx"]),
        ("a*b*c", ["abc", "axxbyyc"], ["ab", "acb"]),
        (r"\*a", ["*a", "*a"], ["aa", r"\*a"]),
        ("[]x]", ["]", "x"], ["y", "[]x]"]),
    ] {
        for name in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for name in no {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}

#[test]
fn braces_are_choices() {
    assert_eq!(
        braces("/a/{b,c{1,2}}/*.{x,y}"),
        ["/a/b/*.x", "/a/b/*.y", "/a/c1/*.x", "/a/c1/*.y", "/a/c2/*.x", "/a/c2/*.y"]
    );
    assert_eq!(braces("/a/{b"), ["/a/{b"]);
    assert_eq!(braces(r"/a/\{b,c}"), [r"/a/\{b,c}"]);
}

#[test]
fn a_path_is_cut_at_its_first_wildcard() {
    let pattern = PathPattern::new(Path::new("/data"), "./in/../logs/2026-*/x/*.json");
    let [choice] = pattern.choices() else { panic!("one choice") };
    assert_eq!(choice.base, PathBuf::from("/data/logs"));
    assert_eq!(choice.names, ["2026-*", "x", "*.json"]);
    assert_eq!(pattern.to_string(), "/data/logs/2026-*/x/*.json");
    let pattern = PathPattern::new(Path::new("/data"), "file:///abs/in");
    assert_eq!(pattern.choices()[0].base, PathBuf::from("/abs/in"));
    assert!(pattern.choices()[0].names.is_empty());
}
