"""The click job on PySpark: Kafka to Delta, one run over what the topic holds.

usage: clicks_spark.py SERVERS TOPIC FOLDER CORES
"""
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, count, from_json, window

servers, topic, folder, cores = sys.argv[1:]
spark = (
    SparkSession.builder.appName("clicks")
    .master(f"local[{cores}]")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.shuffle.partitions", cores)
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
schema = "event_id STRING, user_id BIGINT, page STRING, action STRING, amount DOUBLE, ts TIMESTAMP, agent STRING"
clicks = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", servers)
    .option("subscribe", topic)
    .option("startingOffsets", "earliest")
    .load()
    .select(from_json(col("value").cast("string"), schema).alias("c"))
    .select("c.*")
    .withWatermark("ts", "10 minutes")
)
per_page = (
    clicks.groupBy(window("ts", "5 minutes"), "page")
    .agg(count("*").alias("views"), count("user_id").alias("users"))
    .select(col("window.start").alias("start"), col("window.end").alias("end"), "page", "views", "users")
)
query = (
    per_page.writeStream.format("delta")
    .outputMode("append")
    .option("checkpointLocation", f"{folder}/checkpoint")
    .trigger(availableNow=True)
    .start(f"{folder}/table")
)
query.awaitTermination()
spark.stop()
