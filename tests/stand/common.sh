# What the servers' scripts share; each sources it and defines `running DIR` and, for `up`, `start DIR PORT`, `jars` and
# `watch_parent DIR PARENT`. STOP_TENTHS is how many tenths of a second a server gets to end by itself.
# shellcheck shell=bash disable=SC2034,SC2154 # variables of the script that sources this

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HOME_DIR=${TIDEGATE_STAND_DIR:-${HOME:-/tmp}/.cache/tidegate-stand}
HOST=127.0.0.1

say() { echo "$(basename "$0"): $*" >&2; }

# Both tools are in Debian and Ubuntu; only root can add them.
need() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $2"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } >&2 || true
  fi
  command -v "$1" >/dev/null || { say "$1 is missing (package $2)"; exit 3; }
}

# Fills the jar folder of a server once. Runs side by side are sorted out by a lock.
fetch_jars() { # NAME TITLE VERSION LOCK
  local out=$HOME_DIR/jars-$1-$3
  mkdir -p "$HOME_DIR"
  (
    flock 9
    [ -f "$out/.done" ] && exit 0
    need mvn maven
    say "fetching $2 $3 from Maven Central"
    rm -rf "$out"
    mvn -B -q -f "$HERE/$1-pom.xml" "-D$1.version=$3" dependency:copy-dependencies \
      -DincludeScope=runtime "-DoutputDirectory=$out" >&2 || { say "the jars can't be fetched"; exit 3; }
    touch "$out/.done"
  ) 9>"$HOME_DIR/$4"
  LIB=$out
}

listening() { (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

free_port() {
  local p
  for _ in $(seq 200); do
    p=$((20000 + (RANDOM * 32768 + RANDOM) % 12000)) # below the range of outgoing connections
    listening "$p" || { echo "$p"; return; }
  done
  say "no free port"
  exit 1
}

stop() { # DIR
  local pid
  if running "$1"; then
    pid=$(cat "$1/pid")
    kill -CONT "$pid" 2>/dev/null || true # a paused one could not end
    kill "$pid" 2>/dev/null || true
    for _ in $(seq "$STOP_TENTHS"); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  fi
  if [ -s "$1/watch" ] && grep -qs watch "/proc/$(cat "$1/watch")/cmdline"; then
    kill -- "-$(cat "$1/watch")" 2>/dev/null || true # it leads a group, with its sleep
  fi
  rm -f "$1/pid" "$1/watch"
}

up() { # PORT DIR PARENT
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
      [ -z "$3" ] || watch_parent "$dir" "$3"
      echo "$HOST:$wanted" | tee "$dir/address"
      return
    fi
    [ "$port" = 0 ] || break
  done
  rm -f "$dir/pid"
  exit 1
}
