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
# KAFKA_PARENT  a pid: soon after that process is gone the broker ends by itself and its data are removed
# Exit code 3: java or the jars can't be had here.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HOME_DIR=${TIDEGATE_STAND_DIR:-${HOME:-/tmp}/.cache/tidegate-stand}
VERSION=${KAFKA_VERSION:-4.1.2}
HOST=127.0.0.1
CLUSTER=dGlkZWdhdGUtc3RhbmQtMQ # 16 bytes in base64

say() { echo "kafka.sh: $*" >&2; }

# Both tools are in Debian and Ubuntu; only root can add them.
need() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $2"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } >&2 || true
  fi
  command -v "$1" >/dev/null || { say "$1 is missing (package $2)"; exit 3; }
}

# Fills the jar folder once. Runs side by side are sorted out by a lock.
jars() {
  local out=$HOME_DIR/jars-kafka-$VERSION
  mkdir -p "$HOME_DIR"
  (
    flock 9
    [ -f "$out/.done" ] && exit 0
    need mvn maven
    say "fetching Kafka $VERSION from Maven Central"
    rm -rf "$out"
    mvn -B -q -f "$HERE/kafka-pom.xml" "-Dkafka.version=$VERSION" dependency:copy-dependencies \
      -DincludeScope=runtime "-DoutputDirectory=$out" >&2 || { say "the jars can't be fetched"; exit 3; }
    touch "$out/.done"
  ) 9>"$HOME_DIR/.lock-$VERSION"
  LIB=$out
}

listening() { (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

# The broker of a dir, if it runs: a pid alone may belong to another process by now.
running() {
  [ -s "$1/pid" ] || return 1
  tr '\0' ' ' <"/proc/$(cat "$1/pid")/cmdline" 2>/dev/null | grep -q "kafka.Kafka $1/server.properties"
}

free_port() {
  local p
  for _ in $(seq 200); do
    p=$((20000 + (RANDOM * 32768 + RANDOM) % 12000)) # below the range of outgoing connections
    listening "$p" || { echo "$p"; return; }
  done
  say "no free port"
  exit 1
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
  setsid "${java[@]}" "-Xmx${KAFKA_HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 kafka.Kafka \
    "$dir/server.properties" >"$dir/broker.log" 2>&1 </dev/null 9>&- &
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

stop() { # DIR
  local pid
  if running "$1"; then
    pid=$(cat "$1/pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  fi
  if [ -s "$1/watch" ] && grep -qs watch "/proc/$(cat "$1/watch")/cmdline"; then
    kill -- "-$(cat "$1/watch")" 2>/dev/null || true # it leads a group, with its sleep
  fi
  rm -f "$1/pid" "$1/watch"
}

up() {
  local port=$1 dir=$2 wanted
  if running "$dir"; then
    cat "$dir/address"
    return
  fi
  need java default-jre-headless
  jars
  mkdir -p "$dir"
  for _ in 1 2 3; do
    wanted=$port
    [ "$port" = 0 ] && wanted=$(free_port)
    listening "$wanted" && { say "port $wanted is taken"; exit 1; }
    if start "$dir" "$wanted"; then
      [ -z "${KAFKA_PARENT:-}" ] || watch_parent "$dir" "$KAFKA_PARENT"
      echo "$HOST:$wanted" | tee "$dir/address"
      return
    fi
    [ "$port" = 0 ] || break
  done
  rm -f "$dir/pid"
  exit 1
}

COMMAND=${1:-}
PORT=${2:-${KAFKA_PORT:-9092}}
DIR=${3:-$HOME_DIR/run/kafka-$PORT}
case $COMMAND in
  up) mkdir -p "$DIR"; up "$PORT" "$(cd "$DIR" && pwd)" ;;
  down) if [ -d "$DIR" ]; then stop "$(cd "$DIR" && pwd)"; fi ;;
  down-all) for dir in "$HOME_DIR"/run/kafka-*/; do [ -d "$dir" ] && stop "${dir%/}"; done ;;
  *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
