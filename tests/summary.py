#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Sums up one `meson test` for ./run. Usage: summary.py TESTLOG_JSON EXIT_STATUS
# Prints "PASSED FAILED SKIPPED"; names every failure and the reason of every skip on stderr.
"""A skip is a test that exits with 77, or a GoogleTest case that skips itself."""

import json
import pathlib
import re
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
# "file.cpp:12: Skipped\nno userfaultfd here\n\n[  SKIPPED ] Suite.Case (0 ms)"
CASE = re.compile(r": Skipped\n(.*?)\n*\[  SKIPPED \] (\S+) \(", re.DOTALL)


def skipped_cases(test: dict) -> list[str]:
    """"Suite.Case: reason" of each case that skipped itself in a test that passed."""
    return [f"{case}: {why.strip()}" for why, case in CASE.findall(test.get("stdout") or "")]


def last_line(test: dict) -> str:
    lines = ((test.get("stdout") or "") + (test.get("stderr") or "")).strip().splitlines()
    return lines[-1] if lines else "no reason given"


def main() -> int:
    log, status = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    tests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    passed = failed = skipped = 0
    for test in tests:
        if test["result"] == "SKIP":
            skipped += 1
            print(f"skipped: {test['name']}: {last_line(test)}", file=sys.stderr)
        elif test["result"] in PASSED:
            cases = skipped_cases(test)
            if not cases or len(cases) < (test.get("stdout") or "").count("[ RUN      ]"):
                passed += 1
            for case in cases:
                skipped += 1
                print(f"skipped: {test['name']}: {case}", file=sys.stderr)
        else:
            failed += 1
            print(f"FAILED: {test['name']} ({test['result']})", file=sys.stderr)
    if not tests or (status != 0 and failed == 0):
        failed += 1
        print("FAILED: no test of that name, or the build of its program", file=sys.stderr)
    print(passed, failed, skipped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
