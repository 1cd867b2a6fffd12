#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: remote_test.py MITOSIS. mitosis.remote between two agents and a worker.
"""Functions that run in a child here, and in one on the other machine."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

CALLER = """
import json, os, signal, sys, time
import mitosis

data = {n: n * n for n in range(200_000)}
said = {}

def tell(name, call):
    try:
        said[name] = ["returned", call()]
    except BaseException as error:
        said[name] = [type(error).__name__, str(error), str(error.__cause__ or "")]

where = json.loads(sys.argv[1])

@mitosis.remote(**where)
def square(n, then=lambda x: x):  # a lambda cannot be pickled; it need not be
    data.clear if n else data.clear()
    own = mitosis.identity()
    print("in the child", flush=True)
    return [then(data[n]), own.machine, len(data), sys.stdin.read()]

class Stubborn(Exception):
    def __init__(self, one, two):  # cannot be made again from its pickle
        super().__init__(one)

@mitosis.remote(**where)
def fails(how):
    "Fails."
    if how == "raise":
        raise KeyError("no such thing")
    if how == "stubborn":
        raise Stubborn("very", "stubborn")
    if how == "exit":
        sys.exit(5)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "lambda":
        return lambda: 0
    time.sleep(60)

@mitosis.remote(**where, timeout=1)
def slow():
    time.sleep(60)

try:
    mitosis.remote(len)
except TypeError as error:
    assert "@mitosis.remote()" in str(error), error
else:
    raise AssertionError("a function is no machine")
assert fails.__doc__ == "Fails." and fails.__name__ == "fails"
tell("square", lambda: square(777, then=lambda x: x + 1))
tell("again", lambda: square(778))
for how in ("raise", "stubborn", "exit", "kill", "lambda"):
    tell(how, lambda: fails(how))
tell("slow", slow)
said["left"] = len(data)
print(json.dumps(said), flush=True)
"""


def check(said, machine):
    assert said["square"] == ["returned", [777 ** 2 + 1, machine, 200_000, ""]], said
    assert said["again"] == ["returned", [778 ** 2, machine, 200_000, ""]], said
    kind, text, cause = said["raise"]
    assert (kind, text) == ("KeyError", "'no such thing'") and "in fails" in cause, said
    kind, text, cause = said["stubborn"]
    assert kind == "RemoteError" and "Stubborn('very')" in text and "in fails" in cause, said
    assert said["exit"][:2] == ["SystemExit", "5"], said
    assert said["kill"][0] == "RemoteError", said
    assert said["lambda"][0] == "PicklingError" or "pickle" in said["lambda"][1], said
    assert said["slow"][0] == "TimeoutError", said
    assert said["left"] == 200_000, said


class Story:
    def __init__(self, command, agents):
        self.command, self.agents = command, agents
        self.secret = agents.file("worker.secret")
        self.secret.write_text("sixteen bytes and more")
        self.secret.chmod(0o600)

    def call(self, where, script=CALLER, **more):
        done = subprocess.run(["/usr/bin/python3", "-c", script, json.dumps(where)], text=True,
                              env=self.agents.env(0) | more, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, timeout=60, check=False)
        assert done.returncode == 0, done
        return done.stdout

    def left(self, machine):
        said = subprocess.run([self.command, "ps", "--json"], env=self.agents.env(machine),
                              capture_output=True, check=True, timeout=20)
        return json.loads(said.stdout)

    def wait_until_clean(self):
        for machine in (0, 1):
            self.agents.wait_for(lambda: not self.left(machine), f"an empty machine {machine}")


def here(story):
    *printed, last = story.call({}).splitlines()
    assert printed == ["in the child"] * 2, printed
    check(json.loads(last), 0)


def there(story):
    words = ["/usr/bin/python3", "-m", "mitosis.worker", "--listen", "127.0.0.1:0",
             "--secret-file", str(story.secret)]
    with program(words, story.agents.env(1)) as worker:
        address = worker.stdout.readline().removeprefix("serving at ").strip()
        where = {"machine": 1, "secret_file": str(story.secret)}
        (last,) = story.call(where, MITOSIS_WORKERS=f"7=h:1,1={address}").splitlines()
        said = json.loads(last)
        check(said, 1)
        assert "killed by SIGKILL" in said["kill"][1], said

        one = "import json, sys, mitosis\ntry:\n  print(mitosis.remote(**json.loads(sys.argv[1]))" \
              "(lambda: 1)())\nexcept Exception as error:\n  print(repr(error))"
        other = story.agents.file("other.secret")
        other.write_text("another secret of some bytes")
        other.chmod(0o600)
        where = {"worker": address, "secret_file": str(other)}
        assert "the same secret?" in story.call(where, one)
        other.chmod(0o644)
        assert "chmod 600" in story.call(where, one)
        assert "MITOSIS_WORKERS" in story.call({"machine": 1}, one)
        where = {"worker": "127.0.0.1:1", "secret_file": str(story.secret)}
        assert "does it run" in story.call(where, one)
        assert story.call({"worker": address, "secret_file": str(story.secret)}, one) == "1\n"
        worker.terminate()
        # What the function prints is the worker's, and nothing that the caller had said before.
        assert worker.stdout.read() == "in the child\n" * 2


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    with TwoAgents(sys.argv[1]) as agents:
        story = Story(sys.argv[1], agents)
        subprocess.run([sys.argv[1], "connect", "0", agents.address(0)], env=agents.env(1),
                       check=True, timeout=20)
        here(story)
        story.wait_until_clean()
        there(story)
        story.wait_until_clean()
    return 0


if __name__ == "__main__":
    sys.exit(main())
