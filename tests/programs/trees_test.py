#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Programs of several processes, prepared as a whole: each child is a tree like its parent's."""

import os
import pathlib
import subprocess
import time

from case import COMMAND, POLICIES, RESUMES, ProgramTest, main, needs
from machines import PATIENCE, wait_for

TALKERS = pathlib.Path(__file__).parent / "talkers"
PYTHON, BASH, NGINX = "/usr/bin/python3", "/bin/bash", "/usr/sbin/nginx"
ASK = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n" \
      "sys.stdout.write(s.makefile().read())"
GET = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=20)" \
      ".read().decode())"


def descendants(pid):
    """All processes below one."""
    below = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            below += [int(child), *descendants(int(child))]
    return below


def named(pids, name):
    found = []
    for pid in pids:
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
        except OSError:
            continue  # it has ended
    return found


class Trees(ProgramTest):
    def spawn(self, prepared, policy):
        handler, key = prepared
        return self.talker(2, [COMMAND, "spawn", 1, handler, "--key", key, "--policy", policy,
                               "--pidns"], stderr=subprocess.DEVNULL)

    def goes_on(self, words, before, after):
        """As of case.py: what each child and in the end the parent is told, and must say."""
        parent = self.started(1, words)
        for line, answer in before:
            self.assertEqual(parent.ask(line), answer)
        prepared = self.prepare(parent.pid)
        for n in range(RESUMES):
            policy = POLICIES[n % len(POLICIES)]
            with self.subTest(resume=n, policy=policy):
                child = self.spawn(prepared, policy)
                for line, answer in after:
                    self.assertEqual(child.ask(line), answer)
                self.assertEqual(child.end(), 0)
        for line, answer in after:
            self.assertEqual(parent.ask(line), answer)
        self.assertEqual(parent.end(), 0)
        self.machines.mitosis(1, "reclaim", prepared[0])
        self.nothing_left()

    def nothing_left(self):
        """No process of a child's, and no shadow."""
        def left():
            return [(pid, name) for machine in (1, 2)
                    for pid, name in self.machines.strangers(machine)
                    if name != "mitosis-guard"]
        try:
            wait_for(lambda: not left(), "end", 20)
        except TimeoutError:
            self.fail(f"left: {left()}")

    def test_pipes_memory_zombies_and_places(self):
        self.goes_on([PYTHON, TALKERS / "tree.py"], [("add 5", "5 True 1"), ("add 6", "11 True 2")],
                     [("add 30", "41 True 3"), ("group", "True True"), ("reap", "True 7"),
                      ("add 1", "42 True 4"), ("end", "True 142")])

    @needs(BASH)
    def test_shell_with_jobs(self):
        self.goes_on([BASH, TALKERS / "jobs.sh"], [("add 5", "5")],
                     [("add 30", "35"), ("group %2", "(sleep) (cat) "), ("end %2", "143"),
                      ("group %3", "(sleep) "), ("end %3", "143"), ("add 1", "36")])

    def ask(self, machine, port):
        """What a server answers: its count, its pid and its parent's."""
        try:
            said = self.machines.run(machine, [PYTHON, "-c", ASK, "127.0.0.1", port])
            return [int(n) for n in said.split()]
        except RuntimeError:
            return None

    def test_forking_server(self):
        server = self.machines.start(1, [PYTHON, TALKERS / "prefork.py", 3, 8100])
        wait_for(lambda: self.ask(1, 8100), "server")
        counted = self.ask(1, 8100)[0]
        workers = set(descendants(server.pid))
        prepared = self.prepare(server.pid)
        for n in range(RESUMES):
            policy = POLICIES[n % len(POLICIES)]
            with self.subTest(resume=n, policy=policy):
                child = self.spawn(prepared, policy)
                for i in range(1, 5):
                    count, pid, parent = wait_for(lambda: self.ask(2, 8100), "answer")
                    self.assertEqual((count, parent), (counted + i, server.pid))
                    self.assertIn(pid, workers)
                child.process.terminate()
                self.assertEqual(child.process.wait(PATIENCE), 128 + 15)
        self.assertEqual(self.ask(1, 8100)[0], counted + 1)
        server.terminate()
        for pid in workers:
            os.kill(pid, 15)
        server.wait(PATIENCE)
        self.machines.mitosis(1, "reclaim", prepared[0])
        self.nothing_left()

    def get(self, machine, url):
        try:
            return self.machines.run(machine, [PYTHON, "-c", GET, url])
        except RuntimeError:
            return None

    @needs(NGINX)
    def test_nginx_with_workers(self):
        folder = self.machines.file("nginx")
        folder.mkdir()
        folder.chmod(0o755)
        folder.parent.chmod(0o755)
        (folder / "page").write_text("as prepared")
        (folder / "conf").write_text(
            "daemon off; worker_processes 2; pid nginx.pid; error_log stderr; user root;\n"
            "events {}\nhttp { access_log off; client_body_temp_path t; proxy_temp_path t;\n"
            "fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n"
            f"server {{ listen 8080; root {folder}; }} }}\n")
        server = self.machines.start(1, [NGINX, "-p", folder, "-c", "conf"],
                                     stderr=subprocess.DEVNULL)
        url = "http://127.0.0.1:8080/page"
        wait_for(lambda: self.get(1, url), "nginx")
        prepared = self.prepare(server.pid)
        for n in range(RESUMES):
            policy = POLICIES[n % len(POLICIES)]
            with self.subTest(resume=n, policy=policy):
                child = self.spawn(prepared, policy)
                self.assertEqual(wait_for(lambda: self.get(2, url), "child's answer"),
                                 "as prepared")
                child.process.terminate()  # of the master, which ends its workers
                self.assertEqual(child.process.wait(PATIENCE), 0)
        self.assertEqual(self.get(1, url), "as prepared")
        server.terminate()
        self.assertEqual(server.wait(PATIENCE), 0)
        self.machines.mitosis(1, "reclaim", prepared[0])
        self.nothing_left()

    def refusal(self, call, *words):
        with self.assertRaises(RuntimeError) as refused:
            call(*words)
        return str(refused.exception)

    def test_needs_a_pid_namespace(self):
        parent = self.started(1, [PYTHON, TALKERS / "tree.py"])
        handler, key = self.prepare(parent.pid)
        for how in ("resume", "spawn"):
            why = self.refusal(self.machines.mitosis, 2, how, 1, handler, "--key", key)
            self.assertIn("spawn --pidns", why)
        self.assertEqual(parent.ask("add 5"), "5 True 1")
        self.machines.mitosis(1, "reclaim", handler)
        self.assertEqual(parent.end(), 0)
        for pid in descendants(parent.pid) if parent.process.poll() is None else ():
            os.kill(pid, 9)
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
        self.assertEqual(len(named(below, "mitosis-shadow")), 3)
        child = self.spawn(prepared, POLICIES[0])
        self.assertEqual(child.ask("add 5"), "5 True 1")
        listed = self.machines.mitosis(1, "ps")
        self.assertEqual(listed.count("parent"), 1, listed)
        self.machines.mitosis(1, "reclaim", prepared[0])
        self.assertIn("handler", self.refusal(
            self.machines.mitosis, 2, "spawn", 1, prepared[0], "--key", prepared[1], "--pidns"))
        # They are dead, and stay zombies until their parents end, as every shadow.
        for pid in named(below, "mitosis-shadow"):
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            self.assertEqual(state, "Z")
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

    def answers(self, machine):
        try:
            return self.machines.mitosis(machine, "nil") is not None
        except RuntimeError:
            return False

    def forked(self, in_child, *words):
        """A talker that has a child, which has done so and sleeps."""
        return self.started(1, [PYTHON, "-c", "import os, socket, sys, time\n"
                                "child = os.fork()\n"
                                "if child == 0:\n"
                                "    sys.stdin.close()\n"
                                f"    {in_child}\n"
                                "    print('ready', flush=True); time.sleep(1000)\n"
                                "for line in sys.stdin: print(line.strip() + '!', flush=True)\n"
                                "os.kill(child, 9)\n", *words])

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
