//! Names match without regard to case, exact spelling first.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use tidegate_sql::TableKind;

use crate::support::Fixture;

fn fixture() -> Fixture {
    let mut fixture = tables();
    // Only a source that declares its own columns can have such twins: the DDL refuses them.
    let twins = ["a", "A", "b"].map(|name| Field::new(name, DataType::Int32, true));
    let twins = Arc::new(Schema::new(twins.to_vec()));
    fixture.planner.add_source("twins", twins, TableKind::Stream, None).unwrap();
    fixture
}

fn tables() -> Fixture {
    Fixture::new()
        .stream("Clicks", "userId BIGINT, Page STRING, pos STRUCT<Lat: DOUBLE, lon: DOUBLE>, ts TIMESTAMP")
        .fixed("users", "USERID BIGINT, Country STRING")
}

/// The names of the columns of a query.
fn columns(sql: &str) -> Vec<String> {
    let plan = fixture().planner.plan(sql).unwrap();
    plan.schema().fields().iter().map(|it| it.name().clone()).collect()
}

#[test]
fn columns_keep_the_spelling_of_the_source() {
    assert_eq!(columns("SELECT USERID, page FROM clicks"), ["userId", "Page"]);
    assert_eq!(columns("SELECT `USERID`, \"page\" FROM CLICKS"), ["userId", "Page"]);
    assert_eq!(columns("SELECT c.userid, C.PAGE AS pg FROM clicks c"), ["userId", "pg"]);
    assert_eq!(columns("SELECT pos.LAT, clicks.POS.lon FROM clicks"), ["Lat", "lon"]);
    assert_eq!(columns("SELECT clicks.* FROM Clicks"), ["userId", "Page", "pos", "ts"]);
    assert_eq!(columns("SELECT POS.* FROM clicks"), ["Lat", "lon"]);
    assert_eq!(columns("SELECT c.pos.*, page FROM clicks c"), ["Lat", "lon", "Page"]);
}

#[test]
fn two_relations_may_spell_a_name_differently() {
    assert_eq!(
        columns("SELECT c.userid, u.userid AS other FROM clicks c JOIN users u ON C.USERID = U.userid"),
        ["userId", "other"]
    );
    let error = fixture().error("SELECT userid FROM clicks c JOIN users u ON c.userid = u.userid");
    assert!(error.contains("userid") && error.contains("userId and USERID differ in case only"), "{error}");
    assert!(error.contains("line 1, column 8"), "{error}");
}

#[test]
fn an_exact_match_wins() {
    assert_eq!(columns("SELECT a, B FROM twins"), ["a", "b"]);
    assert_eq!(columns("SELECT A FROM twins"), ["A"]);
}

#[test]
fn in_every_clause() {
    let sql =
        "SELECT PAGE, count(*) AS Views FROM clicks WHERE USERID > 1 GROUP BY page HAVING views > 2 ORDER BY VIEWS";
    assert_eq!(columns(sql), ["Page", "Views"]);
    assert_eq!(columns("SELECT upper(page) AS Up, count(*) AS n FROM clicks GROUP BY UP"), ["Up", "n"]);
    assert_eq!(
        columns("SELECT WINDOW.START AS s, Window.end FROM clicks GROUP BY window(TS, '5 minutes')"),
        ["s", "end"]
    );
    assert_eq!(
        columns("SELECT window(ts, '5 minutes').start AS s FROM clicks GROUP BY window(ts, '5 minutes')"),
        ["s"]
    );
}

#[test]
fn through_subqueries_and_ctes() {
    assert_eq!(columns("WITH T AS (SELECT userid AS Id, page FROM clicks) SELECT t.ID, PAGE FROM t"), ["Id", "Page"]);
    assert_eq!(
        columns("WITH t AS (SELECT userid FROM clicks), u AS (SELECT USERID AS x FROM T) SELECT X FROM U"),
        ["x"]
    );
    assert_eq!(columns("SELECT s.ID FROM (SELECT userid AS id FROM clicks) S"), ["id"]);
    assert_eq!(columns("SELECT q.b FROM (SELECT userid, page FROM clicks) AS Q(a, B)"), ["B"]);
    assert_eq!(
        columns("SELECT page FROM clicks WHERE userid IN (SELECT userid FROM users WHERE COUNTRY = PAGE)"),
        ["Page"]
    );
    assert_eq!(
        columns("SELECT j.ID, j.Pos.X FROM (SELECT from_json(page, 'id INT, pos STRUCT<x: INT>') AS J FROM clicks) t"),
        ["id", "x"]
    );
}

#[test]
fn views_are_tables() {
    let fixture = fixture().view("Pages", "SELECT page AS Name, ts FROM clicks");
    let plan = fixture.planner.plan("SELECT NAME FROM pages").unwrap();
    assert_eq!(plan.schema().field(0).name(), "Name");
    let plan = fixture.planner.table("PAGES").unwrap();
    assert_eq!(plan.schema().fields().len(), 2);
    let error = fixture.planner.table("nothing").unwrap_err().to_string();
    assert!(error.contains("nothing is not known; known are: Clicks, users, twins, Pages"), "{error}");
}

/// Spark's names for columns without an alias.
#[test]
fn columns_without_an_alias() {
    assert_eq!(columns("SELECT explode(split(page, ' ')) FROM clicks"), ["col"]);
    assert_eq!(columns("SELECT current_timestamp, now() FROM clicks"), ["current_timestamp()", "now()"]);
    assert_eq!(columns("SELECT window(ts, '5 minutes') FROM clicks"), ["window"]);
}
