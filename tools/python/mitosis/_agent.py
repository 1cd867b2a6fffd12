# SPDX-License-Identifier: MIT
# The interface, one method a C call.
"""Agent: a connection to this machine's agent."""
import ctypes
import json
import types
import typing

from . import _hooks, _library
from ._library import Key, SpawnedChild, library

#: A machine id: the machine that the caller is on.
HERE: int = 0xFFFFFFFF
#: What mitosis_prepare returns in a child.
_CHILD = 1
#: MITOSIS_LOSSY, MITOSIS_ALONE.
_LOSSY, _ALONE = 8, 16


class Error(OSError):
    """What failed, where, and what to do. `code` is libmitosis's stable number (mitosis.h)."""

    code: int

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code

    def __reduce__(self) -> tuple[type["Error"], tuple[int, str]]:
        return Error, (self.code, str(self))


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


def identity() -> Identity | None:
    """This process's Identity if it is a resumed child (or was forked by one), else None."""
    own = _library.Identity()
    if not library.mitosis_get_identity(ctypes.byref(own)):
        return None
    return Identity(bytes(own.unique), own.parent_machine, own.machine, own.handler,
                    own.generation, own.instance)


def _check(result: int) -> int:
    if result < 0:
        raise Error(library.mitosis_errno(), library.mitosis_strerror().decode(errors="replace"))
    return result


def _given_key(text: str | None) -> typing.Any:
    """The C structure of 32 hexadecimal digits; None: no key."""
    if text is None:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 16 or len(text) != 32:
        raise ValueError("a key is 32 hexadecimal digits")
    return ctypes.byref(Key((ctypes.c_uint8 * 16)(*key)))


def _handler(number: int) -> int:
    """A handler id as it is; ctypes would cut it off, or name its own types."""
    if not isinstance(number, int) or not 0 <= number < 1 << 64:
        raise TypeError(f"a handler id is an integer from 0 to 2**64 - 1, not {number!r}")
    return number


def _text(policy: str | None) -> bytes | None:
    return None if policy is None else policy.encode()


class Agent:
    """A connection; close it, or use it in a `with`. Stays usable after os.fork() and in a
    resumed child, where it speaks to the agent of the machine that the child runs on. One thread
    at a time."""

    def __init__(self) -> None:
        """Connects to $MITOSIS_SOCKET, or /run/mitosis/agent.sock."""
        self._sd = _check(library.mitosis_open())

    def close(self) -> None:
        """Closes the connection; what is prepared stays so."""
        if self._sd >= 0:
            library.mitosis_close(self._sd)
            self._sd = -1

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        self.close()

    def prepare(self, handler: int, policy: str | None = None, *,
                lossy: bool = False) -> str | None:
        """Prepares this process under `handler`, an integer unique on this machine.

        Returns the auth key (32 hexadecimal digits) in this process, and None in every child that
        is ever resumed from here. `policy` is a name as "dct+prefetch8+local+cow"; None: the
        agent's default. All threads come along. Callbacks: see at_fork. `lossy`: open files that
        cannot come along are left out, each told on standard error; else they are refused.
        """
        key = Key()
        _hooks.run_before()
        which = library.mitosis_prepare_as(self._sd, _handler(handler), _text(policy),
                                           _LOSSY if lossy else 0, ctypes.byref(key))
        if which == _CHILD:
            _hooks.run_child()
            return None
        try:
            _check(which)
        finally:
            _hooks.run_parent()
        return bytes(key.bytes).hex()

    def prepare_process(self, pid: int, handler: int, policy: str | None = None, *,
                        alone: bool = False, lossy: bool = False) -> str:
        """Prepares another process, which need not know of it and may have any number of threads,
        with all processes below it, or `alone`.

        Returns the auth key. Whose processes you may prepare is ptrace's rule. After an Error the
        process is as before. `lossy`: as of prepare.
        """
        key = Key()
        flags = (_ALONE if alone else 0) | (_LOSSY if lossy else 0)
        _check(library.mitosis_prepare_process_as(self._sd, pid, _handler(handler), _text(policy),
                                                  flags, ctypes.byref(key)))
        return bytes(key.bytes).hex()

    def resume(self, machine: int, handler: int, key: str | None = None,
               policy: str | None = None) -> None:
        """This process becomes a child of `handler` on `machine`, as if by os.execv: returns never
        or raises Error, and is then as before. Unflushed output is lost, as with os.execv. One's
        own handler on this machine needs no key."""
        _check(library.mitosis_resume_remote(self._sd, machine, _handler(handler), _given_key(key),
                                             _text(policy)))

    def reclaim(self, handler: int, machine: int = HERE, key: str | None = None) -> None:
        """Ends a handler: no page of it is served any more. Another machine's needs its key."""
        if key is None and machine == HERE:
            _check(library.mitosis_reclaim(self._sd, _handler(handler)))
        else:
            _check(library.mitosis_reclaim_remote(self._sd, machine, handler, _given_key(key)))

    def connect(self, machine: int, address: str, nic: int = 0) -> None:
        """Makes `machine` known as the agent at `address` ("host:port"). Root only."""
        _check(library.mitosis_connect(self._sd, machine, nic, address.encode()))

    def nil(self) -> None:
        """Does nothing, by way of the agent; raises Error if it does not answer."""
        _check(library.mitosis_nil(self._sd))

    def ping(self, machine: int) -> None:
        """Does nothing, by way of the agent of a machine that this machine's agent knows."""
        _check(library.mitosis_ping(self._sd, machine))

    def stats(self) -> dict[str, typing.Any]:
        """The agent's counters; "machine" is its id."""
        room = 4096
        while True:
            text = ctypes.create_string_buffer(room)
            length = _check(library.mitosis_stats(self._sd, text, room))
            if length < room:
                return typing.cast(dict[str, typing.Any], json.loads(text.value))
            room = length + 4096

    def spawn(self, machine: int, handler: int, key: str | None = None,
              policy: str | None = None, count: int = 1,
              stdio: tuple[int, int, int] | None = None) -> list[Child]:
        """Has this machine's agent make `count` children here of a handler of `machine`; `stdio`:
        their three descriptors, None: /dev/null. The key: as for resume."""
        children = (SpawnedChild * count)()
        streams = None if stdio is None else (ctypes.c_int * 3)(*stdio)
        _check(library.mitosis_spawn(self._sd, machine, _handler(handler), _given_key(key),
                                     _text(policy), count, streams, children))
        return [Child(child.pid, child.pidfd) for child in children]

    def wait(self, timeout: float) -> tuple[int, int] | None:
        """(pid, status) of the next spawned child that ends, or None after `timeout` seconds.
        The status is as of os.waitpid: see os.waitstatus_to_exitcode."""
        pid, status = ctypes.c_int32(), ctypes.c_int32()
        if _check(library.mitosis_wait(self._sd, ctypes.byref(pid), ctypes.byref(status),
                                       int(timeout * 1000))):
            return pid.value, status.value
        return None


def open() -> Agent:  # noqa: A001: mitosis.open() reads as the C call's name
    """A new connection to this machine's agent ($MITOSIS_SOCKET or /run/mitosis/agent.sock)."""
    return Agent()
