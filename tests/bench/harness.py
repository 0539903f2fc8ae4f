"""What all benchmarks share: click pipelines, processes that are timed as trees, topics that are filled once, medians.

CPU seconds of a process are user and system time of itself and of all children that it waited for. Peak RSS is the
largest of what was sampled: resident memory of the tree, and the high-water mark of each process. (ru_maxrss is no use: a
child begins with the mark of the Python process that started it.)
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

CLICKS = "event_id STRING, user_id BIGINT, page STRING, action STRING, amount DOUBLE, ts TIMESTAMP, agent STRING"
WATERMARK = {"column": "ts", "delay": "10 minutes"}
TUMBLING = (
    "SELECT window.start AS start, window.end AS end, page, count(*) AS views, count(user_id) AS users "
    "FROM clicks GROUP BY window(ts, '5 minutes'), page"
)
FILTER = "SELECT event_id, user_id, page, amount, ts FROM clicks WHERE action = 'click'"
CORES = os.cpu_count()
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
SILENT = 0  # librdkafka's log_level: errors come as exceptions
# Clients of all systems write with these.
PRODUCER = {"linger.ms": 20, "batch.size": 262144, "compression.type": "lz4"}


def arguments(doc):
    """A parser with what every benchmark is given by run.sh."""
    cli = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bin", "servers", "folder", "cache"):
        cli.add_argument(f"--{name}", required=True)
    cli.add_argument("--out", help="results are added to this file")
    return cli


def kafka_source(servers, topic, schema=CLICKS, watermark=WATERMARK):
    source = {"connector.class": "kafka", "kafka.bootstrap.servers": servers, "topics": topic}
    source |= {"starting.offsets": "earliest", "value.format": "json", "schema": schema}
    return source | ({"watermark": watermark} if watermark else {})


def file_source(path):
    return {"connector.class": "file", "path": path, "format": "json", "schema": CLICKS, "watermark": WATERMARK}


def kafka_sink(servers, topic, sql):
    sink = {"connector.class": "kafka", "kafka.bootstrap.servers": servers, "topic": topic, "value.format": "json"}
    return sink | {"delivery": "at-least-once", "sql": sql}


def delta_sink(folder, sql, name="table"):
    return {"connector.class": "delta", "path": f"{folder}/{name}", "sql": sql}


def pipeline(folder, source, sinks, **keys):
    """Writes a pipeline: one source, which SQL calls `clicks`, or several by name, and one sink or several by name; keys
    of the pipeline are spelt with `_` for `.`. Its path."""
    sources = {"clicks": source} if "connector.class" in source else source
    sinks = {"out": sinks} if "connector.class" in sinks else sinks
    keys = {key.replace("_", "."): value for key, value in keys.items()}
    keys = {"name": "bench", "checkpoint.location": f"{folder}/checkpoint"} | keys
    path = f"{folder}/pipeline.json"
    with open(path, "w") as out:
        json.dump(keys | {"sources": sources, "sinks": sinks}, out, indent=1)
    return path


def fresh(cli, name):
    """An empty folder for one run."""
    folder = os.path.join(os.path.abspath(cli.folder), name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def tree(pid):
    """A process and all below it."""
    found, rest = [], [pid]
    while rest:
        one = rest.pop()
        found.append(one)
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                rest += map(int, open(f"/proc/{one}/task/{task}/children").read().split())
        except OSError:
            pass
    return found


def rss_mb(pid):
    """What a process and all below it have in memory now."""
    pages = 0
    for one in tree(pid):
        try:
            pages += int(open(f"/proc/{one}/statm").read().split()[1])
        except OSError:
            pass
    return pages * PAGE_KB / 1024


def peak_mb(pid):
    """The most that one of these processes had since its exec()."""
    peak = 0
    for one in tree(pid):
        try:
            peak = max([peak, *(int(it.split()[1]) for it in open(f"/proc/{one}/status") if it.startswith("VmHWM"))])
        except OSError:
            pass
    return peak / 1024


def cpu_s(pid):
    """CPU seconds of a living process."""
    return sum(map(int, open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13])) / TICKS


def timed(command, log, env=None, rss_every=0.05):
    """Runs a command to its end."""
    peak, ended = [0], threading.Event()

    def sample(pid):
        while not ended.wait(rss_every):
            peak[0] = max(peak[0], rss_mb(pid), peak_mb(pid))

    with open(log, "w") as out:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(env or {})})
        sampler = threading.Thread(target=sample, args=[process.pid])
        sampler.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = status
        ended.set()
        sampler.join()
    if status != 0:
        failed(log)
    return {"wall_s": round(wall, 3), "cpu_s": round(used.ru_utime + used.ru_stime, 3), "rss_mb": round(peak[0])}


def start(command, log):
    """Starts a command that runs until `stop`."""
    with open(log, "w") as out:
        return subprocess.Popen(command, stdout=out, stderr=out)


def failed(log):
    """Ends the benchmark with the end of a log."""
    sys.exit(f"it failed: {open(log).read()[-3000:]}")


def stop(process):
    process.terminate()
    process.wait()


def progress(log):
    """The progress objects that a run with `--progress json` told."""
    return [json.loads(it) for it in open(log) if it.startswith("{")]


def clicks(cli, events, topic=True):
    """The name of a topic with so many click documents, or their folder; made when it is first asked for."""
    folder = f"{cli.cache}/clicks-{events}"
    here = os.path.dirname(os.path.abspath(__file__))
    if not os.path.isdir(folder):
        generate = os.path.join(here, "../../examples/clicks/generate.py")
        command = [sys.executable, generate, "--events", str(events), "--seed", "1", "--files", "4", "--out", f"{folder}.new"]
        subprocess.run(command, check=True)
        os.rename(f"{folder}.new", folder)
    if not topic:
        return folder
    name = f"clicks-{events}"
    if name not in admin(cli.servers).list_topics(timeout=30).topics:
        subprocess.run([sys.executable, os.path.join(here, "fill.py"), cli.servers, name, folder], check=True)
    client, there = consumer(cli.servers, name)
    client.close()
    if there != events:
        sys.exit(f"{name} holds {there} documents: its filling was cut short, remove the broker's folder")
    return name


def consumer(servers, topic):
    """A consumer of a topic that stands at its start, and the number of its records."""
    from confluent_kafka import Consumer, TopicPartition

    settings = {"group.id": f"bench-{topic}", "enable.auto.commit": False, "log_level": SILENT}
    client = Consumer({"bootstrap.servers": servers, **settings})
    places = [TopicPartition(topic, it, 0) for it in client.list_topics(topic, timeout=30).topics[topic].partitions]
    client.assign(places)
    return client, sum(client.get_watermark_offsets(it, timeout=30)[1] for it in places)


def admin(servers):
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": servers, "log_level": SILENT})


def new_topic(servers, name, **config):
    """A fresh topic of four partitions."""
    from confluent_kafka.admin import NewTopic

    client = admin(servers)
    if name in client.list_topics(timeout=30).topics:
        client.delete_topics([name])[name].result()
        while name in client.list_topics(timeout=30).topics:
            time.sleep(0.1)
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    client.create_topics([NewTopic(name, 4, 1, config=config)])[name].result()
    return name


def drop_topic(servers, name):
    client = admin(servers)  # the answer is lost if nobody holds the client
    client.delete_topics([name])[name].result()


def spread(values):
    """Median, smallest and largest of what was measured."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def shown(name, values, unit):
    at = lambda share: percentile(values, share)
    return f"{name}: median {at(0.5):,.0f} {unit}, 90 % {at(0.9):,.0f}, 99 % {at(0.99):,.0f}, largest {max(values):,.0f}"


class Report:
    """Tells results as they come, and adds them to a file."""

    def __init__(self, out):
        self.out = open(out, "a") if out else None

    def line(self, text):
        print(text, flush=True)
        if self.out:
            print(text, file=self.out, flush=True)

    def json(self, **found):
        self.line(json.dumps(found))


def leave(code=0):
    """Ends at once: libraries of deltalake and pyarrow may abort in the interpreter's own exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
