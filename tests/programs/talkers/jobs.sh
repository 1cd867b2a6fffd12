# SPDX-License-Identifier: MIT
# A shell with job control: a coprocess that adds, and a pipeline in the background, each a process
# group of its own. Answers line by line.
set -m
coproc ADDER { total=0; while read -r n; do total=$((total + n)); echo "$total"; done; }
sleep 100000 | cat &
pipeline=$(jobs -p %+)
echo ready
while read -r word n; do
  case $word in
    add)
      echo "$n" >&"${ADDER[1]}"
      read -r total <&"${ADDER[0]}"
      echo "$total"
      ;;
    group) # who is in the pipeline's
      for stat in /proc/[0-9]*/stat; do
        read -r _ name _ _ group _ < "$stat" && [ "$group" = "$pipeline" ] && echo -n "$name "
      done
      echo
      ;;
    end)
      kill %+
      wait %+
      echo "$?"
      ;;
  esac
done
kill %+ 2> /dev/null
exit 0
