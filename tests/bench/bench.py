"""Times the click job on tidegate and on PySpark over the same topic and compares what they wrote.

usage: bench.py --bin TIDEGATE --servers HOST:PORT --topic TOPIC --events N --folder DIR --jars DIR --spark PYTHON
                [--runs N] [--out FILE]

Each run is a process of its own with start-up included. CPU seconds are those of the process and its children. Prints a
JSON line a run and a table of medians; --out appends both to a file.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import deltalake
import duckdb

cli = argparse.ArgumentParser()
for name in ("bin", "servers", "topic", "folder", "jars", "spark"):
    cli.add_argument(f"--{name}", required=True)
cli.add_argument("--events", type=int, required=True)
cli.add_argument("--runs", type=int, default=3)
cli.add_argument("--out")
cli = cli.parse_args()
CORES = str(os.cpu_count())

PIPELINE = """name: bench
checkpoint.location: {folder}/checkpoint
trigger: available-now
sources:
  clicks:
    connector.class: kafka
    kafka.bootstrap.servers: {servers}
    topics: {topic}
    starting.offsets: earliest
    value.format: json
    schema: event_id STRING, user_id BIGINT, page STRING, action STRING, amount DOUBLE, ts TIMESTAMP, agent STRING
    watermark: {{ column: ts, delay: 10 minutes }}
sinks:
  table:
    connector.class: delta
    path: {folder}/table
    sql: |
      SELECT window.start AS start, window.end AS end, page, count(*) AS views, count(user_id) AS users
      FROM clicks GROUP BY window(ts, '5 minutes'), page
"""


def timed(command, log):
    with open(log, "w") as out:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
    if status != 0:
        sys.exit(f"{command[0]} failed: {open(log).read()[-2000:]}")
    return {"wall_s": round(wall, 3), "cpu_s": round(used.ru_utime + used.ru_stime, 3), "rss_mb": used.ru_maxrss // 1024}


def rows(table):
    table = deltalake.DeltaTable(table)
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    db.register("t", table.to_pyarrow_table())
    return db.execute('select "start", "end", page, views, users from t order by all').fetchall()


def run(system, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    if system == "tidegate":
        pipeline = f"{folder}/pipeline.yaml"
        with open(pipeline, "w") as out:
            out.write(PIPELINE.format(folder=folder, servers=cli.servers, topic=cli.topic))
        command = [cli.bin, "run", pipeline, "--progress", "json"]
    else:
        spark = os.path.join(os.path.dirname(__file__), "clicks_spark.py")
        submit = os.path.join(os.path.dirname(cli.spark), "spark-submit")
        jars = ",".join(sorted(glob.glob(f"{cli.jars}/*.jar")))
        command = [submit, "--driver-memory", "2g", "--jars", jars, spark, cli.servers, cli.topic, folder, CORES]
        os.environ["PYSPARK_PYTHON"] = cli.spark
    found = timed(command, f"{folder}/log")
    found = {"system": system, "events": cli.events, **found}
    found["rows_per_cpu_s"] = round(cli.events / found["cpu_s"])
    return found, rows(f"{folder}/table")


def without_data(folder):
    """What the last epoch of a run cost, which had no data and closed windows: its own progress object tells."""
    objects = [json.loads(it) for it in open(f"{folder}/log") if it.startswith("{")]
    last = [it for it in objects if it["numInputRows"] == 0][-1]
    syncs = last["stateOperators"][0]["customMetrics"]
    return {"epoch_without_data_ms": last["batchDuration"], "of_which_fsync_ms": syncs["fsyncTimeMs"], "fsyncs": syncs["fsyncs"]}


def idle(folder):
    """What a process costs that waits for data."""
    pipeline = f"{folder}/pipeline.yaml"
    text = open(pipeline).read().replace("trigger: available-now\n", "")
    with open(pipeline, "w") as out:
        out.write(text)
    process = subprocess.Popen([cli.bin, "run", pipeline], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(3)
    ticks = os.sysconf("SC_CLK_TCK")
    cpu = lambda: sum(map(int, open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13])) / ticks
    before = cpu()
    time.sleep(10)
    used = cpu() - before
    process.terminate()
    process.wait()
    return {"idle_cpu_percent": round(used * 10, 2)}


results, tables = [], {}
for _ in range(cli.runs):
    for system in ("tidegate", "pyspark"):
        found, table = run(system, f"{cli.folder}/{system}")
        tables.setdefault(system, table)
        if table != tables["tidegate"] or not table:
            sys.exit(f"{system} wrote {len(table)} rows that differ from tidegate's {len(tables['tidegate'])}")
        results.append(found)
        print(json.dumps(found), flush=True)
lines = [f"{len(tables['tidegate'])} rows, equal on all runs", "system    rows/cpu-s   cpu s   wall s   peak RSS MB"]
medians = {}
for system in ("tidegate", "pyspark"):
    mine = [it for it in results if it["system"] == system]
    of = lambda key: statistics.median(it[key] for it in mine)
    medians[system] = of("rows_per_cpu_s")
    lines.append(f"{system:9} {of('rows_per_cpu_s'):>10,.0f} {of('cpu_s'):>7.2f} {of('wall_s'):>8.2f} {of('rss_mb'):>13,.0f}")
lines.append(f"ratio of rows per CPU-second: {medians['tidegate'] / medians['pyspark']:.1f}")
lines.append(json.dumps({**without_data(f"{cli.folder}/tidegate"), **idle(f"{cli.folder}/tidegate")}))
print("\n".join(lines))
if cli.out:
    with open(cli.out, "a") as out:
        out.write("\n".join([*map(json.dumps, results), *lines]) + "\n")
sys.stdout.flush()
os._exit(0)
