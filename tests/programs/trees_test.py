#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Programs of several processes, prepared as a whole: each child is a tree like its parent's."""

import os

from case import POLICIES, RESUMES, main, needs
from machines import PATIENCE, wait_for
from tree_case import PYTHON, TALKERS, TreeTest, descendants
from web import NGINX, URL, get, start_nginx

BASH = "/bin/bash"
ASK = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n" \
      "sys.stdout.write(s.makefile().read())"


class Trees(TreeTest):
    def goes_on(self, words, before, after):
        super().goes_on(words, before, after)
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

    @needs(NGINX)
    def test_nginx_with_workers(self):
        server = start_nginx(self.machines, "worker_processes 2; user root;")
        wait_for(lambda: get(self.machines, 1, URL), "nginx")
        prepared = self.prepare(server.pid)
        for n in range(RESUMES):
            policy = POLICIES[n % len(POLICIES)]
            with self.subTest(resume=n, policy=policy):
                child = self.spawn(prepared, policy)
                self.assertEqual(wait_for(lambda: get(self.machines, 2, URL), "child's answer"),
                                 "as prepared")
                child.process.terminate()  # of the master, which ends its workers
                self.assertEqual(child.process.wait(PATIENCE), 0)
        self.assertEqual(get(self.machines, 1, URL), "as prepared")
        server.terminate()
        self.assertEqual(server.wait(PATIENCE), 0)
        self.machines.mitosis(1, "reclaim", prepared[0])
        self.nothing_left()


if __name__ == "__main__":
    main()
