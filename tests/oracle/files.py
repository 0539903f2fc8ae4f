"""Checks a folder that the file sink wrote, with other programs' eyes: numbered rows, each there once.

usage: files.py FOLDER parquet|json spark|tidegate COUNT

Row i is {id: i, word: "w" + i % 7 or null where i % 5 = 0, ts: second i of 2026 plus i % 1000 milliseconds}. Which files
count is read from `_spark_metadata` as Spark's documentation of the log has it, or is what the folder holds. DuckDB reads
the rows; pyarrow tells the types. Nothing else may lie in the folder.
"""
import os
import sys

import duckdb
import pyarrow.parquet

import spark_log

folder, form, manifest, count = sys.argv[1:]
count = int(count)

there = sorted(it for it in os.listdir(folder) if not it.startswith(("_", ".")))
files = sorted(spark_log.files(folder)) if manifest == "spark" else there
assert files == there, f"{len(files)} files count, {len(there)} are there"
staged = os.listdir(os.path.join(folder, "_staging"))
assert not staged, f"staged files are left: {staged}"

db = duckdb.connect()
db.execute("set timezone = 'UTC'")
paths = [os.path.join(folder, it) for it in files]
if form == "parquet":
    db.execute("create table found as select * from read_parquet(?)", [paths])
    schema = pyarrow.parquet.read_schema(paths[0])
    assert [str(it) for it in schema.types] == ["int64", "string", "timestamp[us, tz=UTC]"], schema
    assert sum(pyarrow.parquet.read_metadata(it).num_rows for it in paths) == count
else:
    columns = "{id: 'BIGINT', word: 'VARCHAR', ts: 'TIMESTAMPTZ'}"
    db.execute(f"create table found as select * from read_json(?, format = 'newline_delimited', columns = {columns})", [paths])
db.execute(
    """
    create table expected as select i as id, case when i % 5 <> 0 then 'w' || (i % 7) end as word,
        timestamptz '2026-01-01 00:00:00+00' + to_milliseconds(i * 1000 + i % 1000) as ts from range(?) t(i)
    """,
    [count],
)
missing = db.execute("select id, word, ts from expected except all select id, word, ts from found").fetchall()
surplus = db.execute("select id, word, ts from found except all select id, word, ts from expected").fetchall()
print(f"files {len(files)} rows {db.execute('select count(*) from found').fetchone()[0]} missing {len(missing)} surplus {len(surplus)}")
for name, some in (("missing", missing), ("surplus", surplus)):
    for row in sorted(some, key=str)[:5]:
        print(name, row)
sys.stdout.flush()
os._exit(1 if missing or surplus else 0)
