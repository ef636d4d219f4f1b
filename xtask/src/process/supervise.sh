# Runs a program and ends it when standard input closes.
# Arguments: seconds between SIGTERM and SIGKILL (0: SIGKILL at once), a folder to delete after that ('' for none),
# the program, its arguments. Any POSIX shell (dash, bash, ...); it has a process group to itself.
grace=$1 scratch=$2
shift 2
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
exec 2>/dev/null # shells announce a killed child, each in its own way
(
  read -r _ <&3 # nothing is ever written, so this returns when the other end is gone
  trap 'exit 0' TERM # the answer to the question below
  if [ "$grace" != 0 ]; then
    kill -TERM "$child"
    sleep "$grace" &
    wait "$!"
  fi
  kill -KILL "$child"
  exit 0
) &
watcher=$!
wait "$child"
status=$?
# A program that ended by itself leaves its log to be read. Who still reads, and was not asked to end, dies of this.
kill -TERM "$watcher"
if wait "$watcher" && [ -n "$scratch" ]; then rm -rf "$scratch"; fi
trap '' TERM
kill -TERM 0 # what is left in the group: the sleep above, the program's own children
exit "$status"
