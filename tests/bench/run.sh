#!/usr/bin/env bash
# The click job from Kafka on tidegate (release build) and on PySpark, one after the other over the same topic.
#   tests/bench/run.sh [EVENTS [RUNS]]     3,000,000 events, 3 runs
# TIDEGATE_BIN takes a binary that is there instead of building; TIDEGATE_BENCH_OUT names a file for the results.
set -euo pipefail
cd "$(dirname "$0")/../.."
EVENTS=${1:-3000000} RUNS=${2:-3}
CACHE=${TIDEGATE_STAND_DIR:-$HOME/.cache/tidegate-stand}
SPARK=4.2.0
tests/setup.sh
if [ -z "${TIDEGATE_BIN:-}" ]; then
    cargo build --release
    metadata=$(cargo metadata --format-version 1 --no-deps)
    TIDEGATE_BIN=$(python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])' <<< "$metadata")/release/tidegate
fi
FOLDER=$(mktemp -d)
PORT=$((20000 + RANDOM % 10000))
trap 'tests/stand/kafka.sh down $PORT "$FOLDER/kafka" > /dev/null; rm -rf "$FOLDER"' EXIT
tests/stand/kafka.sh up "$PORT" "$FOLDER/kafka"
INPUT=${TIDEGATE_BENCH_INPUT:-$CACHE/clicks-$EVENTS}
[ -d "$INPUT" ] || { python3 examples/clicks/generate.py --events "$EVENTS" --seed 1 --files 4 --out "$INPUT.new" && mv "$INPUT.new" "$INPUT"; }
"$CACHE/venv/bin/python" tests/bench/fill.py "127.0.0.1:$PORT" clicks "$INPUT"
"$CACHE/venv/bin/python" tests/bench/bench.py --bin "$TIDEGATE_BIN" --servers "127.0.0.1:$PORT" --topic clicks \
    --events "$EVENTS" --folder "$FOLDER" --jars "$CACHE/jars-spark-$SPARK" --spark "$CACHE/venv-spark/bin/python" \
    --runs "$RUNS" ${TIDEGATE_BENCH_OUT:+--out "$TIDEGATE_BENCH_OUT"}
