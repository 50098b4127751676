#!/bin/sh
# Installs the service under a real `systemd --user`, as a user without rights, and looks at what it does:
# started and ready, restarted after a kill and after a hang, stopped, uninstalled. As root, since it makes
# namespaces of its own: nothing of it is seen outside.
#
#   tests/systemd.sh BGAGENT
#
# Exits with 77 where this can't be done: no root, no systemd.
set -eu
program=$(realpath "$1")
for tool in systemctl unshare setpriv; do
  command -v "$tool" >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
manager=/lib/systemd/systemd
[ "$(id -u)" = 0 ] && [ -x "$manager" ] || { echo "no root or no systemd: skipped"; exit 77; }
if [ -z "${OUTSIDE:-}" ]; then
  code=0
  OUTSIDE=$$ unshare --mount --pid --ipc --fork --kill-child --mount-proc sh "$0" "$program" || code=$?
  find /sys/fs/cgroup -depth -type d -path "*/bgagent-test-$$*" -exec rmdir {} \; 2>/dev/null || true
  exit $code
fi

user=65534
mount -t tmpfs tmpfs /run
# a tree of control groups that the user's manager may divide further, whatever this machine has there
mount -t tmpfs tmpfs /sys
mkdir -p /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup || { echo "no control groups here: skipped"; exit 77; }
group=/sys/fs/cgroup/bgagent-test-$OUTSIDE
mkdir "$group"
echo $$ >"$group/cgroup.procs"
chown -R $user "$group"
mkdir -p /run/systemd/system /run/systemd/mount-rootfs /run/systemd/unit-root /run/user/$user /run/home/.config/bgagent /run/bin
cp "$program" /run/bin/bgagent
printf '[agents.beat]\ninterval = 1\ncommand = ["true"]\n[agents.deaf]\ncommand = "trap : TERM; while :; do sleep 1; done"\n' \
  >/run/home/.config/bgagent/agents.toml
chown -R $user:$user /run/user/$user /run/home
chmod 700 /run/user/$user
as() {
  setpriv --reuid $user --regid $user --clear-groups env -i HOME=/run/home PATH="/run/bin:$PATH" \
    XDG_RUNTIME_DIR=/run/user/$user "$@"
}
as "$manager" --user </dev/null >/run/home/manager.log 2>&1 &

fail() {
  echo "FAILED: $*"
  as systemctl --user status bgagent.service --no-pager -l || true
  as bgagent runs --limit 5 || true
  as bgagent tail -n 5 --no-follow || true
  tail -n 20 /run/home/manager.log
  exit 1
}
# Waits up to 30 s for a command to succeed.
wait_for() {
  what=$1
  shift
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "waited in vain: $what"
    sleep 0.1
  done
}
main_pid() { as systemctl --user show -p MainPID --value bgagent.service; }
is_new() { pid=$(main_pid) && [ "$pid" != 0 ] && [ "$pid" != "$1" ] && as bgagent status; }
has_run() { as bgagent runs beat --status completed --limit 1 | grep -q " ok "; }

wait_for "the manager of the user" as systemctl --user list-units
# there is no login manager here that could let the user linger; all else must work
as bgagent service install >/run/home/install.log 2>&1 || true
grep -q "^ok .*enable --now" /run/home/install.log || { cat /run/home/install.log; fail "service install"; }
wait_for "the service" as systemctl --user is-active bgagent.service
as bgagent status >/dev/null || fail "it is active before it answers"
wait_for "a run" has_run
as bgagent service status || fail "service status"
# what holds programs holds within the unit as well, its network too
as bgagent doctor --as-service >/run/home/doctor.log 2>&1 || { cat /run/home/doctor.log; fail "doctor --as-service"; }
grep -q "none got through" /run/home/doctor.log || { cat /run/home/doctor.log; fail "doctor --as-service tried nothing"; }
grep "not started on this machine" /run/home/doctor.log && fail "no network within a sandbox of the service"

pid=$(main_pid)
# what it has in flight does not hear that it should end
as bgagent run deaf >/dev/null || fail "a run by hand"
began=$(date +%s)
kill -9 "$pid"
wait_for "a restart after a kill" is_new "$pid"
[ $(($(date +%s) - began)) -le 10 ] || fail "the restart took more than 10 s"
# more crashes in a row than a start limit allows
for nth in 1 2 3 4 5 6; do
  pid=$(main_pid)
  kill -9 "$pid"
  wait_for "restart $nth" is_new "$pid"
done
pid=$(main_pid)
# its watchdog: a daemon that stands still is ended and started again
kill -STOP "$pid"
wait_for "the watchdog" is_new "$pid"
as bgagent runs beat --limit 100 | grep -q interrupted && echo "a run was cut short, and says so"

as bgagent service uninstall >/dev/null || fail "service uninstall"
as systemctl --user is-active bgagent.service >/dev/null && fail "it still runs"
[ ! -e /run/home/.config/systemd/user/bgagent.service ] || fail "its file is still there"
echo "passed"
