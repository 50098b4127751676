#!/bin/sh
# Prints the Homebrew formula of a release: packaging/homebrew/fill.sh https://github.com/OWNER/bgagent SHA256SUMS
set -eu
[ $# = 2 ] || { sed -n '2s/^# //p' "$0"; exit 2; }
repo=$1
sums=$2
here=$(dirname "$0")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/../../Cargo.toml" | head -n 1)
set -- -e "s|@REPO@|$repo|g" -e "s|@VERSION@|$version|g"
targets=$(sed -n 's/.*"@SHA256 \(.*\)@".*/\1/p' "$here/bgagent.rb.in")
while read -r target; do
  archive=bgagent-v$version-$target.tar.gz
  sum=$(awk -v archive="$archive" '$2 == archive || $2 == "*" archive { print $1 }' "$sums")
  [ ${#sum} = 64 ] || { echo "$sums has no sum of $archive" >&2; exit 1; }
  set -- "$@" -e "s|@SHA256 $target@|$sum|"
done <<TARGETS
$targets
TARGETS
sed "$@" -e '1s/.*/# Made by packaging\/homebrew\/fill.sh./' "$here/bgagent.rb.in"
