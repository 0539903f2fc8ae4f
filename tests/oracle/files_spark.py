"""Reads folders of the file sink with Spark, which goes by their `_spark_metadata`.

usage: files_spark.py COUNT FORMAT=FOLDER…

Each holds the rows that `files.py` describes, beside files that don't count.
"""
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, count, count_distinct, max as most, min as least, sum as total, unix_micros

rows = int(sys.argv[1])
spark = (
    SparkSession.builder.appName("files")
    .master("local[1]")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
schema = "id BIGINT, word STRING, ts TIMESTAMP"
start = 1767225600_000_000
wrong = 0
for argument in sys.argv[2:]:
    form, folder = argument.split("=", 1)
    table = spark.read.format(form)
    table = (table.schema(schema) if form == "json" else table).load(folder)
    found = table.select(
        count("*"),
        count_distinct("id"),
        least("id"),
        most("id"),
        count("word"),
        total(unix_micros("ts") - start - col("id") * 1_000_000 - (col("id") % 1000) * 1000),
    ).first()
    expected = (rows, rows, 0, rows - 1, rows - (rows + 4) // 5, 0)
    types = [it.dataType.simpleString() for it in table.schema]
    print(f"spark {form}: {tuple(found)} {types}", flush=True)
    wrong += tuple(found) != expected or types != ["bigint", "string", "timestamp"]
spark.stop()
sys.exit(1 if wrong else 0)
