# SPDX-License-Identifier: MIT
"""Who may do what with mitosis.ko: a handler opens to its key, on machines that have the cluster's
secret; who asks in between learns nothing."""

import kernel_module
from module_case import (CALL, PORT, PROGRAM, SECRET, SIGBUS, ModuleCase, RemoteCase, end, start,
                         wait_until)

DENIED = "Permission denied\n"
FINE = (0, "child fine\n")
NOBODY = ("setpriv", "--reuid=65534", "--clear-groups")


class Keys(RemoteCase):
    parameters = ("keyless=0",)

    def test_a_key_opens_its_handler_here_and_there(self):
        _, key = start(self.owner, "keyed", 30, "memory")
        self.assertEqual(self.owner.run(CALL, "resume", -1, 30, key), FINE)
        self.assertEqual(self.other.run(CALL, "resume", 0, 30, key), FINE)
        # Whose process it is that has the key does not matter.
        self.assertEqual(self.owner.run(*NOBODY, CALL, "resume", 0, 30, key), FINE)
        self.assertEqual(self.other.run(*NOBODY, CALL, "resume", 0, 30, key), FINE)
        self.assertGreater(self.statistics(self.other)["remote_pages"], 1000)

    def test_another_key_does_not(self):
        _, key = start(self.owner, "keyed", 31, "memory")
        _, others = start(self.owner, "keyed", 32, "memory")
        for wrong in ("00" * 16, others, key[:-1] + ("1" if key[-1] == "0" else "0")):
            for machine, where in ((self.owner, -1), (self.other, 0)):
                self.assertEqual(machine.run(CALL, "resume", where, 31, wrong),
                                 (1, "resume: " + DENIED))
        self.assertIn("a peer has not the secret or the key",
                      "\n".join(kernel_module.log(self.owner)[-20:]))
        # A key of zeros, which is none, does not get as far.
        self.assertEqual(self.statistics(self.owner)["refused"], 2)
        self.assertEqual(self.statistics(self.owner)["accepted"], 0)

    def test_calls_without_a_key(self):
        start(self.owner, "keyed", 33, "memory")
        self.assertEqual(self.owner.run(PROGRAM, "child", 33), (1, "resume: " + DENIED))
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 33), (1, "resume: " + DENIED))
        self.unload()
        self.load("keyless=1")  # serves them, but not a handler that has a key
        _, key = start(self.owner, "keyed", 33, "memory")
        self.assertEqual(self.owner.run(PROGRAM, "child", 33), (1, "resume: " + DENIED))
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 33), (1, "resume: " + DENIED))
        self.assertEqual(self.other.run(CALL, "resume", 0, 33, key), FINE)
        start(self.owner, "parent", 34, "memory")
        self.assertEqual(self.other.run(CALL, "resume", 0, 34, key), (1, "resume: " + DENIED))

    def test_a_key_of_the_time_before(self):
        pid, key = start(self.owner, "keyed", 35, "memory")
        end(self.owner, pid)
        gone = (1, "resume: No such file or directory\n")
        self.assertEqual(self.other.run(CALL, "resume", 0, 35, key), gone)
        start(self.owner, "keyed", 35, "memory")
        self.assertEqual(self.other.run(CALL, "resume", 0, 35, key), (1, "resume: " + DENIED))

    def test_a_machine_with_another_secret(self):
        _, key = start(self.owner, "keyed", 36, "memory")
        self.other.must("rmmod", "mitosis")
        self.load_on(self.other, secret=SECRET + "!")
        self.assertEqual(self.other.run(CALL, "connect", 0, self.owner.address),
                         (1, "connect: " + DENIED))
        self.assertEqual(self.statistics(self.owner)["accepted"], 0)
        self.assertIn("a peer has not the secret", kernel_module.log(self.owner)[-1])
        self.other.must("rmmod", "mitosis")
        self.load_on(self.other)
        self.other.must(CALL, "connect", 0, self.owner.address)
        self.assertEqual(self.other.run(CALL, "resume", 0, 36, key), FINE)

    def test_many_peers_of_one_handler(self):
        """All read by the keys that the first one's connection made."""
        _, key = start(self.owner, "keyed", 37, "memory")
        begun = [self.other.begin(CALL, "resume", 0, 37, key) for _ in range(4)]
        ends = [self.other.finish(one) for one in begun]
        self.assertIn(FINE, ends)
        # A very busy host: a connection that has no answer in time is given up.
        self.assertLessEqual(set(ends), {FINE, (-SIGBUS, "")})
        self.assertEqual(self.statistics(self.owner)["accepted"], 4)


class NoSecret(ModuleCase):
    """What needs no other machine."""

    number = 1  # beside others
    parameters = ("keyless=0",)

    def test_a_port_needs_a_secret(self):
        self.unload()
        for words in ((), ("secret=short",)):
            self.assertNotEqual(
                self.machine.run("insmod", self.module, f"port={PORT}", *words)[0], 0)
            self.assertIn("port needs secret=", kernel_module.log(self.machine)[-1])

    def test_the_secret_is_not_shown(self):
        self.assertNotIn("secret", self.machine.must("ls", "/sys/module/mitosis/parameters"))

    def test_a_lease(self):
        self.assertEqual(self.machine.run(CALL, "pin", 40, 2), (0, "pin: done\n"))
        self.assertEqual(self.machine.run(CALL, "pin", 41, 0), (0, "pin: done\n"))
        self.assertEqual(self.machine.run(CALL, "pin", 42, 3600), (0, "pin: done\n"))
        self.assertEqual(self.machine.run(CALL, "renew", 42, 2), (0, "renew: done\n"))
        wait_until(self.machine, f"{CALL} list | grep -q '^41 ' && "
                                 f"! {CALL} list | grep -q '^4[02] '", 20)
        self.assertEqual(self.machine.run(*NOBODY, CALL, "renew", 41, 1), (1, "renew: " + DENIED))
        self.assertEqual(self.machine.run(CALL, "renew", 43, 1),
                         (1, "renew: No such file or directory\n"))

    def test_a_list(self):
        pid, _ = start(self.machine, "keyed", 44, "memory")
        self.machine.must(CALL, "pin", 45, 100)
        lines = dict(line.split(maxsplit=1) for line in
                     self.machine.must(CALL, "list").splitlines())
        self.assertEqual(set(lines), {"44", "45"})
        self.assertRegex(lines["44"], rf"pages=[1-9]\d\d\d pid={pid} uid=0 lease=0 flags=1 users=0")
        self.assertRegex(lines["45"], r"pid=0 uid=0 lease=(9\d|100) flags=3 users=0")
        self.assertEqual(self.machine.must(*NOBODY, CALL, "list"), "")
        numbers = self.statistics(self.machine)
        self.assertEqual((numbers["prepared"], numbers["prepares"]), (2, 2))

    def test_what_is_refused_is_counted(self):
        pid, key = start(self.machine, "keyed", 60, "memory")
        for words, why in (((PROGRAM, "keyed", 60, "memory"), "prepares_in_use"),
                           ((PROGRAM, "keyed", 61, "threads"), "prepares_unsupported"),
                           ((CALL, "resume", -1, 60, "17" * 16), "resumes_denied"),
                           ((CALL, "resume", -1, 62, key), "resumes_unknown"),
                           ((CALL, "resume", 7, 60, key), "resumes_unknown")):
            before = self.statistics(self.machine)
            self.assertEqual(self.machine.run(*words)[0], 1, words)
            after = self.statistics(self.machine)
            self.assertEqual({name for name in after if after[name] != before[name]},
                             {why, "refused_" + why.split("_")[0]})
            self.assertEqual(after[why], before[why] + 1)
        end(self.machine, pid)

    def test_a_budget(self):
        # A program of the test has some 8 MiB.
        self.machine.must("sh", "-c", "echo 12 > /sys/module/mitosis/parameters/budget_mib")
        start(self.machine, "keyed", 46, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "keyed", 47, "memory"),
                         (1, "prepare: No space left on device\n"))
        self.assertIn("finds no room in budget_mib", kernel_module.log(self.machine)[-1])
        self.assertEqual(self.statistics(self.machine)["prepares_without_room"], 1)
        self.machine.must("sh", "-c", "cd /sys/module/mitosis/parameters; echo 0 > budget_mib; "
                                      "echo 4 > user_budget_mib")
        start(self.machine, "keyed", 48, "memory")  # root's are not bounded
        self.assertEqual(self.machine.run(*NOBODY, PROGRAM, "keyed", 49, "memory"),
                         (1, "prepare: No space left on device\n"))
