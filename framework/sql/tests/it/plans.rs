//! Optimised plans of the queries that must run: where windows, watermarks and filters stand.

use crate::support::{Fixture, assert_lines};

fn clicks() -> Fixture {
    Fixture::new().timed("clicks", "ts TIMESTAMP, page STRING, user_id BIGINT", "ts", "10 minutes")
}

fn events() -> Fixture {
    Fixture::new().stream("input", "value INT").timed_view(
        "events",
        "SELECT value, timestamp_seconds(value) AS event_time FROM input",
        "event_time",
        "10 seconds",
    )
}

fn two_streams() -> Fixture {
    let timed = |from: &str| format!("SELECT value, timestamp_seconds(value) AS event_time FROM {from}");
    Fixture::new()
        .stream("s1", "value INT")
        .stream("s2", "value INT")
        .timed_view("t1", &timed("s1"), "event_time", "10 seconds")
        .timed_view("t2", &timed("s2"), "event_time", "5 seconds")
}

#[test]
fn tumbling_window_with_a_key() {
    let sql = "SELECT window.start AS start, window.end AS end, page, count(*) AS views
               FROM clicks GROUP BY window(ts, '5 minutes'), page";
    assert_lines(
        &clicks().plan_text(sql),
        r#"
        Projection: get_field(window, Utf8("start")) AS start, get_field(window, Utf8("end")) AS end, clicks.page, count(Int64(1)) AS count(*) AS views
          Aggregate: groupBy=[[window, clicks.page]], aggr=[[count(Int64(1))]]
            Projection: clicks.page, window_of(window_start(clicks.ts, Int64(300000000), Int64(0)), Int64(300000000), Boolean(true)) AS window
              SubqueryAlias: clicks
                Filter: clicks.ts IS NOT NULL
                  Watermark: clicks.ts delay=600000ms of clicks
                    TableScan: clicks projection=[ts, page]
        "#,
    );
}

#[test]
fn watermark_of_a_view() {
    let sql = "SELECT window.start AS start, count(*) AS n FROM events GROUP BY window(event_time, '5 seconds')";
    assert_lines(
        &events().plan_text(sql),
        r#"
        Projection: get_field(window, Utf8("start")) AS start, count(Int64(1)) AS count(*) AS n
          Aggregate: groupBy=[[window]], aggr=[[count(Int64(1))]]
            Projection: window_of(window_start(events.event_time, Int64(5000000), Int64(0)), Int64(5000000), Boolean(true)) AS window
              SubqueryAlias: events
                Filter: event_time IS NOT NULL
                  Watermark: event_time delay=10000ms of events
                    Projection: timestamp_seconds(CAST(input.value AS Int64)) AS event_time
                      TableScan: input projection=[value]
        "#,
    );
}

#[test]
fn sliding_window_is_unnested() {
    let sql = "SELECT window.start AS start, count(*) AS n FROM clicks
               GROUP BY window(ts, INTERVAL 10 MINUTES, '5 minutes', '1 minute')";
    assert_lines(
        &clicks().plan_text(sql),
        r#"
        Projection: get_field(window, Utf8("start")) AS start, count(Int64(1)) AS count(*) AS n
          Aggregate: groupBy=[[window]], aggr=[[count(Int64(1))]]
            Projection: window_of(__window_start, Int64(600000000), Boolean(true)) AS window
              Unnest: lists[__window_start|depth=1] structs[]
                Projection: window_starts(clicks.ts, Int64(600000000), Int64(300000000), Int64(60000000)) AS __window_start
                  SubqueryAlias: clicks
                    Watermark: clicks.ts delay=600000ms of clicks
                      TableScan: clicks projection=[ts]
        "#,
    );
}

/// A filter acts below the watermark unless it uses the event time; a text is compared in microseconds.
#[test]
fn filters_around_the_watermark() {
    let sql = "SELECT window.start AS start, count(*) AS n FROM clicks
               WHERE page <> 'robot' AND ts > '2020-01-01' GROUP BY window(ts, '5 minutes')";
    assert_lines(
        &clicks().plan_text(sql),
        r#"
        Projection: get_field(window, Utf8("start")) AS start, count(Int64(1)) AS count(*) AS n
          Aggregate: groupBy=[[window]], aggr=[[count(Int64(1))]]
            Projection: window_of(window_start(clicks.ts, Int64(300000000), Int64(0)), Int64(300000000), Boolean(true)) AS window
              SubqueryAlias: clicks
                Filter: clicks.ts IS NOT NULL AND clicks.ts > TimestampMicrosecond(1577836800000000, Some("UTC"))
                  Projection: clicks.ts
                    Watermark: clicks.ts delay=600000ms of clicks
                      Filter: clicks.page != Utf8("robot")
                        TableScan: clicks projection=[ts, page]
        "#,
    );
}

/// The clock is no constant of a row: such a filter moves neither below an aggregate nor below a watermark.
#[test]
fn filters_by_the_clock_stay() {
    let sql = "SELECT value, count(*) AS n FROM input GROUP BY value
               HAVING timestamp_seconds(value) >= current_timestamp - INTERVAL 10 SECONDS AND value < 5";
    assert_lines(
        &Fixture::new().stream("input", "value INT").plan_text(sql),
        r#"
        Projection: input.value, count(Int64(1)) AS count(*) AS n
          Filter: timestamp_seconds(CAST(input.value AS Int64)) >= epoch_time() - IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 10000000000 }")
            Aggregate: groupBy=[[input.value]], aggr=[[count(Int64(1))]]
              Filter: input.value < Int32(5)
                TableScan: input projection=[value]
        "#,
    );
    let sql = "SELECT ts FROM clicks WHERE timestamp_seconds(user_id) < now() AND page = 'home'";
    assert_lines(
        &clicks().plan_text(sql),
        r#"
        SubqueryAlias: clicks
          Projection: clicks.ts
            Filter: timestamp_seconds(clicks.user_id) < epoch_time()
              Projection: clicks.ts, clicks.user_id
                Watermark: clicks.ts delay=600000ms of clicks
                  Filter: clicks.page = Utf8("home")
                    TableScan: clicks projection=[ts, page, user_id]
        "#,
    );
}

#[test]
fn the_event_time_itself_as_a_key() {
    let sql = "SELECT event_time, count(*) AS n FROM events GROUP BY event_time";
    assert_lines(
        &events().plan_text(sql),
        r"
        Projection: events.event_time, count(Int64(1)) AS count(*) AS n
          Aggregate: groupBy=[[events.event_time]], aggr=[[count(Int64(1))]]
            SubqueryAlias: events
              Watermark: event_time delay=10000ms of events
                Projection: timestamp_seconds(CAST(input.value AS Int64)) AS event_time
                  TableScan: input projection=[value]
        ",
    );
}

/// The event time is read although nobody asks for it, else the stream's watermark would stand at 1970.
#[test]
fn watermarks_survive_projections_and_unions() {
    assert_lines(
        &two_streams().plan_text("SELECT value FROM t1 UNION ALL SELECT value FROM t2"),
        r"
        Union
          SubqueryAlias: t1
            Projection: s1.value
              Watermark: event_time delay=10000ms of t1
                Projection: s1.value, timestamp_seconds(CAST(s1.value AS Int64)) AS event_time
                  TableScan: s1 projection=[value]
          SubqueryAlias: t2
            Projection: s2.value
              Watermark: event_time delay=5000ms of t2
                Projection: s2.value, timestamp_seconds(CAST(s2.value AS Int64)) AS event_time
                  TableScan: s2 projection=[value]
        ",
    );
}

/// A union of streams with different delays is event time all the same.
#[test]
fn window_over_a_union() {
    let fixture = Fixture::new()
        .timed("web", "ts TIMESTAMP, page STRING", "ts", "1 minute")
        .timed("app", "ts TIMESTAMP, page STRING", "ts", "5 minutes")
        .view("both", "SELECT ts, page FROM web UNION ALL SELECT ts, page FROM app");
    let sql = "SELECT window.start AS start, count(*) AS n FROM both GROUP BY window(ts, '5 minutes')";
    assert_lines(
        &fixture.plan_text(sql),
        r#"
        Projection: get_field(window, Utf8("start")) AS start, count(Int64(1)) AS count(*) AS n
          Aggregate: groupBy=[[window]], aggr=[[count(Int64(1))]]
            Projection: window_of(window_start(both.ts, Int64(300000000), Int64(0)), Int64(300000000), Boolean(true)) AS window
              SubqueryAlias: both
                Union
                  SubqueryAlias: web
                    Filter: web.ts IS NOT NULL
                      Watermark: web.ts delay=60000ms of web
                        TableScan: web projection=[ts]
                  SubqueryAlias: app
                    Filter: app.ts IS NOT NULL
                      Watermark: app.ts delay=300000ms of app
                        TableScan: app projection=[ts]
        "#,
    );
}

/// Qualifiers of joined relations pass the window; the static side's keys are never null.
#[test]
fn window_over_a_join_with_a_static_table() {
    let sql = "SELECT window.end AS e, u.country, avg(c.user_id) AS a FROM clicks c LEFT JOIN users u
               ON c.user_id = u.user_id GROUP BY window(c.ts, '5 minutes'), u.country";
    assert_lines(
        &clicks().fixed("users", "user_id BIGINT, country STRING").plan_text(sql),
        r#"
        Projection: get_field(window, Utf8("end")) AS e, u.country, avg(c.user_id) AS a
          Aggregate: groupBy=[[window, u.country]], aggr=[[avg(CAST(c.user_id AS Float64))]]
            Projection: c.user_id, u.country, window_of(window_start(c.ts, Int64(300000000), Int64(0)), Int64(300000000), Boolean(true)) AS window
              Left Join: c.user_id = u.user_id
                SubqueryAlias: c
                  SubqueryAlias: clicks
                    Filter: clicks.ts IS NOT NULL
                      Watermark: clicks.ts delay=600000ms of clicks
                        TableScan: clicks projection=[ts, user_id]
                SubqueryAlias: u
                  Filter: users.user_id IS NOT NULL
                    TableScan: users projection=[user_id, country]
        "#,
    );
}

#[test]
fn rollup_and_distinct_and_having() {
    let sales = Fixture::new().stream("sales", "region STRING, shop STRING, v INT");
    assert_lines(
        &sales.plan_text("SELECT region, shop, sum(v) AS total FROM sales GROUP BY ROLLUP (region, shop)"),
        r"
        Projection: __key_0 AS region, __key_1 AS shop, sum(sales.v) AS total
          Aggregate: groupBy=[[__key_0, __key_1, __grouping_id]], aggr=[[sum(CAST(sales.v AS Int64))]]
            Projection: sales.v, __grouping_id, CASE WHEN __common_expr_1 OR __grouping_id = UInt8(1) THEN sales.region END AS __key_0, CASE WHEN __common_expr_1 THEN sales.shop END AS __key_1
              Projection: __grouping_id = UInt8(0) AS __common_expr_1, sales.region, sales.shop, sales.v, __grouping_id
                Unnest: lists[__grouping_id|depth=1] structs[]
                  Projection: sales.region, sales.shop, sales.v, List([0, 1, 3]) AS __grouping_id
                    TableScan: sales projection=[region, shop, v]
        ",
    );
    assert_lines(
        &sales.plan_text("SELECT DISTINCT region FROM sales"),
        r"
        Aggregate: groupBy=[[sales.region]], aggr=[[]]
          TableScan: sales projection=[region]
        ",
    );
    assert_lines(
        &sales.plan_text("SELECT shop, sum(v) AS total FROM sales GROUP BY shop HAVING sum(v) > 10"),
        r"
        Projection: sales.shop, sum(sales.v) AS total
          Filter: sum(sales.v) > Int64(10)
            Aggregate: groupBy=[[sales.shop]], aggr=[[sum(CAST(sales.v AS Int64))]]
              TableScan: sales projection=[shop, v]
        ",
    );
}

#[test]
fn exploded_text_is_counted() {
    let fixture = Fixture::new()
        .stream("lines", "line STRING")
        .view("words", "SELECT explode(split(line, ' ')) AS word FROM lines");
    assert_lines(
        &fixture.plan_text("SELECT word, count(*) AS n FROM words GROUP BY word"),
        r#"
        Projection: words.word, count(Int64(1)) AS count(*) AS n
          Aggregate: groupBy=[[words.word]], aggr=[[count(Int64(1))]]
            SubqueryAlias: words
              Projection: __unnest_placeholder(split(lines.line,Utf8(" ")),depth=1) AS UNNEST(split(lines.line,Utf8(" "))) AS word
                Unnest: lists[__unnest_placeholder(split(lines.line,Utf8(" ")))|depth=1] structs[]
                  Projection: split(lines.line, Utf8(" ")) AS __unnest_placeholder(split(lines.line,Utf8(" ")))
                    TableScan: lines projection=[line]
        "#,
    );
}

/// Bytes are decoded as they are; a document is decoded once, however many of its fields are used.
#[test]
fn json_is_read_from_bytes_and_once() {
    let kafka = Fixture::new().stream("raw", "value BINARY");
    let sql = "SELECT d.id, d.pos.x FROM (
                 SELECT from_json(CAST(value AS STRING), 'id INT, pos STRUCT<x: DOUBLE>') AS d FROM raw) t";
    assert_lines(
        &kafka.plan_text(sql),
        r#"
        Projection: get_field(t.d, Utf8("id")) AS id, get_field(t.d, Utf8("pos"), Utf8("x")) AS x
          SubqueryAlias: t
            Projection: from_json(raw.value, Utf8("id INT, pos STRUCT<x: DOUBLE>")) AS d
              TableScan: raw projection=[value]
        "#,
    );
}
