"""Jobs of Spark Structured Streaming that stop somewhere, for queries that go on from there. All run at once, each until
it has read what is there.

usage: spark_jobs.py SERVERS TOPIC FOLDER JARS

Numbers {"n": …, "ts": …} come from the topic, files of {"id", "word", "ts"} from FOLDER/input.
  topic     numbers, without every fifth, to the Delta table FOLDER/topic/table
  broken    the same to a folder of Parquet, and the epoch that holds number 351 fails: its offsets are logged, its rows
            are nowhere
  windows   numbers of ten seconds, counted, to nowhere: it has state and a watermark
  files     a file an epoch, to a folder of Parquet
Each has its checkpoint beside its table.
"""
import glob
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import window

servers, topic, folder, jars = sys.argv[1:]
spark = (
    SparkSession.builder.appName("jobs")
    .master("local[2]")
    .config("spark.jars", ",".join(sorted(glob.glob(f"{jars}/*.jar"))))
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.databricks.delta.snapshotPartitions", "1")
    .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.streaming.fileSource.log.compactInterval", "5")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")


def numbers():
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", servers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", 200)
        .load()
        .selectExpr("from_json(cast(value as string), 'n BIGINT, ts TIMESTAMP') as v")
        .select("v.*")
    )


def start(name, rows, form):
    writer = rows.writeStream.format(form).outputMode("append").trigger(availableNow=True)
    return writer.option("checkpointLocation", f"{folder}/{name}/checkpoint").start(f"{folder}/{name}/table")


kept = numbers().where("n % 5 <> 0").select("n")
broken = kept.selectExpr("if(n = 351, raise_error('number 351'), n) as n")
windows = (
    numbers()
    .withWatermark("ts", "30 seconds")
    .groupBy(window("ts", "10 seconds"))
    .count()
    .selectExpr("window.start as start", "count as n")
)
files = (
    spark.readStream.schema("id BIGINT, word STRING, ts TIMESTAMP").option("maxFilesPerTrigger", 1).json(f"{folder}/input")
)
jobs = [
    start("topic", kept, "delta"),
    start("broken", broken, "parquet"),
    start("windows", windows, "noop"),
    start("files", files, "parquet"),
]
for job in jobs:
    try:
        job.awaitTermination()
    except Exception as error:  # noqa: BLE001
        assert job is jobs[1] and "number 351" in str(error), error
assert jobs[1].exception() is not None, "it did not fail"
print("done", flush=True)
spark.stop()
