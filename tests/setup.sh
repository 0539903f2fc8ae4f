#!/usr/bin/env bash
# Installs what the tests need beside Rust: Java and Maven for a real Kafka, Python with DuckDB, deltalake and Spark as
# outside readers. Everything lands in one cache folder; a second call does nothing.
set -euo pipefail
CACHE=${TIDEGATE_STAND_DIR:-$HOME/.cache/tidegate-stand}
SPARK=4.2.0 DELTA=4.4.0
PACKAGES="duckdb==1.4.* deltalake==1.* pyarrow==22.* pytz confluent-kafka==2.* moto[server]==5.*"
mkdir -p "$CACHE"

missing=()
command -v java > /dev/null || missing+=(openjdk-17-jre-headless)
command -v mvn > /dev/null || missing+=(maven)
python3 -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}"
fi

if [ "$(cat "$CACHE/venv/packages" 2> /dev/null)" != "$PACKAGES" ]; then
    rm -rf "$CACHE/venv"
    python3 -m venv "$CACHE/venv"
    # shellcheck disable=SC2086
    "$CACHE/venv/bin/pip" install -q $PACKAGES
    echo "$PACKAGES" > "$CACHE/venv/packages"
fi

if [ ! -f "$CACHE/venv-spark/$SPARK" ]; then
    rm -rf "$CACHE/venv-spark"
    python3 -m venv "$CACHE/venv-spark"
    "$CACHE/venv-spark/bin/pip" install -q "pyspark==$SPARK"
    touch "$CACHE/venv-spark/$SPARK"
fi

if [ ! -f "$CACHE/jars-spark-$SPARK/.done" ]; then
    mvn -B -q -f "$(dirname "$0")/bench/pom.xml" "-Dspark.version=$SPARK" "-Ddelta.version=$DELTA" \
        dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$CACHE/jars-spark-$SPARK"
    touch "$CACHE/jars-spark-$SPARK/.done"
fi
