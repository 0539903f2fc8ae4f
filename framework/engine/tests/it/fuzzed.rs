//! Queries with words taken out, put in, doubled and swapped: refused or run, but nothing panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use tidegate_api::OutputMode;
use tidegate_engine::{QuerySpec, SourceSpec};

use crate::harness::{Rig, random_cases, sink, source, spec, until_idle};

const QUERIES: [&str; 18] = [
    "SELECT k , v + 1 AS w , ts FROM a WHERE v > 2 AND k <> 'x'",
    "SELECT window . start AS s , k , count ( * ) AS n FROM a GROUP BY window ( ts , '10 seconds' ) , k",
    "SELECT window . end AS e , sum ( v ) AS n FROM a GROUP BY window ( ts , '10 seconds' , '5 seconds' ) HAVING count ( * ) > 1",
    "SELECT session_window . start AS s , k , max ( v ) AS m FROM a GROUP BY session_window ( ts , '5 seconds' ) , k",
    "SELECT k , count ( DISTINCT v ) AS n FROM a GROUP BY k ORDER BY n DESC LIMIT 3",
    "SELECT DISTINCT ON ( k , ts ) k , ts , v FROM a",
    "SELECT DISTINCT k FROM a",
    "SELECT a . k , a . ts , b . v FROM a JOIN b ON a . k = b . k AND b . ts BETWEEN a . ts AND a . ts + INTERVAL 5 SECONDS",
    "SELECT a . k , b . v FROM a LEFT JOIN b ON a . k = b . k AND a . ts <= b . ts AND b . ts < a . ts + INTERVAL '1' MINUTE",
    "SELECT a . k FROM a LEFT SEMI JOIN b ON a . k = b . k AND a . ts = b . ts",
    "SELECT k , v FROM a WHERE v IN ( SELECT v FROM t ) UNION ALL SELECT k , v FROM b LIMIT 4",
    "SELECT a . k , t . v FROM a LEFT JOIN t ON a . k = t . k WHERE t . v IS NOT NULL",
    "SELECT explode ( split ( k , ' ' ) ) AS word , v FROM a",
    "SELECT from_json ( k , 'x INT, y ARRAY<STRING>' ) . x AS x , to_json ( named_struct ( 'k' , k ) ) AS j FROM a",
    "SELECT CASE WHEN v > 1 THEN 'many' WHEN v IS NULL THEN k ELSE cast ( v AS STRING ) END AS c FROM a",
    "WITH c AS ( SELECT window AS w , k , count ( * ) AS n FROM a GROUP BY window ( ts , '5 seconds' ) , k ) SELECT sum ( n ) AS n FROM c GROUP BY window ( w , '20 seconds' )",
    "SELECT date_trunc ( 'hour' , ts ) AS h , coalesce ( v , - 1 ) AS c , substring ( k , 1 , 2 ) AS p FROM a",
    "SELECT k , v , row_number ( ) OVER ( PARTITION BY k ORDER BY v ) AS r FROM a",
];
const WORDS: [&str; 40] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "UNION ALL",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "*",
    "(",
    ")",
    ",",
    ".",
    "=",
    "<",
    "-",
    "'5 seconds'",
    "'-1 seconds'",
    "0",
    "9223372036854775807",
    "1e400",
    "a",
    "b",
    "t",
    "k",
    "v",
    "ts",
    "window",
    "window ( ts , '0 seconds' )",
    "session_window ( ts , k )",
    "count ( * )",
    "INTERVAL 1 MONTH",
    "''",
];

/// What is done to a query at a place.
#[derive(Clone, Copy, Debug)]
enum Change {
    Remove,
    Double,
    Swap,
    Put(&'static str),
    Replace(&'static str),
}

fn changed(query: &str, changes: &[(Index, Change)]) -> String {
    let mut words: Vec<&str> = query.split(' ').collect();
    for (place, change) in changes {
        let at = place.index(words.len().max(1)).min(words.len().saturating_sub(1));
        match change {
            _ if words.is_empty() => {}
            Change::Remove => drop(words.remove(at)),
            Change::Double => words.insert(at, words[at]),
            Change::Swap => words.swap(at, at / 2),
            Change::Put(word) => words.insert(at, word),
            Change::Replace(word) => words[at] = word,
        }
    }
    words.join(" ")
}

fn query(folder: &Path, sources: Vec<SourceSpec>, sql: &str, mode: OutputMode) -> QuerySpec {
    spec(folder, sources, &[], vec![sink("out", sql, mode)])
}

/// Plans it, and if it is taken runs two epochs; true if it ran.
async fn lives(sql: &str, mode: OutputMode) -> Result<bool, String> {
    const SCHEMA: &str = "k STRING, v INT, ts TIMESTAMP";
    let folder = tempfile::tempdir().unwrap();
    let mut table = source("t", "k STRING, v INT", None);
    table.is_static = true;
    let [a, b] = ["a", "b"].map(|it| source(it, SCHEMA, Some(("ts", "5 seconds"))));
    let rig = Rig::new();
    let spec = || query(folder.path(), vec![a.clone(), b.clone(), table.clone()], sql, mode);
    if rig.plan(spec()).await.is_err() {
        return Ok(false);
    }
    let Ok(mut running) = rig.start(spec()).await else { return Ok(false) };
    rig.add(&table, &[r#"{"k":"x","v":1}"#.to_owned()]);
    for at in [1, 60] {
        let row = |v: i64| format!(r#"{{"k":"x y","v":{v},"ts":"1970-01-01 00:00:{at:02}"}}"#);
        rig.add(&a, &[row(1), row(2), r#"{"k":null}"#.to_owned()]);
        rig.add(&b, &[row(2)]);
        match until_idle(&mut running).await {
            // A task that panics breaks off.
            Err(e) if e.to_string().contains("broke off") => return Err(e.to_string()),
            Err(_) => return Ok(false),
            Ok(_) => {}
        }
    }
    Ok(true)
}

#[test]
fn no_text_of_a_query_panics() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let word = || prop::sample::select(WORDS.to_vec());
    let change = prop_oneof![
        2 => Just(Change::Remove),
        1 => Just(Change::Double),
        1 => Just(Change::Swap),
        2 => word().prop_map(Change::Put),
        3 => word().prop_map(Change::Replace),
    ];
    let changes = prop::collection::vec((any::<Index>(), change), 0..4);
    let modes = prop::sample::select(vec![OutputMode::Append, OutputMode::Update, OutputMode::Complete]);
    let ran = std::cell::Cell::new((0, 0));
    random_cases(cases())
        .run(&(prop::sample::select(QUERIES.to_vec()), changes, modes), |(text, changes, mode)| {
            let sql = changed(text, &changes);
            let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(lives(&sql, mode))));
            let lived = outcome.map_err(|_| TestCaseError::fail(format!("panics: {sql}")))?;
            let lived = lived.map_err(|e| TestCaseError::fail(format!("{sql}: {e}")))?;
            let (all, some) = ran.get();
            ran.set((all + 1, some + u32::from(lived)));
            Ok(())
        })
        .unwrap();
    let (all, some) = ran.get();
    println!("{all} texts, {some} of them run");
    assert!(some * 10 > all, "a tenth at least must be queries");
}

/// `TIDEGATE_TEST_TEXTS` sets another number for long runs.
fn cases() -> u32 {
    std::env::var("TIDEGATE_TEST_TEXTS").ok().and_then(|it| it.parse().ok()).unwrap_or(600)
}
