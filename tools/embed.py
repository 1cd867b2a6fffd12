# SPDX-License-Identifier: MIT
"""embed.py INPUT OUTPUT NAME: a text file as a C++ string, so that the command stands alone."""
import sys

source, target, name = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    text = file.read()
assert ')embed"' not in text and len(text) < 60000  # compilers promise 65536 bytes
with open(target, "w", encoding="utf-8") as file:
    file.write(f'// Generated from {source.rsplit("/", 1)[-1]} by embed.py.\n#pragma once\n')
    file.write(f'inline constexpr char {name}[] = R"embed({text})embed";\n')
