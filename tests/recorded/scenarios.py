"""Records what Spark answers to the queries below, each as a scenario file in tests/scenarios (r001-…, in this order), if it is
not there yet.

usage: scenarios.py [--threads T] [--only TEXT] [--out FOLDER]

Queries are chosen one by one, so that each row of docs/semantics.md has its cases; record.py draws them at random. Rows are
written `k v t` (two streams: `side k v t`), `~` is null, epochs stand between `|`. Cases that Spark answers otherwise have no
file; docs/semantics.md names them among the differences. Needs the Python with PySpark.
"""
import argparse
import os
import re
import shutil
import tempfile
import threading
import traceback

import record

ONE = "a 1 3, b 2 7, a ~ 12 | a 4 14, b 5 26, ~ 6 21 | b 7 9, a 8 33, a 1 2 | c 2 58, a 3 41 | a 9 400 | b 1 405"
TWO = (
    "l a 1 3, r a 2 6, l b 3 8 | r b 4 9, l a 5 18, r c 6 12 | l c 7 15, r a 8 31, l ~ 1 30 | r b 2 4, l b 9 44"
    " | l a 3 400, r a 3 399 | r a 1 405, l b 2 404"
)
CASES = []


class Case:
    """A query with a name, and the epochs that it gets; what record.Recording needs of it."""

    def __init__(self, name, sql, mode="append", rows=ONE, delay="10 seconds", restart=None, views=None, columns="k, v"):
        self.name, self.sql, self.mode, self.restart_after = name, sql, mode, restart
        self.views = {}
        if rows.lstrip().startswith(("l ", "r ")):
            for side in "lr":
                self.view(side, f"SELECT timestamp_seconds(t) AS ts, {columns} FROM input WHERE side = '{side}'", delay)
        else:
            self.view("e", f"SELECT timestamp_seconds(t) AS ts, {columns} FROM input", delay)
        for view, how in (views or {}).items():
            self.view(view, **how) if isinstance(how, dict) else self.view(view, how)
        self.epochs = [[parsed(row) for row in epoch.split(",") if row.strip()] for epoch in rows.split("|")]
        CASES.append(self)

    def view(self, name, sql, delay=None, **more):
        watermark = {"watermark": {"column": "ts", "delay": delay}} if delay else {}
        self.views[name] = {"sql": sql, **watermark, **more}

    def pipeline(self):
        sources = {"input": {"connector.class": "memory", "schema": record.SCHEMA}}
        return {"sources": sources, "views": self.views, "sql": self.sql, "output.mode": self.mode}


def parsed(row):
    *side, key, value, time = row.split()
    number = lambda it: None if it == "~" else int(it)
    row = {"k": None if key == "~" else key, "v": number(value), "t": number(time)}
    return {"side": side[0], **row} if side else row


def unique(*columns, within=False, of="SELECT ts, k, v FROM e"):
    more = {"deduplicate.within.watermark": True} if within else {}
    return {"sql": of, "deduplicate": ", ".join(columns), **more}


def windows():
    every = "SELECT window.start AS s, window.end AS e, {keys}count(*) AS n, sum(v) AS sv FROM e GROUP BY {window}{more}"
    for size in ("10 seconds", "7 seconds", "1 minute", "1500 milliseconds", "1 hour", "1 day"):
        for mode in ("append", "update", "complete") if size == "10 seconds" else ("append", "update"):
            Case(f"tumbling window of {size}, {mode}", every.format(keys="", window=f"window(ts, '{size}')", more=""), mode)
    for args in ("'10 seconds', '10 seconds', '3 seconds'", "'1 minute', '1 minute', '15 seconds'", "'10 seconds', '5 seconds'",
                 "'10 seconds', '3 seconds'", "'12 seconds', '4 seconds', '1 second'", "'9 seconds', '2 seconds'"):
        for mode in ("append", "update"):
            Case(f"window {args.replace(chr(39), '')}, {mode}", every.format(keys="k, ", window=f"window(ts, {args})", more=", k"), mode)
    Case("window by key over a restart, append", every.format(keys="k, ", window="window(ts, '10 seconds')", more=", k"), restart=1)
    Case("window by key over a restart, update", every.format(keys="k, ", window="window(ts, '10 seconds')", more=", k"), "update", restart=2)
    Case("sliding window over a restart, complete", every.format(keys="", window="window(ts, '10 seconds', '5 seconds')", more=""), "complete", restart=1)
    Case("window by two keys", "SELECT window.end AS e, k, v, count(*) AS n FROM e GROUP BY window(ts, '10 seconds'), k, v")
    Case("window and an expression as keys", "SELECT window.end AS e, v % 2 AS odd, count(*) AS n FROM e GROUP BY window(ts, '10 seconds'), v % 2")
    Case("window of filtered rows", "SELECT window.end AS e, count(*) AS n FROM e WHERE v > 2 GROUP BY window(ts, '10 seconds')")
    Case("window with having, append", "SELECT window.end AS e, count(*) AS n FROM e GROUP BY window(ts, '10 seconds') HAVING count(*) > 1")
    Case("window with having, update", "SELECT window.end AS e, count(*) AS n FROM e GROUP BY window(ts, '10 seconds') HAVING count(*) > 1", "update")
    Case("window without its bounds in the result", "SELECT k, count(*) AS n FROM e GROUP BY window(ts, '10 seconds'), k")
    Case("window of rows without a time", "SELECT window.end AS e, count(*) AS n FROM e GROUP BY window(ts, '10 seconds')",
         rows="a 1 3, b 2 ~ | a 3 14, a 4 ~ | c 1 60 | c 2 61")
    Case("window of rows whose keys are null", "SELECT window.end AS e, k, count(*) AS n FROM e GROUP BY window(ts, '10 seconds'), k",
         rows="~ 1 3, ~ 2 4, a 1 5 | ~ 3 14 | ~ 4 60 | b 1 61")
    Case("window with epochs that have no rows", "SELECT window.end AS e, count(*) AS n FROM e GROUP BY window(ts, '10 seconds')",
         rows="a 1 3 | | a 1 60 | | a 1 61")
    Case("window whose rows come in one epoch", "SELECT window.end AS e, count(*) AS n FROM e GROUP BY window(ts, '10 seconds')",
         rows="a 1 3, a 1 30, a 1 300, a 1 4 | a 1 5, a 1 301 | a 1 900")


def delays():
    sql = "SELECT window.end AS e, count(*) AS n FROM e GROUP BY window(ts, '10 seconds')"
    for delay in ("0 seconds", "1 second", "500 milliseconds", "30 seconds", "1 minute", "1 hour"):
        Case(f"watermark {delay} late", sql, delay=delay)
    Case("watermark on the edge of a window", sql, rows="a 1 3 | a 1 20 | a 1 4 | a 1 9, a 1 10 | a 1 60 | a 1 61")
    Case("watermark does not go back", sql, rows="a 1 50 | a 1 10 | a 1 49 | a 1 20 | a 1 100 | a 1 101")
    Case("watermark over a restart right after it moved", sql, rows="a 1 3 | a 1 50 | a 1 20 | a 1 45 | a 1 100", restart=1)
    Case("update without a watermark keeps late rows", sql, "update", delay=None)
    Case("complete without a watermark", sql, "complete", delay=None)


def functions():
    some = ["avg(v)", "min(v)", "max(v)", "count(v)", "count(DISTINCT k)", "stddev(v)", "stddev_pop(v)", "var_samp(v)", "var_pop(v)",
            "min(k)", "max(k)", "bool_and(v > 1)", "bool_or(v > 4)", "sum(v * 1.5)", "sum(CASE WHEN k = 'a' THEN v ELSE 0 END)", "max(ts)", "min(ts)",
            "count_if(v > 2)", "bit_and(v)", "bit_or(v)", "bit_xor(v)", "corr(v, t2)", "covar_pop(v, t2)", "covar_samp(v, t2)", "max_by(k, v)",
            "min_by(k, v)", "regr_count(v, t2)"]
    for of in some:
        if "DISTINCT" in of:
            continue  # Spark refuses it over streams
        Case(f"{of} of windows", f"SELECT window.end AS e, {of} AS x FROM e GROUP BY window(ts, '20 seconds')", columns="k, v, t % 7 AS t2")
    for of in ("avg(v)", "stddev(v)", "min(v)", "max(k)", "bool_and(v > 1)"):
        Case(f"{of} by key, update, over a restart", f"SELECT k, {of} AS x FROM e GROUP BY k", "update", restart=2)
    Case("sum of doubles", "SELECT k, sum(CAST(v AS DOUBLE) / 4) AS x FROM e GROUP BY k", "update")
    Case("sum of decimals", "SELECT k, sum(CAST(v AS DECIMAL(10, 2))) AS x FROM e GROUP BY k", "update")
    Case("average of decimals", "SELECT k, avg(CAST(v AS DECIMAL(10, 2))) AS x FROM e GROUP BY k", "update")
    Case("sums of nothing but nulls", "SELECT k, sum(v) AS s, count(v) AS n, avg(v) AS a FROM e GROUP BY k", "update", rows="a ~ 1, b 1 2 | a ~ 3 | b ~ 4, a 2 5")
    Case("filter clause of an aggregate", "SELECT k, count(*) FILTER (WHERE v > 2) AS n, sum(v) FILTER (WHERE v < 5) AS s FROM e GROUP BY k", "update")


def groups():
    Case("count by key, update", "SELECT k, count(*) AS n FROM e GROUP BY k", "update", restart=1)
    Case("count by key, complete", "SELECT k, count(*) AS n FROM e GROUP BY k", "complete", restart=3)
    Case("group by an expression", "SELECT upper(k) AS u, length(k) AS l, count(*) AS n FROM e GROUP BY upper(k), length(k)", "update")
    Case("group by a position", "SELECT k, v % 3 AS r, count(*) AS n FROM e GROUP BY 1, 2", "update")
    Case("group by a boolean", "SELECT v > 3 AS big, count(*) AS n FROM e GROUP BY v > 3", "update")
    Case("group by a double", "SELECT CAST(v AS DOUBLE) / 2 AS d, count(*) AS n FROM e GROUP BY CAST(v AS DOUBLE) / 2", "update")
    Case("group by a decimal", "SELECT CAST(v AS DECIMAL(8, 2)) AS d, count(*) AS n FROM e GROUP BY CAST(v AS DECIMAL(8, 2))", "update")
    Case("group by a date", "SELECT date_format(ts, 'yyyy-MM-dd') AS d, count(*) AS n FROM e GROUP BY date_format(ts, 'yyyy-MM-dd')", "update")
    Case("group by a case", "SELECT CASE WHEN v > 5 THEN 'big' WHEN v IS NULL THEN 'none' ELSE 'small' END AS c, count(*) AS n FROM e "
         "GROUP BY CASE WHEN v > 5 THEN 'big' WHEN v IS NULL THEN 'none' ELSE 'small' END", "update")
    Case("group by event time", "SELECT ts, count(*) AS n FROM e GROUP BY ts")
    Case("group by event time and key, update", "SELECT ts, k, count(*) AS n FROM e GROUP BY ts, k", "update")
    Case("having, update", "SELECT k, count(*) AS n FROM e GROUP BY k HAVING count(*) > 2", "update")
    Case("having on another aggregate, complete", "SELECT k, count(*) AS n FROM e GROUP BY k HAVING max(v) > 5", "complete")
    Case("order in complete mode", "SELECT k, count(*) AS n FROM e GROUP BY k ORDER BY n DESC, k", "complete")
    Case("order and limit in complete mode", "SELECT k, sum(v) AS s FROM e GROUP BY k ORDER BY s DESC LIMIT 2", "complete")
    Case("rollup", "SELECT k, v % 2 AS r, count(*) AS n FROM e GROUP BY ROLLUP (k, v % 2)", "update")
    Case("cube", "SELECT k, v % 2 AS r, count(*) AS n FROM e GROUP BY CUBE (k, v % 2)", "complete")
    Case("grouping sets", "SELECT k, v % 2 AS r, sum(v) AS s FROM e GROUP BY GROUPING SETS ((k), (v % 2), ())", "update")
    Case("aggregate of a filtered aggregate's view", "SELECT n, count(*) AS c FROM c GROUP BY n", "complete", views={"c": "SELECT k, v AS n FROM e WHERE v > 1"})
    Case("aggregate without keys, update", "SELECT count(*) AS n, sum(v) AS s, max(k) AS m FROM e", "update", restart=2)
    Case("aggregate without keys, complete", "SELECT count(*) AS n, avg(v) AS a FROM e", "complete")
    Case("distinct keys, update", "SELECT DISTINCT k FROM e", "update")
    Case("distinct rows, append", "SELECT DISTINCT k, ts FROM e")
    Case("projection over an aggregate", "SELECT concat(k, '!') AS k, n * 2 AS n FROM (SELECT k, count(*) AS n FROM e GROUP BY k)", "update")


def sessions():
    every = "SELECT session_window.start AS s, session_window.end AS e, {keys}, count(*) AS n, sum(v) AS sv FROM e GROUP BY session_window(ts, {gap}), {keys}"
    near = "a 1 3, a 2 6, b 1 8 | a 3 12, b 2 30, a 4 21 | a 5 16, b 3 26 | a 6 60, b 1 12 | a 1 400 | b 1 405"
    for gap in ("'5 seconds'", "'10 seconds'", "'1 second'", "'1 minute'", "CASE WHEN k = 'a' THEN '3 seconds' ELSE '12 seconds' END"):
        name = gap.replace("'", "").replace("CASE WHEN k = a THEN 3 seconds ELSE 12 seconds END", "of its own")
        for mode in ("append", "complete"):
            Case(f"sessions with a gap {name}, {mode}", every.format(keys="k", gap=gap), mode, near)
    Case("sessions over a restart", every.format(keys="k", gap="'5 seconds'"), rows=near, restart=1)
    Case("sessions over a restart, complete", every.format(keys="k", gap="'10 seconds'"), "complete", near, restart=2)
    Case("sessions by two keys", every.format(keys="k, v", gap="'10 seconds'"), rows=near)
    Case("sessions of filtered rows", every.format(keys="k", gap="'5 seconds'").replace("FROM e", "FROM e WHERE v > 1"), rows=near)
    Case("sessions with having", every.format(keys="k", gap="'5 seconds'") + " HAVING count(*) > 1", rows=near)
    Case("sessions bridged by a row in a later epoch", every.format(keys="k", gap="'5 seconds'"), rows="a 1 10, a 1 18 | a 1 14 | a 1 60 | a 1 61")
    Case("sessions that touch", every.format(keys="k", gap="'5 seconds'"), rows="a 1 10, a 1 15 | a 1 20 | a 1 60 | a 1 61")
    Case("sessions with a late row that would bridge", every.format(keys="k", gap="'10 seconds'"), rows="a 1 10 | a 1 40 | a 1 19, a 1 31 | a 1 90 | a 1 91", delay="1 second")
    Case("sessions of rows out of order", every.format(keys="k", gap="'5 seconds'"), rows="a 1 30, a 1 26 | a 1 22, a 1 34 | a 1 28 | a 1 90 | a 1 91", delay="20 seconds")
    Case("sessions with null keys", every.format(keys="k", gap="'5 seconds'"), rows="~ 1 3, ~ 1 6, a 1 4 | ~ 1 9 | a 1 60 | a 1 61")
    Case("sessions and their averages", "SELECT session_window.end AS e, k, avg(v) AS a, min(v) AS lo, max(v) AS hi FROM e GROUP BY session_window(ts, '6 seconds'), k", rows=near)


def deduplications():
    twice = "a 1 3, a 1 3, b 2 7 | a 1 3, b 2 14, a 1 15 | a 1 4, c 1 33, ~ 1 30, ~ 1 30 | a 1 36, c 1 33 | a 1 400 | a 1 405, a 1 405"
    all_of = "SELECT ts, k, v FROM u"
    for columns in (["k"], ["k", "v"], ["k", "ts"], ["ts"], ["ts", "k", "v"]):
        for mode in ("append", "update") if columns == ["k", "ts"] else ("append",):
            Case(f"unique by {', '.join(columns)}, {mode}", "SELECT " + ", ".join(columns) + " FROM u", mode, twice, views={"u": unique(*columns)})
    Case("unique by key without a watermark", "SELECT k FROM u", rows=twice, delay=None, views={"u": unique("k")}, restart=2)
    Case("unique over a restart", all_of, rows=twice, views={"u": unique("ts", "k", "v")}, restart=1)
    for delay in ("0 seconds", "10 seconds", "30 seconds"):
        Case(f"unique within a watermark of {delay}", "SELECT k FROM u", rows=twice, delay=delay, views={"u": unique("k", within=True)})
    Case("unique within a watermark by two columns", "SELECT k, v FROM u", rows=twice, views={"u": unique("k", "v", within=True)})
    Case("unique within a watermark over a restart", "SELECT k FROM u", rows=twice, views={"u": unique("k", within=True)}, restart=2)
    Case("unique, then filtered", "SELECT ts, k FROM u WHERE k <> 'b'", rows=twice, views={"u": unique("k", "ts")})
    Case("filtered, then unique", "SELECT ts, k FROM u", rows=twice, views={"u": unique("k", "ts", of="SELECT ts, k FROM e WHERE v = 1")})
    Case("unique by an expression", "SELECT big, ts FROM u", rows=twice, views={"u": unique("big", "ts", of="SELECT upper(k) AS big, ts FROM e")})
    Case("unique, then windows", "SELECT window.end AS e, count(*) AS n FROM u GROUP BY window(ts, '10 seconds')", rows=twice, views={"u": unique("k", "ts")})
    Case("unique, then windows by key", "SELECT window.end AS e, k, count(*) AS n FROM u GROUP BY window(ts, '10 seconds'), k", rows=twice, views={"u": unique("ts", "k", "v")})
    Case("unique within a watermark, then windows", "SELECT window.end AS e, count(*) AS n FROM u GROUP BY window(ts, '10 seconds')", rows=twice,
         views={"u": unique("k", "ts", within=True)})


def joins():
    ranges = {
        "from the same time on": "r.ts >= l.ts AND r.ts <= l.ts + INTERVAL 10 SECONDS",
        "between before and after": "r.ts BETWEEN l.ts - INTERVAL 5 SECONDS AND l.ts + INTERVAL 5 SECONDS",
        "strictly": "r.ts > l.ts AND r.ts < l.ts + INTERVAL 10 SECONDS",
        "turned round": "l.ts BETWEEN r.ts - INTERVAL 10 SECONDS AND r.ts",
        "interval on the left": "l.ts + INTERVAL 2 SECONDS <= r.ts AND r.ts - INTERVAL 12 SECONDS <= l.ts",
        "at the same time": "l.ts = r.ts",
    }
    far = "l a 1 3, r a 2 6, l b 3 8, r b 3 8 | r b 4 9, l a 5 18, r c 6 12 | l c 7 15, r a 8 31, l ~ 1 30, r ~ 2 30 | r b 2 4, l b 9 44, r a 1 18 | l a 3 400, r a 3 399 | r a 1 405, l b 2 404"
    for kind in ("INNER", "LEFT", "RIGHT", "FULL", "LEFT SEMI"):
        right = "" if "SEMI" in kind else ", r.k AS rk, r.ts AS rts, r.v AS rv"
        head = f"SELECT l.k AS lk, l.ts AS lts, l.v AS lv{right} FROM l {kind} JOIN r ON l.k = r.k AND "
        for name, condition in ranges.items():
            Case(f"{kind.lower()} join {name}", head + condition, rows=far)
        Case(f"{kind.lower()} join over a restart", head + ranges["from the same time on"], rows=TWO, restart=2)
        Case(f"{kind.lower()} join with another condition", head + ranges["between before and after"] + " AND l.v <> r.v", rows=TWO)
        views = {f"{side}w": f"SELECT window(ts, '10 seconds') AS w, k, v FROM {side}" for side in "lr"}
        right = "" if "SEMI" in kind else ", rw.k AS rk, rw.v AS rv"
        Case(f"{kind.lower()} join by window", f"SELECT lw.k AS lk, lw.w.end AS e, lw.v AS lv{right} FROM lw {kind} JOIN rw ON lw.k = rw.k AND lw.w = rw.w",
             rows=far, views=views)
    inner = "SELECT l.k AS lk, l.ts AS lts, r.v AS rv FROM l JOIN r ON "
    Case("inner join by key alone", inner + "l.k = r.k", rows=TWO)
    Case("inner join by key alone, no watermark", inner + "l.k = r.k", rows=TWO, delay=None)
    Case("inner join by two keys", inner + "l.k = r.k AND l.v = r.v", rows=TWO)
    Case("inner join by an expression", inner + "upper(l.k) = upper(r.k) AND l.v + 1 = r.v", rows=TWO)
    Case("inner join with using", "SELECT k, l.v AS lv, r.v AS rv FROM l JOIN r USING (k)", rows=TWO)
    Case("inner join of filtered streams", inner + "l.k = r.k AND " + ranges["from the same time on"] + " WHERE l.v > 1 AND r.v > 2", rows=TWO)
    Case("inner join, then windows", "SELECT window.end AS e, count(*) AS n, sum(rv) AS s FROM j GROUP BY window(lts, '10 seconds')", rows=far,
         views={"j": inner + "l.k = r.k AND " + ranges["from the same time on"]})
    Case("left join, then a filter on what is missing", "SELECT lk, lts FROM j WHERE rv IS NULL", rows=far,
         views={"j": "SELECT l.k AS lk, l.ts AS lts, r.v AS rv FROM l LEFT JOIN r ON l.k = r.k AND " + ranges["from the same time on"]})


def tables():
    names = "(VALUES ('a', 'Ann'), ('b', 'Bob'), ('d', 'Dan')) AS d(k, name)"
    for kind in ("INNER", "LEFT", "LEFT SEMI", "LEFT ANTI"):
        name = "" if kind in ("LEFT SEMI", "LEFT ANTI") else ", d.name"
        Case(f"{kind.lower()} join with a table", f"SELECT e.k, e.v{name} FROM e {kind} JOIN {names} ON e.k = d.k", restart=2)
    Case("windows over a join with a table", "SELECT window.end AS e, name, count(*) AS n FROM j GROUP BY window(ts, '10 seconds'), name",
         views={"j": f"SELECT e.ts, d.name FROM e JOIN {names} ON e.k = d.k"})
    Case("join of a table with a stream", f"SELECT d.name, e.v FROM {names} JOIN e ON e.k = d.k")
    Case("in a list of values", "SELECT k, v FROM e WHERE k IN ('a', 'c')")
    Case("explode", "SELECT k, x FROM (SELECT k, explode(split('1,2', ',')) AS x FROM e)")


def chains():
    small = {"c": "SELECT window AS w, k, count(*) AS n, sum(v) AS sv FROM e GROUP BY window(ts, '5 seconds'), k"}
    Case("windows over windows", "SELECT window.end AS e, sum(n) AS n, count(*) AS c FROM c GROUP BY window(w, '20 seconds')", views=small)
    Case("windows over windows by key, over a restart", "SELECT window.end AS e, k, max(n) AS m FROM c GROUP BY window(w, '10 seconds'), k", views=small, restart=2)
    Case("windows over windows of the same size", "SELECT window.end AS e, sum(n) AS n FROM c GROUP BY window(w, '5 seconds')", views=small)
    Case("windows by the time of windows", "SELECT window.end AS e, count(*) AS n FROM c GROUP BY window(t, '15 seconds')",
         views={"c": "SELECT window_time(window) AS t, n FROM (SELECT window, k, count(*) AS n FROM e GROUP BY window(ts, '5 seconds'), k)"})
    both = {"b": "SELECT ts, k, v FROM l UNION ALL SELECT ts, k, v FROM r"}
    Case("union, then windows", "SELECT window.end AS e, count(*) AS n FROM b GROUP BY window(ts, '10 seconds')", rows=TWO, views=both)
    Case("union, then windows, update, over a restart", "SELECT window.end AS e, k, count(*) AS n FROM b GROUP BY window(ts, '10 seconds'), k", "update", TWO, views=both, restart=2)
    Case("union, then unique", "SELECT ts, k FROM u", rows=TWO, views={**both, "u": unique("k", "ts", of="SELECT ts, k FROM b")})
    Case("union without state", "SELECT k, v FROM b", rows=TWO, views=both)
    Case("union with one stream that is silent", "SELECT window.end AS e, count(*) AS n FROM b GROUP BY window(ts, '10 seconds')",
         rows="l a 1 3, r a 1 4 | l a 1 30 | l a 1 60 | r a 1 50 | l a 1 400, r a 1 400 | r a 1 405", views=both)
    Case("limit over a restart", "SELECT k, v FROM e LIMIT 5", restart=1)
    Case("limit of nothing", "SELECT k, v FROM e LIMIT 0")
    Case("projection with a clock that does not show", "SELECT k, v + 1 AS w, coalesce(v, 0) AS c, k IS NULL AS no FROM e", restart=1)
    Case("filter alone, update", "SELECT k, v FROM e WHERE v BETWEEN 2 AND 7 AND k LIKE 'a%'", "update")


def sets():
    windows = "window(ts, '10 seconds')"
    for mode in ("append", "update", "complete"):
        Case(f"rollup over windows, {mode}", f"SELECT window.end AS e, k, count(*) AS n FROM e GROUP BY ROLLUP ({windows}, k)", mode)
    Case("cube over windows, append", f"SELECT window.end AS e, k, count(*) AS n FROM e GROUP BY CUBE ({windows}, k)")
    Case("cube over windows, update", f"SELECT window.end AS e, k, count(*) AS n FROM e GROUP BY CUBE ({windows}, k)", "update")
    Case("cube of keys beside windows, append", f"SELECT window.end AS e, k, count(*) AS n FROM e GROUP BY {windows}, CUBE (k)")
    Case("cube with its grouping", "SELECT k, v % 2 AS r, grouping(k) AS g, grouping(v % 2) AS h, count(*) AS n FROM e GROUP BY CUBE (k, v % 2)", "update")
    Case("grouping sets, over a restart", "SELECT k, v % 2 AS r, max(v) AS m FROM e GROUP BY k, v % 2 GROUPING SETS ((k, v % 2), (k))", "update", restart=2)
    for of in ("max_by(k, v)", "min_by(k, v)", "max_by(v, k)", "max_by(k, v) FILTER (WHERE v < 8)", "count_if(v > 4) FILTER (WHERE k = 'a')"):
        Case(f"{of} by key, update", f"SELECT v % 3 AS r, {of} AS x FROM e GROUP BY v % 3", "update", restart=3)
    Case("max_by of equal values", "SELECT max_by(k, v % 2) AS x, min_by(k, v % 2) AS y FROM e", "update")
    for of in ("v * 0.1", "v + 2.50", "CAST(v AS DECIMAL(6, 2)) / 3", "CAST(v AS DECIMAL(6, 2)) * 1.25", "round(v / 3, 2)", "1e1 * v", "-1.50 * v"):
        Case(f"{of}", f"SELECT k, {of} AS x FROM e")
    Case("average of decimals in windows", "SELECT window.end AS e, avg(CAST(v AS DECIMAL(6, 3))) AS x, sum(CAST(v AS DECIMAL(6, 3))) AS s FROM e "
         "GROUP BY window(ts, '20 seconds')")


def yaml_of(case, steps):
    """The scenario as YAML: block maps down to rows, which are a line each."""
    lines = [f'# As Spark answered it: tests/recorded/scenarios.py.', f"name: {quoted(case.name)}"]
    lines += ["quirk: true"] if "filter" in case.name else []
    lines += ["pipeline:", "  sources:", f'    input: {{ connector.class: memory, schema: "{record.SCHEMA}" }}', "  views:"]
    for name, view in case.views.items():
        lines += [f"    {name}:"] + [f"      {key}: {flow(value)}" for key, value in view.items()]
    lines += [f"  sql: {quoted(case.sql)}", f"  output.mode: {case.mode}", "steps:"]
    for step in steps:
        for key, value in step.items():
            head, rows = ("add", value["input"]) if key == "add" else (key, value)
            if not isinstance(rows, list):
                lines.append(f"  - {key}: {flow(value)}")
            elif head == "add":
                lines += ["  - add:", "      input: []"] if not rows else ["  - add:", "      input:"] + [f"        - {flow(it)}" for it in rows]
            else:
                lines += [f"  - {head}: []"] if not rows else [f"  - {head}:"] + [f"      - {flow(it)}" for it in rows]
    return "\n".join(lines) + "\n"


def flow(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key}: {flow(it)}" for key, it in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z_][A-Za-z_ ]*", value) and value not in ("null", "true", "false") else quoted(value)
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def slug(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--threads", type=int, default=4)
    args.add_argument("--only", default="", help="cases whose name contains it")
    args.add_argument("--out", default=os.path.join(here, "..", "scenarios"))
    args = args.parse_args()
    for family in (windows, delays, functions, groups, sessions, deduplications, joins, tables, chains, sets):
        family()
    names = [it.name for it in CASES]
    assert len(set(names)) == len(names), "names are unique"
    spark, lock, root, done = record.session_of(args.threads), threading.Lock(), tempfile.mkdtemp(), []
    paths = {it: f"{args.out}/r{at:03}-{slug(it.name)}.yaml" for at, it in enumerate(CASES, 1)}
    waiting = iter([it for it in CASES if args.only in it.name and not os.path.exists(paths[it])])

    def work():
        while True:
            with lock:
                case = next(waiting, None)
            if case is None:
                return
            folder = f"{root}/{id(case)}"
            try:
                steps = record.Recording(spark, case, folder).steps()
            except Exception:
                print(f"{case.name}: {case.sql}\n{traceback.format_exc()}", flush=True)
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            with open(paths[case], "w", encoding="utf-8") as out:
                out.write(yaml_of(case, steps))
            done.append(case)

    workers = [threading.Thread(target=work) for _ in range(args.threads)]
    for it in workers:
        it.start()
    for it in workers:
        it.join()
    print(f"{len(done)} recorded, {sum(map(os.path.exists, paths.values()))} of {len(CASES)} are there")
    spark.stop()
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
