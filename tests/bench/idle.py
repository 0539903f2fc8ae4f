"""What a process costs that waits for data: share of a core over --seconds, after its topic was read to the end.

Epochs without data are measured by epochs.sh.
"""
import time

import harness

SETTLE_S = 5

cli = harness.arguments(__doc__)
cli.add_argument("--seconds", type=float, default=60)
cli = cli.parse_args()
folder = harness.fresh(cli, "idle")
source = harness.kafka_source(cli.servers, harness.clicks(cli, 20_000))
sink = harness.delta_sink(folder, harness.TUMBLING)
process = harness.start([cli.bin, "run", harness.pipeline(folder, source, sink)], f"{folder}/log")
time.sleep(SETTLE_S)
before = harness.cpu_s(process.pid)
time.sleep(cli.seconds)
used = harness.cpu_s(process.pid) - before
rss = harness.rss_mb(process.pid)
harness.stop(process)
harness.Report(cli.out).json(idle_cpu_percent=round(used / cli.seconds * 100, 2), rss_mb=round(rss), seconds=cli.seconds)
