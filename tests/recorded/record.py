"""Records what Spark answers to random streaming queries: one scenario a line, in answers.jsonl beside this file.

usage: record.py [--per-cell N] [--seed S] [--threads T] [--cells NAME;...] [--out FILE]

A cell is an operator in an output mode. Each case draws a query of its cell, rows that are partly late, epochs, and often a
restart; Spark runs it epoch by epoch, and what came out of each epoch is written down as the scenario's expectation.
Cases are drawn until N of each cell have rows in an epoch after all that was open had closed. A case whose very query and
rows are in the file already is not run again.
Needs the Python with PySpark that tests/setup.sh prepares. The test `recorded_answers_are_spark_s` replays the file.
"""
import argparse
import datetime
import decimal
import json
import os
import random
import shutil
import tempfile
import threading
import traceback

SCHEMA = "side STRING, k STRING, v INT, t INT"
DELAYS = [0, 5, 10, 20]
# A few rows seldom find each other in these.
SPARSE = ["inner join", "inner join by window", "semi join", "join, then window", "limit"]


class Case:
    """A query, as views over `input` and an SQL text, and the epochs that it gets."""

    def __init__(self, cell, number, seed):
        self.cell, self.name = cell, f"{cell} {number}"
        self.rng = random.Random(f"{seed} {cell} {number}")
        self.late, self.restarts = self.rng.random() < 0.4, self.rng.random() < 0.4
        self.views, self.sides = {}, [None]
        self.operator, self.mode = cell.rsplit(" ", 1)
        self.sql = OPERATORS[self.operator](self)
        self.epochs = [self.epoch(at) for at in range(self.rng.randint(4, 6))]
        # All that is open closes, and then something goes on.
        self.epochs.append(self.rows(self.rng.randint(1, 3), 400, False))
        self.epochs.append(self.rows(self.rng.randint(9, 16) if self.operator in SPARSE else self.rng.randint(1, 4), 405, False))
        if self.operator == "join, then window":
            self.epochs.append(self.rows(2, 800, False))
        self.restart_after = self.rng.randrange(len(self.epochs) - 1) if self.restarts else None

    def epoch(self, at):
        count = 0 if self.rng.random() < 0.05 else self.rng.randint(2, 9)
        return self.rows(count, 20 + at * self.rng.choice([8, 12, 18]), self.late)

    def rows(self, count, base, late):
        rng, rows = self.rng, []
        for _ in range(count):
            back = rng.randint(20, 80) if late and rng.random() < 0.25 else rng.randint(0, 9)
            key = None if rng.random() < 0.06 else rng.choice("abc")
            value = None if rng.random() < 0.08 else rng.randint(0, 9)
            rows.append({"side": rng.choice(self.sides), "k": key, "v": value, "t": max(base - back, 1)})
        return rows

    def view(self, name, sql, delay=None, **more):
        self.views[name] = {"sql": sql, **({"watermark": {"column": "ts", "delay": f"{delay} seconds"}} if delay is not None else {}), **more}

    def events(self, watermark=True, **more):
        """The rows as `e`; where an answer without a watermark is allowed, now and then without."""
        self.view("e", "SELECT timestamp_seconds(t) AS ts, k, v FROM input", self.rng.choice(DELAYS) if watermark else None, **more)

    def two_sides(self):
        self.sides = ["l", "r"]
        for side in self.sides:
            self.view(side, f"SELECT timestamp_seconds(t) AS ts, k, v FROM input WHERE side = '{side}'", self.rng.choice(DELAYS))

    def aggregates(self):
        some = ["count(*)", "count(v)", "sum(v)", "min(v)", "max(v)", "avg(v)", "sum(v * 2 + 1)", "max(k)"]
        return ", ".join(f"{it} AS a{at}" for at, it in enumerate(self.rng.sample(some, self.rng.randint(1, 3))))

    def filter(self):
        return self.rng.choice(["", "", " WHERE v > 2", " WHERE k <> 'b' OR v = 1"])

    def having(self):
        return self.rng.choice(["", "", " HAVING count(*) > 1"])

    def pipeline(self):
        sources = {"input": {"connector.class": "memory", "schema": SCHEMA}}
        return {"sources": sources, "views": self.views, "sql": self.sql, "output.mode": self.mode}


def windowed(case, window):
    case.events(case.mode == "append" or case.rng.random() < 0.8)
    key = case.rng.choice([True, True, False])
    columns, group = ("window.start AS s, window.end AS e, k", f"{window}, k") if key else ("window.start AS s", window)
    return f"SELECT {columns}, {case.aggregates()} FROM e{case.filter()} GROUP BY {group}{case.having()}"


def tumbling(case):
    size = case.rng.choice([5, 10, 15])
    start = case.rng.choice(["", f", '{size} seconds', '2 seconds'"])
    return windowed(case, f"window(ts, '{size} seconds'{start})")


def sliding(case):
    size, slide = case.rng.choice([(10, 5), (12, 4), (10, 3), (9, 2)])
    start = case.rng.choice(["", ", '1 seconds'"])
    return windowed(case, f"window(ts, '{size} seconds', '{slide} seconds'{start})")


def session(case):
    case.events()
    gap = case.rng.choice(["'5 seconds'", "'10 seconds'", "CASE WHEN k = 'a' THEN '4 seconds' ELSE '9 seconds' END"])
    return (
        f"SELECT session_window.start AS s, session_window.end AS e, k, {case.aggregates()} FROM e{case.filter()} "
        f"GROUP BY session_window(ts, {gap}), k{case.having()}"
    )


def grouped(case):
    case.events(case.rng.random() < 0.5)
    if case.mode == "complete" and case.rng.random() < 0.3:
        return "SELECT k, count(*) AS n FROM e GROUP BY k ORDER BY n DESC, k LIMIT 2"
    if case.rng.random() < 0.2:
        return f"SELECT {case.aggregates()} FROM e{case.filter()}"
    return f"SELECT k, {case.aggregates()} FROM e{case.filter()} GROUP BY k{case.having()}"


def deduplicated(case):
    case.events(case.rng.random() < 0.8)
    case.view("u", "SELECT ts, k, v FROM e", deduplicate=case.rng.choice(["k, ts", "k, v, ts", "k"]))
    return "SELECT ts, k, v FROM u" + case.filter()


def within(case):
    case.events()
    case.view("u", "SELECT ts, k, v FROM e", deduplicate=case.rng.choice(["k", "k, v"]), **{"deduplicate.within.watermark": True})
    return "SELECT ts, k, v FROM u" + case.filter()


def joined(case, kind, more=True):
    case.two_sides()
    condition = case.rng.choice(
        [
            "r.ts BETWEEN l.ts - INTERVAL 5 SECONDS AND l.ts + INTERVAL 10 SECONDS",
            "r.ts >= l.ts AND r.ts <= l.ts + INTERVAL 8 SECONDS",
            "l.ts > r.ts - INTERVAL 6 SECONDS AND l.ts < r.ts + INTERVAL 6 SECONDS",
            "l.ts - INTERVAL 4 SECONDS <= r.ts AND r.ts - INTERVAL 7 SECONDS <= l.ts",
            "l.ts = r.ts",
        ]
    )
    extra = case.rng.choice(["", "", " AND l.v > r.v", " AND r.v <> 3"]) if more else ""
    right = "" if kind == "LEFT SEMI" else ", r.k AS rk, r.ts AS rts, r.v AS rv"
    return f"SELECT l.k AS lk, l.ts AS lts, l.v AS lv{right} FROM l {kind} JOIN r ON l.k = r.k AND {condition}{extra}"


def window_join(case, kind):
    case.two_sides()
    size = case.rng.choice([5, 10])
    for side in "lr":
        case.view(f"{side}w", f"SELECT window(ts, '{size} seconds') AS w, k, v FROM {side}")
    return f"SELECT lw.k AS lk, lw.w.end AS le, lw.v AS lv, rw.k AS rk, rw.v AS rv FROM lw {kind} JOIN rw ON lw.k = rw.k AND lw.w = rw.w"


def united(case):
    case.two_sides()
    case.view("both", "SELECT ts, k, v FROM l UNION ALL SELECT ts, k, v FROM r")
    size = case.rng.choice([5, 10])
    return f"SELECT window.start AS s, k, {case.aggregates()} FROM both GROUP BY window(ts, '{size} seconds'), k"


def twice(case):
    case.events()
    case.view("small", f"SELECT window AS w, k, count(*) AS n, sum(v) AS sv FROM e{case.filter()} GROUP BY window(ts, '5 seconds'), k")
    key = case.rng.choice(["", ", k"])
    return f"SELECT window.start AS s{key}, sum(n) AS n, count(*) AS c, max(sv) AS m FROM small GROUP BY window(w, '15 seconds'){key}"


def unique_then_counted(case):
    case.events()
    case.view("u", "SELECT ts, k, v FROM e", deduplicate=case.rng.choice(["k, ts", "k, v, ts"]))
    return f"SELECT window.start AS s, {case.aggregates()} FROM u GROUP BY window(ts, '10 seconds')"


def joined_then_counted(case):
    case.view("j", joined(case, "INNER", False))
    return "SELECT window.start AS s, count(*) AS n, sum(rv) AS sv FROM j GROUP BY window(lts, '10 seconds')"


def stateless(case):
    case.events(case.rng.random() < 0.5)
    return f"SELECT upper(k) AS k, v * 2 AS d, ts, coalesce(v, -1) AS c FROM e{case.filter()}"


def limited(case):
    case.events(False)
    return f"SELECT k, v, ts FROM e{case.filter()} LIMIT {case.rng.randint(1, 60)}"


OPERATORS = {
    "tumbling window": tumbling,
    "sliding window": sliding,
    "session window": session,
    "group": grouped,
    "deduplication": deduplicated,
    "deduplication within watermark": within,
    "inner join": lambda case: joined(case, "INNER"),
    "left join": lambda case: joined(case, "LEFT"),
    "right join": lambda case: joined(case, "RIGHT"),
    "full join": lambda case: joined(case, "FULL"),
    "semi join": lambda case: joined(case, "LEFT SEMI"),
    "inner join by window": lambda case: window_join(case, "INNER"),
    "left join by window": lambda case: window_join(case, "LEFT"),
    "union, then window": united,
    "window over window": twice,
    "deduplication, then window": unique_then_counted,
    "join, then window": joined_then_counted,
    "no state": stateless,
    "limit": limited,
}
MODES = {
    "tumbling window": ["append", "update", "complete"],
    "sliding window": ["append", "update", "complete"],
    "session window": ["append", "complete"],
    "group": ["update", "complete"],
    "deduplication": ["append", "update"],
    "union, then window": ["append", "update"],
    "no state": ["append", "update"],
}
CELLS = [f"{operator} {mode}" for operator in OPERATORS for mode in MODES.get(operator, ["append"])]


def plain(value):
    """A cell as a scenario writes it: times are seconds."""
    if isinstance(value, datetime.datetime):
        seconds = value.replace(tzinfo=datetime.timezone.utc).timestamp()
        return int(seconds) if seconds == int(seconds) else seconds
    if isinstance(value, decimal.Decimal) or (isinstance(value, float) and value != value):
        return str(value) if value == value else "NaN"
    return value


class Recording:
    """Runs one case on Spark."""

    def __init__(self, spark, case, folder):
        self.spark, self.case, self.folder, self.rows = spark.newSession(), case, folder, []
        os.makedirs(f"{folder}/input")

    def frame(self):
        spark = self.spark
        spark.readStream.schema(SCHEMA).json(f"{self.folder}/input").createOrReplaceTempView("input")
        for name, view in self.case.views.items():
            frame = spark.sql(view["sql"])
            if "watermark" in view:
                frame = frame.withWatermark("ts", view["watermark"]["delay"])
            if "deduplicate" in view:
                columns = [it.strip() for it in view["deduplicate"].split(",")]
                inside = "deduplicate.within.watermark" in view
                frame = frame.dropDuplicatesWithinWatermark(columns) if inside else frame.dropDuplicates(columns)
            frame.createOrReplaceTempView(name)
        return spark.sql(self.case.sql)

    def start(self):
        def keep(frame, _number):
            found = [{key: plain(value) for key, value in row.asDict().items()} for row in frame.collect()]
            if self.case.mode == "complete":
                self.rows = found
            else:
                self.rows += found

        writer = self.frame().writeStream.foreachBatch(keep).outputMode(self.case.mode)
        return writer.option("checkpointLocation", f"{self.folder}/checkpoint").start()

    def steps(self):
        query, steps = self.start(), []
        try:
            for number, rows in enumerate(self.case.epochs):
                text = "".join(json.dumps(row) + "\n" for row in rows)
                with open(f"{self.folder}/part", "w", encoding="utf-8") as out:
                    out.write(text)
                self.rows = []
                os.rename(f"{self.folder}/part", f"{self.folder}/input/{number:03}.json")
                # Once may end with a look at the folder that began before the file was there.
                query.processAllAvailable()
                query.processAllAvailable()
                key = "expect_last_epoch" if self.case.mode == "complete" else "expect"
                steps += [{"add": {"input": rows}}, {key: self.rows}]
                if number == self.case.restart_after:
                    query.stop()
                    query = self.start()
                    steps.append({"restart": True})
            return steps
        finally:
            query.stop()


def session_of(threads):
    from pyspark.sql import SparkSession

    os.environ["TZ"] = "UTC"
    builder = SparkSession.builder.master(f"local[{threads}]").appName("record")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "3g",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.streaming.schemaInference": "false",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def write(path, lines):
    with open(f"{path}.new", "w", encoding="utf-8") as out:
        out.writelines(json.dumps(it) + "\n" for it in lines)
    os.rename(f"{path}.new", path)


def known(path):
    """The scenarios of a file by their names."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return {line["scenario"]["name"]: line for line in map(json.loads, file)}


def is_of(line, case):
    """Tells whether a line of the file is an answer to this very case."""
    added = [it["add"]["input"] for it in line["scenario"]["steps"] if "add" in it]
    return line["scenario"]["pipeline"] == case.pipeline() and added == case.epochs


def goes_on(line):
    """True if rows came out in one of the last two epochs: after all that was open had closed."""
    found = [it.get("expect", it.get("expect_last_epoch")) for it in line["scenario"]["steps"]]
    return any([it for it in found if it is not None][-2:])


class Quota:
    """Draws the cases of cells by turns until each cell has so many that go on."""

    def __init__(self, cells, most, seed):
        self.most, self.seed, self.drawn, self.good = most, seed, dict.fromkeys(cells, 0), dict.fromkeys(cells, 0)
        self.taken = []

    def short(self):
        return {cell: good for cell, good in self.good.items() if good < self.most}

    def draw(self):
        """A case of that cell which is short and has had fewest; none if none is short."""
        if not (short := self.short()):
            return None
        cell = min(short, key=self.drawn.get)
        self.drawn[cell] += 1
        if self.drawn[cell] > 20 * self.most:
            raise RuntimeError(f"{cell}: hardly a case has rows at its end")
        return Case(cell, self.drawn[cell] - 1, self.seed)

    def next(self, lines):
        """The next case that is not among these; those that are, are taken."""
        while (case := self.draw()) and case.name in lines and is_of(lines[case.name], case):
            self.take(lines[case.name])
        return case

    def take(self, line):
        self.taken.append(line)
        self.good[line["cell"]] += goes_on(line)


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--per-cell", type=int, default=20)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--threads", type=int, default=4)
    args.add_argument("--cells", default=";".join(CELLS))
    args.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "answers.jsonl"))
    args = args.parse_args()
    spark, lock, lines, root = session_of(args.threads), threading.Lock(), known(args.out), tempfile.mkdtemp()
    cells = args.cells.split(";")
    quota = Quota(cells, args.per_cell, args.seed)

    def work():
        while True:
            with lock:
                case = quota.next(lines)
            if case is None:
                return
            folder = f"{root}/{case.name}"
            try:
                steps = Recording(spark, case, folder).steps()
            except Exception:
                print(f"{case.name}: {case.sql}\n{traceback.format_exc()}", flush=True)
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            scenario = {"name": case.name, "pipeline": case.pipeline(), "steps": steps}
            line = {"cell": case.cell, "late": case.late, "scenario": scenario}
            with lock:
                lines[case.name] = line
                quota.take(line)
                write(args.out, lines.values())
                print(f"short of {args.per_cell}: {quota.short()}", flush=True)

    workers = [threading.Thread(target=work) for _ in range(args.threads)]
    for it in workers:
        it.start()
    for it in workers:
        it.join()
    # Drawn once more, so that the file is the same whichever case was recorded first.
    again = Quota(cells, args.per_cell, args.seed)
    while again.next(lines):
        pass
    others = [it for it in lines.values() if it["cell"] not in cells]
    write(args.out, sorted(others + again.taken, key=lambda it: it["scenario"]["name"]))
    print(f"{len(others) + len(again.taken)} cases")
    spark.stop()
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
