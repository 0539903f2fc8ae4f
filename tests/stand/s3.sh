#!/usr/bin/env bash
# An S3-like server for tests: moto, in memory, from the Python of tests/setup.sh. It takes any keys and honours
# If-None-Match and If-Match; that one of several writers wins is what it was seen to do, not what it promises.
#
#   s3.sh up   [port] [dir]   starts it, makes the bucket "tidegate", and prints its address (http://host:port) as the
#                             only line on stdout
#   s3.sh down [port] [dir]   stops it; what it held is gone
#
# port  default $S3_PORT, else 9000
# dir   log and pid of this server; default $TIDEGATE_STAND_DIR/run/s3-<port>
# TIDEGATE_STAND_DIR   Python and default dirs, default ~/.cache/tidegate-stand
# S3_PARENT  a pid: soon after that process is gone the server ends by itself
# Exit code 3: moto is not installed.
set -euo pipefail

# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
STOP_TENTHS=50
BUCKET=tidegate
SERVER=$HOME_DIR/venv/bin/moto_server

# The server of a dir, if it runs: a pid alone may belong to another process by now.
running() {
  [ -s "$1/pid" ] || return 1
  tr '\0' ' ' <"/proc/$(cat "$1/pid")/cmdline" 2>/dev/null | grep -q "moto_server -H $HOST -p $PORT"
}

# Ends the server when its parent is gone: a killed test leaves nothing behind.
watch_parent() { # DIR PARENT
  setsid bash -c 'while kill -0 "$1" 2>/dev/null && kill -0 "$2" 2>/dev/null; do sleep 1; done
    kill -9 "$2" 2>/dev/null' watch "$2" "$(cat "$1/pid")" >/dev/null 2>&1 </dev/null &
  echo $! >"$1/watch"
}

make_bucket() { # PORT
  "$HOME_DIR/venv/bin/python" -c "
import urllib.request
urllib.request.urlopen(urllib.request.Request('http://$HOST:$1/$BUCKET', method='PUT'), timeout=10)"
}

up() { # PORT DIR
  local port=$1 dir=$2
  if running "$dir"; then
    echo "http://$HOST:$port"
    return
  fi
  [ -x "$SERVER" ] || { say "$SERVER is missing: run tests/setup.sh"; exit 3; }
  listening "$port" && { say "port $port is taken"; exit 1; }
  setsid "$SERVER" -H "$HOST" -p "$port" >"$dir/server.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  for _ in $(seq 300); do
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || { tail -20 "$dir/server.log" >&2; exit 1; }
    if listening "$port"; then
      make_bucket "$port"
      [ -z "${S3_PARENT:-}" ] || watch_parent "$dir" "$S3_PARENT"
      echo "http://$HOST:$port"
      return
    fi
    sleep 0.1
  done
  say "not ready after 30 s: see $dir/server.log"
  stop "$dir"
  exit 1
}

COMMAND=${1:-}
PORT=${2:-${S3_PORT:-9000}}
DIR=${3:-$HOME_DIR/run/s3-$PORT}
case $COMMAND in
  up) mkdir -p "$DIR"; up "$PORT" "$(cd "$DIR" && pwd)" ;;
  down) if [ -d "$DIR" ]; then stop "$(cd "$DIR" && pwd)"; fi ;;
  *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
