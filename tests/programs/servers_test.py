#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Servers, unmodified, with their listening sockets: children answer on their own network."""

import subprocess

from case import POLICIES, RESUMES, ProgramTest, main, needs
from machines import wait_for
from web import NGINX, URL, get, start_nginx


class Servers(ProgramTest):
    def each_child(self, prepared):
        """One child after the other, each ended by SIGTERM."""
        for n in range(RESUMES):
            policy = POLICIES[n % len(POLICIES)]
            with self.subTest(resume=n, policy=policy):
                child = self.resume(prepared, policy)
                yield child
                child.process.terminate()
                child.process.wait(20)

    def test_http_server(self):
        url = "http://127.0.0.1:8000/page"
        folder = self.machines.file("www")
        folder.mkdir()
        (folder / "page").write_text("as prepared")
        server = self.machines.start(
            1, ["/usr/bin/python3", "-m", "http.server", "-d", folder, "8000"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: get(self.machines, 1, url), "http server")
        prepared = self.prepare(server.pid)
        for _ in self.each_child(prepared):
            said = wait_for(lambda: get(self.machines, 2, url), "child's answer")
            self.assertEqual(said, "as prepared")
        self.assertEqual(get(self.machines, 1, url), "as prepared")

    @needs("/usr/bin/redis-server", "/usr/bin/redis-cli")
    def test_redis(self):
        folder = self.machines.file("redis")
        folder.mkdir()

        def cli(machine, *words):
            return self.machines.run(machine, ["redis-cli", *words]).strip()

        server = self.machines.start(
            1, ["/usr/bin/redis-server", "--dir", folder, "--save", "", "--daemonize", "no"],
            stdout=subprocess.DEVNULL)
        wait_for(lambda: self._answers(cli, 1), "redis")
        for n in range(50):
            cli(1, "set", f"key{n}", f"value{n}")
        prepared = self.prepare(server.pid)
        cli(1, "set", "key7", "changed by the parent")
        for _ in self.each_child(prepared):
            wait_for(lambda: self._answers(cli, 2), "child")
            self.assertEqual(cli(2, "get", "key7"), "value7")
            self.assertEqual(cli(2, "dbsize"), "50")
            cli(2, "set", "key8", "changed by a child")
            cli(2, "bgsave")
            wait_for(lambda: "rdb_bgsave_in_progress:0" in cli(2, "info", "persistence"), "bgsave")
            self.assertIn("rdb_last_bgsave_status:ok", cli(2, "info", "persistence"))
        self.assertEqual(cli(1, "get", "key7"), "changed by the parent")
        self.assertEqual(cli(1, "get", "key8"), "value8")

    @staticmethod
    def _answers(cli, machine):
        try:
            return cli(machine, "ping") == "PONG"
        except RuntimeError:
            return False

    @needs(NGINX)
    def test_nginx_one_process(self):
        server = start_nginx(self.machines, "master_process off;")
        wait_for(lambda: get(self.machines, 1, URL), "nginx")
        prepared = self.prepare(server.pid)
        for _ in self.each_child(prepared):
            said = wait_for(lambda: get(self.machines, 2, URL), "child's answer")
            self.assertEqual(said, "as prepared")
        self.assertEqual(get(self.machines, 1, URL), "as prepared")


if __name__ == "__main__":
    main()
