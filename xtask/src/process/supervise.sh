# Runs a program and ends it when standard input closes.
# Arguments: seconds between SIGTERM and SIGKILL (0: SIGKILL at once), a folder to delete afterwards ('' for none),
# the program, its arguments. Any POSIX shell (dash, bash, ...); it has a process group to itself.
grace=$1 scratch=$2
shift 2
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
exec 2>/dev/null # shells announce a killed child, each in its own way
(
  read -r _ <&3 # nothing is ever written, so this returns when the other end is gone
  if [ "$grace" != 0 ]; then
    kill -TERM "$child"
    sleep "$grace"
  fi
  kill -KILL "$child"
) &
wait "$child"
status=$?
[ -z "$scratch" ] || rm -rf "$scratch"
trap '' TERM
kill -TERM 0 # what is left in the group: the watcher above, the program's own children
exit "$status"
