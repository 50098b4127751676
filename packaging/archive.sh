#!/bin/sh
# Makes the archive that a release has for a target: both programs, the manual, completions, the example, licences.
#
#   packaging/archive.sh PROGRAMS TARGET OUT
#
# PROGRAMS is the folder with `bgagent` and `bgagent-gate`, OUT the folder for the archive, whose name is printed. Names are
# those of `package.metadata.binstall` in Cargo.toml. A program of 30 MB or more is refused: that is the bound.
set -eu
[ $# = 3 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
programs=$(cd "$1" && pwd)
target=$2
mkdir -p "$3"
out=$(cd "$3" && pwd)
cd "$(dirname "$0")/.."

bound=30000000
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=bgagent-v$version-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/$name
mkdir -p "$folder/docs"
for program in bgagent bgagent-gate; do
  cp "$programs/$program" "$folder/$program"
  chmod 755 "$folder/$program"
  size=$(($(wc -c <"$folder/$program")))
  [ "$size" -lt $bound ] || { echo "$program has $size bytes, and the bound is $bound" >&2; exit 1; }
  echo "$program: $size bytes" >&2
done
cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE agents.example.toml agents.schema.json "$folder"
cp docs/*.md "$folder/docs"
cp -R man completions "$folder"
if [ -e target/notices/THIRD-PARTY.txt ]; then cp target/notices/THIRD-PARTY.txt "$folder"; fi

# the same sources give the same archive
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
if tar --version 2>/dev/null | grep -q GNU; then
  tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf "$work/$name.tar" "$name"
else
  tar -C "$work" -cf "$work/$name.tar" "$name"
fi
gzip -9 -n <"$work/$name.tar" >"$out/$name.tar.gz"
echo "$out/$name.tar.gz"
