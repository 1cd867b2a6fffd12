#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Interpreters and runtimes, unmodified, with their threads, timers and collectors."""

import pathlib
import tempfile
import subprocess

from case import ProgramTest, main, needs

TALKERS = pathlib.Path(__file__).resolve().parent / "talkers"
PYTHON = "/usr/bin/python3"


class Languages(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.built = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="mitosis-talkers-")))

    def python_threads(self, count):
        words = [PYTHON, "-B", TALKERS / "threads.py", count]
        base = sum(range(count))
        self.goes_on(words, before=[("add 2", str(base + 2 * count))],
                     after=[("add 5", str(base + 7 * count)), ("add 1", str(base + 8 * count))])

    def sums(self, words, count, **options):
        """Goes on by numbers that only a run of the same program knows."""
        alone = self.started(1, words, **options)
        lines = [f"add {n}" for n in range(count)]
        said = [(line, alone.ask(line)) for line in lines]
        self.assertEqual(alone.end(), 0)
        self.goes_on(words, before=said[:3], after=said[3:], **options)

    def test_python_1_thread(self):
        self.python_threads(1)

    def test_python_4_threads(self):
        self.python_threads(4)

    def test_python_150_threads(self):
        self.python_threads(150)

    def test_numpy(self):
        self.sums([PYTHON, "-B", TALKERS / "blas.py"], 6)

    @needs("/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3")
    def test_numpy_with_a_pool(self):
        """OpenBLAS's threads, which take part in each product."""
        words = [PYTHON, "-B", TALKERS / "blas.py", "pool"]
        pool = {"OPENBLAS_NUM_THREADS": "4",
                "LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu/openblas-pthread"}
        self.sums(words, 6, env=pool)

    @needs("/usr/bin/perl")
    def test_perl(self):
        self.sums(["/usr/bin/perl", TALKERS / "talker.pl"], 6)

    @needs("/usr/bin/ruby")
    def test_ruby(self):
        self.sums(["/usr/bin/ruby", TALKERS / "talker.rb"], 6)

    @needs("/usr/bin/node")
    def test_node(self):
        self.sums(["/usr/bin/node", TALKERS / "node.js"], 6)

    @needs("/usr/bin/java", "/usr/bin/javac")
    def test_java(self):
        subprocess.run(["/usr/bin/javac", "-d", self.built, TALKERS / "Talker.java"], check=True)
        self.sums(["/usr/bin/java", "-XX:+UseSerialGC", "-Xmx256m", "-cp", self.built, "Talker"], 6)

    @needs("/usr/bin/go")
    def test_go(self):
        environment = {"GOCACHE": str(self.built / "cache"), "HOME": str(self.built),
                       "PATH": "/usr/bin:/bin", "GOFLAGS": "-mod=mod"}
        subprocess.run(["/usr/bin/go", "build", "-o", self.built / "talker",
                        TALKERS / "talker.go"], check=True, env=environment)
        self.sums([self.built / "talker"], 6)


if __name__ == "__main__":
    main()
