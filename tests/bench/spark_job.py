"""A job on PySpark, one run over what the sources hold: spark_job.py '{"sources": …}' (jobs.py makes the object)."""
import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json

job = json.loads(sys.argv[1])
spark = (
    SparkSession.builder.appName("bench")
    .master(f"local[{job['cores']}]")
    .config("spark.sql.shuffle.partitions", job["cores"])
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.ui.enabled", "false")
)
for key, value in job["settings"].items():
    spark = spark.config(key, value)
spark = spark.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
for name, source in job["sources"].items():
    stream = spark.readStream.format(source["format"]).options(**source["options"])
    if source["format"] == "kafka":
        stream = stream.load().select(from_json(col("value").cast("string"), source["schema"]).alias("c")).select("c.*")
    else:
        stream = stream.schema(source["schema"]).load(source["path"])
    if source["watermark"]:
        stream = stream.withWatermark(source["watermark"]["column"], source["watermark"]["delay"])
    stream.createOrReplaceTempView(name)
sql, sink = job["sql"], job["sink"]
if sink["format"] == "kafka":
    sql = f"SELECT to_json(struct(*)) AS value FROM ({sql})"
rows = spark.sql(sql)
if job.get("deduplicate"):
    rows = rows.dropDuplicates(job["deduplicate"])
writer = rows.writeStream.format(sink["format"]).outputMode(job["mode"]).options(**sink["options"])
query = writer.option("checkpointLocation", f"{job['folder']}/checkpoint").trigger(availableNow=True).start()
query.awaitTermination()
# RocksDB's threads log through the JVM: one that is still at work when it ends crashes it.
spark._jvm.org.apache.spark.sql.execution.streaming.state.StateStore.stop()
spark.stop()
