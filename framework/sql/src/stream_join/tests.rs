use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;

use super::*;
use crate::{EpochClock, Planner, TableKind};

fn planner() -> Planner {
    let mut planner = Planner::new(Arc::new(EpochClock::default()));
    let schema = tidegate_formats::ddl::parse_schema("k INT, n INT, ts TIMESTAMP, plain TIMESTAMP").unwrap();
    let schema = Arc::new(schema);
    planner.add_source("l", schema.clone(), TableKind::Stream, Some(("ts", "0 seconds"))).unwrap();
    planner.add_source("r", schema.clone(), TableKind::Stream, Some(("ts", "0 seconds"))).unwrap();
    planner.add_source("p", schema, TableKind::Stream, None).unwrap();
    for name in ["l", "r", "p"] {
        let sql = format!("SELECT k, window(ts, '10 seconds') AS win, n FROM {name}");
        planner.add_view(&format!("w{name}"), &sql, None).unwrap();
    }
    planner
}

/// Of the join as written and as optimised.
fn joins(from: &str) -> [StreamJoin; 2] {
    let planner = planner();
    let plan = planner.plan(&format!("SELECT * FROM {from}")).unwrap();
    let find = |plan: &LogicalPlan| {
        let mut found = None;
        plan.apply(|node| {
            if let LogicalPlan::Join(join) = node {
                found = Some(StreamJoin::of(join));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        found.unwrap()
    };
    [find(&plan), find(&planner.optimize(plan).unwrap())]
}

fn text(bounds: &[TimeBound]) -> Vec<String> {
    let mut all: Vec<_> = bounds
        .iter()
        .map(|it| {
            let sign = if it.strict { ">" } else { ">=" };
            format!("{} {sign} {} {:+}", it.time.flat_name(), it.other.flat_name(), it.shift_us as f64 / 1e6)
        })
        .collect();
    all.sort();
    all
}

#[track_caller]
fn bounds(condition: &str, left: &[&str], right: &[&str]) {
    for join in joins(&format!("l JOIN r ON l.k = r.k AND {condition}")) {
        assert_eq!(join.keys.len(), 1, "{condition}");
        assert_eq!(text(&join.left), left, "left of {condition}");
        assert_eq!(text(&join.right), right, "right of {condition}");
    }
}

#[test]
fn every_form_of_a_range_is_solved() {
    bounds(
        "l.ts BETWEEN r.ts - INTERVAL 10 SECONDS AND r.ts + INTERVAL 5 SECONDS",
        &["l.ts >= r.ts -10"],
        &["r.ts >= l.ts -5"],
    );
    bounds("l.ts > r.ts", &["l.ts > r.ts +0"], &[]);
    bounds("l.ts >= r.ts", &["l.ts >= r.ts +0"], &[]);
    bounds("l.ts < r.ts", &[], &["r.ts > l.ts +0"]);
    bounds("r.ts <= l.ts", &["l.ts >= r.ts +0"], &[]);
    bounds("l.ts + INTERVAL 10 SECONDS > r.ts", &["l.ts > r.ts -10"], &[]);
    bounds("r.ts - INTERVAL 10 SECONDS < l.ts", &["l.ts > r.ts -10"], &[]);
    bounds("r.ts - INTERVAL '1' HOUR - INTERVAL 10 SECONDS <= l.ts + INTERVAL 1 MINUTE", &["l.ts >= r.ts -3670"], &[]);
    bounds("r.ts - (INTERVAL 10 SECONDS - INTERVAL 3 SECONDS) < l.ts", &["l.ts > r.ts -7"], &[]);
    bounds("l.ts - r.ts < INTERVAL 5 SECONDS", &[], &["r.ts > l.ts -5"]);
    bounds(
        "l.ts - r.ts BETWEEN INTERVAL '-1 second' AND INTERVAL 5 SECONDS",
        &["l.ts >= r.ts -1"],
        &["r.ts >= l.ts -5"],
    );
    bounds("INTERVAL 5 SECONDS >= l.ts - r.ts", &[], &["r.ts >= l.ts -5"]);
    bounds("l.ts > r.ts - INTERVAL 1 DAY", &["l.ts > r.ts -86400"], &[]);
    bounds("CAST(l.ts AS TIMESTAMP) > r.ts - INTERVAL 1 SECOND", &["l.ts > r.ts -1"], &[]);
    bounds("l.plain >= r.ts", &["l.plain >= r.ts +0"], &[]);
    bounds(
        "l.ts >= r.ts AND l.ts > r.ts - INTERVAL 5 SECONDS AND l.n < r.n",
        &["l.ts > r.ts -5", "l.ts >= r.ts +0"],
        &[],
    );
}

#[test]
fn what_is_no_range_gives_no_bound() {
    for condition in [
        "l.ts > r.ts - INTERVAL 1 MONTH",
        "(l.ts > r.ts OR l.n > r.n)",
        "l.n > r.n",
        "l.ts <> r.ts",
        "l.ts NOT BETWEEN r.ts AND r.ts + INTERVAL 5 SECONDS",
        "date_trunc('hour', l.ts) > r.ts",
        "CAST(l.ts AS DATE) >= CAST(r.ts AS DATE)",
    ] {
        bounds(condition, &[], &[]);
    }
}

#[test]
fn keys_are_found_wherever_they_stand() {
    for join in joins("l JOIN r ON l.k = r.k AND l.n + 1 = r.n * 2 AND l.n > r.n") {
        assert_eq!((join.keys.len(), join.residual.len()), (2, 1));
        assert_eq!(join.time_key, None);
    }
    for join in joins("l JOIN r ON l.k <=> r.k AND l.n = r.n") {
        let null_safe: Vec<_> = join.keys.iter().map(|it| (it.left.to_string(), it.null_safe)).collect();
        assert_eq!(null_safe.len(), 2, "{null_safe:?}");
        assert!(
            null_safe.contains(&("l.k".into(), true)) && null_safe.contains(&("l.n".into(), false)),
            "{null_safe:?}"
        );
    }
    for join in joins("l LEFT JOIN r ON r.k IS NOT DISTINCT FROM l.k AND l.n > 5") {
        assert!(join.keys[0].null_safe && join.keys[0].left.to_string() == "l.k");
        assert_eq!(join.residual.len(), 1);
    }
}

#[test]
fn a_time_key_is_one_of_either_side() {
    for from in ["wl JOIN wr", "wl JOIN wp", "wp JOIN wr"] {
        for join in joins(&format!("{} ON {} AND {}", from, equal(from, "k"), equal(from, "win"))) {
            assert_eq!(join.time_key, join.keys.iter().position(|it| it.left.to_string().ends_with(".win")), "{from}");
            assert!(join.time_key.is_some(), "{from}");
        }
    }
    for join in joins("l JOIN r ON l.ts = r.ts") {
        assert_eq!(join.time_key, Some(0));
    }
    for join in joins("l JOIN r ON l.plain = r.plain") {
        assert_eq!(join.time_key, None);
    }
}

fn equal(from: &str, column: &str) -> String {
    let (left, right) = from.split_once(" JOIN ").unwrap();
    format!("{left}.{column} = {right}.{column}")
}
