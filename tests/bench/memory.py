"""Peak RSS of the click job over a whole topic as one epoch (and, with --rows-per-epoch, as several)."""
import harness

cli = harness.arguments(__doc__)
cli.add_argument("--events", type=int, default=30_000_000)
cli.add_argument("--runs", type=int, default=3)
cli.add_argument("--rows-per-epoch", type=int)
cli = cli.parse_args()
topic = harness.clicks(cli, cli.events)
report, peaks = harness.Report(cli.out), []
for _ in range(cli.runs):
    folder = harness.fresh(cli, "memory")
    keys = {"max_rows_per_epoch": cli.rows_per_epoch} if cli.rows_per_epoch else {}
    source, sink = harness.kafka_source(cli.servers, topic), harness.delta_sink(folder, harness.TUMBLING)
    pipeline = harness.pipeline(folder, source, sink, trigger="available-now", **keys)
    command = [cli.bin, "run", pipeline, "--progress", "json"]
    found = harness.timed(command, f"{folder}/log", rss_every=0.02)
    rows = [it["numInputRows"] for it in harness.progress(f"{folder}/log") if it["numInputRows"]]
    report.json(events=sum(rows), epochs_with_rows=len(rows), **found, rows_per_cpu_s=round(sum(rows) / found["cpu_s"]))
    peaks.append(found["rss_mb"])
report.json(peak_rss_mb=harness.spread(peaks))
harness.leave()
