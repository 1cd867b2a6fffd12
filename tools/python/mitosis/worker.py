# SPDX-License-Identifier: MIT
# `python3 -m mitosis.worker`: lets those who have its secret run children here, as its user.
"""The other end of mitosis.remote: makes children on this machine for callers on others.

Whoever has the secret may run any program with the rights of the worker's user: give each user a
worker and a secret of their own. What is said is authenticated but not encrypted.
"""
import argparse
import json
import os
import selectors
import signal
import socket
import sys
import typing
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection

from . import _channel
from ._agent import Agent, Error


def _describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"the child was killed by {signal.Signals(-code).name}"
    return f"the child exited with {code} and no result"


def _serve(link: socket.socket, connection: Connection, secret: bytes) -> None:
    """One call: authentication, the request, the child, the word of its end."""
    _channel.limit_waits(link, _channel.PATIENCE)
    _channel.authenticate(connection, secret, first=True)
    machine, handler, key, policy = json.loads(connection.recv_bytes())
    _channel.limit_waits(link, None)
    with Agent() as agent:
        try:
            (child,) = agent.spawn(machine, handler, key, policy,
                                   stdio=(connection.fileno(), 1, 2))
        except (Error, ValueError) as error:
            connection.send_bytes(_channel.encode_death(f"the worker: {error}"))
            return
        # The caller says nothing more: that it can be read means that it has gone.
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(child.pidfd, selectors.EVENT_READ)
            ready = {event.fd for event, _ in selector.select()}
        if child.pidfd not in ready:
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            return
        ended = agent.wait(_channel.PATIENCE)
        if ended is not None and ended[1] != 0:
            connection.send_bytes(_channel.encode_death(_describe(ended[1])))


def _serve_link(link: socket.socket, secret: bytes) -> None:
    _channel.watch(link)
    with link, Connection(os.dup(link.fileno())) as connection:
        try:
            _serve(link, connection, secret)
        except (AuthenticationError, OSError, EOFError, ValueError) as error:
            print(f"mitosis.worker: a call failed: {error!r}", file=sys.stderr, flush=True)


def serve(listening: socket.socket, secret: bytes) -> typing.NoReturn:
    """Serves for ever, each call in a process of its own: none keeps another from its turn."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    while True:
        link, _ = listening.accept()
        with link:
            if os.fork() == 0:
                listening.close()
                _serve_link(link, secret)
                os._exit(0)


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is ended; 1 with the reason where it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python3 -m mitosis.worker", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__)
    parser.add_argument("--listen", default="0.0.0.0:7412", metavar="HOST:PORT",
                        help="default: %(default)s; port 0 takes a free one")
    parser.add_argument("--secret-file", metavar="FILE",
                        help="16 bytes or more, mode 0600 (default: $MITOSIS_WORKER_SECRET)")
    options = parser.parse_args(arguments)
    try:
        secret = _channel.read_secret(options.secret_file)
        host, port = _channel.split_address(options.listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        Agent().close()  # rather now than at the first call
    except (OSError, ValueError) as error:
        print(f"mitosis.worker: {error}", file=sys.stderr)
        return 1
    host, port = listening.getsockname()[:2]
    print(f"serving at {host}:{port}", flush=True)
    serve(listening, secret)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
