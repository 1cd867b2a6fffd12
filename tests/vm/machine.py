# SPDX-License-Identifier: MIT
"""An emulated machine: QEMU without KVM, and a port through which a test runs programs in it."""

import json
import os
import socket
import subprocess
import threading
import time

from image import HERE

BOOT_SECONDS = 240  # some 6 s where the host is idle
MEMORY_MIB = 768


class MachineLost(Exception):
    """The machine has ended, or did not answer in time; with the end of its kernel's log."""


class Machine:
    """`number` counts from 0; its address on the private network is `address`. `words` go onto its
    kernel's command line. A context."""

    def __init__(self, image, switch, number, folder, processors=2, words=""):
        self.number = number
        self.address = f"10.0.0.{number + 1}"
        self._image, self._switch, self._processors = image, switch, processors
        self._words = words
        self._folder = folder
        self._port_path = os.path.join(folder, f"serve{number}")
        self.log_path = os.path.join(folder, f"console{number}.log")
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Switches it on; returns at once. `wait` waits until it can be used."""
        for path in (self._port_path, os.path.join(self._folder, f"eth{self.number}")):
            if os.path.exists(path):
                os.unlink(path)
        arguments = " ".join([
            "console=ttyS0 quiet panic=-1 oops=panic random.trust_cpu=on", self._words,
            "no_timer_check",  # or a busy host makes the kernel believe that it has no timer
            f"vm.number={self.number} vm.serve={HERE / 'serve.py'}"])
        self._process = subprocess.Popen([
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-m", str(MEMORY_MIB), "-smp", str(self._processors),
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", str(self._image.kernel), "-initrd", str(self._image.initramfs),
            "-append", arguments, "-serial", f"file:{self.log_path}",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=serve,path={self._port_path},server=on,wait=off",
            "-device", "virtserialport,chardev=serve,name=serve",
            "-netdev", self._switch.netdev(self.number),
            "-device", f"virtio-net-pci,netdev=net0,mac=52:54:00:00:00:{self.number + 1:02x}",
            "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
            "-device", "virtio-rng-pci",
        ], stdin=subprocess.DEVNULL)
        self._answers, self._changed = {}, threading.Condition()
        self._lost = None
        self._next = 0
        self._connect()

    def _connect(self):
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            self._port = socket.socket(socket.AF_UNIX)
            try:
                self._port.connect(self._port_path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self._port.close()
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise MachineLost(f"machine {self.number}: QEMU did not start") from None
                time.sleep(0.02)  # QEMU makes the socket; nothing tells of it
        self._reader = threading.Thread(target=self._read, args=(self._port,), daemon=True)
        self._reader.start()

    def _read(self, port):
        held = b""
        while True:
            try:
                got = port.recv(65536)
            except OSError:
                got = b""
            *whole, held = (held + got).split(b"\n")
            with self._changed:
                for line in whole:
                    answer = json.loads(line)
                    self._answers[answer["id"]] = answer
                if not got:
                    self._lost = "it has ended"
                self._changed.notify_all()
            if not got:
                return

    def _answer(self, number, seconds):
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._lost, seconds)
            if number in self._answers:
                return self._answers.pop(number)
        raise MachineLost(f"machine {self.number}: {self._lost or f'no answer in {seconds} s'}; "
                          f"its console: {self.console()[-2000:]}")

    @property
    def alive(self):
        """Whether it is switched on."""
        return self._process is not None

    def wait(self):
        """Until it has booted; its kernel's release."""
        return self._answer(0, BOOT_SECONDS)["output"]

    def begin(self, *words, seconds=120, env=None):
        """Starts a program in it; `finish` takes what this returns."""
        self._next += 1
        order = {"id": self._next, "run": [str(word) for word in words], "seconds": seconds,
                 "env": env or {}}
        self._port.sendall(json.dumps(order).encode() + b"\n")
        return self._next, seconds

    def finish(self, begun):
        """(status, output) of a program, once it has ended; status -1 where it ran out of time."""
        number, seconds = begun
        answer = self._answer(number, seconds + 30)
        return answer["status"], answer["output"]

    def run(self, *words, seconds=120, env=None):
        """Runs a program in it to its end: (status, output)."""
        return self.finish(self.begin(*words, seconds=seconds, env=env))

    def must(self, *words, seconds=120, env=None):
        """The output of a program that must succeed."""
        status, output = self.run(*words, seconds=seconds, env=env)
        if status != 0:
            raise AssertionError(f"machine {self.number}: {words} ended with {status}: {output}")
        return output

    def console(self):
        """What its kernel and init have said so far."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def kill(self):
        """As if its power were cut. It can be started again."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._port.close()
        self._process = None
