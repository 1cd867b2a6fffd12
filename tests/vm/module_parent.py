# SPDX-License-Identifier: MIT
"""What mitosis.ko has prepared on one machine goes on in user space on another, under its agent."""

import kernel_module
from agents import COMMAND
from module_case import CALL, PORT, begin, end, start, wait_until
from module_ends import SIGKILL, WithAgent

FINE = (0, "child fine\n")
POLICIES = ("rc+prefetch8+none+cow", "rc+ondemand+local+cow", "rc+eager+none+cow")


class ModuleParent(WithAgent):
    """Machine 0 (`owner`) has the module, machine 1 (`other`) an agent, which knows it."""

    missing = 128 + SIGKILL

    @classmethod
    def agent_options(cls):
        return "--peer", f"0={cls.owner.address}:{PORT}"

    def load(self, *parameters):
        kernel_module.load(self.owner, self.module, f"port={PORT}", "machine=0",
                           f"secret={self.agents.secret}", *(parameters or self.parameters))

    def resume(self, handler, key, *options):
        return self.agents.mitosis(self.other, "resume", 0, handler, *options,
                                   env={"MITOSIS_KEY": key})

    def waiting_child(self, handler):
        _, key = start(self.owner, "keyed", handler, "waits elsewhere")
        words = (COMMAND, "resume", 0, handler)
        self.other.must("sh", "-c", f'MITOSIS_KEY={key} setsid sh -c \'"$@"; echo status $?\' '
                                    'sh "$@" < /dev/null > /run/child 2>&1 &', "sh", *words)
        wait_until(self.other, "grep -q 'child waits' /run/child")

    def reclaim(self, handler):
        self.assertEqual(self.owner.run(CALL, "reclaim", handler), (0, "reclaim: done\n"))

    def test_a_c_program_goes_on_under_the_agent(self):
        for handler, what, policies in ((60, "elsewhere", POLICIES), (61, "fork", POLICIES[:1]),
                                        (62, "change", POLICIES[:1])):
            _, key = start(self.owner, "keyed", handler, what)
            for policy in policies:
                with self.subTest(what=what, policy=policy):
                    self.assertEqual(self.resume(handler, key, "--policy", policy), FINE)

    def test_python(self):
        said = begin(self.owner, "/run/python", "/usr/bin/python3", "-c", PYTHON, 63)
        self.addCleanup(end, self.owner, int(said.split()[1]))
        told = f"child {sum(n * n for n in range(200_000))} [Errno 25] vm1\n"
        for _ in range(2):
            self.assertEqual(self.agents.mitosis(self.other, "resume", 0, 63), (0, told))

    def test_the_wrong_key_and_what_is_not_there(self):
        _, key = start(self.owner, "keyed", 64, "elsewhere")
        wrong = ("0" if key[0] != "0" else "1") + key[1:]
        status, said = self.resume(64, wrong)
        self.assertIn("the auth key does not open this handler", said)
        self.assertEqual(status, 125)
        status, said = self.resume(99, key)
        self.assertIn("no such handler is prepared", said)
        self.assertEqual(status, 125)

    def test_the_wrong_secret(self):
        _, key = start(self.owner, "keyed", 65, "elsewhere")
        self.unload()
        kernel_module.load(self.owner, self.module, f"port={PORT}",
                           "secret=another-secret-than-the-agents")
        status, said = self.resume(65, key)
        self.assertIn("the other agent was not authenticated", said)
        self.assertEqual(status, 125)
        self.assertIn("a peer has not the secret", "\n".join(kernel_module.log(self.owner)))

    def test_the_module_goes(self):
        self.waiting_child(67)
        self.owner.must("sh", "-c", "kill -9 $(pidof module_program)")
        wait_until(self.owner, "rmmod mitosis 2> /dev/null")
        self.goes_on(self.missing)
        self.load()

    def test_what_is_no_message(self):
        """Peers that say anything: the module drops them, and serves on."""
        self.other.must("/usr/bin/python3", "-c", NONSENSE, self.owner.address, PORT, seconds=300)
        _, key = start(self.owner, "keyed", 69, "elsewhere")
        self.assertEqual(self.resume(69, key), FINE)


# A child has the device's number still, but it is no device where no module is.
PYTHON = """
import fcntl, os, sys, time
PREPARE = 4
data = {n: n * n for n in range(200_000)}
device = os.open("/dev/mitosis-syscalls", os.O_RDWR)
if fcntl.ioctl(device, PREPARE, int(sys.argv[1])) == 1:
    try:
        fcntl.ioctl(device, 0, 0)
    except OSError as error:
        print("child", sum(data.values()), str(error)[:10], os.uname().nodename)
    sys.exit(0)
data.clear()
print("prepared", os.getpid(), flush=True)
while True:
    time.sleep(1000)
"""

NONSENSE = """
import os, socket, struct, sys
to = (sys.argv[1], int(sys.argv[2]))
def say(what):
    with socket.create_connection(to, timeout=30) as s:
        try:
            s.sendall(what)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
        except OSError:
            pass
def frame(kind, payload, length=None):
    return struct.pack("<IHHQIIQ", 0x3154494d, 1, kind, 0,
                       len(payload) if length is None else length, 1000, 0) + payload
hello = struct.pack("<IBQQ", 1, 1, 5, 0) + os.urandom(32)
say(b"")
for n in range(40):
    say(os.urandom(n * 7 + 1))
    say(frame(1, hello[:n]))
    say(frame(n, hello) + frame(3, os.urandom(32)))
    say(frame(1, hello) + os.urandom(n))
say(frame(1, hello, 1 << 31))
say(frame(1, hello) + frame(3, bytes(32)) + frame(7, bytes(24)))
idle = [socket.create_connection(to, timeout=30) for _ in range(60)]
for s in idle:
    s.close()
"""
