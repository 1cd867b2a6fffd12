#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Process trees that cannot be prepared or made, and what ends with them: nobody is harmed."""

import json
import os
import pathlib
import subprocess
import time

from case import COMMAND, POLICIES, main
from machines import PATIENCE, wait_for
from tree_case import PYTHON, TALKERS, TreeTest, descendants


def named(pids, name):
    found = []
    for pid in pids:
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
        except OSError:
            continue  # it has ended
    return found


class TreeFailures(TreeTest):
    def test_needs_a_pid_namespace(self):
        parent = self.started(1, [PYTHON, TALKERS / "tree.py"])
        handler, key = self.prepare(parent.pid)
        for how in ("resume", "spawn"):
            why = self.refusal(self.machines.mitosis, 2, how, 1, handler, "--key", key)
            self.assertIn("spawn --pidns", why)
        self.assertEqual(parent.ask("add 5"), "5 True 1")
        self.machines.mitosis(1, "reclaim", handler)
        self.assertEqual(parent.end(), 0)
        self.nothing_left()

    def test_alone_as_by_fork(self):
        words = [PYTHON, "-c", "import os, sys, time\n"
                 "if os.fork() == 0: time.sleep(1000)\n"
                 "print('ready', flush=True)\n"
                 "for line in sys.stdin: print(line.strip() + '!', flush=True)\n"]
        parent = self.started(1, words)
        prepared = self.prepare(parent.pid, "--alone")
        child = self.resume(prepared, POLICIES[0])
        self.assertEqual(child.ask("hello"), "hello!")
        self.assertEqual(child.end(), 0)
        for pid in named(descendants(parent.pid), "python3"):
            os.kill(pid, 9)
        self.assertEqual(parent.end(), 0)
        self.machines.mitosis(1, "reclaim", prepared[0])
        self.nothing_left()

    def test_refuses_by_name_and_harms_nobody(self):
        """A child of a session that its parent has left."""
        left = [PYTHON, "-c", "import os, sys, time\n"
                "child = os.fork()\n"
                "if child == 0:\n"
                "    sys.stdin.close(); time.sleep(1000)\n"
                "os.setsid()\n"
                "print('ready', flush=True)\n"
                "for line in sys.stdin: print(line.strip() + '!', flush=True)\n"
                "os.kill(child, 9)\n"]
        parent = self.machines.start(1, [PYTHON, "-c", "import os, subprocess, sys\n"
                                         "p = subprocess.Popen(sys.argv[1:])\n"
                                         "p.wait()\n", *left],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(parent.stdout.readline(), b"ready\n")
        target = named(descendants(parent.pid), "python3")[0]
        why = self.refusal(self.prepare, target)
        self.assertIn("session", why)
        parent.stdin.write(b"hello\n")
        parent.stdin.flush()
        self.assertEqual(parent.stdout.readline(), b"hello!\n")
        parent.stdin.close()
        self.assertEqual(parent.wait(PATIENCE), 0)
        self.nothing_left()

    def test_ends_with_its_root(self):
        """Reclaim ends every member's access and shadow, and none can be had alone."""
        parent = self.started(1, [PYTHON, TALKERS / "tree.py"])
        prepared = self.prepare(parent.pid)
        below = [parent.pid, *descendants(parent.pid)]
        wait_for(lambda: len(named(below, "mitosis-shadow")) == 3, "three shadows")
        child = self.spawn(prepared, POLICIES[0])
        self.assertEqual(child.ask("add 5"), "5 True 1")
        listed = self.machines.mitosis(1, "ps")
        self.assertEqual(listed.count("parent"), 1, listed)
        self.machines.mitosis(1, "reclaim", prepared[0])
        self.assertIn("handler", self.refusal(
            self.machines.mitosis, 2, "spawn", 1, prepared[0], "--key", prepared[1], "--pidns"))
        # They are dead; no process of the tree knows that it has one to bury.
        wait_for(lambda: not named(below, "mitosis-shadow"), "reaping of the shadows")
        child.process.terminate()  # it needs no page for that
        self.assertEqual(child.process.wait(PATIENCE), 128 + 15)
        self.assertEqual(parent.ask("reap"), "True 7")
        self.assertEqual(parent.ask("end"), "True 100")
        self.assertEqual(parent.end(), 0)
        self.nothing_left()

    def test_goes_on_where_the_agent_dies(self):
        """The worker is killed at some moment of a capture: no process of the tree is held."""
        parent = self.started(1, [PYTHON, TALKERS / "tree.py"])
        deaths = 6  # more at a time, and the agent takes the worker for broken
        for n in range(1, deaths + 1):
            command = [COMMAND, "prepare", "--pid", parent.pid, "--handler", 1000 + n]
            prepare = self.machines.start(1, command, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL)
            time.sleep(n * 0.012)  # a moment, whichever it is
            for worker in self.machines.workers(1):
                os.kill(worker, 9)
            prepare.wait(PATIENCE)
            self.assertEqual(parent.ask("add 1"), f"{n} True {n}")
            wait_for(lambda: self.machines.workers(1) and self.answers(1), "new worker")
        for pid in [parent.pid, *descendants(parent.pid)]:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            self.assertIn(state, "SZR")
        prepared = self.prepare(parent.pid)
        child = self.spawn(prepared, POLICIES[0])
        self.assertEqual(child.ask("add 1"), f"{deaths + 1} True {deaths + 1}")
        self.assertEqual(child.end(), 0)
        self.assertEqual(parent.end(), 0)
        for handler in (prepared[0], *range(1001, 1001 + deaths)):
            try:
                self.machines.mitosis(1, "reclaim", handler)
            except RuntimeError:
                continue  # the worker died before that one was prepared
        self.nothing_left()

    def answers(self, machine):
        try:
            return self.machines.mitosis(machine, "nil") is not None
        except RuntimeError:
            return False

    def test_refuses_what_a_member_has(self):
        parent = self.forked("kept = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)")
        child = descendants(parent.pid)[0]
        why = self.refusal(self.prepare, parent.pid)
        self.assertIn(f"process {child}: descriptor 3", why)
        self.assertIn("netlink", why)
        self.assertEqual(parent.ask("hello"), "hello!")
        self.assertEqual(pathlib.Path(f"/proc/{child}/stat").read_text().split()[2], "S")
        self.assertEqual(parent.end(), 0)
        self.nothing_left()

    def test_leaves_out_what_a_member_has(self):
        """--lossy: told, and whose it was; there it reads as ended, all else goes on."""
        words = [PYTHON, "-c", "import os, socket, sys\n"
                 "asks, asked = os.pipe()\n"
                 "says, said = os.pipe()\n"
                 "child = os.fork()\n"
                 "if child == 0:\n"
                 "    sys.stdin.close()\n"
                 "    kept = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n"
                 "    kept.setblocking(False)\n"
                 "    print('ready', flush=True)\n"
                 "    while os.read(asks, 1):\n"
                 "        try: os.write(said, repr(kept.recv(9)).encode())\n"
                 "        except BlockingIOError: os.write(said, b'nothing yet')\n"
                 "for line in sys.stdin:\n"
                 "    os.write(asked, b'?')\n"
                 "    print(os.read(says, 99).decode(), flush=True)\n"
                 "os.kill(child, 9)\n"]
        parent = self.started(1, words)
        member = descendants(parent.pid)[0]
        self.assertIn(f"process {member}: descriptor", self.refusal(self.prepare, parent.pid))
        said = json.loads(self.machines.mitosis(1, "prepare", "--pid", parent.pid, "--handler", 900,
                                                "--lossy", "--json"))
        self.assertEqual(len(said["dropped"]), 1, said)
        for word in (f"process {member}", "descriptor", "netlink"):
            self.assertIn(word, said["dropped"][0])
        for policy in POLICIES:
            child = self.spawn((900, said["key"]), policy)
            self.assertEqual(child.ask("what?"), "b''")
            self.assertEqual(parent.ask("what?"), "nothing yet")
            self.assertEqual(child.end(), 0)
        self.assertEqual(parent.end(), 0)
        self.machines.mitosis(1, "reclaim", 900)
        self.nothing_left()

    def test_a_member_that_fails_ends_all(self):
        """A member's working directory that is not on the other machine."""
        folder = self.machines.file("gone")
        folder.mkdir()
        parent = self.forked("os.chdir(sys.argv[1])", folder)
        handler, key = self.prepare(parent.pid)
        folder.rmdir()
        for _ in range(3):
            why = self.refusal(self.machines.mitosis, 2, "spawn", 1, handler, "--key", key,
                               "--pidns")
            self.assertIn(str(folder), why)
        folder.mkdir()
        child = self.spawn((handler, key), POLICIES[0])
        self.assertEqual(child.ask("hello"), "hello!")
        self.assertEqual(child.end(), 0)
        self.assertEqual(parent.end(), 0)
        self.machines.mitosis(1, "reclaim", handler)
        self.nothing_left()


if __name__ == "__main__":
    main()
