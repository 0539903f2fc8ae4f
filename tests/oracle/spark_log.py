"""Spark's log of a file sink, `_spark_metadata`, as Spark's documentation has it."""
import json
import os


def files(folder):
    """The names of the files that count."""
    log = os.path.join(folder, "_spark_metadata")
    numbers = {int(it.removesuffix(".compact")): it for it in os.listdir(log) if not it.startswith(".")}
    first = max((n for n, name in numbers.items() if name.endswith(".compact")), default=0)
    for number in range(first, max(numbers) + 1):
        with open(os.path.join(log, numbers[number]), encoding="utf8") as entry:
            version, *lines = entry.read().split("\n")
        assert version == "v1", version
        for line in map(json.loads, lines):
            assert line["action"] == "add" and not line["isDir"], line
            name = os.path.basename(line["path"])
            assert os.path.getsize(os.path.join(folder, name)) == line["size"], line
            yield name
