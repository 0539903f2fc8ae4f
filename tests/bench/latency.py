"""How long an event takes, from the call that produces it until another process can read it.

kafka  --kafka-rate events a second, Kafka to Kafka (at least once), seen by a consumer; beside it the same for the topic
       that is read, which is Kafka's own share
delta  --delta-rate events a second, Kafka to Delta: a row is readable once the table's log has the version that names its
       file; a process looks for the next version all 2 ms
All triggers are the default one. The first --warm-up seconds do not count: until then a young broker is busy translating
its own code. Whoever measures must not be what is measured: two cores run the broker, tidegate, the feed and the readers,
so these take records in bulk, with `sent` cut out of the text, and a step of the feed goes to one partition.
"""
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time

import harness

SCHEMA = "event_id STRING, page STRING, sent BIGINT"
SQL = "SELECT event_id, page, sent FROM clicks"
SETTLE_S = 5
LOOK_S = 0.002
MOST = 1000
SENT = re.compile(rb'"sent":(\d+)')


def read_topic(servers, topic, until, after_us, told):
    """Milliseconds between `sent` and now of each record of a topic."""
    consumer, _ = harness.consumer(servers, topic)
    found = []
    while time.time() < until:
        first = consumer.poll(0.1)
        if first is None:
            continue
        # With a time-out of nothing it takes what is there; with another it would wait for so many.
        messages = [first, *consumer.consume(MOST, 0)]
        now = time.time_ns() // 1000
        for message in messages:
            sent = 0 if message.error() else int(SENT.search(message.value())[1])
            if sent >= after_us:
                found.append((now - sent) / 1000)
    told.send(found)


def watch_table(folder, until, after_us, told):
    """When each version of a table appeared, then milliseconds between `sent` and that of each row."""
    version, seen = 0, []
    while time.time() < until:
        try:
            log = open(f"{folder}/_delta_log/{version:020}.json")
        except OSError:
            time.sleep(LOOK_S)
            continue
        seen.append((time.time_ns() // 1000, log.read()))
        version += 1
    import pyarrow.parquet

    found = []
    for at, log in seen:
        for action in map(json.loads, log.splitlines()):
            if "add" in action:
                path = os.path.join(folder, action["add"]["path"])
                sent = pyarrow.parquet.read_table(path, columns=["sent"]).column("sent").to_pylist()
                found += [(at - it) / 1000 for it in sent if it >= after_us]
    told.send(found)
    told.close()
    harness.leave()


def measured(cli, name, rate, sink, watchers):
    """Runs a pipeline and a feed; what each watcher saw."""
    folder = harness.fresh(cli, name)
    source = harness.kafka_source(cli.servers, f"in-{name}", SCHEMA, watermark=None)
    process = harness.start([cli.bin, "run", harness.pipeline(folder, source, sink(folder))], f"{folder}/log")
    time.sleep(SETTLE_S)
    started = time.time()
    after_us, until = int((started + cli.warm_up) * 1e6), started + cli.warm_up + cli.seconds + SETTLE_S
    running = []
    for what, watcher, place in watchers(folder):
        told, end = multiprocessing.Pipe(duplex=False)
        extra = (cli.servers,) if watcher is read_topic else ()
        one = multiprocessing.Process(target=watcher, args=(*extra, place, until, after_us, end))
        one.start()
        running.append((what, one, told))
    feed = os.path.join(os.path.dirname(os.path.abspath(__file__)), "feed.py")
    command = [sys.executable, feed, cli.servers, f"in-{name}", str(rate), str(cli.warm_up + cli.seconds)]
    fed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    cpu, wall = harness.cpu_s(process.pid), time.time() - started
    found = {}
    for what, one, told in running:
        found[what] = told.recv()
        one.join()
    if process.poll() is not None:
        harness.failed(f"{folder}/log")
    harness.stop(process)
    return fed, found, round(cpu / wall * 100)


def tell(report, name, rate, fed, found, cpu):
    for what, values in found.items():
        if not values:
            sys.exit(f"{name}: {what} was never seen")
        at = {f"p{share * 100:g}_ms": round(harness.percentile(values, share), 1) for share in (0.5, 0.9, 0.99, 0.999)}
        report.json(path=name, seen=what, rate=rate, events=len(values), **at, max_ms=round(max(values), 1))
    report.json(path=name, feed=fed, tidegate_cpu_percent=cpu)


def main():
    cli = harness.arguments(__doc__)
    cli.add_argument("--path", choices=["kafka", "delta"], nargs="+", default=["kafka", "delta"])
    cli.add_argument("--seconds", type=float, default=60)
    cli.add_argument("--warm-up", type=float, default=30)
    cli.add_argument("--kafka-rate", type=int, default=10_000)
    cli.add_argument("--delta-rate", type=int, default=50_000)
    cli = cli.parse_args()
    report = harness.Report(cli.out)
    if "kafka" in cli.path:
        for topic in ("in-kafka", "out-kafka"):
            harness.new_topic(cli.servers, topic)
        sink = lambda _: harness.kafka_sink(cli.servers, "out-kafka", SQL)
        watchers = lambda _: [("result", read_topic, "out-kafka"), ("input (Kafka alone)", read_topic, "in-kafka")]
        tell(report, "Kafka to Kafka", cli.kafka_rate, *measured(cli, "kafka", cli.kafka_rate, sink, watchers))
    if "delta" in cli.path:
        harness.new_topic(cli.servers, "in-delta")
        sink = lambda folder: harness.delta_sink(folder, SQL)
        watchers = lambda folder: [("result", watch_table, f"{folder}/table")]
        tell(report, "Kafka to Delta", cli.delta_rate, *measured(cli, "delta", cli.delta_rate, sink, watchers))
    harness.leave()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
