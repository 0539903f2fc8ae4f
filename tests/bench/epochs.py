"""What the protocol costs: epochs without data, the staging of two sinks.

usage: epochs.py empty --bin TIDEGATE [--epochs N]
       epochs.py staging --bin TIDEGATE --servers HOST:PORT --topic TOPIC --events N [--pairs N] [--rows N]
       epochs.py puts --bin TIDEGATE --servers HOST:PORT --topic TOPIC --log FILE [--rows N]

empty    N epochs that have no data and close one window each, on local disk: their own progress objects tell the time
         of an epoch and of its fsyncs. A socket brings one row, waits until it has closed the window before, and brings
         the next. The sink is a console, so that no table counts.
staging  the click job with two Delta sinks from Kafka, `stage.outputs` true and false by turns: throughput of each
         pair of runs, start-up left out, and the median of their ratios.
puts     the same job with its checkpoint on an object store (AWS_* in the environment): requests that write, by what
         they write, as the server's log (FILE) has them. Tables stay on the local disk.
"""
import argparse
import collections
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

import harness

cli = argparse.ArgumentParser()
cli.add_argument("what", choices=["empty", "staging", "puts"])
cli.add_argument("--bin", required=True)
cli.add_argument("--epochs", type=int, default=10_000)
cli.add_argument("--servers")
cli.add_argument("--topic")
cli.add_argument("--events", type=int, default=0)
cli.add_argument("--log")
cli.add_argument("--pairs", type=int, default=7)
cli.add_argument("--rows", type=int, default=50_000)
cli = cli.parse_args()

EMPTY = {
    "views": {"ticks": {"sql": "SELECT CAST(value AS TIMESTAMP) AS ts FROM clicks", "watermark": {"column": "ts", "delay": "0 seconds"}}}
}
SCREEN = {
    "connector.class": "console",
    "sql": "SELECT window.start AS start, count(*) AS n FROM ticks GROUP BY window(ts, '1 second')",
    "output.mode": "append",
}


def staged(folder, stage, **keys):
    """The click job with two Delta sinks: its progress objects and CPU seconds."""
    sinks = {"table": harness.delta_sink(folder, harness.TUMBLING), "copy": harness.delta_sink(folder, harness.FILTER, "copy")}
    source = harness.kafka_source(cli.servers, cli.topic)
    keys |= {"trigger": "available-now", "max_rows_per_epoch": cli.rows, "stage_outputs": stage}
    path = harness.pipeline(folder, source, sinks, **keys)
    took = harness.timed([cli.bin, "run", path, "--progress", "json"], f"{folder}/log")
    return harness.progress(f"{folder}/log"), took["cpu_s"]


def empty(folder):
    server = socket.create_server(("127.0.0.1", 0))
    source = {"connector.class": "socket", "host": "127.0.0.1", "port": server.getsockname()[1]}
    pipeline = harness.pipeline(folder, source, SCREEN, **EMPTY)
    command = [cli.bin, "run", pipeline, "--progress", "json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peer, _ = server.accept()
    costs, second = [], 0
    while len(costs) < cli.epochs:
        peer.sendall(time.strftime("%Y-%m-%d %H:%M:%S\n", time.gmtime(second)).encode())
        second += 1
        for line in process.stderr:
            if not line.startswith("{"):
                sys.exit(f"failed: {line}")
            told = json.loads(line)
            # The first row has no window before it.
            if told["numInputRows"] == 0 or second == 1:
                break
        if second > 1:
            costs.append(told["stateOperators"][0]["customMetrics"])
    harness.stop(process)
    engine = [it["epochTimeUs"] - it["fsyncTimeUs"] for it in costs]
    print(f"{len(costs)} epochs without data, one stateful operator, local disk")
    print(harness.shown("engine time (fsyncs left out)", engine, "us"))
    print(harness.shown("time in fsync", [it["fsyncTimeUs"] for it in costs], "us"))
    print(harness.shown("fsyncs", [it["fsyncs"] for it in costs], "an epoch"))
    return statistics.median(engine) < 1000


def staging(folder):
    ratios, rates = [], {"true": [], "false": []}
    for pair in range(cli.pairs):
        for stage in ("true", "false") if pair % 2 == 0 else ("false", "true"):
            shutil.rmtree(folder)
            os.makedirs(folder)
            objects, cpu = staged(folder, stage == "true")
            rows, ms = sum(it["numInputRows"] for it in objects), sum(it["batchDuration"] for it in objects)
            if rows != cli.events:
                sys.exit(f"read {rows} of {cli.events} events")
            rates[stage].append(rows / ms * 1000)
            print(json.dumps({"stage.outputs": stage, "epochs": len(objects), "rows_per_s": round(rows / ms * 1000), "cpu_s": cpu}), flush=True)
        ratios.append(rates["true"][-1] / rates["false"][-1])
    cost = (1 - statistics.median(ratios)) * 100
    print(f"{cli.events} events, two Delta sinks, {cli.pairs} pairs of runs by turns, {cli.rows} rows an epoch")
    for stage, found in rates.items():
        print(f"stage.outputs {stage}: median {statistics.median(found):,.0f} rows/s")
    print(f"staging costs {cost:.1f} % of throughput (median of pairs: {', '.join(f'{it:.2f}' for it in ratios)})")
    return cost < 15


def puts(folder):
    checkpoint = f"s3://tidegate/puts-{os.getpid()}"
    objects, _ = staged(folder, True, checkpoint_location=checkpoint)
    written = collections.Counter()
    for method, name in re.findall(r'"(PUT|POST) /tidegate/puts-%d/(\S*) HTTP' % os.getpid(), open(cli.log).read()):
        written[re.sub(r"[0-9][0-9.]*(?=/|$|\?)", "N", urllib.parse.unquote(name).split("?")[0])] += 1
    epochs = len(objects)
    print(f"{epochs} epochs with two Delta sinks, checkpoint on an object store: requests that write to it")
    for name, count in sorted(written.items(), key=lambda it: -it[1]):
        print(f"  {name}: {count} ({count / epochs:.2f} an epoch)")
    each = sum(count for count in written.values() if count >= epochs * 0.9)
    print(f"requests that each epoch makes: {each / epochs:.2f}")
    return each / epochs < 1.05


with tempfile.TemporaryDirectory() as folder:
    inner = os.path.join(folder, "run")
    os.makedirs(inner)
    sys.exit(0 if {"empty": empty, "staging": staging, "puts": puts}[cli.what](inner) else 1)
