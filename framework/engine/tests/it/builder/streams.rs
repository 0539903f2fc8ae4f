//! What streams can be made into.

use tidegate_builder::{JoinType, OutputMode, Stream, session_window, sliding_window, window};

use super::{Program, ended, writer};

const CLICKS: &str = "ts TIMESTAMP, page STRING";
const SIDE: &str = "id BIGINT, ts TIMESTAMP, v STRING";

fn clicks(program: &Program) -> Stream {
    program.stream("clicks", CLICKS).with_watermark("ts", "10 seconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_windowed_count_goes_on_after_a_restart() {
    let mut program = Program::new();
    let counts = |program: &Program| {
        let windows = clicks(program).group_by([window("ts", "5 seconds"), "upper(page) AS page".to_owned()]);
        windows.count().select(["window.start AS start", "page", "count"])
    };
    program.add(
        "q",
        "clicks",
        CLICKS,
        &[r#"{"ts":10,"page":"a"}"#, r#"{"ts":11,"page":"A"}"#, r#"{"ts":12,"page":"b"}"#],
    );
    program.run("q", &counts(&program), OutputMode::Append).await;
    assert!(program.rows("q").is_empty());
    program.again();
    program.add("q", "clicks", CLICKS, &[r#"{"ts":14,"page":"b"}"#, r#"{"ts":25,"page":"c"}"#]);
    program.run("q", &counts(&program), OutputMode::Append).await;
    let closed = [
        r#"{"start":"1970-01-01T00:00:10.000Z","page":"A","count":2}"#,
        r#"{"start":"1970-01-01T00:00:10.000Z","page":"B","count":2}"#,
    ];
    assert_eq!(program.rows("q"), closed);
    program.again();
    program.add("q", "clicks", CLICKS, &[r#"{"ts":13,"page":"late"}"#]);
    program.run("q", &counts(&program), OutputMode::Append).await;
    assert_eq!(program.rows("q"), closed);
}

/// Runs a stream and its SQL over the same rows, in two queries: they must give the same, and something.
async fn is_that_of_sql(program: &Program, number: usize, stream: &Stream, sql: &Stream, mode: OutputMode, data: Data) {
    let names = [format!("built{number}"), format!("written{number}")];
    for (name, stream) in names.iter().zip([stream, sql]) {
        for (source, ddl, documents) in data {
            for epoch in *documents {
                program.add(name, source, ddl, epoch);
            }
        }
        program.run(name, stream, mode).await;
    }
    let [built, written] = names.map(|it| program.rows(&it));
    assert!(!built.is_empty(), "{number}");
    assert_eq!(built, written, "{number}");
}

/// Rows by source and epoch.
type Data = &'static [(&'static str, &'static str, &'static [&'static [&'static str]])];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_is_that_of_sql() {
    const DATA: Data = &[(
        "clicks",
        CLICKS,
        &[
            &[r#"{"ts":10,"page":"a"}"#, r#"{"ts":11,"page":"a"}"#, r#"{"ts":13,"page":"b"}"#],
            &[r#"{"ts":60,"page":"b"}"#, r#"{"ts":1,"page":"late"}"#],
        ],
    )];
    let program = Program::new();
    let all = clicks(&program);
    let none: [&str; 0] = [];
    let cases = [
        (
            all.select(["page", "ts + INTERVAL 1 SECOND AS later"]),
            "SELECT page, ts + INTERVAL 1 SECOND AS later FROM c",
        ),
        (
            all.filter("page = 'a' OR clicks.page = 'b'").filter("ts < '1970-01-01 00:00:30'"),
            "SELECT * FROM c WHERE page IN ('a', 'b') AND ts < '1970-01-01 00:00:30'",
        ),
        (all.with_column("n", "length(page)"), "SELECT *, length(page) AS n FROM c"),
        (all.with_column("Page", "page || '!'"), "SELECT ts, page || '!' AS \"Page\" FROM c"),
        (all.alias("x").select(["x.page"]), "SELECT page FROM c"),
        (all.union(&all.select(["ts", "'again'"])), "SELECT * FROM c UNION ALL SELECT ts, 'again' FROM c"),
        (all.limit(2).select(["page"]), "SELECT page FROM c LIMIT 2"),
        (
            all.group_by([sliding_window("ts", "10 seconds", "5 seconds")]).agg(["max(page) AS top"]),
            "SELECT window, max(page) AS top FROM c GROUP BY window(ts, '10 seconds', '5 seconds')",
        ),
        (
            all.group_by([session_window("ts", "5 seconds"), "page".to_owned()]).count(),
            "SELECT session_window, page, count(*) AS count FROM c GROUP BY session_window(ts, '5 seconds'), page",
        ),
        (all.drop_duplicates(["page"]), "SELECT DISTINCT ON (page) * FROM c"),
        (all.drop_duplicates(none), "SELECT DISTINCT ON (ts, page) * FROM c"),
    ];
    for (at, (stream, text)) in cases.iter().enumerate() {
        let sql = program.session.sql(text, [("c", &all)]).unwrap();
        is_that_of_sql(&program, at, stream, &sql, OutputMode::Append, DATA).await;
    }
    let cases = [
        (all.agg(["count(*) AS n", "max(ts) AS newest"]), "SELECT count(*) AS n, max(ts) AS newest FROM c"),
        (
            all.group_by(["page"]).count().filter("count > 1"),
            "SELECT page, count(*) AS count FROM c GROUP BY page HAVING count(*) > 1",
        ),
        (
            all.group_by(["page"]).count().order_by(["count DESC", "page"]),
            "SELECT page, count(*) AS count FROM c GROUP BY page ORDER BY count DESC, page",
        ),
    ];
    for (at, (stream, text)) in cases.iter().enumerate() {
        let sql = program.session.sql(text, [("c", &all)]).unwrap();
        is_that_of_sql(&program, 100 + at, stream, &sql, OutputMode::Complete, DATA).await;
    }
}

/// A stream with event times.
fn side(program: &Program, name: &str) -> Stream {
    program.stream(name, SIDE).with_watermark("ts", "5 seconds")
}

/// A source that does not stream.
fn table(program: &Program, name: &str) -> Stream {
    program.session.read(name).connector("memory").schema(SIDE).load().unwrap()
}

const SIDES: Data = &[
    (
        "l",
        SIDE,
        &[
            &[r#"{"id":1,"ts":10,"v":"a"}"#, r#"{"id":2,"ts":11,"v":"b"}"#, r#"{"id":3,"ts":12,"v":"c"}"#],
            &[r#"{"id":9,"ts":90,"v":"z"}"#],
        ],
    ),
    (
        "r",
        SIDE,
        &[
            &[r#"{"id":1,"ts":12,"v":"A"}"#, r#"{"id":2,"ts":40,"v":"B"}"#, r#"{"id":4,"ts":12,"v":"D"}"#],
            &[r#"{"id":8,"ts":91,"v":"Z"}"#],
        ],
    ),
    ("t", SIDE, &[&[r#"{"id":1,"ts":0,"v":"T"}"#]]),
];
const ON: &str = "l.id = r.id AND r.ts BETWEEN l.ts AND l.ts + INTERVAL 10 SECONDS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_join_is_that_of_sql() {
    let program = Program::new();
    let (l, r) = (side(&program, "l"), side(&program, "r"));
    let (fixed_l, fixed_r) = (table(&program, "l"), table(&program, "r"));
    let both = "l.id AS li, l.v AS lv, r.id AS ri, r.v AS rv";
    let cases = [
        (JoinType::Inner, &l, &r, both),
        (JoinType::LeftOuter, &l, &r, both),
        (JoinType::RightOuter, &l, &r, both),
        (JoinType::FullOuter, &l, &r, both),
        (JoinType::LeftSemi, &l, &r, "l.id, l.v"),
        (JoinType::RightSemi, &l, &r, "r.id, r.v"),
        (JoinType::LeftOuter, &l, &fixed_r, both),
        (JoinType::LeftAnti, &l, &fixed_r, "l.id, l.v"),
        (JoinType::RightAnti, &fixed_l, &r, "r.id, r.v"),
    ];
    for (at, (join_type, left, right, columns)) in cases.into_iter().enumerate() {
        let built = left.join(right, join_type, ON).select([columns]);
        let text = format!("SELECT {columns} FROM l {join_type} r ON {ON}");
        let written = program.session.sql(&text, [("l", left), ("r", right)]).unwrap();
        is_that_of_sql(&program, at, &built, &written, OutputMode::Append, SIDES).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_stay_open_for_conditions_and_joins() {
    let program = Program::new();
    let (l, r, t) = (side(&program, "l"), side(&program, "r"), table(&program, "t"));
    let cases = [
        (
            l.join(&r, JoinType::Inner, ON).filter("l.v <> 'q'").filter("r.v = 'A' OR l.v = 'x'").select(["r.v"]),
            "SELECT r.v FROM l JOIN r ON l.id = r.id AND r.ts BETWEEN l.ts AND l.ts + INTERVAL 10 SECONDS WHERE r.v = 'A'",
        ),
        (
            l.select(["id", "v AS lv"]).join_using(&r.select(["id", "v AS rv"]), JoinType::Inner, ["id"]),
            "SELECT l.id, l.v AS lv, r.v AS rv FROM l JOIN r ON l.id = r.id",
        ),
        (
            l.alias("a").join(&l.alias("b"), JoinType::Inner, "a.id = b.id").select(["a.id", "b.v"]),
            "SELECT a.id, b.v FROM l a JOIN l b ON a.id = b.id",
        ),
        (
            l.join(&t, JoinType::Inner, "l.id = t.id").join(&r, JoinType::Inner, "t.id = r.id").select(["t.v", "r.id"]),
            "SELECT t.v, r.id FROM l JOIN t ON l.id = t.id JOIN r ON t.id = r.id",
        ),
        (
            l.join(&r.join(&t, JoinType::Inner, "r.id = t.id"), JoinType::Inner, "l.id = r.id").select(["l.id", "t.v"]),
            "SELECT l.id, t.v FROM l JOIN (r JOIN t ON r.id = t.id) ON l.id = r.id",
        ),
        (
            l.join(&t, JoinType::Inner, "l.id = t.id").filter("l.v <> t.v").select(["l.id"]).join_using(
                &r.select(["id"]),
                JoinType::Inner,
                ["id"],
            ),
            "SELECT l.id FROM l JOIN t ON l.id = t.id JOIN r ON l.id = r.id",
        ),
        (l.cross_join(&t).select(["l.id", "t.v"]), "SELECT l.id, t.v FROM l CROSS JOIN t"),
    ];
    for (at, (built, text)) in cases.iter().enumerate() {
        let written = program.session.sql(text, [("l", &l), ("r", &r), ("t", &t)]).unwrap();
        is_that_of_sql(&program, at, built, &written, OutputMode::Append, SIDES).await;
    }
    // One name can't be a stream and a table in one query.
    let said = l
        .join(&table(&program, "l"), JoinType::Inner, "l.id = l.id")
        .select(["l.id"])
        .schema()
        .unwrap_err()
        .to_string();
    assert!(said.contains("the name is taken by l"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_the_watermark_a_key_is_new_again() {
    let program = Program::new();
    let firsts = clicks(&program).drop_duplicates_within_watermark(["page"]);
    program.add("q", "clicks", CLICKS, &[r#"{"ts":10,"page":"a"}"#, r#"{"ts":12,"page":"a"}"#]);
    program.add("q", "clicks", CLICKS, &[r#"{"ts":60,"page":"b"}"#]);
    let query = ended(writer("q", &firsts)).await;
    let dropped = query.recent_progress()[0].state_operators[0].custom_metrics["numDroppedDuplicateRows"];
    assert_eq!((dropped, program.rows("q").len()), (1, 2));
    // The watermark is 50: the first row of a was remembered until 20.
    program.add("q", "clicks", CLICKS, &[r#"{"ts":70,"page":"a"}"#, r#"{"ts":61,"page":"b"}"#]);
    ended(writer("q", &firsts)).await;
    assert_eq!(program.rows("q").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_knows_streams_by_the_names_given() {
    let program = Program::new();
    let raw = program.stream("clicks", CLICKS);
    let upper = raw.with_column("page", "upper(page)");
    // Both are called clicks somewhere, and the text brings a table of its own.
    let a =
        program.session.sql("WITH own AS (SELECT page FROM clicks) SELECT * FROM own", [("clicks", &upper)]).unwrap();
    let b = program
        .session
        .sql("select c.page from Clicks c join other o on c.page = o.page", [("clicks", &raw), ("other", &raw)]);
    let both = a.union(&b.unwrap());
    program.add("q", "clicks", CLICKS, &[r#"{"ts":1,"page":"x"}"#]);
    program.run("q", &both, OutputMode::Append).await;
    assert_eq!(program.rows("q"), [r#"{"page":"X"}"#, r#"{"page":"x"}"#]);
    let wrong = program.session.sql("SELECT 1", [("a b", &raw)]).unwrap_err();
    assert!(wrong.to_string().contains("table 'a b'"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_names_the_step() {
    let program = Program::new();
    let raw = program.stream("clicks", CLICKS);
    let wrong = raw.filter("pge = 'a'").select(["page"]);
    let said = wrong.schema().unwrap_err().to_string();
    let step = "clicks#filter [SELECT * FROM \"clicks\" AS \"clicks\" WHERE pge = 'a']: ";
    assert!(said.starts_with(step) && said.contains("pge"), "{said}");
    let refused = |writer: tidegate_builder::StreamWriter| async { writer.start().await.unwrap_err().to_string() };
    let said = refused(writer("q", &wrong)).await;
    assert!(said.contains(step), "{said}");
    let counts = raw.group_by(["page"]).count();
    let said = refused(writer("q", &counts)).await;
    assert!(said.starts_with("sinks.sink: ") && said.contains("watermark"), "{said}");
    let said = refused(writer("q", &raw).option("nme", "x")).await;
    assert!(said.contains("nme"), "{said}");
    let said = refused(
        raw.write_stream()
            .connector("memory")
            .checkpoint(&program.folder.path().display().to_string())
            .connector("memry"),
    )
    .await;
    assert!(said.contains("did you mean 'memory'"), "{said}");
    let said = refused(raw.write_stream().connector("memory")).await;
    assert!(said.contains("found no checkpoint"), "{said}");
    let said = program.session.read_stream("a#b").connector("memory").schema(CLICKS).load().unwrap_err().to_string();
    assert!(said.contains("source 'a#b'"), "{said}");
    let said = program.session.read_stream("a").connector("memory").schema("ts TIME STAMP").load().unwrap_err();
    assert!(said.to_string().starts_with("source a: "), "{said}");
    let text = writer("q", &raw.with_watermark("ts", "1 minute")).explain().await.unwrap();
    assert!(text.contains("watermark on clicks#watermark: 60s"), "{text}");
}
