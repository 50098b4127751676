#!/bin/sh
# Installs a Debian package in a system of its own, tries what it brought, and removes it: packaging/deb/test.sh DEB
#
# As root. With debootstrap the system is a new one, of SUITE (bookworm); without it, a folder that knows of no other packages.
set -eu
[ $# = 1 ] || { sed -n '2s/^# //p' "$0"; exit 2; }
deb=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
root=$work/root
mkdir "$root"
end() {
  umount "$root/proc" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap end EXIT
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

if command -v lintian >/dev/null; then
  # it has no bug of Debian's to close, is linked statically as Rust programs are, and its manual is generated
  lintian --fail-on error --suppress-tags bogus-mail-host,initial-upload-closes-no-bugs "$deb" || fail "lintian"
fi

# Relocations that only newer loaders read (see build.rs) are no symbol of the C library, so what finds dependencies passes over them.
if dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/bin/bgagent | grep -qa GLIBC_ABI_DT_RELR; then
  asked=$(dpkg-deb -f "$deb" Depends | sed -n 's/.*libc6 (>= \([0-9.]*\)).*/\1/p')
  dpkg --compare-versions "$asked" ge 2.36 || echo "note: built here, it needs glibc 2.36 and asks for $asked; publish what an older system built"
fi

if command -v debootstrap >/dev/null && debootstrap --variant=minbase "${SUITE:-bookworm}" "$root" >"$work/log" 2>&1; then
  system="a new ${SUITE:-bookworm}"
  cp "$deb" "$root/tmp/it.deb"
  # what it depends on comes along
  chroot "$root" apt-get install -y -qq --no-install-recommends /tmp/it.deb >"$work/log" 2>&1 || { cat "$work/log"; fail "apt-get install"; }
  rm "$root/tmp/it.deb"
  dpkg() { chroot "$root" dpkg "$@"; }
else
  system="a folder, without what it depends on"
  mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info"
  touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
  dpkg() { command dpkg --root="$root" --force-script-chrootless --force-depends "$@"; }
  dpkg -i "$deb" >"$work/log" 2>&1 || { cat "$work/log"; fail "dpkg -i"; }
fi

for file in usr/bin/bgagent usr/bin/bgagent-gate usr/lib/systemd/user/bgagent.service \
  usr/share/man/man1/bgagent.1.gz usr/share/man/man1/bgagent-why.1.gz usr/share/man/man5/agents.toml.5.gz \
  usr/share/bash-completion/completions/bgagent usr/share/zsh/vendor-completions/_bgagent \
  usr/share/fish/vendor_completions.d/bgagent.fish usr/share/doc/bgagent/copyright \
  usr/share/doc/bgagent/THIRD-PARTY.txt.gz usr/share/doc/bgagent/examples/agents.example.toml; do
  # a new system may leave documentation out, as images for containers do
  [ -e "$root/$file" ] || fail "there is no /$file"
done
cmp "$here/../systemd/bgagent.service" "$root/usr/lib/systemd/user/bgagent.service" || fail "the unit"
# the shells that are here take the completions
if command -v bash >/dev/null; then bash -n "$root/usr/share/bash-completion/completions/bgagent" || fail "the completion of bash"; fi
if command -v systemd-analyze >/dev/null && [ -x /usr/bin/bgagent ]; then
  systemd-analyze --user verify "$root/usr/lib/systemd/user/bgagent.service" || fail "the unit is refused"
fi

if [ -x "$root/bin/sh" ]; then
  mount -t proc proc "$root/proc"
  cp "$here/../try.sh" "$root/tmp/try.sh"
  # as a user without rights, as agents' daemons are run
  chroot --userspec=65534:65534 "$root" env PATH=/usr/bin:/bin TMPDIR=/tmp sh /tmp/try.sh /usr/bin/bgagent || fail "it was tried"
  rm "$root/tmp/try.sh"
  umount "$root/proc"
else
  "$here/../try.sh" "$root/usr/bin/bgagent" || fail "it was tried"
fi

dpkg --remove bgagent >"$work/log" 2>&1 || { cat "$work/log"; fail "dpkg --remove"; }
dpkg --purge bgagent >"$work/log" 2>&1 || { cat "$work/log"; fail "dpkg --purge"; }
left=$(find "$root/usr" "$root/etc" -name '*bgagent*' 2>/dev/null)
[ -z "$left" ] || fail "left behind: $left"
echo "$(basename "$1"): installed in $system, tried and removed"
