"""From exec() to the first version of the job's Delta table, and to the first that holds rows, as this process sees them.

The topic is filled before, the trigger is the default one, and each run has a checkpoint and a table of its own.
"""
import time

import harness

LOOK_S = 0.0005
PATIENCE_S = 60

cli = harness.arguments(__doc__)
cli.add_argument("--events", type=int, default=3_000_000)
cli.add_argument("--runs", type=int, default=20)
cli = cli.parse_args()
topic = harness.clicks(cli, cli.events)
found = {"first_version_ms": [], "first_rows_ms": []}
for _ in range(cli.runs):
    folder = harness.fresh(cli, "startup")
    source, sink = harness.kafka_source(cli.servers, topic), harness.delta_sink(folder, harness.TUMBLING)
    pipeline = harness.pipeline(folder, source, sink)
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
        seen.setdefault("first_version_ms", elapsed)
        version += 1
        if '"add"' in actions:
            seen["first_rows_ms"] = elapsed
    harness.stop(process)
    for what, value in seen.items():
        found[what].append(value)
report = harness.Report(cli.out)
medians = {what: {key: round(it) for key, it in harness.spread(values).items()} for what, values in found.items()}
report.json(startup_over_events=cli.events, runs=cli.runs, **medians)
harness.leave()
