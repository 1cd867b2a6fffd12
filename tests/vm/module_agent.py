# SPDX-License-Identifier: MIT
"""mitosis.ko and the agent: what an agent has prepared goes on under another machine's module."""

import time

import kernel_module
from agents import PORT
from module_case import CALL, PROGRAM, begin, end, wait_until
from module_ends import WithAgent
from parent_program import prepare

POLICY = "rc+prefetch8+none+cow"
LEASE_SECONDS = 15
DENIED = (1, "resume: Permission denied\n")


class Agent(WithAgent):
    """Machine 0 (`owner`) has an agent, machine 1 (`other`) the module, which knows it."""

    owner_has_agent = True

    @classmethod
    def agent_options(cls):
        return "--lease", f"{LEASE_SECONDS}s"

    def load(self, *parameters, secret=None):
        kernel_module.load(self.other, self.module, "machine=1",
                           f"secret={secret or self.agents.secret}", *parameters)

    def setUp(self):
        super().setUp()
        self.connect()

    def connect(self):
        # A busy host: the agent's handshake may take longer than the module waits.
        wait_until(self.other, f"{CALL} connect 0 {self.owner.address}:{PORT} > /dev/null")

    def parent(self, handler, how="memory", *options):
        """A C program that knows nothing of all this, prepared there; (its pid, its key)."""
        said = begin(self.owner, f"/run/plain{handler}", PROGRAM, "plain", how)
        pid = int(said.split()[1])
        status, said = self.agents.mitosis(self.owner, "prepare", "--pid", pid, "--handler",
                                           handler, "--policy", POLICY, *options)
        self.assertEqual(status, 0, said)
        self.addCleanup(self.owner.run, "sh", "-c", f"[ ! -e /proc/{pid} ] || kill -9 {pid}")
        return pid, said.split()[-1]

    def child(self, handler, key):
        """One that has begun, and waits for /run/go."""
        self.other.must("sh", "-c", f"rm -f /run/child; setsid sh -c '{CALL} resume 0 {handler} "
                                    f"{key}; echo status $?' < /dev/null > /run/child 2>&1 &")
        wait_until(self.other, f"{CALL} statistics | grep -q 'remote_pages=[1-9]'")

    def waiting_child(self, handler):
        self.child(handler, self.parent(handler)[1])

    def reclaim(self, handler):
        self.assertEqual(self.agents.mitosis(self.owner, "reclaim", handler)[0], 0)

    def test_a_c_program_goes_on_under_the_module(self):
        _, key = self.parent(40)
        self.other.must("touch", "/run/go")
        for _ in range(2):
            self.assertEqual(self.other.run(CALL, "resume", 0, 40, key), (0, "child fine\n"))
        self.assertGreater(self.statistics(self.other)["remote_pages"], 2000)

    def test_python(self):
        key, data = prepare(self.agents, self.owner, 41, POLICY)
        for _ in range(2):
            self.assertEqual(self.other.run(CALL, "resume", 0, 41, key),
                             (5, f"child {data} vm1\n"), kernel_module.log(self.other)[-2:])

    def test_the_wrong_key_and_what_is_not_there(self):
        _, key = self.parent(42)
        wrong = ("0" if key[0] != "0" else "1") + key[1:]
        self.assertEqual(self.other.run(CALL, "resume", 0, 42, wrong), DENIED)
        self.assertEqual(self.other.run(CALL, "resume", 0, 99, key),
                         (1, "resume: No such file or directory\n"))
        said = "\n".join(kernel_module.log(self.other))
        self.assertIn("the auth key does not open this handler", said)
        self.assertIn("no such handler is prepared", said)

    def test_the_wrong_secret(self):
        _, key = self.parent(43)
        self.unload()
        self.load(secret="another-secret-than-the-agents")
        self.assertEqual(self.other.run(CALL, "connect", 0, f"{self.owner.address}:{PORT}"),
                         (1, "connect: Permission denied\n"))
        self.assertEqual(self.other.run(CALL, "resume", 0, 43, key)[0], 1)

    def test_what_the_module_cannot_restore(self):
        for handler, how, why in ((44, "shared", "has shared memory"),
                                  (45, "file", "has descriptor 3 open: /dev/null")):
            with self.subTest(how=how):
                _, key = self.parent(handler, how)
                self.assertEqual(self.other.run(CALL, "resume", 0, handler, key),
                                 (1, "resume: Operation not supported\n"))
                self.assertIn(why, "\n".join(kernel_module.log(self.other)))

    def test_a_lease_is_renewed(self):
        pid, key = self.parent(49)
        self.child(49, key)
        end(self.owner, pid)
        time.sleep(2 * LEASE_SECONDS + 1)  # without the child the image would have ended by now
        self.goes_on(0)

    def test_an_agent_that_comes_back(self):
        _, key = self.parent(47)
        self.child(47, key)
        # Its lane ends with it; the keeper starts another worker, which still has the parent.
        self.owner.must("sh", "-c", "kill -9 $(pgrep -P $(cat /run/agent.ready))")
        self.goes_on(0)
