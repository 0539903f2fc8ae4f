//! Clock functions read the epoch's clock each time the plan runs.

use datafusion::physical_plan::{ExecutionPlan, collect};

use crate::support::{Fixture, assert_lines};

#[test]
fn one_plan_sees_every_epoch() {
    let fixture = Fixture::new().stream("t", "v INT");
    let sql = "SELECT now() AS a, current_timestamp AS b, current_timestamp() AS c, current_date AS d,
               localtimestamp AS e, unix_timestamp() AS f FROM t";
    let plan = fixture.physical(sql, &[("t", &[r#"{"v": 1}"#])]).unwrap();
    let show = |plan: &std::sync::Arc<dyn ExecutionPlan>| {
        let task = fixture.planner.session_state().task_ctx();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let batches = runtime.block_on(collect(plan.clone(), task)).unwrap();
        datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    };
    fixture.clock.set_us(1_000_000);
    assert_lines(
        &show(&plan),
        "
        +----------------------+----------------------+----------------------+------------+---------------------+---+
        | a                    | b                    | c                    | d          | e                   | f |
        +----------------------+----------------------+----------------------+------------+---------------------+---+
        | 1970-01-01T00:00:01Z | 1970-01-01T00:00:01Z | 1970-01-01T00:00:01Z | 1970-01-01 | 1970-01-01T00:00:01 | 1 |
        +----------------------+----------------------+----------------------+------------+---------------------+---+
        ",
    );
    fixture.clock.set_us(1_772_359_200_500_000);
    assert!(show(&plan).contains("| 2026-03-01T10:00:00.500Z | 2026-03-01T10:00:00.500Z |"));
    assert!(show(&plan).contains("| 2026-03-01 | 2026-03-01T10:00:00.500 | 1772359200 |"));
}

#[test]
fn filters_by_the_clock_follow_it() {
    let fixture = Fixture::new().stream("t", "v INT");
    let sql = "SELECT v, count(*) AS n FROM t GROUP BY v
               HAVING timestamp_seconds(v) >= current_timestamp - INTERVAL 10 SECONDS";
    let rows: &[(&str, &[&str])] = &[("t", &[r#"{"v": 5}"#, r#"{"v": 15}"#])];
    fixture.clock.set_us(10_000_000);
    assert_eq!(fixture.run(sql, rows).lines().count(), 6);
    fixture.clock.set_us(20_000_000);
    assert_eq!(fixture.run(sql, rows).lines().count(), 5);
    fixture.clock.set_us(30_000_000);
    assert_eq!(fixture.run(sql, rows).lines().count(), 2);
}
