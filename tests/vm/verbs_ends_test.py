#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Remote fork by RDMA where something ends or is refused: keys, links, parents, machines; hops."""

import time

import soft_roce
from case import run_or_skip
from parent_program import prepare
from verbs_case import POLICY, OwnerEnds, VerbsCase

HOPS = """
import hashlib, os, sys, mitosis
mine = bytearray(os.urandom(1 << 20)) * 4
sums = [hashlib.sha256(mine).hexdigest()]
key = mitosis.prepare(40, policy="rc+prefetch8+none+cow")
if key is None:
    child = bytearray(os.urandom(1 << 20)) * 4
    sums.append(hashlib.sha256(child).hexdigest())
    key = mitosis.prepare(41, policy="rc+prefetch8+none+cow")
    if key is None:
        same = sums == [hashlib.sha256(mine).hexdigest(), hashlib.sha256(child).hexdigest()]
        print("grandchild", same, os.uname().nodename, flush=True)
        os._exit(6)
with open("/run/told", "w") as told:
    print(key, file=told)
os.rename("/run/told", "/run/hop%d" % len(sums))
os.system("sleep 1000")
"""


class Ends(OwnerEnds, VerbsCase):

    def test_three_hops(self):
        first, second, third = self.machines
        first.must("sh", "-c", 'setsid "$@" </dev/null > /run/out 2>&1 &', "sh", "/usr/bin/python3",
                   "-B", "-c", HOPS, env=self.agents.env)
        self.wait_for_file(first, "/run/hop1")
        key = first.must("cat", "/run/hop1").strip()
        begun = self.agents.begin(second, "resume", "0", "40", env={"MITOSIS_KEY": key})
        self.wait_for_file(second, "/run/hop2")
        key = second.must("cat", "/run/hop2").strip()
        status, said = self.agents.mitosis(third, "resume", "1", "41", env={"MITOSIS_KEY": key})
        self.assertEqual((status, said), (6, "grandchild True vm2\n"), self.agents.log(third))
        second.run("pkill", "-x", "sleep")
        second.finish(begun)

    def test_a_wrong_key_is_refused(self):
        prepare(self.agents, self.machines[0], 50, POLICY, 1)
        status, said = self.agents.mitosis(self.machines[1], "resume", "0", "50",
                                           env={"MITOSIS_KEY": "0" * 31 + "1"})
        self.assertEqual(status, 125)
        self.assertIn("does not open this handler", said)

    def test_dct_is_refused_by_name(self):
        key, _ = prepare(self.agents, self.machines[0], 51, POLICY, 1)
        status, said = self.agents.mitosis(self.machines[1], "resume", "0", "51", "--policy",
                                           "dct+ondemand+none+cow", env={"MITOSIS_KEY": key})
        self.assertEqual(status, 125)
        self.assertIn("rxe0", said)
        self.assertIn("no mlx5 device; use an rc policy, or --fabric tcp", said)
        self.assertIn("here rc+ondemand+none+cow", said)

    def test_a_link_that_is_down_for_a_while_costs_no_byte(self):
        key, data = prepare(self.agents, self.machines[0], 53, POLICY, 2)
        begun = self.begin_slow_child(self.machines[1], 53, key)
        self.cluster.switch.unplug(1)
        time.sleep(2)  # less than a page may take
        self.cluster.switch.plug(1)
        before = soft_roce.read_packets(self.machines[1])
        status, said = self.machines[1].finish(begun)
        self.assertEqual((status, said), (5, f"child {data} vm1\n"),
                         self.agents.log(self.machines[1]))
        # RDMA has come back for the rest of it.
        self.assertGreater(soft_roce.read_packets(self.machines[1]), before + 20,
                           self.agents.log(self.machines[1]))

    def test_workers_that_are_killed_cost_no_byte(self):
        owner, reader = self.machines[0], self.machines[1]
        key, data = prepare(self.agents, owner, 55, POLICY, 2)
        begun = self.begin_slow_child(reader, 55, key)
        told = "handler 55 is registered"
        for machine in (reader, owner):
            machine.must("pkill", "-KILL", "-x", "mitosis-worker")
        self.assertEqual(reader.finish(begun), (5, f"child {data} vm1\n"),
                         self.agents.log(reader))
        # The new one has registered it anew.
        self.wait_for(lambda: self.agents.log(owner).count(told) == 2,
                      lambda: self.agents.log(owner))



if __name__ == "__main__":
    run_or_skip()
