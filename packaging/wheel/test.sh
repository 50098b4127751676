#!/bin/sh
# Installs a wheel into a new environment, and tries what it brought: packaging/wheel/test.sh WHEEL
set -eu
[ $# = 1 ] || { sed -n '2s/^# //p' "$0"; exit 2; }
wheel=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-index "$wheel"
"$root/packaging/try.sh" "$work/venv/bin/bgagent"
"$work/venv/bin/pip" uninstall --quiet --yes bgagent
for program in bgagent bgagent-gate; do
  [ ! -e "$work/venv/bin/$program" ] || { echo "$program is still there" >&2; exit 1; }
done
echo "$(basename "$1"): installed, tried and removed"
