# SPDX-License-Identifier: MIT
# The interface, one method a C call.
"""Agent: a connection to this machine's agent."""
import ctypes
import typing

from . import _hooks, _library
from ._library import Key, SpawnedChild, library

#: A machine id: the machine that the caller is on.
HERE = 0xFFFFFFFF
#: What mitosis_prepare returns in a child.
_CHILD = 1


class Error(OSError):
    """What failed, where, and what to do. `code` is libmitosis's stable number (mitosis.h)."""

    def __init__(self, code, sentence):
        super().__init__(sentence)
        self.code = code


class Child(typing.NamedTuple):
    """A child that the agent has made; `pidfd` is the caller's to close."""
    pid: int
    pidfd: int


class Identity(typing.NamedTuple):
    """Which child a resumed child is. `unique` is 16 random bytes that no other child ever has;
    `instance` counts the children of `machine`'s agent; `generation` tells two parents of the same
    handler apart."""
    unique: bytes
    parent_machine: int
    machine: int
    handler: int
    generation: int
    instance: int


def identity():
    """This process's Identity if it is a resumed child (or was forked by one), else None."""
    own = _library.Identity()
    if not library.mitosis_get_identity(ctypes.byref(own)):
        return None
    return Identity(bytes(own.unique), own.parent_machine, own.machine, own.handler,
                    own.generation, own.instance)


def _check(result):
    if result < 0:
        raise Error(library.mitosis_errno(), library.mitosis_strerror().decode(errors="replace"))
    return result


def _key(text):
    """The C structure of 32 hexadecimal digits."""
    try:
        return Key((ctypes.c_uint8 * 16)(*bytes.fromhex(text)[:16])) if len(text) == 32 else None
    except ValueError:
        return None


def _given_key(text):
    key = _key(text)
    if key is None:
        raise ValueError("a key is 32 hexadecimal digits")
    return ctypes.byref(key)


def _text(policy):
    return None if policy is None else policy.encode()


class Agent:
    """A connection; close it, or use it in a `with`. Stays usable after os.fork() and in a
    resumed child, where it speaks to the agent of the machine that the child runs on."""

    def __init__(self):
        self._sd = _check(library.mitosis_open())

    def close(self):
        """Closes the connection; what is prepared stays so."""
        if self._sd >= 0:
            library.mitosis_close(self._sd)
            self._sd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def prepare(self, handler, policy=None):
        """Prepares this process under `handler`, an integer unique on this machine.

        Returns the auth key (32 hexadecimal digits) in this process, and None in every child that
        is ever resumed from here. `policy` is a name as "dct+prefetch8+local+cow"; None: the
        agent's default. The process must have one thread. Callbacks: see at_fork.
        """
        key = Key()
        _hooks.run_before()
        which = library.mitosis_prepare(self._sd, handler, _text(policy), ctypes.byref(key))
        if which == _CHILD:
            _hooks.run_child()
            return None
        try:
            _check(which)
        finally:
            _hooks.run_parent()
        return bytes(key.bytes).hex()

    def resume(self, machine, handler, key, policy=None):
        """This process becomes a child of `handler` on `machine`, as if by os.execv: returns never
        or raises Error, and is then as before. Unflushed output is lost, as with os.execv."""
        _check(library.mitosis_resume_remote(self._sd, machine, handler, _given_key(key),
                                             _text(policy)))

    def reclaim(self, handler, machine=HERE, key=None):
        """Ends a handler: no page of it is served any more. Another machine's needs its key."""
        if key is None and machine == HERE:
            _check(library.mitosis_reclaim(self._sd, handler))
        else:
            _check(library.mitosis_reclaim_remote(self._sd, machine, handler,
                                                  _given_key(key or "")))

    def connect(self, machine, address, nic=0):
        """Makes `machine` known as the agent at `address` ("host:port"). Root only."""
        _check(library.mitosis_connect(self._sd, machine, nic, address.encode()))

    def nil(self):
        """Does nothing, by way of the agent; raises Error if it does not answer."""
        _check(library.mitosis_nil(self._sd))

    def spawn(self, machine, handler, key, policy=None, count=1, stdio=None):
        """Has the agent make `count` children; `stdio`: their three descriptors, None: /dev/null.
        Returns a list of Child."""
        children = (SpawnedChild * count)()
        streams = None if stdio is None else (ctypes.c_int * 3)(*stdio)
        _check(library.mitosis_spawn(self._sd, machine, handler, _given_key(key), _text(policy),
                                     count, streams, children))
        return [Child(child.pid, child.pidfd) for child in children]

    def wait(self, timeout):
        """(pid, status) of the next spawned child that ends, or None after `timeout` seconds.
        The status is as of os.waitpid: see os.waitstatus_to_exitcode."""
        pid, status = ctypes.c_int32(), ctypes.c_int32()
        if _check(library.mitosis_wait(self._sd, ctypes.byref(pid), ctypes.byref(status),
                                       int(timeout * 1000))):
            return pid.value, status.value
        return None


def open():  # noqa: A001: mitosis.open() reads as the C call's name
    """A new connection to this machine's agent ($MITOSIS_SOCKET or /run/mitosis/agent.sock)."""
    return Agent()
