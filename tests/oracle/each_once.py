"""Checks that a table holds each number once, by what outside readers see.

usage: each_once.py delta|parquet TABLE COUNT

Numbers are those below COUNT that five does not divide, in the column n. Of a folder of Parquet those files count that its
`_spark_metadata` names, as Spark's documentation of the log has it.
"""
import glob
import os
import sys

import deltalake
import duckdb

import spark_log

form, table, count = sys.argv[1:]

if form == "parquet":
    files = [os.path.join(table, it) for it in spark_log.files(table)]
else:
    files = [it.removeprefix("file://") for it in deltalake.DeltaTable(table).file_uris()]
db = duckdb.connect()
db.execute("create table found as select n from read_parquet(?)", [files])
db.execute("create table expected as select i as n from range(?) t(i) where i % 5 <> 0", [int(count)])
missing = db.execute("select n from expected except all select n from found order by n").fetchall()
surplus = db.execute("select n from found except all select n from expected order by n").fetchall()
rows = db.execute("select count(*) from found").fetchone()[0]
there = len(glob.glob(os.path.join(table, "*.parquet")))
print(f"{form} rows {rows} files {len(files)} of {there} missing {len(missing)} surplus {len(surplus)}")
for name, some in (("missing", missing), ("surplus", surplus)):
    for row in some[:5]:
        print(name, row[0])
sys.stdout.flush()
os._exit(1 if missing or surplus else 0)
