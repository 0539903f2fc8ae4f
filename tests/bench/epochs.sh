#!/usr/bin/env bash
# What the protocol costs: an epoch without data, staging two sinks, requests to an object store.
#   tests/bench/epochs.sh [EPOCHS [EVENTS [PAIRS]]]     10,000 epochs without data; 2,000,000 events, 7 pairs of runs
# TIDEGATE_BIN takes a binary that is there instead of building. Results go to docs/results/protocol.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."
EPOCHS=${1:-10000} EVENTS=${2:-2000000} PAIRS=${3:-7}
CACHE=${TIDEGATE_STAND_DIR:-$HOME/.cache/tidegate-stand}
tests/setup.sh
. tests/bench/install.sh
release_binary TIDEGATE_BIN tidegate
FOLDER=$(mktemp -d)
PORT=${TIDEGATE_BENCH_PORT:-$((20000 + RANDOM % 10000))}
S3=$((PORT + 1))
trap 'tests/stand/kafka.sh down $PORT "$FOLDER/kafka" > /dev/null; tests/stand/s3.sh down $S3 "$FOLDER/s3" > /dev/null; rm -rf "$FOLDER"' EXIT
bench() { "$CACHE/venv/bin/python" tests/bench/epochs.py "$1" --bin "$TIDEGATE_BIN" "${@:2}"; }
failed=0
out=$FOLDER/results
{
    echo "commit $(git rev-parse --short HEAD), $(date -u +%F), $(nproc) cores, profile: $PROFILE, load before: $(cut -d' ' -f1 /proc/loadavg)"
    echo "command: tests/bench/epochs.sh $EPOCHS $EVENTS $PAIRS"
} > "$out"
bench empty --epochs "$EPOCHS" 2>&1 | tee -a "$out" || failed=1

tests/stand/kafka.sh up "$PORT" "$FOLDER/kafka"
python3 examples/clicks/generate.py --events "$EVENTS" --seed 1 --files 4 --out "$FOLDER/clicks"
"$CACHE/venv/bin/python" tests/bench/fill.py "127.0.0.1:$PORT" clicks "$FOLDER/clicks"
kafka=(--servers "127.0.0.1:$PORT" --topic clicks)
bench staging "${kafka[@]}" --events "$EVENTS" --pairs "$PAIRS" 2>&1 | tee -a "$out" || failed=1

AWS_ENDPOINT_URL=$(tests/stand/s3.sh up "$S3" "$FOLDER/s3")
export AWS_ENDPOINT_URL AWS_ALLOW_HTTP=true AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
bench puts "${kafka[@]}" --rows $((EVENTS / 60)) --log "$FOLDER/s3/server.log" 2>&1 | tee -a "$out" || failed=1
cp "$out" docs/results/protocol.txt
exit $failed
