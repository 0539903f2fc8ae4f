#!/usr/bin/env bash
# A real Kafka broker for tests: one KRaft node from Maven Central's jars.
#
#   kafka.sh up   [port] [dir]   starts it and prints its address (host:port) as the only line on stdout
#   kafka.sh down [port] [dir]   stops it; the data stays
#   kafka.sh down-all            stops every broker that this script started under TIDEGATE_STAND_DIR
#
# port  default $KAFKA_PORT, else 9092; 0 takes free ones (then give a dir, so that `down` finds the broker)
# dir   data, logs and pid of this broker; default $TIDEGATE_STAND_DIR/run/kafka-<port>; a second `up` keeps its data
# TIDEGATE_STAND_DIR   jars and default dirs, default ~/.cache/tidegate-stand
# KAFKA_VERSION 4.1.2, KAFKA_HEAP 512m, KAFKA_EXTRA lines for server.properties
# KAFKA_JAVA  options of its Java; default: those for a quick start and little memory
# KAFKA_PARENT  a pid: soon after that process is gone the broker ends by itself and its data are removed
# Exit code 3: java or the jars can't be had here.
set -euo pipefail

# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
STOP_TENTHS=100
VERSION=${KAFKA_VERSION:-4.1.2}
CLUSTER=dGlkZWdhdGUtc3RhbmQtMQ # 16 bytes in base64

jars() { fetch_jars kafka Kafka "$VERSION" ".lock-$VERSION"; }

# The broker of a dir, if it runs: a pid alone may belong to another process by now.
running() {
  [ -s "$1/pid" ] || return 1
  tr '\0' ' ' <"/proc/$(cat "$1/pid")/cmdline" 2>/dev/null | grep -q "kafka.Kafka $1/server.properties"
}

configure() { # DIR PORT CONTROLLER_PORT
  cat >"$1/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$HOST:$3
listeners=PLAINTEXT://$HOST:$2,CONTROLLER://$HOST:$3
advertised.listeners=PLAINTEXT://$HOST:$2
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$1/data
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
${KAFKA_EXTRA:-}
EOF
  cat >"$1/log4j2.properties" <<EOF
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss,SSS} %p %c{1}: %m%n
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
EOF
}

start() { # DIR PORT: true once it answers, false if it ended (a port taken in between)
  local dir=$1 controller
  controller=$(free_port)
  configure "$dir" "$2" "$controller"
  local java=(java "-Dlog4j2.configurationFile=$dir/log4j2.properties" -Djava.awt.headless=true -cp "$LIB/*")
  if [ ! -f "$dir/data/meta.properties" ]; then
    "${java[@]}" -Xmx128m -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t "$CLUSTER" \
      -c "$dir/server.properties" >"$dir/format.log" 2>&1 || { tail -20 "$dir/format.log" >&2; return 1; }
  fi
  local options
  read -ra options <<<"${KAFKA_JAVA:--XX:+UseSerialGC -XX:TieredStopAtLevel=1}"
  setsid "${java[@]}" "-Xmx${KAFKA_HEAP:-512m}" "${options[@]}" kafka.Kafka "$dir/server.properties" \
    >"$dir/broker.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/pid"
  for _ in $(seq 600); do
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || { tail -20 "$dir/broker.log" >&2; return 1; }
    grep -q 'Kafka Server started' "$dir/broker.log" && listening "$2" && return 0
    sleep 0.1
  done
  say "not ready after 60 s: see $dir/broker.log"
  stop "$dir"
  return 1
}

# Ends the broker when its parent is gone: a killed test leaves nothing behind.
watch_parent() { # DIR PARENT
  local broker
  broker=$(cat "$1/pid")
  setsid bash -c 'while kill -0 "$1" 2>/dev/null && kill -0 "$2" 2>/dev/null; do sleep 1; done
    kill -9 "$2" 2>/dev/null; kill -0 "$1" 2>/dev/null || rm -rf "$3"/{data,pid,watch,*.log,*.properties,address}
    rmdir "$3" 2>/dev/null' watch "$2" "$broker" "$1" >/dev/null 2>&1 </dev/null 9>&- &
  echo $! >"$1/watch"
}

COMMAND=${1:-}
PORT=${2:-${KAFKA_PORT:-9092}}
DIR=${3:-$HOME_DIR/run/kafka-$PORT}
case $COMMAND in
  up) mkdir -p "$DIR"; up "$PORT" "$(cd "$DIR" && pwd)" "${KAFKA_PARENT:-}" ;;
  down) if [ -d "$DIR" ]; then stop "$(cd "$DIR" && pwd)"; fi ;;
  down-all) for dir in "$HOME_DIR"/run/kafka-*/; do [ -d "$dir" ] && stop "${dir%/}"; done ;;
  *) sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
