# SPDX-License-Identifier: MIT
# Callbacks around a prepare, in Python: they run around libmitosis's own (docs/hooks.md).
"""at_fork: what a program wants done before a prepare, after it, and in each child."""
import collections.abc
import random
import sys
import traceback

Callback = collections.abc.Callable[[], object]
_registered: list["Hooks"] = []


class Hooks:
    """Callbacks that `at_fork` has registered."""

    def __init__(self, before: Callback | None, parent: Callback | None,
                 child: Callback | None) -> None:
        self._callbacks = {"before": before, "parent": parent, "child": child}

    def remove(self) -> None:
        """They run no more. Does nothing where they have been removed already."""
        if self in _registered:
            _registered.remove(self)

    def _run(self, which: str) -> None:
        callback = self._callbacks[which]
        if callback is None:
            return
        try:
            callback()
        except Exception:  # noqa: BLE001: as of os.register_at_fork, told and passed over
            print(f"mitosis.at_fork: the {which} callback {callback!r} failed:", file=sys.stderr)
            traceback.print_exc()


def at_fork(*, before: Callback | None = None, parent: Callback | None = None,
            child: Callback | None = None) -> Hooks:
    """Registers callbacks without arguments around each prepare of this process.

    `before` runs before it, in reverse order of registration; `parent` after it in this process,
    also where prepare failed, in order; `child` in each child that is resumed, before `prepare`
    returns there, in order. There Python's `random` and `numpy.random` have been seeded anew
    already. A callback's exception is printed and passed over. Returns Hooks.
    """
    for callback in (before, parent, child):
        if callback is not None and not callable(callback):
            raise TypeError(f"{callback!r} is not callable")
    hooks = Hooks(before, parent, child)
    _registered.append(hooks)
    return hooks


def run_before() -> None:
    """Before a prepare, by Agent.prepare."""
    for hooks in list(reversed(_registered)):
        hooks._run("before")


def run_parent() -> None:
    """After it, in the process that has called it."""
    for hooks in list(_registered):
        hooks._run("parent")


def run_child() -> None:
    """In a child: first what no two children should share, then the callbacks."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    for hooks in list(_registered):
        hooks._run("child")
