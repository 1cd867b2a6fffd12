#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Layers and worlds: base < policy < mem < net < fork, nothing includes upwards; an `any` header
# includes only `any` headers and what compiles freestanding, a `both` header (user and kernel) what
# compiles in either. Usage: check_layers.py [FOLDER]
"""Reads the includes of every public header and reports each edge that is not allowed."""

import pathlib
import sys

import sources

LAYERS = ["base", "policy", "mem", "net", "fork"]
FREESTANDING = set(
    "bit compare concepts cstddef cstdint limits new optional tuple type_traits utility".split()
)
# Which worlds a header of a world may include. The simulator runs in user space.
MAY_SEE = {
    "any": {"any"},
    "both": {"any", "both"},
    "user": {"any", "both", "user"},
    "sim": {"any", "both", "user", "sim"},
    "kernel": {"any", "both", "kernel"},
}
# Of the user's world and the kernel's: g++ compiles these for a module as long as nothing of them
# is used that allocates; kernel/check_object.py finds it where something is.
COMPILED = FREESTANDING | {"array", "string", "vector"}


def layer(path: str) -> int:
    """The rank of a header's folder; headers at the top are above all layers."""
    first = path.split("/")[0]
    return LAYERS.index(first) if first in LAYERS else len(LAYERS)


def faults(root: pathlib.Path) -> list[str]:
    base = root / "include" / "mitosis"
    texts = {name: (base / name).read_text() for name in sources.headers(root)}
    worlds = {name: sources.world(text) for name, text in texts.items()}
    found = []
    for name, text in texts.items():
        here = worlds[name]
        if not here:
            found.append(f"{name}: its top comment must name its world: {', '.join(MAY_SEE)}")
            continue
        for bracket, path in sources.includes(text):
            if bracket == '"':
                found.append(f'{name}: include "{path}" as <mitosis/...>')
            elif path.startswith("mitosis/"):
                other = path.removeprefix("mitosis/")
                if layer(other) > layer(name):
                    found.append(f"{name}: includes upwards: {other}")
                if other not in texts:
                    found.append(f"{name}: includes {other}, which is not there")
                elif worlds[other] not in MAY_SEE[here]:
                    found.append(f"{name}: is {here}, but includes {other} ({worlds[other]})")
            elif here == "any" and path not in FREESTANDING:
                found.append(f"{name}: is any, but <{path}> does not compile freestanding")
            elif here == "both" and path not in COMPILED:
                found.append(f"{name}: is both, but <{path}> does not compile in the kernel")
    return found


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    found = faults(root.resolve())
    print("\n".join(found) or "no include points upwards")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
