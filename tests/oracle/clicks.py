"""Compares the click job's Delta table with what DuckDB computes over the same input, row for row.

usage: clicks.py INPUT_GLOB TABLE [--flushed] [--warehouse N]

Shares no code with what it judges: DuckDB reads the JSON lines and computes the windows; python deltalake lists the
table's files and DuckDB reads their Parquet (on an object store python deltalake reads that too; the store's settings come
from the environment: AWS_ENDPOINT_URL …). A window is due when its end is not after the largest event time less ten
minutes; with --flushed all are. Prints the number of rows; exits 1 with the first differences.
"""
import argparse
import os
import sys

import deltalake
import duckdb

args = argparse.ArgumentParser()
args.add_argument("input")
args.add_argument("table")
args.add_argument("--flushed", action="store_true")
args = args.parse_args()

db = duckdb.connect()
db.execute("set timezone = 'UTC'")
db.execute(
    """
    create table events as select * from read_json(?, format = 'newline_delimited', columns = {
        event_id: 'VARCHAR', user_id: 'BIGINT', page: 'VARCHAR', action: 'VARCHAR', amount: 'DOUBLE',
        ts: 'TIMESTAMPTZ', agent: 'VARCHAR'})
    """,
    [args.input],
)
due = "true" if args.flushed else "finish <= (select max(ts) from events) - interval 10 minutes"
db.execute(
    f"""
    create table expected as
    with windows as (
        select to_timestamp(floor(epoch(ts) / 300) * 300) as start, page, user_id from events where ts is not null)
    select start, start + interval 5 minutes as finish, page, count(*)::bigint as views, count(user_id)::bigint as users
    from windows group by start, page having {due}
    """
)
table = deltalake.DeltaTable(args.table)
if "://" in args.table:
    rows = table.to_pyarrow_table()
    db.execute('create table found as select "start", "end" as finish, page, views, users from rows')
    files = None
else:
    files = [os.path.join(args.table, it) for it in table.files()] if hasattr(table, "files") else table.file_uris()
if files:
    db.execute(
        'create table found as select "start", "end" as finish, page, views, users from read_parquet(?)', [files]
    )
elif files is not None:
    db.execute("create table found as select * from expected limit 0")
missing = db.execute("select * from expected except all select * from found order by all").fetchall()
surplus = db.execute("select * from found except all select * from expected order by all").fetchall()
rows = db.execute("select count(*), coalesce(sum(views), 0), (select count(*) from events) from found").fetchone()
print(f"rows {rows[0]} views {rows[1]} events {rows[2]} missing {len(missing)} surplus {len(surplus)}")
for name, some in (("missing", missing), ("surplus", surplus)):
    for row in some[:5]:
        print(name, row)
sys.stdout.flush()
# The libraries' own exit handlers have been seen to abort after all was said.
os._exit(1 if missing or surplus else 0)
