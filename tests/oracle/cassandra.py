"""Compares a table with what DuckDB makes of the same input, row after row.

usage: cassandra.py INPUT_GLOB TABLE_FILE

INPUT_GLOB: JSON lines of {seq, k, v, note, gone}; TABLE_FILE: the table's rows as JSON lines of {k, seq, v, note}. The
last row of a key by `seq` is what the table must hold, or nothing if it is a delete. Shares no code with what it judges.
"""
import sys

import duckdb

db = duckdb.connect()
columns = "{seq: 'BIGINT', k: 'VARCHAR', v: 'BIGINT', note: 'VARCHAR', gone: 'BOOLEAN'}"
db.execute(
    f"create table input as select * from read_json(?, format = 'newline_delimited', columns = {columns})",
    [sys.argv[1]],
)
db.execute(
    """
    create table expected as
    select k, seq, v, note from input qualify row_number() over (partition by k order by seq desc) = 1 and not gone
    """
)
columns = "{seq: 'BIGINT', k: 'VARCHAR', v: 'BIGINT', note: 'VARCHAR'}"
db.execute(
    f"create table came as select k, seq, v, note from read_json(?, format = 'newline_delimited', columns = {columns})",
    [sys.argv[2]],
)
missing = db.execute("select * from expected except all select * from came order by k limit 5").fetchall()
extra = db.execute("select * from came except all select * from expected order by k limit 5").fetchall()
rows, deleted = db.execute("select count(*), (select count(distinct k) from input) - count(*) from expected").fetchone()
if missing or extra:
    sys.exit(f"of {rows} rows missing: {missing}; too many: {extra}")
print(f"rows {rows} equal, {deleted} keys deleted")
