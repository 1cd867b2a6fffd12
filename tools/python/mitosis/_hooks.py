# SPDX-License-Identifier: MIT
# Callbacks around a prepare, in Python: they run around libmitosis's own (docs/hooks.md).
"""at_fork: what a program wants done before a prepare, after it, and in each child."""
import collections.abc
import ctypes
import random
import signal
import sys
import threading
import traceback

from ._library import library

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

    Where the first call was made in the main thread, children of a prepare from outside, by pid,
    run theirs too: in the main thread, as soon as it executes Python.
    """
    for callback in (before, parent, child):
        if callback is not None and not callable(callback):
            raise TypeError(f"{callback!r} is not callable")
    hooks = Hooks(before, parent, child)
    _registered.append(hooks)
    _listen()
    return hooks


_listening = False


def _listen() -> None:
    """A child of a prepare by pid is told by a signal, whose handler may do next to nothing; it has
    the interpreter call the Python handler of that signal when it can."""
    global _listening
    if _listening or threading.current_thread() is not threading.main_thread():
        return
    number = library.mitosis_at_resume(None, None)
    if number < 0:
        return  # no signal is free: as without a listener
    signal.signal(number, lambda *_: _resumed())
    interrupt = ctypes.cast(ctypes.pythonapi.PyErr_SetInterruptEx, ctypes.c_void_p)
    library.mitosis_at_resume(interrupt, number)
    _listening = True


def _resumed() -> None:
    library.mitosis_renew()
    run_child()


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
