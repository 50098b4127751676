#!/bin/sh
# Tries an installed program: its version, a daemon that starts a command through the gate beside it, and its end.
#
#   packaging/try.sh /usr/bin/bgagent
set -eu
[ $# = 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2; }
bgagent=$1
gate=$(dirname "$bgagent")/bgagent-gate
work=$(mktemp -d)
daemon=
end() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT
fail() {
  echo "FAILED: $*" >&2
  cat "$work/log" >&2 2>/dev/null || true
  exit 1
}
"$bgagent" --version | grep -Eq '^bgagent [0-9]+\.[0-9]+\.[0-9]+' || fail "--version"
"$gate" --version | grep -q '^bgagent-gate ' || fail "the gate's --version"

unset BGAGENT_CONFIG BGAGENT_STATE_DIR BGAGENT_SOCKET XDG_STATE_HOME XDG_CONFIG_HOME XDG_RUNTIME_DIR
export HOME="$work"
"$bgagent" init >"$work/log" 2>&1 || fail "init"
"$bgagent" check >"$work/log" 2>&1 || fail "check"
# the parent of what a program is started by is its keeper
# shellcheck disable=SC2016
printf '[agents.hello]\ncommand = "readlink -f /proc/$PPID/exe || ps -o comm= -p $PPID"\n' >"$work/.config/bgagent/agents.toml"
"$bgagent" daemon >"$work/log" 2>&1 &
daemon=$!
tries=0
until "$bgagent" status >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ $tries = 300 ] || ! kill -0 "$daemon" 2>/dev/null; then fail "the daemon does not answer"; fi
  sleep 0.1
done
"$bgagent" run hello --wait >"$work/run" || { cat "$work/run" >&2; fail "a run"; }
"$bgagent" logs hello | grep -q bgagent-gate || { "$bgagent" logs hello >&2; fail "the program was not started through $gate"; }
"$bgagent" why hello >/dev/null || fail "why"
"$bgagent" shutdown >/dev/null || fail "shutdown"
wait "$daemon" || fail "the daemon ended with $?"
daemon=
