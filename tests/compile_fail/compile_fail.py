#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# A program that must not compile, must fail for the reason that a user is told first.
# Usage: compile_fail.py FILE COMPILER...
"""Compiles FILE; `// expect: TEXT` must be in the first error, `// mentions: TEXT` anywhere."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include"]
ERROR = re.compile(r"\berror:")


def fault(file: str, compiler: str) -> str:
    """Why the file does not fail as it should; "" where it does."""
    text = pathlib.Path(file).read_text()
    expected = re.findall(r"^// expect: (.*)$", text, re.MULTILINE)
    mentioned = re.findall(r"^// mentions: (.*)$", text, re.MULTILINE)
    if not expected:
        return "the file has no `// expect: TEXT` line"
    done = subprocess.run([compiler, *FLAGS, file], capture_output=True, text=True)
    if done.returncode == 0:
        return "it compiles"
    first = next((line for line in done.stderr.splitlines() if ERROR.search(line)), "")
    for part in expected:
        if part not in first:
            return f"the first error lacks {part!r}: {first}"
    for part in mentioned:
        if part not in done.stderr:
            return f"no line mentions {part!r}:\n{done.stderr}"
    return ""


def main() -> int:
    file, compilers = sys.argv[1], sys.argv[2:]
    status = 0
    for compiler in compilers:
        why = fault(file, compiler)
        print(f"{compiler}: {why or 'fails as it should'}")
        status = 1 if why else status
    return status


if __name__ == "__main__":
    sys.exit(main())
