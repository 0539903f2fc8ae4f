//! Aggregations over aggregations in update and complete mode: what is refused, with the words that must be in the text.

use tidegate_api::OutputMode::{self, Append, Complete, Update};
use tidegate_sql::{Extensions, check_with};

use crate::support::Fixture;

fn refusals(sql: &str, mode: OutputMode) -> String {
    let fixture = Fixture::new()
        .timed("t", "ts TIMESTAMP, k INT, v BIGINT, d DOUBLE", "ts", "10 seconds")
        .fixed("names", "n BIGINT, name STRING")
        .view("low", "SELECT k, count(*) AS n, sum(v) AS s, sum(d) AS d FROM t GROUP BY k")
        .view("sessions", "SELECT k, count(*) AS n FROM t GROUP BY session_window(ts, '5 seconds'), k");
    let extensions = Extensions { chained_aggregates: true, update_mode: true, ..Extensions::default() };
    let refusals = check_with(&fixture.planner.plan(sql).unwrap(), mode, extensions).err().unwrap_or_default();
    refusals.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn refused(sql: &str, mode: OutputMode, words: &[&str]) {
    let text = refusals(sql, mode);
    assert!(!text.is_empty(), "{sql} is not refused in {mode} mode");
    for word in words {
        assert!(text.contains(word), "{sql}: '{word}' is not in: {text}");
    }
}

#[test]
fn what_can_be_exact_is_allowed() {
    for sql in [
        "SELECT n, count(*) AS c, sum(s) AS s, avg(s) AS a, min(d) AS least, max(d) AS most FROM low GROUP BY n",
        "SELECT sum(CAST(d AS DECIMAL(20, 6))) AS d, avg(CAST(d AS DECIMAL(20, 6))) AS a FROM low",
        "SELECT DISTINCT n FROM low",
        "SELECT n + 1 AS m, count_if(s > 1) AS c FROM low WHERE k <> 2 GROUP BY n + 1 HAVING count(*) > 1",
        "SELECT k, n FROM low UNION ALL SELECT k, sum(n) AS n FROM low GROUP BY k",
        "SELECT c, count(*) AS n FROM (SELECT n, count(*) AS c FROM low GROUP BY n) GROUP BY c",
    ] {
        for mode in [Update, Complete] {
            assert_eq!(refusals(sql, mode), "", "{sql} in {mode} mode");
        }
    }
}

#[test]
fn what_can_not_be_taken_back_is_named() {
    for mode in [Update, Complete] {
        refused("SELECT sum(d) AS d FROM low", mode, &["sum(low.d)", "without GROUP BY", "DOUBLE", "DECIMAL"]);
        refused("SELECT n, avg(d) AS d FROM low GROUP BY n", mode, &["avg(low.d)", "GROUP BY low.n", "DECIMAL"]);
        refused(
            "SELECT n, stddev(s) AS d FROM low GROUP BY n",
            mode,
            &["stddev", "can't take rows back", "append mode"],
        );
        refused("SELECT k, count(*) AS c FROM sessions GROUP BY k", mode, &["sessions take no rows back", "window"]);
        refused(
            "SELECT n, count(*) AS c FROM low WHERE date_part('second', current_timestamp) > k GROUP BY n",
            mode,
            &["goes by the clock", "WHERE", "below the aggregation"],
        );
        refused(
            "SELECT n, count(*) AS c FROM low WHERE n IN (SELECT n FROM names) GROUP BY n",
            mode,
            &["reads a table", "append mode"],
        );
        refused(
            "SELECT name, count(*) AS c FROM low JOIN names ON low.n = names.n GROUP BY name",
            mode,
            &["Join stands above an aggregation", "only SELECT, WHERE"],
        );
    }
    refused("SELECT n AS _change, count(*) AS c FROM low GROUP BY n", Update, &["_change", "another name"]);
    refused("SELECT n, count(*) AS c FROM low GROUP BY n", Append, &["no event time"]);
}
