# Sourced by run.sh: what the benchmarks need beside tests/setup.sh, cached once under $CACHE.
# shellcheck shell=bash
FLINK=2.2.1 FLINK_KAFKA=5.0.0-2.2

# Flink's jars come in a Python package (300 MB); its SQL client wants the gateway, which is on Maven Central only.
flink_jars() {
    FLINK_HOME=$CACHE/flink-$FLINK
    [ -f "$FLINK_HOME/.done" ] && return
    rm -rf "$FLINK_HOME" "$FLINK_HOME.new"
    mkdir -p "$FLINK_HOME.new"
    "$CACHE/venv/bin/pip" download -q --no-deps -d "$FLINK_HOME.new" "apache-flink-libraries==$FLINK"
    (
        cd "$FLINK_HOME.new"
        python3 -m zipfile -e apache_flink_libraries-*.whl .
        rm -f apache_flink_libraries-*.whl
        mv pyflink/lib lib
        mkdir opt
        mv pyflink/opt/flink-sql-client-*.jar pyflink/opt/flink-python-*.jar opt
        rm -rf pyflink ./*.dist-info
    )
    mvn -B -q -Dstyle.color=never dependency:copy "-Dartifact=org.apache.flink:flink-sql-gateway:$FLINK" "-DoutputDirectory=$FLINK_HOME.new/opt"
    mvn -B -q -Dstyle.color=never dependency:copy "-Dartifact=org.apache.flink:flink-sql-connector-kafka:$FLINK_KAFKA" \
        "-DoutputDirectory=$FLINK_HOME.new/lib"
    mv "$FLINK_HOME.new" "$FLINK_HOME"
    touch "$FLINK_HOME/.done"
}

# Redpanda Connect with its Kafka and its pure components only, built once; nothing without Go.
connect_binary() {
    local binary
    binary=$CACHE/connect-$(cksum < tests/bench/connect/go.sum | cut -d' ' -f1)
    CONNECT=
    if [ ! -f "$binary" ]; then
        command -v go > /dev/null || return 0
        (cd tests/bench/connect && go build -o "$binary.new" .)
        mv "$binary.new" "$binary"
    fi
    CONNECT=$binary
}

# Sets a variable to a binary of the release profile, unless it names one: release_binary VARIABLE NAME
PROFILE="as TIDEGATE_BIN is"
release_binary() {
    [ -n "${!1:-}" ] && return
    case $2 in
        examples/*) cargo build --release -p tidegate-kafka --example "${2#examples/}" ;;
        *) cargo build --release ;;
    esac
    local target
    target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
    printf -v "$1" %s "$target/release/$2"
    PROFILE=release
}
