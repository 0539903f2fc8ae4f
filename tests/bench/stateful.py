"""Times stateful queries on tidegate and on PySpark (RocksDB state store, changelog on), and compares what they wrote.

session  sessions of a million keys            join    two streams, ten million rows in state
dedup    ten million ids among twelve million  counts  counts and sums by key, ten million keys of 16 characters

Both read the same files of JSON, one of each stream an epoch, and write Parquet; counts are in update mode, to Kafka as
JSON. Warm: the rate of what the whole input has beyond its first tenth, which is (rows of all - rows of the tenth) /
(CPU seconds of all - those of the tenth); start-up, compilation and exit cancel out. --scale makes everything smaller.
"""
import glob
import os
import sys

import harness
import jobs

# `i` counts the rows of a file from 0 to {rows}, `f` the files from 0; `id` and `rnd` are well mixed.
COUNTS = """
SELECT substr(md5(n::VARCHAR), 1, 16) AS k, n % 1000 AS v FROM (
    SELECT CASE WHEN f < {files} / 2 THEN (f * {rows} + i) * 7368787 % ({files} // 2 * {rows})
                ELSE hash(f * {rows} + i) % ({files} // 2 * {rows}) END AS n FROM input)"""
DEDUP = """
SELECT substr(md5(n::VARCHAR), 1, 16) AS k FROM (
    SELECT CASE WHEN i % 6 = 5 THEN hash(f * {rows} + i) % (f * {rows} + i) ELSE f * {rows} + i END AS n FROM input)"""
SESSION = """
SELECT i * 7368787 % {rows} AS k, make_timestamp((1767225600 + f * 600 + hash(f * {rows} + i) % 600)::BIGINT * 1000000) AS ts
FROM input"""
LEFT = """
SELECT (f * {rows} + i) * 7368787 % ({files} * {rows}) AS id,
    make_timestamp((1767225600 + hash(f * {rows} + i) % 3600)::BIGINT * 1000000) AS lt FROM input"""
RIGHT = LEFT.replace("7368787", "6700417").replace(" AS lt", " AS rt").replace("hash(f", "hash(7 + f")

MINUTES = {"column": "ts", "delay": "10 minutes"}
HOURS = {"lt": {"column": "lt", "delay": "3 hours"}, "rt": {"column": "rt", "delay": "3 hours"}}
JOBS = {
    "session": {
        "files": 10,
        "rows": 1_000_000,
        "streams": {"events": (SESSION, "k BIGINT, ts TIMESTAMP", MINUTES)},
        "sql": "SELECT session_window.start AS start, session_window.end AS end, k, count(*) AS n FROM events "
        "GROUP BY session_window(ts, '5 minutes'), k",
    },
    "join": {
        "files": 10,
        "rows": 500_000,
        "streams": {
            "lefts": (LEFT, "id BIGINT, lt TIMESTAMP", HOURS["lt"]),
            "rights": (RIGHT, "id BIGINT, rt TIMESTAMP", HOURS["rt"]),
        },
        "sql": "SELECT l.id, l.lt, r.rt FROM lefts l JOIN rights r ON l.id = r.id "
        "AND r.rt >= l.lt AND r.rt <= l.lt + INTERVAL 1 HOUR",
    },
    "dedup": {
        "files": 12,
        "rows": 1_000_000,
        "streams": {"events": (DEDUP, "k STRING", None)},
        "deduplicate": ["k"],
        "sql": "SELECT k FROM events",
    },
    "counts": {
        "files": 20,
        "rows": 1_000_000,
        "streams": {"events": (COUNTS, "k STRING, v BIGINT", None)},
        "sql": "SELECT k, count(*) AS n, sum(v) AS s FROM events GROUP BY k",
        "mode": "update",
    },
}

cli = harness.arguments(__doc__)
cli.add_argument("--job", choices=list(JOBS), nargs="+", default=list(JOBS))
cli.add_argument("--systems", choices=["tidegate", "spark-rocksdb"], nargs="+", default=["tidegate", "spark-rocksdb"])
cli.add_argument("--runs", type=int, default=1)
cli.add_argument("--scale", type=float, default=1.0)
cli.add_argument("--spark")
cli = cli.parse_args()


def inputs(name, job):
    """The folder of each stream of a job, made when it is first asked for. Names begin with `a` in the first tenth."""
    rows, found = int(job["rows"] * cli.scale), {}
    for stream, (select, _, _) in job["streams"].items():
        found[stream] = folder = f"{cli.cache}/stateful-{name}-{stream}-{job['files']}x{rows}"
        if not os.path.isdir(folder):
            generate(select, job["files"], rows, f"{folder}.new")
            os.rename(f"{folder}.new", folder)
    return found


def generate(select, files, rows, folder):
    import duckdb

    os.makedirs(folder, exist_ok=True)
    for f in range(files):
        path = f"{folder}/{'a' if f < files // 10 else 'b'}{f:03}.json"
        duckdb.execute(
            f"COPY (WITH input AS (SELECT range AS i, {f}::BIGINT AS f FROM range({rows})) "
            f"{select.format(files=files, rows=rows)}) TO '{path}' (FORMAT json, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%SZ')"
        )
        os.utime(path, (1_790_000_000 + f, 1_790_000_000 + f))  # files are read in order of time


def tidegate(job, sources, folder, topic):
    sql, mode = job["sql"], job.get("mode", "append")
    if topic:
        sink = jobs.kafka_sink(cli, topic, sql)
    else:
        sink = {"connector.class": "file", "path": f"{folder}/table", "format": "parquet", "sql": sql}
    keys = {"trigger": "available-now"}
    if "deduplicate" in job:
        keys["views"] = {"once": {"sql": sql, "deduplicate": job["deduplicate"]}}
        sink["sql"] = "SELECT * FROM once"
    inputs = {}
    for name, (path, schema, watermark) in sources.items():
        inputs[name] = {"connector.class": "file", "path": path, "format": "json", "schema": schema}
        inputs[name] |= {"max.files.per.trigger": 1} | ({"watermark": watermark} if watermark else {})
    sink["output.mode"] = mode
    path = harness.pipeline(folder, inputs, sink, **keys)
    return [cli.bin, "run", path, "--progress", "json"], None


def spark(job, sources, folder, topic):
    options = jobs.spark_kafka_sink(cli, topic) if topic else {"path": f"{folder}/table"}
    spec = {
        "sources": {
            name: {"format": "json", "path": path, "schema": schema, "watermark": watermark, "options": {"maxFilesPerTrigger": "1"}}
            for name, (path, schema, watermark) in sources.items()
        },
        "deduplicate": job.get("deduplicate"),
        "sql": job["sql"],
        "mode": job.get("mode", "append"),
        "sink": {"format": "kafka" if topic else "parquet", "options": options},
    }
    return jobs.spark_submit(cli, "spark-rocksdb", spec, folder, memory="6g")


def written(folder, topic):
    """How many rows were written, and a digest that does not depend on their order."""
    if topic:
        return jobs.documents(cli.servers, topic, bytes)
    import duckdb

    if not glob.glob(f"{folder}/table/part-*.parquet"):
        return 0, None
    rows = f"read_parquet('{folder}/table/part-*.parquet')"
    # Spark's times have no zone in Parquet.
    text = lambda name, kind: f'epoch_us("{name}")' if kind.startswith("TIMESTAMP") else f'CAST("{name}" AS VARCHAR)'
    columns = ", ".join(text(*it[:2]) for it in sorted(duckdb.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()))
    return duckdb.execute(f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM {rows}").fetchone()


def once(system, name, job, folders, part):
    """One run over a part of the input: what it took and what it wrote."""
    folder = harness.fresh(cli, f"{name}-{system}")
    topic = harness.new_topic(cli.servers, f"out-{name}-{system}") if job.get("mode") == "update" else None
    sources = {it: (f"{folders[it]}/{part}", *job["streams"][it][1:]) for it in folders}
    command, env = (tidegate if system == "tidegate" else spark)(job, sources, folder, topic)
    found = harness.timed(command, f"{folder}/log", env)
    rows = written(folder, topic)
    if topic:
        harness.drop_topic(cli.servers, topic)
    return found, rows


def compare(name, job, report):
    folders, rates, expected = inputs(name, job), {}, {}
    files = {"a*.json": job["files"] // 10, "*.json": job["files"]}
    rows = {part: int(job["rows"] * cli.scale) * count * len(folders) for part, count in files.items()}
    for _ in range(cli.runs):
        for system in cli.systems:
            cpu = {}
            for part in files:
                found, what = once(system, name, job, folders, part)
                report.json(job=name, system=system, rows=rows[part], rows_written=what[0], **found)
                if (part == "*.json" and not what[0]) or expected.setdefault(part, what) != what:
                    sys.exit(f"{system} wrote {what}, not {expected[part]}")
                cpu[part] = found["cpu_s"]
            warm = (rows["*.json"] - rows["a*.json"]) / max(0.001, cpu["*.json"] - cpu["a*.json"])
            rates.setdefault(system, []).append(warm)
    rates = {system: harness.spread(them) for system, them in rates.items()}
    report.json(job=name, equal=True, warm_rows_per_cpu_s={it: {k: round(v) for k, v in them.items()} for it, them in rates.items()})
    if len(rates) == 2:
        report.json(job=name, ratio=round(rates["tidegate"]["median"] / rates["spark-rocksdb"]["median"], 1))


report = harness.Report(cli.out)
for name in cli.job:
    compare(name, JOBS[name], report)
harness.leave()
