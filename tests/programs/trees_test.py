#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Programs of several processes, prepared as a whole: each child is a tree like its parent's."""

import os
import subprocess

from case import POLICIES, RESUMES, main, needs
from machines import PATIENCE, wait_for
from tree_case import PYTHON, TALKERS, TreeTest, descendants

BASH, NGINX = "/bin/bash", "/usr/sbin/nginx"
ASK = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n" \
      "sys.stdout.write(s.makefile().read())"
GET = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=20)" \
      ".read().decode())"


class Trees(TreeTest):
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
                # The port is free once the workers have followed their master.
                wait_for(lambda: "python3" not in [name for _, name in self.machines.strangers(2)],
                         "end of the workers")
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


if __name__ == "__main__":
    main()
