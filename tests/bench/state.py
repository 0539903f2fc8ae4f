"""What a gigabyte of state costs: the pauses that commits and snapshots make, and a restart.

Counts and sums of keys of 48 characters are kept; a group that reaches a number is printed, which none does but for one
key at the end. Epochs are files of JSON, one each: first --keys new keys, then --epochs epochs that touch 1 % of them,
then SIGKILL, page cache dropped, and a start whose first row is waited for; then --wide epochs that touch 20 %.

A pause is what lies between two epochs' computations: all of an epoch's time but computing and looking for new files. It
holds the write-ahead log, the commit, the folding of the epoch into the state, and the start of a snapshot.
"""
import datetime
import glob
import json
import os
import subprocess
import sys
import time

import duckdb

import harness

SCHEMA = "k STRING, v BIGINT"
FOUND = "SELECT k, count(*) AS n, sum(v) AS s FROM events GROUP BY k HAVING sum(v) > 1000000000000"
SELECT = "SELECT md5(({n})::VARCHAR) || substr(md5((({n}) + 1)::VARCHAR), 1, 16) AS k, {v} AS v FROM range({rows}) it(i)"

cli = harness.arguments(__doc__)
cli.add_argument("--keys", type=int, default=8_000_000)
cli.add_argument("--epochs", type=int, default=1000)
cli.add_argument("--wide", type=int, default=50)
cli = cli.parse_args()
LOAD = 16


def write(path, rows, n, v="i % 1000"):
    select = SELECT.format(n=n, v=v, rows=rows)
    duckdb.execute(f"COPY ({select}) TO '{path}' (FORMAT json)")


def made(folder):
    """Files that are read as they are linked into the folder of the source: all keys, 1 % at random, 20 %."""
    if os.path.isdir(folder):
        return
    os.makedirs(new := f"{folder}.new")
    part = cli.keys // LOAD
    for f in range(LOAD):
        write(f"{new}/load{f:02}.json", part, f"(i + {f * part})")
    for f in range(50):
        write(f"{new}/narrow{f:02}.json", cli.keys // 100, f"hash(i + {f * 7919}) % {cli.keys}")
    for f in range(5):
        write(f"{new}/wide{f:02}.json", cli.keys // 5, f"hash(i + {f * 104729}) % {cli.keys}")
    write(f"{new}/last.json", 1, "0", "2000000000000")
    os.rename(new, folder)


class Run:
    """A process that goes on with the query, and its progress objects."""

    def __init__(self, folder):
        source = {"connector.class": "file", "path": f"{folder}/in", "format": "json", "schema": SCHEMA, "max.files.per.trigger": 1}
        sink = {"connector.class": "console", "truncate": False, "sql": FOUND, "output.mode": "update"}
        path = harness.pipeline(folder, {"events": source}, sink)
        self.started = time.monotonic()
        command = [cli.bin, "run", path, "--progress", "json"]
        self.screen = open(f"{folder}/screen", "a+")
        self.process = subprocess.Popen(command, stdout=self.screen, stderr=subprocess.PIPE, text=True)

    def epochs(self, count):
        """The next `count` progress objects of epochs with data."""
        found = []
        while len(found) < count:
            line = self.process.stderr.readline()
            if not line.startswith("{"):
                sys.exit(f"failed: {line or 'it has ended'}")
            told = json.loads(line)
            if told["numInputRows"]:
                found.append(told)
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()


def feed(folder, source, kind, count):
    """Links `count` files of a kind into the folder that is read."""
    files = sorted(glob.glob(f"{source}/{kind}*.json"))
    for at in range(count):
        feed.number += 1
        os.symlink(files[at % len(files)], f"{folder}/in/{feed.number:06}.json")


feed.number = 0


def snapshots(folder):
    return {it for it in os.listdir(f"{folder}/checkpoint/state/snapshots") if not it.startswith(".")}


def pauses(epochs):
    """Milliseconds between the end of each computation and the start of the next epoch."""
    found = []
    for this, after in zip(epochs, epochs[1:]):
        at = [time_ms(it["timestamp"]) for it in (this, after)]
        spent = this["durationMs"]
        found.append(at[1] - at[0] - spent["addBatch"] - spent["getBatch"] - spent["latestOffset"])
    return found


def time_ms(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


def told(report, what, epochs, **more):
    gaps, work = sorted(pauses(epochs)), sorted(it["durationMs"]["addBatch"] for it in epochs)
    at = lambda them, share: round(them[min(len(them) - 1, int(len(them) * share))], 1)
    state = epochs[-1]["stateOperators"][0]
    report.json(
        what=what, epochs=len(epochs), rows_an_epoch=epochs[-1]["numInputRows"], keys=state["numRowsTotal"],
        state_mb=state["memoryUsedBytes"] >> 20, pause_ms={"p50": at(gaps, 0.5), "p99": at(gaps, 0.99), "max": round(gaps[-1], 1)},
        compute_ms={"p50": at(work, 0.5), "p99": at(work, 0.99), "max": work[-1]}, **more,
    )


def drop_caches():
    subprocess.run(["sync"], check=True)
    try:
        with open("/proc/sys/vm/drop_caches", "w") as out:
            out.write("3")
        return True
    except OSError:
        return False


report = harness.Report(cli.out)
source, folder = f"{cli.cache}/state-{cli.keys}", harness.fresh(cli, "state")
made(source)
os.makedirs(f"{folder}/in")
feed(folder, source, "load", LOAD)
run = Run(folder)
loaded = run.epochs(LOAD)
report.json(what="load", keys=loaded[-1]["stateOperators"][0]["numRowsTotal"], seconds=round(time.monotonic() - run.started, 1))
seen = snapshots(folder)
feed(folder, source, "narrow", cli.epochs)
narrow, memory = [], []
while len(narrow) < cli.epochs:
    narrow += run.epochs(min(10, cli.epochs - len(narrow)))
    seen |= snapshots(folder)
    memory.append(harness.rss_mb(run.process.pid))
tenth = max(1, len(memory) // 10)
rss = [round(max(memory[at : at + tenth])) for at in range(0, len(memory), tenth)]
more = {"snapshots": len(seen), "rss_mb_by_tenths": rss, "peak_mb": round(harness.peak_mb(run.process.pid))}
told(report, "1 % of the keys an epoch", narrow, **more)
run.kill()
dropped = drop_caches()
feed(folder, source, "last", 1)
run = Run(folder)
run.epochs(1)
report.json(what="restart after SIGKILL to the first row", seconds=round(time.monotonic() - run.started, 2), page_cache_dropped=dropped)
run.screen.seek(0)
if "cfcd208495d565ef66e7dff9f98764da" not in run.screen.read():
    sys.exit("the row that was waited for is not on the screen")
feed(folder, source, "wide", cli.wide)
told(report, "20 % of the keys an epoch", run.epochs(cli.wide), peak_mb=round(harness.peak_mb(run.process.pid)))
run.kill()
harness.leave()
