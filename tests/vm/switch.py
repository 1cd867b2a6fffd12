# SPDX-License-Identifier: MIT
"""The private network of emulated machines: an Ethernet switch of unix datagram sockets.

It needs nothing of the host's network, and a test can pull a machine's cable or lose its frames.
"""

import collections
import os
import random
import selectors
import socket
import threading

FRAME_BYTES = 65536
QUEUE_FRAMES = 4096  # that wait for a machine; more are lost, as a switch loses them
RETRY_SECONDS = 0.0005
ROCE_PORT = 4791  # UDP; after an Ethernet and an IPv4 header without options


def is_roce(frame):
    """Whether the frame is one of soft-RoCE's."""
    return (frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP
            and int.from_bytes(frame[36:38], "big") == ROCE_PORT)


def is_tcp(frame):
    """Whether the frame is one of TCP's."""
    return frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_TCP


class Switch:
    """Every frame of a machine goes to all others. A context; `ports` tells QEMU's two paths."""

    def __init__(self, folder, machines, seed=1):
        self._paths = [(os.path.join(folder, f"eth{i}"), os.path.join(folder, f"port{i}"))
                       for i in range(machines)]
        self._plugged = [True] * machines
        self._loss = [0.0] * machines
        self._roce = self._tcp = True
        self._random = random.Random(seed)
        self._ports = []
        self._queues = [collections.deque() for _ in range(machines)]

    def __enter__(self):
        self._selector = selectors.DefaultSelector()
        self._stop, wake = socket.socketpair()
        self._selector.register(wake, selectors.EVENT_READ, None)
        self._wake = wake
        for number, (_, ours) in enumerate(self._paths):
            port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            port.setblocking(False)
            port.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            port.bind(ours)
            self._ports.append(port)
            self._selector.register(port, selectors.EVENT_READ, number)
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.close()
        self._thread.join()
        self._selector.close()
        self._wake.close()
        for port in self._ports:
            port.close()

    def netdev(self, number):
        """QEMU's -netdev for that machine."""
        theirs, ours = self._paths[number]
        return (f"dgram,id=net0,local.type=unix,local.path={theirs},"
                f"remote.type=unix,remote.path={ours}")

    def unplug(self, number):
        """From now on no frame of that machine's goes or comes."""
        self._plugged[number] = False

    def plug(self, number):
        self._plugged[number] = True

    def lose(self, number, part):
        """That part (0 to 1) of the frames that the machine sends is lost."""
        self._loss[number] = part

    def pass_roce(self, passes):
        """False: from now on RDMA gets through to nobody, and all else does."""
        self._roce = passes

    def pass_tcp(self, passes):
        """The same for TCP."""
        self._tcp = passes

    def _forward(self):
        while True:
            waiting = any(self._queues)
            for key, _ in self._selector.select(RETRY_SECONDS if waiting else None):
                if key.data is None:
                    return
                self._forward_from(key.data)
            for number, queue in enumerate(self._queues):
                while queue and self._deliver(number, queue[0]):
                    queue.popleft()

    def _forward_from(self, source):
        for _ in range(64):
            try:
                frame = self._ports[source].recv(FRAME_BYTES)
            except BlockingIOError:
                return
            if not self._plugged[source] or self._random.random() < self._loss[source]:
                continue
            if not self._roce and is_roce(frame) or not self._tcp and is_tcp(frame):
                continue
            for number, queue in enumerate(self._queues):
                if number != source and len(queue) < QUEUE_FRAMES:
                    queue.append(frame)

    def _deliver(self, number, frame):
        """False where the machine takes no frame now. One that is off or unplugged loses it."""
        if not self._plugged[number]:
            return True
        try:
            self._ports[number].sendto(frame, self._paths[number][0])
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True
