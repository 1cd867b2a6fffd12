# SPDX-License-Identifier: MIT
# What caller, worker and child say to each other, over one authenticated connection.
"""Messages of a remote call; the authentication is multiprocessing.connection's."""
import os
import pathlib
import pickle
import socket
import stat
import struct
import traceback
import typing
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

#: Seconds for what should take none: connecting, authentication, a request.
PATIENCE = 20.0


class RemoteError(RuntimeError):
    """A remote call that has neither returned nor raised: its child died, or could not be made."""


class RemoteTraceback(Exception):
    """The __cause__ of an exception that a function has raised in a child: where it did."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "\n" + self.text


def read_secret(path: str | os.PathLike[str] | None) -> bytes:
    """What caller and worker share: the file `path`, or $MITOSIS_WORKER_SECRET; only its owner may
    be able to read it."""
    chosen = path or os.environ.get("MITOSIS_WORKER_SECRET")
    if not chosen:
        raise ValueError("a worker needs a secret: pass its file, or set MITOSIS_WORKER_SECRET")
    file = pathlib.Path(chosen)
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionError(f"{file}: others may read it; chmod 600")
    secret = file.read_bytes().strip()
    if len(secret) < 16:
        raise ValueError(f"{file}: a secret has 16 bytes or more")
    return secret


def split_address(address: str) -> tuple[str, int]:
    """"host:port" or "[v6]:port"."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"`{address}` is not host:port")
    return host.strip("[]"), int(port)


def watch(connection: socket.socket) -> None:
    """Has the kernel notice within half a minute that the other machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5),
                          (socket.TCP_KEEPCNT, 4)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def limit_waits(connection: socket.socket, seconds: float | None) -> None:
    """No read of it waits longer (BlockingIOError, an OSError); None: as long as it takes."""
    connection.setblocking(True)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO,
                          struct.pack("ll", int(seconds or 0), 0))


def receive(connection: Connection, patience: float | None) -> bytes:
    """The next message; TimeoutError, EOFError or OSError where none comes."""
    if not connection.poll(patience):
        raise TimeoutError("no answer in time")
    return connection.recv_bytes()


def authenticate(connection: Connection, secret: bytes, *, first: bool) -> None:
    """Each side proves that it has the secret. AuthenticationError. `first` on one of them."""
    steps: list[typing.Callable[[Connection, bytes], None]] = [deliver_challenge, answer_challenge]
    for step in steps if first else reversed(steps):
        step(connection, secret)


def encode_result(result: object) -> bytes:
    """What a function has returned."""
    return pickle.dumps(("returned", result, ""), protocol=5)


def encode_failure(error: BaseException) -> bytes:
    """What it has raised, as far as that can be pickled, and where."""
    where = "".join(traceback.format_exception(error))
    try:
        message = pickle.dumps(("raised", error, where), protocol=5)
        pickle.loads(message)  # some can be pickled, but not made again
        return message
    except Exception:  # noqa: BLE001: anything may go wrong in a stranger's class
        return pickle.dumps(("died", f"{error!r} (which cannot be pickled)", where), protocol=5)


def encode_death(why: str) -> bytes:
    """Of a child, as its worker tells it."""
    return pickle.dumps(("died", why, ""), protocol=5)


def decode(message: bytes) -> typing.Any:
    """Returns or raises what the child has."""
    kind, what, where = pickle.loads(message)
    if kind == "returned":
        return what
    error = what if kind == "raised" else RemoteError(what)
    if where:
        error.__cause__ = RemoteTraceback(where)
    raise error
