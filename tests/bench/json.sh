#!/usr/bin/env bash
# JSON documents to columns: our decoder, arrow-json, and two SIMD parsers, in MB of documents per CPU-second.
#   tests/bench/json.sh [--native] [--runs N] [--mb N] [--rows N] [--ours] [CORPUS...]     click, dirty, narrow, wide, nested, texts
# --native compiles for this machine's processor, without which sonic-rs uses only half of its registers.
# The crate is a workspace of its own: the parsers that lose are no dependencies of the project.
set -euo pipefail
cd "$(dirname "$0")/json"
if [ "${1:-}" = --native ]; then
    shift
    export RUSTFLAGS="-C target-cpu=native" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/native"
fi
cargo build --release --locked -q
echo "tests/bench/json.sh $*: commit $(git rev-parse --short HEAD), $(date -u +%F), $(nproc) cores, RUSTFLAGS '${RUSTFLAGS:-}'," \
    "load before: $(cut -d' ' -f1 /proc/loadavg)"
exec "${CARGO_TARGET_DIR:-target}/release/json-bench" "$@"
