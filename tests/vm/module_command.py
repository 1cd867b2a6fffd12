# SPDX-License-Identifier: MIT
"""`mitosis ps` and `mitosis stats` where there is mitosis.ko: beside an agent, and without one."""

import json

from agents import COMMAND, Agents
from module_case import ModuleCase, start
from parent_program import prepare

NOBODY = ("setpriv", "--reuid=65534", "--clear-groups")


class TheCommand(ModuleCase):
    parameters = ("keyless=0",)

    def rows(self, *before):
        """{who has it and its handler: the row}"""
        return {(row["from"], row["handler"]): row
                for row in json.loads(self.machine.must(*before, COMMAND, "ps", "--json"))}

    def counters(self):
        return json.loads(self.machine.must(COMMAND, "stats", "--json"))

    def test_the_module_alone(self):
        pid, _ = start(self.machine, "keyed", 50, "memory")
        [row] = self.rows().values()
        self.assertGreater(row.pop("pages_total"), 1200)
        self.assertLess(row.pop("age_ms"), 600_000)
        self.assertNotEqual(row.pop("generation"), 0)
        self.assertEqual(row, {
            "from": "module", "kind": "parent", "pid": pid, "handler": 50, "uid": 0,
            "policy": "rc+prefetch8+none+cow", "state": "ready", "name": "module_program",
            "bytes": 0, "pages_served": 0})
        self.assertEqual(self.rows(*NOBODY), {})
        head, line = self.machine.must(COMMAND, "ps").splitlines()
        self.assertEqual(head.split()[:4], ["FROM", "KIND", "PID", "HANDLER"])
        self.assertEqual(line.split()[:4], ["module", "parent", str(pid), "50"])
        counters = self.counters()
        self.assertEqual(list(counters), ["module"])
        self.assertEqual(counters["module"]["prepares"], 1)
        self.assertEqual(counters["module"]["prepared_now"], 1)
        said = self.machine.must(COMMAND, "stats")
        self.assertRegex(said, r"(?m)^module\.prepares +1$")
        self.assertRegex(said, r"(?m)^module\.fetched_pages +0$")

    def test_with_an_agent(self):
        agents = Agents([self.machine])
        self.addCleanup(agents.stop)
        start(self.machine, "keyed", 51, "memory")
        prepare(agents, self.machine, 51, "rc+prefetch8+none+cow")
        rows = self.rows()
        self.assertEqual(set(rows), {("agent", 51), ("module", 51)})
        for row in rows.values():
            self.assertEqual((row["kind"], row["policy"]), ("parent", "rc+prefetch8+none+cow"))
        counters = self.counters()
        self.assertGreater(len(counters), 1)  # the agent's, where they were
        self.assertEqual(counters["module"]["prepares"], 1)

    def test_an_agent_that_is_asked_for_and_not_there(self):
        status, said = self.machine.run(COMMAND, "ps", "--socket", "/run/nobody.sock")
        self.assertEqual(status, 1)
        self.assertIn("no agent answers", said)
