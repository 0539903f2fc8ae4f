"""Times the same job on tidegate, PySpark, Flink and in a plain loop, and compares what they wrote.

One-shot: --events documents, from process start to its end after the last commit. Start-up: the same over 20,000
documents. Warm: the rate of the documents that --warm has beyond --events, which is (warm - events) / (CPU seconds of the
long run - those of the short one); start-up, compilation and exit cancel out.
All commit each --rows-per-epoch documents; Flink, which can't count, each --flink-commit-s seconds.
Prints a JSON line a run, and for each job a table of medians with the smallest and largest rate.
"""
import statistics
import sys

import harness
import jobs

STARTUP = 20_000
WITHOUT = {"B": {"floor", "spark-delta", "spark-rocksdb"}, "sliding": {"floor", "connect"}, "A": {"connect"}}

cli = harness.arguments(__doc__)
cli.add_argument("--job", choices=["A", "B", "sliding"], nargs="+", default=["A", "B"])
cli.add_argument("--source", choices=["kafka", "file"], default="kafka")
cli.add_argument("--systems", choices=jobs.SYSTEMS, nargs="+", default=jobs.SYSTEMS)
cli.add_argument("--events", type=int, default=3_000_000)
cli.add_argument("--warm", type=int, default=0)
cli.add_argument("--runs", type=int, default=5)
cli.add_argument("--rows-per-epoch", type=int, default=3_000_000)
cli.add_argument("--flink-commit-s", type=int, default=10)
for name in ("spark", "flink", "connect", "floor"):
    cli.add_argument(f"--{name}")
cli = cli.parse_args()


def once(system, job, events):
    """One run: what it took and what it wrote."""
    folder = harness.fresh(cli, system)
    source = harness.clicks(cli, events, topic=cli.source == "kafka")
    source = {"topic" if cli.source == "kafka" else "path": source}
    topic = f"out-{system}-{events}"
    if job == "B":
        harness.new_topic(cli.servers, topic)
    command, env = jobs.command(cli, system, job, source, folder, topic)
    found = harness.timed(command, f"{folder}/log", env)
    found = {"system": system, "job": job, "source": cli.source, "events": events, **found}
    found["rows_per_cpu_s"] = round(events / found["cpu_s"])
    if job == "B":
        rows = jobs.documents(cli.servers, topic)
        harness.drop_topic(cli.servers, topic)
    else:
        rows = folder
    return found, rows


def checked(system, rows, reference):
    """The rows of the first system are the reference of all."""
    if isinstance(rows, str):
        rows = jobs.windows(system, rows, max(it[1] for it in reference) if reference else None)
    count = rows[0] if isinstance(rows, tuple) else len(rows)
    if not count:
        sys.exit(f"{system} wrote nothing")
    if reference is not None and rows != reference:
        sys.exit(f"{system} wrote {count} rows that differ from the reference")
    return rows, count


def row(system, runs, startups, longs):
    """A line of the table, and the rates."""
    of = lambda found, key: statistics.median(it[key] for it in found)
    shot = harness.spread([it["rows_per_cpu_s"] for it in runs])
    rates = {"one-shot": shot["median"]}
    text = f"{system:14} {shot['median']:>10,.0f} {shot['min']:>10,.0f} {shot['max']:>10,.0f} {of(runs, 'cpu_s'):>7.2f}"
    text += f" {of(runs, 'wall_s'):>7.2f} {of(runs, 'rss_mb'):>6,.0f} {of(startups, 'wall_s'):>8.2f} {of(startups, 'cpu_s'):>8.2f}"
    if longs:
        more = [(cli.warm - cli.events) / max(0.001, b["cpu_s"] - a["cpu_s"]) for a, b in zip(runs, longs)]
        warm = harness.spread(more)
        rates["warm"] = warm["median"]
        text += f" {warm['median']:>10,.0f} {warm['min']:>10,.0f} {warm['max']:>10,.0f} {of(longs, 'wall_s'):>7.1f} {of(longs, 'rss_mb'):>6,.0f}"
    return text, rates


def compare(job, report):
    sizes = [STARTUP, cli.events] + ([cli.warm] if cli.warm > cli.events else [])
    # In this order: the reference must be one that leaves open windows open.
    systems = [it for it in jobs.SYSTEMS if it in cli.systems and it not in WITHOUT.get(job, set())]
    if cli.source == "file" or (job == "A" and not cli.floor):
        systems = [it for it in systems if it != "floor"]
    if not cli.connect:
        systems = [it for it in systems if it != "connect"]
    results, references, counts = {}, {}, {}
    for _ in range(cli.runs):
        for events in sizes:
            for system in systems:
                found, rows = once(system, job, events)
                report.json(**found)
                rows, counts[events] = checked(system, rows, references.get(events))
                references.setdefault(events, rows)
                results.setdefault((system, events), []).append(found)
    report.line(f"job {job} from {cli.source}: {', '.join(f'{n:,} events gave {m:,} rows' for n, m in counts.items())}; equal in all runs")
    head = f"{'system':14} {'rows/cpu-s':>10} {'min':>10} {'max':>10} {'cpu s':>7} {'wall s':>7} {'RSS MB':>6} {'start s':>8} {'its cpu':>8}"
    report.line(head + (f" {'warm r/c-s':>10} {'min':>10} {'max':>10} {'wall s':>7} {'RSS MB':>6}" if len(sizes) > 2 else ""))
    rates = {}
    for system in systems:
        mine = [results.get((system, it), []) for it in (cli.events, STARTUP, cli.warm)]
        text, rates[system] = row(system, *mine)
        report.line(text)
    return rates


report = harness.Report(cli.out)
everything = {job: compare(job, report) for job in cli.job}
for job, rates in everything.items():
    for kind, mine in rates.get("tidegate", {}).items():
        ratios = {it: round(mine / other[kind], 2) for it, other in rates.items() if it != "tidegate" and kind in other}
        report.json(job=job, source=cli.source, kind=kind, tidegate_times=ratios)
if {"A", "sliding"} <= set(everything):
    cost = everything["A"]["tidegate"]["one-shot"] / everything["sliding"]["tidegate"]["one-shot"]
    report.json(sliding_costs_times_tumbling=round(cost, 2))
harness.leave()
