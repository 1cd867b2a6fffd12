# SPDX-License-Identifier: MIT
"""What mitosis.ko bears: many forks, allocations that fail, calls without sense. In the end no
memory is missing, and the kernel has nothing to say."""

import os
import re

from module_case import CALL, PROGRAM, ModuleCase, start, used, wait_until

FUZZ = os.environ.get("MITOSIS_MODULE_FUZZ", "")
FORKS = int(os.environ.get("MITOSIS_MODULE_FORKS", "500"))
EACH = 50  # children of one parent
# PROGRAM CALL COUNT: that many children.
MANY = f"""
for number in $(seq $(($3 / {EACH}))); do
  $1 leaves 73 exit < /dev/null > /run/loop && $1 many 73 {EACH} && $2 reclaim 73 || exit 1
done
"""
# PROGRAM CALL SITES: a prepare, a resume and a fork with the n-th site's allocation failing, for
# each n. Says for each how many sites there were, and what came of it.
FAILING = """
at=/sys/module/mitosis/parameters/test_fail_at
for site in $3; do
  echo $site > $at
  $1 leaves 74 fork < /dev/null > /run/loop
  if grep -q ^prepared /run/loop; then
    $1 child 74 > /run/child
    status=$?
  else
    cp /run/loop /run/child
    status=none
  fi
  count=$(cat $at)
  echo 0 > $at
  $2 reclaim 74 > /run/reclaimed
  echo "$site $count $status" $(tail -n 1 /run/child)
done
"""
NONE = 1000000
# PROGRAM: prepares and resumes that are killed after ever more ms.
KILLED = """
for ms in $(seq 0 15 300); do
  for words in "parent 74 memory" "child 73"; do
    $1 $words < /dev/null > /run/killed &
    busybox usleep ${ms}000
    kill -9 $!
    wait $!
  done
done
"""


class Life(ModuleCase):
    number = 1  # beside others

    def test_many_forks_leave_no_memory_behind(self):
        words = ("sh", "-c", MANY, "sh", PROGRAM, CALL)
        self.machine.must(*words, EACH, seconds=300)
        before = used(self.machine)
        said = self.machine.must(*words, FORKS, seconds=1200)
        self.assertEqual(said, ("child fine\n" * EACH + "reclaim: done\n") * (FORKS // EACH))
        # Each child holds some 8 MiB, and so does each parent: GiBs, had they been kept. The
        # processors' own lists of free pages look like a leak, of up to some 50 MiB.
        self.assertLess(used(self.machine) - before, 60 * 1024)
        numbers = self.statistics(self.machine)
        self.assertEqual((numbers["prepared"], numbers["pages"], numbers["children"]), (0, 0, 0))
        self.assertEqual(numbers["local_resumes"], FORKS + EACH)

    def test_programs_that_are_killed_at_any_time(self):
        start(self.machine, "pinned", 73, "memory")
        self.machine.run("sh", "-c", KILLED, "sh", PROGRAM, seconds=300)
        self.assertEqual(self.machine.run(PROGRAM, "child", 73), (0, "child fine\n"))
        wait_until(self.machine, f"{CALL} statistics | grep -q 'prepared=1 .* children=0'")

    def failing(self, sites):
        """Lines of [site, how many sites there were, status, text]."""
        said = self.machine.must("sh", "-c", FAILING, "sh", PROGRAM, CALL,
                                 " ".join(map(str, sites)), seconds=900)
        return [line.split(maxsplit=3) for line in said.splitlines()]

    def test_a_failing_allocation_at_each_site(self):
        [[_, count, *_]] = self.failing([NONE])
        whole = int(count)
        self.assertGreater(whole, 20)
        refused = 0
        for site, met, _, text in self.failing(range(1, whole + 1)):
            # Either it is refused for want of memory, or all goes well, as a fault is tried again;
            # a fork, which cannot fail for it, lacks the pager of one mapping.
            self.assertGreaterEqual(int(met), int(site) - 3, text)  # it was met, but for races
            if text not in ("child fine", "WRONG: SIGBUS in a fork"):
                self.assertRegex(text, "(prepare|resume): Cannot allocate memory", f"site {site}")
                refused += 1
        self.assertGreater(refused, 8)
        numbers = self.statistics(self.machine)
        self.assertEqual((numbers["prepared"], numbers["pages"], numbers["children"]), (0, 0, 0))


class Nonsense(ModuleCase):

    def test_calls_without_sense(self):
        for seed, who in ((1, ()), (2, ("setpriv", "--reuid=65534", "--clear-groups"))):
            said = self.machine.must(*who, FUZZ, seed, 1500, seconds=600)
            found = re.fullmatch(r"ok=(\d+) refused=(\d+) killed=(\d+)\n", said)
            self.assertIsNotNone(found, said)
            self.assertGreater(int(found[1]), 50)
            self.assertGreater(int(found[2]), 500)
        start(self.machine, "parent", 75, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "child", 75), (0, "child fine\n"))
