#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# The header list in include/mitosis/meson.build is what is installed and tested, so a header
# that it lacks is neither. Usage: check_list.py [--fix]
"""Compares the list with the headers that there are; --fix rewrites it."""

import pathlib
import re
import sys

import sources

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = ROOT / "include" / "mitosis" / "meson.build"
ARRAY = re.compile(r"mitosis_headers = \[\n(.*?)\]\n", re.DOTALL)


def main() -> int:
    text = LIST.read_text()
    there = sources.headers(ROOT)
    listed = re.findall(r"'([^']+)'", ARRAY.search(text).group(1))
    if "--fix" in sys.argv[1:]:
        lines = "".join(f"  '{name}',\n" for name in there)
        LIST.write_text(ARRAY.sub(f"mitosis_headers = [\n{lines}]\n", text))
        return 0
    for name in sorted(set(there) - set(listed)):
        print(f"{LIST}: add '{name}' to mitosis_headers (or run {__file__} --fix)")
    for name in sorted(set(listed) - set(there)):
        print(f"{LIST}: remove '{name}' from mitosis_headers: there is no such header")
    return 0 if set(there) == set(listed) else 1


if __name__ == "__main__":
    sys.exit(main())
