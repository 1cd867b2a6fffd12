# SPDX-License-Identifier: MIT
# A shell with job control: a coprocess that adds, and two pipelines in the background, each a
# process group of its own; the leader of the second ends at once. Answers line by line.
set -m
coproc ADDER { total=0; while read -r n; do total=$((total + n)); echo "$total"; done; }
sleep 100000 | cat &
true | sleep 100001 &
last=$!
while kill -0 "$(jobs -p %3)" 2> /dev/null; do :; done

# The names of those in a job's process group.
names() {
  local stat name group
  for stat in /proc/[0-9]*/stat; do
    read -r _ name _ _ group _ < "$stat" && [ "$group" = "$(jobs -p "$1")" ] && echo -n "$name "
  done 2> /dev/null
}

echo ready
while read -r word n; do
  case $word in
    add)
      echo "$n" >&"${ADDER[1]}"
      read -r total <&"${ADDER[0]}"
      echo "$total"
      ;;
    group) echo "$(names "$n")" ;;
    end)
      kill "$n"
      wait "$n"
      echo "$?"
      ;;
  esac
done
kill %2 %3 "$last" 2> /dev/null
exit 0
