# SPDX-License-Identifier: MIT
# The caller's side of a remote call. The function's arguments need no pickling: the child has them.
"""remote: a decorator for functions that run in a child of this process, on another machine."""
import collections.abc
import contextlib
import functools
import json
import os
import secrets
import signal
import socket
import sys
import typing
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection

from . import _channel
from ._agent import Agent, HERE

P = typing.ParamSpec("P")
R = typing.TypeVar("R")


def _find_worker(machine: int) -> str:
    """$MITOSIS_WORKERS: "2=10.0.0.2:7412,3=10.0.0.3:7412"."""
    for entry in os.environ.get("MITOSIS_WORKERS", "").split(","):
        number, equals, address = entry.strip().partition("=")
        if equals and number == str(machine):
            return address
    raise ValueError(f"no worker of machine {machine} is known: name it in MITOSIS_WORKERS "
                     f"({machine}=host:port), or pass worker=")


def _serve(descriptor: int, call: collections.abc.Callable[[], object]) -> typing.NoReturn:
    """In the child: runs the function and answers over `descriptor`, which is its standard input.
    The process ends here; of the caller's own program nothing else is to run in it."""
    status = 0
    answer = Connection(os.dup(descriptor))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, descriptor)
    os.close(null)
    try:
        message = _channel.encode_result(call())
    except BaseException as error:  # noqa: BLE001: SystemExit too is the caller's
        message = _channel.encode_failure(error)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        answer.send_bytes(message)
    except OSError:  # nobody waits any more
        status = 1
    finally:
        os._exit(status)


@contextlib.contextmanager
def _child_here(agent: Agent, handler: int, key: str, policy: str | None
                ) -> collections.abc.Iterator[Connection]:
    """A connection to a child on this machine, which ends with it."""
    ours, childs = socket.socketpair()
    with Connection(ours.detach()) as connection:
        with childs:
            (child,) = agent.spawn(HERE, handler, key, policy, stdio=(childs.fileno(), 1, 2))
        try:
            yield connection
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.close(child.pidfd)


@contextlib.contextmanager
def _child_there(worker: str, secret: bytes, machine: int, handler: int, key: str,
                 policy: str | None) -> collections.abc.Iterator[Connection]:
    """A connection to a child that a worker makes; the worker ends it with the connection."""
    with contextlib.ExitStack() as stack:
        try:
            link = stack.enter_context(
                socket.create_connection(_channel.split_address(worker), _channel.PATIENCE))
            _channel.watch(link)
            _channel.limit_waits(link, _channel.PATIENCE)
            connection = stack.enter_context(Connection(os.dup(link.fileno())))
            _channel.authenticate(connection, secret, first=False)
            connection.send_bytes(json.dumps([machine, handler, key, policy]).encode())
            _channel.limit_waits(link, None)
        except (OSError, EOFError, AuthenticationError) as error:
            raise _channel.RemoteError(f"the worker at {worker}: {error!r}; does it run, and has "
                                       "it the same secret?") from error
        yield connection


def remote(machine: int = HERE, *, worker: str | None = None,
           secret_file: str | os.PathLike[str] | None = None, policy: str | None = None,
           timeout: float | None = None
           ) -> collections.abc.Callable[[collections.abc.Callable[P, R]],
                                         collections.abc.Callable[P, R]]:
    """Decorates a function so that each call of it runs in a child of this process.

    The call prepares this process, has a child made, which has all of its memory and fetches what
    it touches, and waits for what the function returns or raises there (pickled; an exception's
    __cause__ tells where it was raised). What the function changes in memory stays in the child.

        @mitosis.remote(machine=2)
        def count(word): return corpus.count(word)    # the corpus is not sent

    `machine`: where; without it here. Another machine needs a worker (`python3 -m mitosis.worker`)
    at `worker` ("host:port", default: the machine's in $MITOSIS_WORKERS) and its secret's file
    (default: $MITOSIS_WORKER_SECRET); the child has the worker's user and its standard output and
    error. `policy`: for its pages. `timeout`: seconds, then TimeoutError, and the child is ended;
    without one the call waits as long as the child runs. RemoteError: the child died or could not
    be made. What holds for `prepare` holds for the caller; its other threads go on in the child.
    """
    if callable(machine):  # @mitosis.remote: the function would be taken for a machine
        raise TypeError("remote takes a machine and gives a decorator: write @mitosis.remote() "
                        "or @mitosis.remote(machine=2)")

    def decorate(function: collections.abc.Callable[P, R]) -> collections.abc.Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            there = None
            if worker is not None or machine != HERE:
                there = (worker or _find_worker(machine), _channel.read_secret(secret_file))
            sys.stdout.flush()  # else what waits there would be printed by the child too
            with Agent() as agent:
                handler = secrets.randbits(62) | 1 << 62
                key = agent.prepare(handler, policy)
                if key is None:
                    _serve(0, functools.partial(function, *args, **kwargs))
                try:
                    if there is None:
                        child = _child_here(agent, handler, key, policy)
                    else:
                        here = int(agent.stats()["machine"])
                        child = _child_there(*there, here, handler, key, policy)
                    with child as connection:
                        try:
                            message = _channel.receive(connection, timeout)
                        except (EOFError, ConnectionError) as error:
                            raise _channel.RemoteError(
                                f"{function.__name__}: its child died") from error
                    return typing.cast(R, _channel.decode(message))
                finally:
                    agent.reclaim(handler)
        return call
    return decorate
