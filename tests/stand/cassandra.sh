#!/usr/bin/env bash
# A real Cassandra node for tests, from Maven Central's jars.
#
#   cassandra.sh up   [port] [dir]   starts it and prints its address (host:port) as the only line on stdout
#   cassandra.sh down [port] [dir]   stops it; the data stays
#   cassandra.sh down-all            stops every node that this script started under TIDEGATE_STAND_DIR
#
# port  default $CASSANDRA_PORT, else 9042; 0 takes a free one (then give a dir, so that `down` finds the node)
# dir   data, logs and pid of this node; default $TIDEGATE_STAND_DIR/run/cassandra-<port>; a second `up` keeps its data
# TIDEGATE_STAND_DIR   jars and default dirs, default ~/.cache/tidegate-stand
# CASSANDRA_VERSION 5.0.9, CASSANDRA_HEAP 384m, CASSANDRA_EXTRA lines for cassandra.yaml
# CASSANDRA_AUTH=1     asks for passwords (user cassandra, password cassandra)
# CASSANDRA_PARENT     a pid: soon after that process is gone the node ends by itself and its data are removed
# Exit code 3: java or the jars can't be had here.
set -euo pipefail

# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
STOP_TENTHS=200
VERSION=${CASSANDRA_VERSION:-5.0.9}
if [ "${CASSANDRA_AUTH:-}" = 1 ]; then
  AUTHENTICATOR=PasswordAuthenticator AUTHORIZER=CassandraAuthorizer
else
  AUTHENTICATOR=AllowAllAuthenticator AUTHORIZER=AllowAllAuthorizer
fi

jars() { fetch_jars cassandra Cassandra "$VERSION" ".lock-cassandra-$VERSION"; }

# The node of a dir, if it runs: a pid alone may belong to another process by now.
running() {
  [ -s "$1/pid" ] || return 1
  tr '\0' ' ' <"/proc/$(cat "$1/pid")/cmdline" 2>/dev/null | grep -q -- "-Dcassandra.storagedir=$1/data "
}

configure() { # DIR PORT STORAGE_PORT
  cat >"$1/cassandra.yaml" <<EOF
cluster_name: tidegate
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [ $1/data/data ]
commitlog_directory: $1/data/commitlog
saved_caches_directory: $1/data/saved_caches
hints_directory: $1/data/hints
cdc_raw_directory: $1/data/cdc_raw
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 16MiB
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [ { seeds: "$HOST:$3" } ]
listen_address: $HOST
rpc_address: $HOST
native_transport_port: $2
storage_port: $3
start_native_transport: true
endpoint_snitch: SimpleSnitch
authenticator: $AUTHENTICATOR
authorizer: $AUTHORIZER
role_manager: CassandraRoleManager
auto_snapshot: false
auto_bootstrap: false
concurrent_reads: 8
concurrent_writes: 8
memtable_heap_space: 96MiB
memtable_offheap_space: 64MiB
memtable_allocation_type: heap_buffers
networking_cache_size: 16MiB
file_cache_size: 32MiB
read_request_timeout: 10s
write_request_timeout: 10s
request_timeout: 20s
storage_compatibility_mode: NONE
${CASSANDRA_EXTRA:-}
EOF
  cat >"$1/logback.xml" <<'EOF'
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level [%thread] %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
EOF
}

# What Cassandra's own start script opens of Java's modules.
opened() {
  local it
  for it in java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.base/java.lang.ref \
    java.base/jdk.internal.perf java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry \
    java.rmi/sun.rmi.server java.sql/java.sql jdk.attach/sun.tools.attach jdk.compiler/com.sun.tools.javac.file \
    jdk.unsupported/sun.misc; do
    echo --add-exports "$it=ALL-UNNAMED"
  done
  for it in java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref \
    java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module \
    java.base/jdk.internal.util.jar java.base/sun.nio.ch java.base/java.io java.base/java.lang \
    java.base/java.lang.reflect java.base/java.util java.base/java.util.concurrent \
    java.base/java.util.concurrent.atomic java.base/java.nio java.base/java.time \
    jdk.management/com.sun.management.internal jdk.compiler/com.sun.tools.javac; do
    echo --add-opens "$it=ALL-UNNAMED"
  done
}

ready() { # DIR PORT: it answers, and the default user is there if one is asked for
  grep -qs 'Starting listening for CQL clients' "$1/node.log" && listening "$2" || return 1
  [ "$AUTHENTICATOR" = AllowAllAuthenticator ] || [ -f "$1/role" ] && return 0
  grep -q "Created default superuser role 'cassandra'" "$1/node.log" && touch "$1/role"
}

start() { # DIR PORT: true once it answers, false if it ended (a port taken in between)
  mkdir -p "$1/data"
  local dir=$1 agent
  configure "$dir" "$2" "$(free_port)"
  agent=$(find "$LIB" -name 'jamm-*.jar' | head -1)
  # shellcheck disable=SC2046
  setsid java $(opened) "-javaagent:$agent" -Xms192m "-Xmx${CASSANDRA_HEAP:-384m}" -Xss512k -XX:+UseSerialGC \
    -XX:TieredStopAtLevel=1 -Djdk.attach.allowAttachSelf=true -Dio.netty.tryReflectionSetAccessible=true \
    -Djava.net.preferIPv4Stack=true "-Dcassandra.config=file://$dir/cassandra.yaml" \
    "-Dlogback.configurationFile=$dir/logback.xml" "-Dcassandra.storagedir=$dir/data" "-Dcassandra.logdir=$dir" \
    -Dcassandra-foreground=yes -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=1000 \
    -Dcassandra.superuser_setup_delay_ms=0 "-Dcassandra.jmx.local.port=$(free_port)" \
    -cp "$LIB/*" org.apache.cassandra.service.CassandraDaemon >"$dir/node.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/pid"
  for _ in $(seq 900); do
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || { tail -20 "$dir/node.log" >&2; return 1; }
    ready "$dir" "$2" && return 0
    sleep 0.1
  done
  say "not ready after 90 s: see $dir/node.log"
  stop "$dir"
  return 1
}

# Ends the node when its parent is gone: a killed test leaves nothing behind.
watch_parent() { # DIR PARENT
  local node
  node=$(cat "$1/pid")
  setsid bash -c 'while kill -0 "$1" 2>/dev/null && kill -0 "$2" 2>/dev/null; do sleep 1; done
    kill -9 "$2" 2>/dev/null; kill -0 "$1" 2>/dev/null || rm -rf "$3"/{data,pid,watch,role,*.log,*.yaml,*.xml,address}
    rmdir "$3" 2>/dev/null' watch "$2" "$node" "$1" >/dev/null 2>&1 </dev/null 9>&- &
  echo $! >"$1/watch"
}

COMMAND=${1:-}
PORT=${2:-${CASSANDRA_PORT:-9042}}
DIR=${3:-$HOME_DIR/run/cassandra-$PORT}
case $COMMAND in
  up) mkdir -p "$DIR"; up "$PORT" "$(cd "$DIR" && pwd)" "${CASSANDRA_PARENT:-}" ;;
  down) if [ -d "$DIR" ]; then stop "$(cd "$DIR" && pwd)"; fi ;;
  down-all) for dir in "$HOME_DIR"/run/cassandra-*/; do [ -d "$dir" ] && stop "${dir%/}"; done ;;
  *) sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
