"""A flame graph of the click job over a filled topic: where its CPU time goes.

Needs `perf` and, from `cargo install inferno`, `inferno-collapse-perf` and `inferno-flamegraph`.
"""
import subprocess

import harness

cli = harness.arguments(__doc__)
cli.add_argument("--events", type=int, default=10_000_000)
cli.add_argument("--hertz", type=int, default=199)
cli.add_argument("--svg", default="job-a.svg", help="where the picture goes")
cli = cli.parse_args()
topic = harness.clicks(cli, cli.events)
folder = harness.fresh(cli, "flame")
source, sink = harness.kafka_source(cli.servers, topic), harness.delta_sink(folder, harness.TUMBLING)
pipeline = harness.pipeline(folder, source, sink, trigger="available-now")
data = f"{folder}/perf.data"
record = ["perf", "record", "-q", "-F", str(cli.hertz), "--call-graph", "dwarf,16384", "-o", data, "--"]
harness.timed([*record, cli.bin, "run", pipeline], f"{folder}/log")
script = subprocess.run(["perf", "script", "--no-inline", "-i", data], check=True, capture_output=True).stdout
folded = subprocess.run(["inferno-collapse-perf"], input=script, check=True, capture_output=True).stdout
title = f"Job A over {cli.events:,} events"
draw = ["inferno-flamegraph", "--title", title, "--minwidth", "0.3", "--countname", "ns"]
with open(cli.svg, "wb") as picture:
    subprocess.run(draw, input=folded, check=True, stdout=picture)
spent = sum(int(it.rsplit(None, 1)[1]) for it in folded.decode().splitlines())
print(f"{spent / 1e9:.2f} CPU-seconds in {cli.svg}")
harness.leave()
