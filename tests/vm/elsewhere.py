#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: elsewhere.py serve ADDRESS | elsewhere.py ADDRESS PROGRAM WORDS...
"""Runs a program on another machine as if it were on this one: with this one's standard input and
output, and its exit status as a shell tells it. `serve` is the other machine's end."""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading

PORT = 7400
CONNECT_SECONDS = 60
END = b"\0"  # no line of text has it; behind it comes the status


def run(connection):
    with connection:
        with connection.makefile("rb", 0) as lines:  # unbuffered: what follows is the program's
            words = json.loads(lines.readline())
        status = subprocess.run(words, stdin=connection, stdout=connection, check=False).returncode
        try:
            connection.sendall(END + str(status if status >= 0 else 128 - status).encode())
        except OSError:  # nobody listens any more
            pass


def serve(address):
    with socket.create_server((address, PORT)) as listener:
        print("serves", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=run, args=(connection,), daemon=True).start()


def relay(connection):
    """Until the other side has closed; what came behind END."""
    told = b""
    with selectors.PollSelector() as ready:  # epoll takes no /dev/null
        ready.register(connection, selectors.EVENT_READ)
        ready.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj == 0:
                    said = os.read(0, 65536)
                    connection.sendall(said)
                    if not said:
                        ready.unregister(0)
                        connection.shutdown(socket.SHUT_WR)
                    continue
                heard = connection.recv(65536)
                if not heard:
                    return told
                text, end, rest = heard.partition(END) if not told else (b"", b"", heard)
                if text:
                    os.write(1, text)
                told += end + rest


def main(address, *words):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with socket.create_connection((address, PORT), timeout=CONNECT_SECONDS) as connection:
        connection.settimeout(None)
        connection.sendall(json.dumps(words).encode() + b"\n")
        told = relay(connection)
    sys.exit(int(told[1:]) if told else 1)


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    main(*sys.argv[1:])
