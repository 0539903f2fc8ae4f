"""Compares the two tables of the pair job with what DuckDB computes over the same input, row for row.

usage: pair.py INPUT_GLOB ROOT [--clean]
       pair.py --list ROOT

ROOT is a folder or an s3:// URL with `checkpoint`, `table` (windows) and `copy` (raw rows). Shares no code with what it
judges: python deltalake reads the tables, DuckDB computes. With --clean fails too if a file is there that nothing
names: temporary files, staged rows of decided epochs, data files that no version of a table has. --list prints the
names of all files. An object store is found by AWS_* in the environment.
"""
import os
import re
import sys
import urllib.parse

args = [it for it in sys.argv[1:] if not it.startswith("--")]
flags = {it for it in sys.argv[1:] if it.startswith("--")}
root = args[-1]


def files(root):
    """The names of all files below root."""
    if not root.startswith("s3://"):
        for folder, _, names in os.walk(root):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), root)
        return
    import boto3

    place = urllib.parse.urlsplit(root)
    prefix = place.path.strip("/") + "/"
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=place.netloc, Prefix=prefix):
        for it in page.get("Contents", []):
            yield it["Key"][len(prefix):]


if "--list" in flags:
    print("\n".join(sorted(files(root))))
    sys.exit(0)

import deltalake
import duckdb

db = duckdb.connect()
db.execute("set timezone = 'UTC'")
db.execute(
    """
    create table events as select * from read_json(?, format = 'newline_delimited', columns = {
        event_id: 'VARCHAR', user_id: 'BIGINT', page: 'VARCHAR', action: 'VARCHAR', amount: 'DOUBLE',
        ts: 'TIMESTAMPTZ', agent: 'VARCHAR'})
    """,
    [args[0]],
)
expected = {
    "table": """
        with windows as (
            select to_timestamp(floor(epoch(ts) / 300) * 300) as start, page, user_id from events where ts is not null)
        select start, start + interval 5 minutes as finish, page, count(*)::bigint as views, count(user_id)::bigint as users
        from windows group by start, page
        having finish <= (select max(ts) from events) - interval 10 minutes""",
    "copy": "select event_id, user_id, page, amount, ts from events where action = 'click'",
}
wrong, left = False, []
tables = {}
for name, query in expected.items():
    tables[name] = deltalake.DeltaTable(f"{root}/{name}")
    db.register("raw", tables[name].to_pyarrow_table())
    columns = '"start", "end" as finish, page, views, users' if name == "table" else "event_id, user_id, page, amount, ts"
    db.execute(f"create or replace table found as select {columns} from raw")
    db.execute(f"create or replace table expected as {query}")
    missing = db.execute("select * from expected except all select * from found order by all").fetchall()
    surplus = db.execute("select * from found except all select * from expected order by all").fetchall()
    rows = db.execute("select count(*) from found").fetchone()[0]
    print(f"{name} rows {rows} versions {tables[name].version() + 1} missing {len(missing)} surplus {len(surplus)}")
    for kind, some in (("missing", missing), ("surplus", surplus)):
        for row in some[:5]:
            print(kind, row)
    wrong |= bool(missing or surplus)

if "--clean" in flags:
    named = {name: {urllib.parse.unquote(it).rsplit("/", 1)[-1] for it in table.file_uris()} for name, table in tables.items()}
    for file in files(root):
        part, _, rest = file.partition("/")
        name = file.rsplit("/", 1)[-1]
        if part == "checkpoint":
            # A checksum stands beside its file; rows of a decided epoch are gone.
            hidden = name.startswith(".") and not name.endswith(".crc")
            stays = not (hidden or name.endswith(".tmp") or rest.startswith("state/staged/"))
        elif rest.startswith("_delta_log/"):
            stays = re.fullmatch(r"\d{20}\.(json|checkpoint\.parquet)|_last_checkpoint", name)
        else:
            stays = name in named.get(part, ())
        if not stays:
            left.append(file)
    print(f"left behind {len(left)}")
    for file in sorted(left)[:20]:
        print("left", file)
sys.stdout.flush()
# The libraries' own exit handlers have been seen to abort after all was said.
os._exit(1 if wrong or left else 0)
