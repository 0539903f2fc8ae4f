use super::*;

/// Streams of the file, sources of Spark's, what is said, and words of the answer.
type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

fn theirs(keys: &[&str]) -> BTreeMap<String, Option<String>> {
    keys.iter().map(|it| ((*it).to_owned(), (*it != "-").then(|| format!("{{\"logOffset\":{}}}", it.len())))).collect()
}

fn said(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned())).collect()
}

fn paired(ours: &[&str], keys: &[&str], all: &[(&str, &str)]) -> Result<String, String> {
    let pairs = pair(ours, &theirs(keys), &said(all)).map_err(|it| it.join(" / "))?;
    Ok(pairs.iter().map(|(name, key)| format!("{name}={} ", key.as_deref().unwrap_or("new"))).collect())
}

#[test]
fn where_there_is_no_choice_nothing_need_be_said() {
    assert_eq!(paired(&["a"], &["0"], &[]).unwrap(), "a=0 ");
    assert_eq!(paired(&["b", "a"], &["a", "b"], &[]).unwrap(), "b=b a=a ", "Spark knows the names");
}

#[test]
fn what_is_said_counts() {
    assert_eq!(paired(&["a", "b"], &["0", "1"], &[("b", "0"), ("a", "1")]).unwrap(), "a=1 b=0 ");
    assert_eq!(paired(&["a", "b"], &["0"], &[("b", "0"), ("a", "new")]).unwrap(), "a=new b=0 ");
    assert_eq!(paired(&["a", "b"], &["a", "b"], &[("b", "a"), ("a", "b")]).unwrap(), "a=b b=a ");
}

#[test]
fn what_is_not_settled_is_refused() {
    let cases: [Case; 8] = [
        (&["a", "b"], &["0", "1"], &[], "expected --source a=<number> --source b=<number>"),
        (&["a", "b"], &["0"], &[], "streams of the file without a source of Spark's: a, b"),
        (&["a"], &["0", "1"], &[("a", "0")], "that no stream goes on from: 1 at {\"logOffset\":1}"),
        (&["a", "b"], &["0", "1"], &[("a", "0")], "expected --source b=<number>"),
        (&["clicks"], &["0"], &[("click", "0")], "'click' is no stream of the file; did you mean 'clicks'?"),
        (&["a"], &["0"], &[("a", "1")], "a=1: Spark has no source '1', only 0 at"),
        (&["a", "b"], &["0"], &[("a", "0"), ("b", "0")], "b=0: source '0' of Spark's is taken already"),
        (&["a"], &["0"], &[("a", "new")], "that no stream goes on from: 0 at"),
    ];
    for (ours, keys, all, expected) in cases {
        let text = paired(ours, keys, all).unwrap_err();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(paired(&["a"], &["0"], &[("a", "new"), ("a", "0")]).unwrap_err().contains("'a' is there twice"));
}
