"""The jobs, as each system runs them, and what they wrote, in one form.

A  Kafka or files, 5-minute windows, a table     B  Kafka, filter and projection, JSON in Kafka
sliding  as A, windows of 10 minutes each 10 seconds

systems: tidegate; spark-delta, spark-parquet (state in memory), spark-rocksdb (Parquet sink); flink (SQL, file sink of
JSON: no Delta sink for Flink 2 and no Parquet format is to be had from the registries); connect (Redpanda Connect, B
only); floor (A only: a plain loop).
"""
import glob
import hashlib
import json
import os
import time

import harness

SLIDING = harness.TUMBLING.replace("'5 minutes'", "'10 minutes', '10 seconds'")
SQL = {"A": harness.TUMBLING, "sliding": SLIDING, "B": harness.FILTER}
SYSTEMS = ["tidegate", "spark-delta", "spark-parquet", "spark-rocksdb", "flink", "connect", "floor"]
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
ROCKSDB = {
    "spark.sql.streaming.stateStore.providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
}
FLINK_SETTINGS = {
    "table.dml-sync": "true",
    "table.local-time-zone": "UTC",
    "pipeline.object-reuse": "true",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "parallelism.default": str(harness.CORES),
}
FLINK_VIEWS = (
    "SELECT window_start, window_end, page, COUNT(*), COUNT(user_id) FROM TABLE({window}) "
    "GROUP BY window_start, window_end, page"
)
FLINK_WINDOW = {
    "A": "TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTES)",
    "sliding": "HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECONDS, INTERVAL '10' MINUTES)",
}
FLINK_PACKAGES = "util lang time nio net io util.concurrent lang.invoke lang.reflect text".split()


def command(cli, system, job, source, folder, topic_out):
    """The command of a run and its environment."""
    if system == "tidegate":
        return tidegate(cli, job, source, folder, topic_out), None
    if system == "floor":
        return [cli.floor, cli.servers, source["topic"], f"{folder}/rows.json"], None
    if system == "flink":
        return flink(cli, job, source, folder, topic_out)
    if system == "connect":
        return connect(cli, source, folder, topic_out)
    return spark(cli, system, job, source, folder, topic_out)


def tidegate(cli, job, source, folder, topic_out):
    keys = {"trigger": "available-now"}
    if "topic" in source:
        keys["max_rows_per_epoch"] = cli.rows_per_epoch
        source = harness.kafka_source(cli.servers, source["topic"])
    else:
        source = harness.file_source(source["path"])
    if job == "B":
        source.pop("watermark")
        sink = kafka_sink(cli, topic_out, SQL["B"])
    else:
        sink = harness.delta_sink(folder, SQL[job])
    return [cli.bin, "run", harness.pipeline(folder, source, sink, **keys), "--progress", "json"]


def spark(cli, system, job, source, folder, topic_out):
    delta = system == "spark-delta"
    options = {"path": f"{folder}/table"}
    if job == "B":
        options = spark_kafka_sink(cli, topic_out)
    stream = {"schema": harness.CLICKS, "watermark": harness.WATERMARK}
    if "topic" in source:
        stream |= {"format": "kafka", "options": {"kafka.bootstrap.servers": cli.servers, "subscribe": source["topic"]}}
        stream["options"] |= {"startingOffsets": "earliest", "maxOffsetsPerTrigger": str(cli.rows_per_epoch)}
    else:
        stream |= {"format": "json", "path": source["path"], "options": {}}
    kind = "kafka" if job == "B" else "delta" if delta else "parquet"
    spec = {"sources": {"clicks": stream}, "sql": SQL[job], "sink": {"format": kind, "options": options}}
    return spark_submit(cli, system, spec, folder)


def kafka_sink(cli, topic, sql):
    sink = harness.kafka_sink(cli.servers, topic, sql)
    return sink | {f"producer.override.{key}": value for key, value in harness.PRODUCER.items()}


def spark_kafka_sink(cli, topic):
    options = {f"kafka.{key}": str(value) for key, value in harness.PRODUCER.items()}
    return options | {"kafka.bootstrap.servers": cli.servers, "topic": topic}


def spark_submit(cli, system, spec, folder, memory="2g"):
    """The command of spark_job.py and its environment; `spec` tells sources, SQL and sink."""
    settings = {"spark-delta": DELTA, "spark-rocksdb": ROCKSDB}.get(system, {})
    spec = {"cores": str(harness.CORES), "settings": settings, "mode": "append", "folder": folder} | spec
    jars = ",".join(sorted(glob.glob(f"{cli.cache}/jars-spark-*/*.jar")))
    submit = os.path.join(os.path.dirname(cli.spark), "spark-submit")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spark_job.py")
    return [submit, "--driver-memory", memory, "--jars", jars, script, json.dumps(spec)], {"PYSPARK_PYTHON": cli.spark}


def flink_table(name, columns, options):
    options = ", ".join(f"'{key}' = '{value}'" for key, value in options.items())
    return f"CREATE TABLE {name} ({columns}) WITH ({options});"


def flink(cli, job, source, folder, topic_out):
    """A SQL client with the cluster inside: one process. Files are read in batch mode, which needs no watermarks."""
    settings = FLINK_SETTINGS | {"execution.checkpointing.interval": f"{cli.flink_commit_s} s"}
    json_format = {"format": "json", "json.timestamp-format.standard": "ISO-8601"}
    read = json_format | {"json.ignore-parse-errors": "true"}
    kafka = {"connector": "kafka", "properties.bootstrap.servers": cli.servers}
    if "topic" in source:
        read |= kafka | {"topic": source["topic"], "scan.startup.mode": "earliest-offset"}
        read |= {"scan.bounded.mode": "latest-offset"}
    else:
        settings |= {"execution.runtime-mode": "batch", "table.exec.mini-batch.enabled": "false"}
        read |= {"connector": "filesystem", "path": f"file://{source['path']}"}
    columns = harness.CLICKS.replace("TIMESTAMP", "TIMESTAMP_LTZ(3)")
    columns += ", WATERMARK FOR ts AS ts - INTERVAL '10' MINUTE"
    if job == "B":
        written = "event_id STRING, user_id BIGINT, page STRING, amount DOUBLE, ts TIMESTAMP_LTZ(3)"
        write = kafka | json_format | {"topic": topic_out, "sink.delivery-guarantee": "at-least-once"}
        write |= {f"properties.{key}": value for key, value in harness.PRODUCER.items()}
        query = SQL["B"]
    else:
        written = "`start` TIMESTAMP_LTZ(3), `end` TIMESTAMP_LTZ(3), page STRING, `views` BIGINT, users BIGINT"
        write = json_format | {"connector": "filesystem", "path": f"file://{folder}/table"}
        query = FLINK_VIEWS.format(window=FLINK_WINDOW[job])
    with open(f"{folder}/job.sql", "w") as out:
        for key, value in settings.items():
            print(f"SET '{key}' = '{value}';", file=out)
        print(flink_table("clicks", columns, read), file=out)
        print(flink_table("result_rows", written, write), file=out)
        print(f"INSERT INTO result_rows {query};", file=out)
    os.makedirs(f"{folder}/tmp")
    with open(f"{folder}/config.yaml", "w") as out:
        print(f"execution.target: local\nio.tmp.dirs: {folder}/tmp", file=out)
    opens = [f"--add-opens=java.base/java.{it}=ALL-UNNAMED" for it in FLINK_PACKAGES]
    java = ["java", "-Xmx2g", *opens, "-cp", f"{cli.flink}/lib/*:{cli.flink}/opt/*"]
    client = ["org.apache.flink.table.client.SqlClient", "-f", f"{folder}/job.sql"]
    return java + client, {"FLINK_CONF_DIR": folder}


def connect(cli, source, folder, topic_out):
    """Batches of the size that made it fastest; it ends when nothing has come for a second."""
    brokers = {"seed_brokers": [cli.servers]}
    # A broker whose data is kept remembers what a group has read.
    group = f"{os.path.basename(topic_out)}-{time.time_ns()}"
    batching = {"count": 10_000, "period": "20ms"}
    read = brokers | {"topics": [source["topic"]], "consumer_group": group, "start_offset": "earliest"}
    read |= {"batching": batching, "checkpoint_limit": 100_000, "fetch_max_wait": "100ms"}
    fields = ", ".join(f'"{it}": this.{it}' for it in ("event_id", "user_id", "page", "amount", "ts"))
    mapping = f'root = if this.action == "click" {{ {{ {fields} }} }} else {{ deleted() }}'
    write = brokers | {"topic": topic_out, "compression": harness.PRODUCER["compression.type"], "max_in_flight": 10}
    spec = {
        "http": {"enabled": False},
        "logger": {"level": "ERROR"},
        "input": {"read_until": {"idle_timeout": "1s", "input": {"kafka_franz": read}}},
        "pipeline": {"threads": harness.CORES, "processors": [{"mapping": mapping}]},
        "output": {"kafka_franz": write},
    }
    with open(f"{folder}/connect.json", "w") as out:
        json.dump(spec, out, indent=1)
    return [cli.connect, "run", f"{folder}/connect.json"], None


def windows(system, folder, last=None):
    """What a windowed job wrote: sorted rows of start, end, page, views, users. Flink and the floor close all windows at
    the end of their input; of theirs, those that end after `last` are left out."""
    import deltalake
    import duckdb

    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    if system in ("tidegate", "spark-delta"):
        db.register("t", deltalake.DeltaTable(f"{folder}/table").to_pyarrow_table())
    elif system.startswith("spark"):
        db.execute(f"create view t as from read_parquet('{folder}/table/part-*.parquet')")
    else:
        found = f"{folder}/rows.json" if system == "floor" else f"{folder}/table/**"
        time = "BIGINT" if system == "floor" else "TIMESTAMPTZ"
        columns = f"{{start: '{time}', \"end\": '{time}', page: 'VARCHAR', views: 'BIGINT', users: 'BIGINT'}}"
        db.execute(f"create view u as from read_json('{found}', format = 'newline_delimited', columns = {columns})")
        seconds = "* replace (to_timestamp(start) as start, to_timestamp(\"end\") as \"end\")" if system == "floor" else "*"
        db.execute(f"create view t as select {seconds} from u")
    rows = db.execute(
        'select epoch_us("start"), epoch_us("end"), page, views, users from t '
        'where $last is null or epoch_us("end") <= $last order by all',
        {"last": last if system in ("flink", "floor") else None},
    )
    return rows.fetchall()


def click(value):
    """What counts of a document of job B. Flink leaves zeros at the end of a time out."""
    it = json.loads(value)
    seconds, _, part = it["ts"].rstrip("Z").partition(".")
    return f"{it['event_id']},{it.get('user_id')},{it['page']},{it['amount']},{seconds}.{part:0<3}".encode()


def documents(servers, topic, of=click):
    """Count of documents in a topic and a digest, of what counts of each, that does not depend on their order."""
    consumer, left = harness.consumer(servers, topic)
    count = digest = 0
    while left > 0:
        messages = consumer.consume(10_000, 5)
        if not messages:
            raise RuntimeError(f"{left} documents of {topic} can't be read")
        left -= len(messages)
        count += len(messages)
        for message in messages:
            digest += int.from_bytes(hashlib.blake2b(of(message.value()), digest_size=16).digest(), "little")
    consumer.close()
    return count, digest % 2**128
