//! Event time as seen by those who read plans: its marks on fields, through every kind of node and rule.

use arrow_schema::Field;
use tidegate_sql::event_time::{
    EventTime, delay_ms, event_time, event_time_columns, timestamp, window_size_us, window_type,
};

use crate::support::Fixture;

fn fixture() -> Fixture {
    Fixture::new()
        .timed("a", "ts TIMESTAMP, page STRING, v INT", "ts", "10 seconds")
        .timed("b", "ts TIMESTAMP, page STRING, v INT", "ts", "20 seconds")
        .stream("bare", "ts TIMESTAMP, page STRING, v INT")
        .fixed("names", "page STRING, name STRING, since TIMESTAMP")
}

/// The event-time columns of a query by name, the same before and after optimising.
#[track_caller]
fn marked(sql: &str) -> Vec<(String, EventTime)> {
    let fixture = fixture();
    let plan = fixture.planner.plan(sql).unwrap();
    let names = |plan: &datafusion::logical_expr::LogicalPlan| -> Vec<(String, EventTime)> {
        let schema = plan.schema().as_arrow();
        event_time_columns(schema).into_iter().map(|(index, kind)| (schema.field(index).name().clone(), kind)).collect()
    };
    let before = names(&plan);
    let after = names(&fixture.planner.optimize(plan).unwrap());
    assert_eq!(before, after, "{sql}");
    before
}

fn instant(name: &str) -> (String, EventTime) {
    (name.to_owned(), EventTime::Instant)
}

#[test]
fn carried_by_references_and_aliases() {
    assert_eq!(marked("SELECT * FROM a"), [instant("ts")]);
    assert_eq!(marked("SELECT ts AS at, page FROM a x WHERE v > 1"), [instant("at")]);
    assert_eq!(marked("SELECT t.z FROM (SELECT ts AS z FROM a) t"), [instant("z")]);
    assert_eq!(marked("WITH c AS (SELECT ts FROM a) SELECT * FROM c"), [instant("ts")]);
    assert_eq!(marked("SELECT explode(split(page, ' ')) AS word, ts FROM a"), [instant("ts")]);
    assert_eq!(marked("SELECT a.ts, n.since, name FROM a JOIN names n ON a.page = n.page"), [instant("ts")]);
    assert_eq!(marked("SELECT a.ts, name FROM names n RIGHT JOIN a ON a.page = n.page"), [instant("ts")]);
    assert_eq!(marked("SELECT DISTINCT ts, page FROM a"), [instant("ts")]);
    assert_eq!(marked("SELECT ts, count(*) AS n FROM a GROUP BY ts"), [instant("ts")]);
}

#[test]
fn lost_by_expressions() {
    for expression in [
        "ts + INTERVAL 1 HOUR",
        "date_trunc('hour', ts)",
        "CAST(ts AS STRING)",
        "CAST(ts AS DATE)",
        "coalesce(ts, now())",
        "CASE WHEN v > 1 THEN ts END",
        "now()",
    ] {
        assert_eq!(marked(&format!("SELECT {expression} AS x FROM a")), [], "{expression}");
    }
    assert_eq!(marked("SELECT page, max(ts) AS last FROM a GROUP BY page"), []);
    assert_eq!(marked("SELECT ts FROM bare"), []);
}

#[test]
fn windows_of_it() {
    let window = |name: &str, size_us| (name.to_owned(), EventTime::Window { size_us });
    assert_eq!(marked("SELECT window(ts, '5 minutes') AS w, page FROM a"), [window("w", 300_000_000)]);
    assert_eq!(marked("SELECT window(ts, '5 minutes', '1 minute') AS w FROM a"), [window("w", 300_000_000)]);
    assert_eq!(
        marked("SELECT window AS w, count(*) AS n FROM a GROUP BY window(ts, '1 hour')"),
        [window("w", 3_600_000_000)]
    );
    assert_eq!(
        marked("SELECT window_time(w) AS t FROM (SELECT window(ts, '5 minutes') AS w FROM a) x"),
        [instant("t")]
    );
    assert_eq!(marked("SELECT w.start AS s, w.end AS e FROM (SELECT window(ts, '5 minutes') AS w FROM a) x"), []);
    assert_eq!(marked("SELECT window(ts, '5 minutes') AS w FROM bare"), []);
    assert_eq!(marked("SELECT window(ts + INTERVAL 1 HOUR, '5 minutes') AS w FROM a"), []);
}

/// All inputs must have it; different delays and types that need a cast do not matter.
#[test]
fn unions() {
    assert_eq!(marked("SELECT ts, v FROM a UNION ALL SELECT ts, v FROM b"), [instant("ts")]);
    assert_eq!(marked("SELECT ts, v FROM a UNION ALL SELECT ts, CAST(v AS BIGINT) FROM b"), [instant("ts")]);
    assert_eq!(marked("SELECT v, ts FROM a UNION ALL SELECT v, ts FROM bare"), []);
    assert_eq!(marked("SELECT v, ts FROM bare UNION ALL SELECT v, ts FROM a"), []);
    let sql = "SELECT window(ts, '5 minutes') AS w FROM a UNION ALL SELECT window(ts, '5 minutes') AS w FROM b";
    assert_eq!(marked(sql), [("w".to_owned(), EventTime::Window { size_us: 300_000_000 })]);
}

#[test]
fn helpers_read_the_marks() {
    let plan = fixture().planner.plan("SELECT ts, window(ts, '5 minutes') AS w FROM a").unwrap();
    let fields: Vec<&Field> = plan.schema().fields().iter().map(AsRef::as_ref).collect();
    assert_eq!((event_time(fields[0]), delay_ms(fields[0])), (Some(EventTime::Instant), Some(10_000)));
    assert_eq!((window_size_us(fields[0]), fields[0].data_type()), (None, &timestamp()));
    assert_eq!((window_size_us(fields[1]), fields[1].data_type()), (Some(300_000_000), &window_type()));
    let union = fixture().planner.plan("SELECT ts FROM a UNION ALL SELECT ts FROM b").unwrap();
    assert_eq!(delay_ms(union.schema().field(0)), None);
}

/// Physical plans carry the marks too, and no exchange.
#[test]
fn physical_plans() {
    let fixture = fixture();
    for (sql, marked) in [
        ("SELECT window AS w, page, count(*) AS n FROM bare GROUP BY window(ts, '5 minutes'), page", true),
        ("SELECT window AS w, count(*) AS n FROM bare GROUP BY window(ts, '5 minutes', '1 minute')", true),
        ("SELECT b.page, name FROM bare b LEFT JOIN names n ON b.page = n.page", false),
        ("SELECT v FROM bare UNION ALL SELECT v FROM bare", false),
    ] {
        let plan = fixture.physical(sql, &[]).unwrap();
        let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
        assert!(!text.contains("RepartitionExec") && !text.contains("CoalescePartitionsExec"), "{text}");
        assert_eq!(window_size_us(plan.schema().field(0)).is_some(), marked, "{sql}");
    }
}
