use super::*;

/// A commit: `-x` removes a file, `+x` adds one; `~` in front: it only rearranges.
fn commit(version: u64, ours: bool, text: &str) -> Commit {
    let rearranges = text.starts_with('~');
    let line = |it: &str| {
        let (sign, path) = it.split_at(1);
        let action = Some(json!({ "path": path, "size": 1, "dataChange": !rearranges }));
        if sign == "+" { Line { add: action, remove: None } } else { Line { add: None, remove: action } }
    };
    Commit { version, ours, lines: text.trim_start_matches('~').split_whitespace().map(line).collect() }
}

/// What the plan removes, adds, and looks for in the older version, each as sorted names.
fn plan(commits: &[(bool, &str)]) -> Result<[String; 3]> {
    let commits = (1..).zip(commits).map(|(version, (ours, text))| commit(version, *ours, text)).collect();
    let plan = History { base: 0, commits, fenced: false }.plan(Some(4), 7)?;
    let names = |all: &[Value]| all.iter().filter_map(path_of).collect::<Vec<_>>().join(" ");
    let lost: Vec<_> = plan.lost.iter().map(String::as_str).collect();
    Ok([names(&plan.removes), names(&plan.adds), lost.join(" ")])
}

#[test]
fn what_is_taken_back() {
    const OURS: bool = true;
    const THEIRS: bool = false;
    type Case<'a> = (&'a str, &'a [(bool, &'a str)], [&'a str; 3]);
    let cases: [Case<'_>; 9] = [
        ("nothing", &[], ["", "", ""]),
        ("our files", &[(OURS, "+a"), (OURS, "+b +c")], ["a b c", "", ""]),
        ("what others appended stays", &[(OURS, "+a"), (THEIRS, "+x")], ["a", "", ""]),
        ("what others deleted of other rows stays deleted", &[(OURS, "+a"), (THEIRS, "-old +x")], ["a", "", ""]),
        ("a compaction of others' files stays", &[(OURS, "+a"), (THEIRS, "~-o1 -o2 +o3")], ["a", "", ""]),
        ("a compaction with ours is undone", &[(OURS, "+a"), (THEIRS, "~-a -old +s")], ["s", "", "old"]),
        (
            "also with what was appended since, and compacted again",
            &[(OURS, "+a"), (THEIRS, "+x"), (THEIRS, "~-a -x -old +s"), (OURS, "+b"), (THEIRS, "~-s -b +t")],
            ["t", "x", "old"],
        ),
        ("an earlier restore counts", &[(OURS, "+a"), (OURS, "-a"), (OURS, "+b")], ["b", "", ""]),
        (
            "what an earlier restore added again stays",
            &[(OURS, "+a"), (THEIRS, "~-a -old +s"), (OURS, "-s +old"), (OURS, "+b")],
            ["b", "", ""],
        ),
    ];
    for (name, commits, expected) in cases {
        assert_eq!(plan(commits).unwrap(), expected.map(str::to_owned), "{name}");
    }
}

#[test]
fn rows_that_others_changed_are_not_taken_back() {
    let error = plan(&[(true, "+a"), (false, "-a +a2")]).unwrap_err().to_string();
    assert!(error.contains("commit 2 of another writer changed rows that were written after epoch 4"), "{error}");
}

#[test]
fn removes_say_what_was_added() {
    let add = json!({ "path": "a", "size": 3, "partitionValues": { "p": "1" }, "stats": "{}", "dataChange": false });
    let remove = remove_of(&add, 9);
    let expected = json!({
        "path": "a", "size": 3, "partitionValues": { "p": "1" },
        "deletionTimestamp": 9, "dataChange": true, "extendedFileMetadata": true,
    });
    assert_eq!(remove, expected);
}
