"""Memory and CPU of a windowed job over time, at an even rate.

The job counts pages in windows of ten seconds, ten seconds late, into a Delta table, so that its state turns over all the
time. The topic keeps a few minutes only. Memory is flat if the median of the last quarter is at most 5 % above that of
the second. Fails if it is not, or if the table has fallen behind.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import harness

SQL = harness.TUMBLING.replace("5 minutes", "10 seconds")
LATE = {"column": "ts", "delay": "10 seconds"}
GROWTH = 1.05
# Of the rows that the rate gives; the first window begins in the middle.
FULL = 0.99
# Behind the clock at the end: two windows, and the delay.
LAG_S = 60

cli = harness.arguments(__doc__)
cli.add_argument("--minutes", type=float, default=60)
cli.add_argument("--rate", type=int, default=50_000)
cli.add_argument("--trigger", help="as in a pipeline file; without it epochs follow each other at once")
cli.add_argument("--every", type=float, default=10, help="seconds between two samples")
cli = cli.parse_args()
folder = harness.fresh(cli, "soak")
harness.new_topic(cli.servers, "soak", retention_ms=120_000, segment_bytes=64 << 20, segment_ms=60_000)
source = harness.kafka_source(cli.servers, "soak", watermark=LATE)
keys = {"trigger": cli.trigger} if cli.trigger else {}
pipeline = harness.pipeline(folder, source, harness.delta_sink(folder, SQL), **keys)
process = harness.start([cli.bin, "run", pipeline], f"{folder}/log")
feed = os.path.join(os.path.dirname(os.path.abspath(__file__)), "feed.py")
command = [sys.executable, feed, cli.servers, "soak", str(cli.rate), str(cli.minutes * 60)]
feeding = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
report, peaks, started, cpu = harness.Report(cli.out), [], time.monotonic(), 0.0
while feeding.poll() is None:
    time.sleep(cli.every)
    if process.poll() is not None:
        feeding.kill()
        harness.failed(f"{folder}/log")
    now = harness.cpu_s(process.pid)
    peaks.append(harness.rss_mb(process.pid))
    percent = round((now - cpu) / cli.every * 100, 1)
    report.json(minute=round((time.monotonic() - started) / 60, 2), rss_mb=round(peaks[-1]), cpu_percent=percent)
    cpu = now
fed = json.loads(feeding.stdout.read())
harness.stop(process)
import deltalake
import duckdb

table = deltalake.DeltaTable(f"{folder}/table").to_pyarrow_table()
db = duckdb.connect()
db.register("t", table)
newest, counts = db.execute('select epoch(max("end")), list(n) from (select "end", sum(views) n from t group by all)').fetchone()
quarter = max(1, len(peaks) // 4)
first, last = statistics.median(peaks[quarter : 2 * quarter] or peaks), statistics.median(peaks[-quarter:])
short = [it for it in counts if it < cli.rate * 10 * FULL]
flat, lag = last <= first * GROWTH, round(time.time() - newest)
report.json(
    feed=fed,
    windows=len(counts),
    windows_that_lack_rows=len(short),
    newest_window_lags_s=lag,
    rss_mb={"second_quarter": round(first), "last_quarter": round(last), "largest": round(max(peaks))},
    flat=flat,
)
if lag > LAG_S:
    with open(f"{folder}/log", encoding="utf-8") as log:
        print("it stands still; the end of its log:", *log.readlines()[-40:], sep="\n")
harness.leave(0 if flat and lag <= LAG_S else 1)
