# SPDX-License-Identifier: MIT
# A server of several processes that accept on one socket, and count together in shared memory. The
# first one waits for the others and starts anew who ends.
import mmap
import multiprocessing
import os
import socket
import sys

workers, port = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(("", port))
counted = memoryview(mmap.mmap(-1, 4096)).cast("Q")
lock = multiprocessing.Lock()


def serve():
    while True:
        client, _ = listener.accept()
        with client, lock:
            counted[0] += 1
            client.sendall(f"{counted[0]} {os.getpid()} {os.getppid()}\n".encode())


def start():
    child = os.fork()
    if child == 0:
        serve()
    return child


children = {start() for _ in range(workers)}
while True:
    ended, _ = os.wait()
    children.remove(ended)
    children.add(start())
