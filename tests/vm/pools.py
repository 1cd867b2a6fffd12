# SPDX-License-Identifier: MIT
"""A connection pool (`mitosis pool`) on each machine of a cluster."""

from daemons import Daemons

SOCKET = "/run/pool.sock"
PORT = 7412


class Pools(Daemons):

    def __init__(self, machines):
        super().__init__("pool", PORT, machines, "--socket", SOCKET)
