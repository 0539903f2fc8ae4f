"""From exec() to versions of a job's Delta table, as this process sees them. The topic is filled before, the trigger is the
default one, and each run has a checkpoint and a table of its own.

first_version_ms  the first version: the table has been made
first_rows_ms     the first that holds rows
job A     windows into a table. An epoch ends where the topic ended when it was planned, so the first is the whole topic,
          and windows appear with the epoch after it.
bounded   the same with epochs of --rows-per-epoch: the watermark closes the first windows in the second.
stateless filter and projection into a table, with epochs of --rows-per-epoch: rows appear with the first.
"""
import time

import harness

LOOK_S = 0.0005
PATIENCE_S = 60

cli = harness.arguments(__doc__)
cli.add_argument("--events", type=int, default=3_000_000)
cli.add_argument("--runs", type=int, default=20)
cli.add_argument("--rows-per-epoch", type=int, default=100_000)
cli.add_argument("--jobs", nargs="+", default=["A", "bounded", "stateless"], choices=["A", "bounded", "stateless"])
cli = cli.parse_args()
topic = harness.clicks(cli, cli.events)


def first_versions(job):
    """Milliseconds to the first version and to the first with rows, and the CPU used until then."""
    folder = harness.fresh(cli, "startup")
    source = harness.kafka_source(cli.servers, topic)
    sink = harness.delta_sink(folder, harness.FILTER if job == "stateless" else harness.TUMBLING)
    keys = {} if job == "A" else {"max_rows_per_epoch": cli.rows_per_epoch}
    pipeline = harness.pipeline(folder, source, sink, **keys)
    started = time.monotonic()
    process = harness.start([cli.bin, "run", pipeline], f"{folder}/log")
    version, seen = 0, {}
    while "first_rows_ms" not in seen:
        elapsed = (time.monotonic() - started) * 1000
        if process.poll() is not None or elapsed > PATIENCE_S * 1000:
            harness.failed(f"{folder}/log")
        try:
            actions = open(f"{folder}/table/_delta_log/{version:020}.json").read()
        except OSError:
            time.sleep(LOOK_S)
            continue
        if version == 0:
            seen |= {"first_version_ms": elapsed, "cpu_ms_then": harness.cpu_s(process.pid) * 1000}
        version += 1
        if '"add"' in actions:
            seen |= {"first_rows_ms": elapsed, "cpu_ms_with_rows": harness.cpu_s(process.pid) * 1000}
    harness.stop(process)
    return seen


report = harness.Report(cli.out)
found = {job: [] for job in cli.jobs}
for _ in range(cli.runs):
    for job in cli.jobs:
        found[job].append(first_versions(job))
for job, runs in found.items():
    spread = {what: harness.spread([run[what] for run in runs]) for what in runs[0]}
    rounded = {what: {key: round(it) for key, it in each.items()} for what, each in spread.items()}
    epochs = "unbounded" if job == "A" else cli.rows_per_epoch
    report.json(startup=job, over_events=cli.events, rows_per_epoch=epochs, runs=cli.runs, **rounded)
harness.leave()
