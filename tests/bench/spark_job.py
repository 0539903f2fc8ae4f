"""A job on PySpark, one run over what the source holds: spark_job.py '{"source": …}' (jobs.py makes the object)."""
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
if "topic" in job["source"]:
    clicks = spark.readStream.format("kafka").option("kafka.bootstrap.servers", job["servers"])
    clicks = clicks.option("subscribe", job["source"]["topic"]).option("startingOffsets", "earliest")
    clicks = clicks.option("maxOffsetsPerTrigger", job["rows_per_epoch"]).load()
    clicks = clicks.select(from_json(col("value").cast("string"), job["schema"]).alias("c")).select("c.*")
else:
    clicks = spark.readStream.schema(job["schema"]).json(job["source"]["path"])
clicks.withWatermark("ts", "10 minutes").createOrReplaceTempView("clicks")
sql, sink = job["sql"], job["sink"]
if sink["format"] == "kafka":
    sql = f"SELECT to_json(struct(*)) AS value FROM ({sql})"
writer = spark.sql(sql).writeStream.format(sink["format"]).outputMode("append")
for key, value in sink["options"].items():
    writer = writer.option(key, value)
query = writer.option("checkpointLocation", f"{job['folder']}/checkpoint").trigger(availableNow=True).start()
query.awaitTermination()
spark.stop()
