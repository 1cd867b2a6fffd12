# SPDX-License-Identifier: MIT
"""What mitosis.ko bears: many forks, allocations that fail, calls without sense. In the end no
memory is missing, and the kernel has nothing to say."""

import os
import re

from module_case import CALL, PROGRAM, ModuleCase, start, used

FUZZ = os.environ.get("MITOSIS_MODULE_FUZZ", "")
FORKS = int(os.environ.get("MITOSIS_MODULE_FORKS", "500"))
# PROGRAM CALL COUNT: that many children of one parent, and a new parent with each tenth.
MANY = """
for number in $(seq $3); do
  if [ $((number % 10)) = 1 ]; then
    $2 reclaim 73 > /run/reclaimed
    $1 pinned 73 exit < /dev/null > /run/loop || exit 1
  fi
  $1 child 73 || exit 1
done
$2 reclaim 73
"""
# PROGRAM CALL SITES: a prepare, a resume and a fork with the n-th allocation failing, for each n.
# Says for each what came of it, and how many allocations there were.
FAILING = """
at=/sys/module/mitosis/parameters/test_fail_at
for site in $3; do
  echo $site > $at
  $1 pinned 74 exit < /dev/null > /run/loop
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


class Life(ModuleCase):

    def test_many_forks_leave_no_memory_behind(self):
        words = ("sh", "-c", MANY, "sh", PROGRAM, CALL)
        self.machine.must(*words, 20, seconds=300)
        before = used(self.machine)
        said = self.machine.must(*words, FORKS, seconds=1200)
        self.assertEqual(said, "child fine\n" * FORKS + "reclaim: done\n")
        # Each child holds some 12 MiB, and so does each parent: GiBs, had they been kept. The
        # processors' own lists of free pages look like a leak, of up to some 50 MiB.
        self.assertLess(used(self.machine) - before, 60 * 1024)
        numbers = self.statistics(self.machine)
        self.assertEqual((numbers["prepared"], numbers["pages"], numbers["children"]), (0, 0, 0))
        self.assertEqual(numbers["local_resumes"], FORKS + 20)

    def test_a_failing_allocation_at_each_site(self):
        sites = [*range(1, 60), *range(60, 200, 9), 1000000]
        said = self.machine.must("sh", "-c", FAILING, "sh", PROGRAM, CALL,
                                 " ".join(map(str, sites)), seconds=900)
        lines = said.splitlines()
        self.assertEqual(len(lines), len(sites))
        whole = int(lines[-1].split()[1])  # with none that fails
        self.assertGreater(whole, 60)
        refused = 0
        for line in lines:
            self.assertNotIn("WRONG", line)
            site, count, status, text = line.split(maxsplit=3)
            # Either it is refused for want of memory, or all goes well: a fault is tried again.
            if text != "child fine":
                self.assertRegex(text, "(prepare|resume): Cannot allocate memory", line)
                refused += 1
            self.assertGreaterEqual(int(count), min(int(site), whole // 2), line)
        self.assertGreater(refused, 5)
        numbers = self.statistics(self.machine)
        self.assertEqual((numbers["prepared"], numbers["pages"], numbers["children"]), (0, 0, 0))

    def test_calls_without_sense(self):
        for seed, who in ((1, ()), (2, ("setpriv", "--reuid=65534", "--clear-groups"))):
            said = self.machine.must(*who, FUZZ, seed, 1500, seconds=600)
            found = re.fullmatch(r"ok=(\d+) refused=(\d+) killed=(\d+)\n", said)
            self.assertIsNotNone(found, said)
            self.assertGreater(int(found[1]), 50)
            self.assertGreater(int(found[2]), 500)
        start(self.machine, "parent", 75, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "child", 75), (0, "child fine\n"))
