"""Looks for files of a Delta table on an object store that its log does not name.

usage: strays.py URL     settings of the store from the environment (AWS_ENDPOINT_URL …)

Prints what it counted; exits 1 if a data file belongs to no version of the table, or a draft or a probe is left.
"""
import json
import os
import sys
import urllib.parse

from pyarrow import fs

url = urllib.parse.urlsplit(sys.argv[1])
endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
store = fs.S3FileSystem(
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    region=os.environ["AWS_REGION"],
    endpoint_override=endpoint.netloc,
    scheme=endpoint.scheme,
)
root = url.netloc + url.path.rstrip("/") + "/"
objects = [it.path.removeprefix(root) for it in store.get_file_info(fs.FileSelector(root, recursive=True)) if it.is_file]
named = set()
for name in sorted(it for it in objects if it.startswith("_delta_log/") and it.endswith(".json")):
    with store.open_input_stream(root + name) as stream:
        for line in stream.read().decode().splitlines():
            add = json.loads(line).get("add")
            if add:
                named.add(urllib.parse.unquote(add["path"]))
log = [it for it in objects if it.startswith("_delta_log/")]
data = [it for it in objects if it not in log]
strays = [it for it in data if it not in named]
strays += [it for it in log if not it.endswith((".json", ".checkpoint.parquet", "_last_checkpoint"))]
print(f"data files {len(data)} log files {len(log)} strays {len(strays)}", *strays)
sys.stdout.flush()
os._exit(1 if strays else 0)
