#!/usr/bin/env bash
# All tests: installs what they need, then runs them; each that needs a server starts a real one. Skipped tests print a
# line that begins with SKIPPED; with CI=true a skip is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup.sh
# A second binary, whose owners do not check that they are: what the sinks fence is seen with it alone.
target=${CARGO_TARGET_DIR:-target}/debug
cargo build --workspace --bins --features tidegate-epoch/unowned
cp "$target/tidegate" "$target/tidegate-unowned"
# The crash matrix makes and drops a hundred thousand queries: giving memory back each time costs an eighth of its CPU.
export MALLOC_TRIM_THRESHOLD_=536870912
# What a test that passes prints is shown too: skips, seeds, numbers of cases.
options=("$@")
[[ " $* " == *" -- "* ]] || options+=(--)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace --no-fail-fast "${options[@]}" --show-output 2>&1 | tee "$log"
skipped=$(grep -c '^SKIPPED' "$log" || true)
echo "skipped: $skipped"
if [ "$skipped" -gt 0 ] && [ "${CI:-}" = true ]; then
    grep '^SKIPPED' "$log"
    exit 1
fi
