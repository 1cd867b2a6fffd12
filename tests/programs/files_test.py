#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Programs that are in the middle of something with files and shared memory, unmodified."""

import os
import shutil
import subprocess

from case import COMMAND, POLICIES, RESUMES, ProgramTest, main, needs

SQLITE = "/usr/bin/sqlite3"
PYTHON = "/usr/bin/python3"

# multiprocessing keeps a Value in a file that has no name any more, mapped and open; the other one
# has a name in /dev/shm. "fork" has a process of its own add, by the memory that it shares.
SHARED = """
import mmap, multiprocessing, os, sys
value, array = multiprocessing.Value("q", 7), multiprocessing.Array("q", [1, 2, 3])
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.ftruncate(fd, 1 << 16)
named = mmap.mmap(fd, 1 << 16)
named[:5] = b"named"
def add(n):
    with value.get_lock():
        value.value += n
    with array.get_lock():
        array[2] += n
    named[5] += n
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    n = int(line.split()[1])
    if line.startswith("fork"):
        pid = os.fork()
        if pid == 0:
            add(n)
            os._exit(0)
        os.waitpid(pid, 0)
    else:
        add(n)
    print(value.value, array[:], named[:5], os.pread(fd, 6, 0)[5], flush=True)
"""


class Files(ProgramTest):
    @needs(SQLITE)
    def test_sqlite_in_a_transaction(self):
        """On a file, with its locks and its journal; each machine has the file as it was then."""
        folder = self.machines.file("database")
        folder.mkdir()
        database = folder / "rows.db"

        def rows(of):
            return subprocess.run([SQLITE, of, "select count(*) from t; pragma integrity_check;"],
                                  check=True, capture_output=True, text=True).stdout.split()

        parent = self.started(1, [SQLITE, "-bail", "-cmd", "select 'ready';", database])
        for line in ("create table t(n);", "pragma cache_size = 5;",
                     "with recursive c(n) as (select 1 union all select n + 1 from c limit 20000)"
                     " insert into t select n from c;", "begin immediate;",
                     "delete from t where n % 2 = 0;"):
            parent.process.stdin.write(line.encode() + b"\n")
        self.assertEqual(parent.ask("select count(*) from t;"), "10000")
        self.assertTrue((folder / "rows.db-journal").exists(), "it is in the transaction")
        prepared = self.prepare(parent.pid)
        copies = self.machines.file("copies")
        for n in range(RESUMES):
            policy = POLICIES[n % len(POLICIES)]
            with self.subTest(resume=n, policy=policy):
                shutil.copytree(folder, copies)
                child = self.talker(2, [
                    "/usr/bin/unshare", "--mount", "/bin/sh", "-ec",
                    'mount --bind "$0" "$1"; shift; exec "$@"', copies, folder, COMMAND, "resume",
                    1, prepared[0], "--key", prepared[1], "--policy", policy])
                self.assertEqual(child.ask("select count(*) from t;"), "10000")
                child.process.stdin.write(b"rollback;\n" if n % 2 else b"commit;\n")
                left = "20000" if n % 2 else "10000"
                self.assertEqual(child.ask("select count(*) from t;"), left)
                self.assertEqual(child.end(), 0)
                self.assertEqual(rows(copies / "rows.db"), [left, "ok"])
                shutil.rmtree(copies)
        # On the parent's own file its lock forbids a second one.
        with self.assertRaisesRegex(RuntimeError, "rows.db"):
            self.machines.mitosis(2, "resume", 1, prepared[0], "--key", prepared[1])
        self.assertEqual(parent.ask("rollback; select count(*) from t;"), "20000")
        self.assertEqual(parent.end(), 0)
        self.assertEqual(rows(database), ["20000", "ok"])
        self.machines.mitosis(1, "reclaim", prepared[0])

    def test_multiprocessing_shared_memory(self):
        def said(number):
            return f"{number + 7} [1, 2, {number + 3}] b'named' {number}"

        name = f"/dev/shm/mitosis-files-{os.getpid()}"
        try:
            self.goes_on([PYTHON, "-c", SHARED, name],
                         before=[("add 2", said(2)), ("fork 3", said(5))],
                         after=[("add 4", said(9)), ("fork 1", said(10))])
        finally:
            os.unlink(name)


if __name__ == "__main__":
    main()
