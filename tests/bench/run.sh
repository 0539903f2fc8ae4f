#!/usr/bin/env bash
# The benchmarks; each starts a real Kafka, fills its topics, and prints JSON lines and a table.
#   tests/bench/run.sh WHAT [OPTIONS]
# compare   jobs A and B on tidegate, PySpark, Flink, Redpanda Connect (if Go is there to build it) and in a plain loop: results compared, one-shot, start-up, warm
# latency   Kafka to Kafka at 10,000 events a second; Kafka to Delta at 50,000: measured from outside
# startup   exec() to the first version of a Delta table that holds rows
# memory    the whole topic as one epoch: peak RSS
# idle      CPU of a process that waits
# flame     a flame graph of job A (needs perf and inferno)
# stateful  sessions, joins, deduplication and counts with much state, on tidegate and PySpark: results compared, warm rates
# state     a gigabyte of state: the pauses of commits and snapshots, a restart after SIGKILL (needs no broker, has one)
# soak      memory and CPU at 50,000 events a second, for as long as is wanted
# `run.sh WHAT --help` tells the options. TIDEGATE_BIN and TIDEGATE_FLOOR take binaries that are there instead of building;
# TIDEGATE_BENCH_PORT is the broker's port, TIDEGATE_BENCH_DIR where it keeps its data (default: thrown away).
# For `latency` the broker has the Java options of Kafka's own start script, and its data in memory: off the disk that the
# checkpoint syncs, as it would have one of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
WHAT=${1:?see the first lines of $0}
shift
CACHE=${TIDEGATE_STAND_DIR:-$HOME/.cache/tidegate-stand}
. tests/bench/install.sh
tests/setup.sh
python() { "$CACHE/venv/bin/python" "$@"; }
[[ " $* " == *" --help "* ]] && { python "tests/bench/$WHAT.py" --help; exit; }

release_binary TIDEGATE_BIN tidegate
extra=()
[ "$WHAT" = stateful ] && extra=(--spark "$CACHE/venv-spark/bin/python")
if [ "$WHAT" = compare ]; then
    flink_jars
    connect_binary
    release_binary TIDEGATE_FLOOR examples/floor
    extra=(--spark "$CACHE/venv-spark/bin/python" --flink "$FLINK_HOME" --floor "$TIDEGATE_FLOOR")
    if [ -n "$CONNECT" ]; then extra+=(--connect "$CONNECT"); fi
fi
FOLDER=$(mktemp -d)
PORT=${TIDEGATE_BENCH_PORT:-$((20000 + RANDOM % 10000))}
BROKER=$FOLDER/broker MEMORY=
if [ "$WHAT" = latency ]; then
    export KAFKA_HEAP=1g
    export KAFKA_JAVA="-Xms1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent"
    [ -w /dev/shm ] && BROKER=$(mktemp -d -p /dev/shm) && MEMORY=$BROKER
fi
BROKER=${TIDEGATE_BENCH_DIR:-$BROKER}
trap 'tests/stand/kafka.sh down $PORT "$BROKER" > /dev/null; rm -rf "$FOLDER" ${MEMORY:+"$MEMORY"}' EXIT
tests/stand/kafka.sh up "$PORT" "$BROKER" > /dev/null
echo "tests/bench/run.sh $WHAT$(sed 's/ *--out [^ ]*//; s/./ &/' <<< "$*"): commit $(git rev-parse --short HEAD), $(date -u +%F), $(nproc) cores," \
    "profile: $PROFILE, load before: $(cut -d' ' -f1 /proc/loadavg)"
python "tests/bench/$WHAT.py" --bin "$TIDEGATE_BIN" --servers "127.0.0.1:$PORT" --folder "$FOLDER/runs" --cache "$CACHE" \
    "${extra[@]}" "$@"
echo "took $SECONDS s"
