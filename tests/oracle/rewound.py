"""Checks that a Delta table shows what it did after an epoch of its only writer, as its own log and history tell.

usage: rewound.py TABLE EPOCH
"""
import glob
import json
import os
import sys

import deltalake
import duckdb

table, epoch = sys.argv[1], int(sys.argv[2])
version = epochs = 0
for path in sorted(glob.glob(os.path.join(table, "_delta_log", "*.json"))):
    with open(path, encoding="utf8") as entry:
        txns = [it["txn"] for it in map(json.loads, entry.read().splitlines()) if "txn" in it]
    # Beside the epoch's number the sink writes that of its attempt.
    txns = [it for it in txns if not it["appId"].endswith("#attempt")]
    epochs = max([epochs, *(it["version"] for it in txns)])
    if any(it["version"] <= epoch for it in txns):
        version = int(os.path.basename(path).split(".")[0])


def rows(at):
    files = [it.removeprefix("file://") for it in at.file_uris()]
    return duckdb.execute("select * from read_parquet(?) order by all", [files]).fetchall() if files else []


then, now = rows(deltalake.DeltaTable(table, version=version)), rows(deltalake.DeltaTable(table))
newest = deltalake.DeltaTable(table).version()
print(f"version {newest} shows {len(now)} rows, version {version} of epoch {epoch} of {epochs} showed {len(then)}")
sys.stdout.flush()
os._exit(0 if then == now and epochs > epoch and newest > version else 1)
