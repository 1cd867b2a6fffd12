#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# The rules of form that no compiler checks: licence line, top comment, line length, a README in
# every folder. Files above 300 lines are reported, but do not fail.
"""Reports every source file that breaks a rule of form."""

import pathlib
import sys

import sources

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_COLUMNS = 100
MANY_LINES = 300


def faults(path: pathlib.Path) -> list[str]:
    lines = path.read_text().splitlines()
    comment = ("#", '"""') if path.suffix == ".py" else ("//", "/*", " *")
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    name = path.relative_to(ROOT)
    found = []
    if not lines or "SPDX-License-Identifier: MIT" not in lines[0]:
        found.append(f"{name}: the first line must be the SPDX licence line")
    if len(lines) < 2 or not lines[1].startswith(comment):
        found.append(f"{name}: a comment must follow the licence: what is here, and why")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            found.append(f"{name}:{number}: {len(line)} columns, {MAX_COLUMNS} are allowed")
    return found


def main() -> int:
    found = []
    folders = set()
    for path in sources.sources(ROOT):
        found += faults(path)
        folders.add(path.parent)
        count = len(path.read_text().splitlines())
        if count > MANY_LINES:
            print(f"note: {path.relative_to(ROOT)} has {count} lines; more than {MANY_LINES}")
    for folder in sorted(folders):
        if "corpus" not in folder.parts and not (folder / "README.md").exists():
            found.append(f"{folder.relative_to(ROOT)}: a README.md is missing")
    print("\n".join(found) or "every file keeps the rules of form")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
