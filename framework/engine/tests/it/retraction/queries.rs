//! Random chains of aggregations, as SQL for a stream and for a batch.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) stream: String,
    /// The same in DataFusion's dialect.
    pub(super) batch: String,
}

/// Whole numbers `n`, `s` and a DOUBLE `a` by group: what upper aggregations read.
fn lower(timed: bool) -> impl Strategy<Value = (String, String)> {
    let s = prop::sample::select(vec!["sum(v)", "min(v)", "max(v)", "count(v)", "sum(v) FILTER (WHERE j = 1)"]);
    let keys = prop::sample::select(vec![vec!["k"], vec!["k", "j"], vec!["j"], vec!["v"]]);
    let having = prop::sample::select(vec!["", "", "HAVING count(*) > 1", "HAVING sum(v) IS NULL OR sum(v) <> 0"]);
    (s, keys, having, any::<bool>()).prop_map(move |(s, keys, having, distinct)| {
        let columns = format!("count(*) AS n, {s} AS s, avg(v) AS a");
        if timed {
            let keys = keys.join(", ");
            let start = "CAST(date_part('epoch', window.start) AS BIGINT)";
            let stream =
                format!("SELECT {start} AS w, {columns} FROM t GROUP BY window(ts, '10 seconds'), {keys} {having}");
            let batch = format!("SELECT at - at % 10 AS w, {columns} FROM t GROUP BY at - at % 10, {keys} {having}");
            (stream, batch)
        } else if distinct && keys.len() == 1 {
            let one = "SELECT 0 AS w, CAST(k AS BIGINT) AS n, v AS s, CAST(v AS DOUBLE) AS a FROM (SELECT DISTINCT k, v FROM t) d";
            (one.to_owned(), one.to_owned())
        } else {
            let same = format!("SELECT 0 AS w, {columns} FROM t GROUP BY {} {having}", keys.join(", "));
            (same.clone(), same)
        }
    })
}

/// What a level makes of the one below: `n`, `s` and `a` again, so that levels can stand on each other.
fn upper() -> impl Strategy<Value = String> {
    let n = ["count(*)", "count(s)", "sum(n)", "count(*) FILTER (WHERE s > 0)", "max(n)"];
    let s = [
        "sum(s)",
        "CAST(sum(CAST(n + 1 AS DECIMAL(10, 2))) AS BIGINT)",
        "min(s)",
        "max(s)",
        "sum(CASE WHEN n > 1 THEN s ELSE 0 END)",
        "max(s) FILTER (WHERE n > 1)",
        "count(s)",
    ];
    let a = ["avg(n)", "avg(s)", "min(a)", "max(a)", "avg(s) FILTER (WHERE s <> 1)", "avg(CAST(s AS INT))"];
    let select = |of: &[&'static str]| prop::sample::select(of.to_vec());
    let keys = select(&["n", "s", "n % 2", "w", "w, n", "", "a"]);
    let having = select(&["", "", "HAVING count(*) > 1", "HAVING max(n) < 4"]);
    let filter = select(&["", "", "WHERE n > 1", "WHERE s IS NOT NULL", "WHERE n + 1 <> 3"]);
    (select(&n), select(&s), select(&a), keys, having, filter).prop_map(|(n, s, a, keys, having, filter)| {
        let (group, w) = match keys {
            "" => (String::new(), "0"),
            keys if keys.starts_with('w') => (format!("GROUP BY {keys}"), "w"),
            keys => (format!("GROUP BY {keys}"), "0"),
        };
        format!("SELECT {w} AS w, {n} AS n, {s} AS s, {a} AS a FROM (BELOW) below {filter} {group} {having}")
    })
}

/// Two or three levels, sometimes a union of two chains.
pub(super) fn queries(timed: bool) -> impl Strategy<Value = Query> {
    let top = (upper(), prop::option::of(upper()), any::<bool>());
    (lower(timed), lower(timed), prop::bool::weighted(0.2), top).prop_map(
        |(one, other, union, (first, second, plain))| {
            let chain = |one: &str, other: &str| {
                let below = if union { format!("{one} UNION ALL {other}") } else { one.to_owned() };
                let first = first.replace("BELOW", &below);
                let sql = second.as_ref().map_or(first.clone(), |it| it.replace("BELOW", &first));
                if plain { sql } else { format!("SELECT n, s FROM ({sql}) x") }
            };
            Query { stream: chain(&one.0, &other.0), batch: chain(&one.1, &other.1) }
        },
    )
}
