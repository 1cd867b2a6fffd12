# SPDX-License-Identifier: MIT
"""How mitosis.ko reads an owner that is still there when a connection is not: by another one, or
over TCP; that it asks no longer once the owner has said that the parent has ended; and that what a
child has not fetched, its own children fetch from where it is."""

import kernel_module
import soft_roce
from module_case import CALL, PROGRAM, SIGBUS, LoadedOnce, begin, end_of, start, wait_until

MOST = 1200  # pages of its memory, at least


class Ways(LoadedOnce):

    def setUp(self):
        super().setUp()
        self.addCleanup(self.cluster.switch.pass_roce, True)
        self.addCleanup(self.cluster.switch.pass_tcp, True)

    def waiting_child(self, handler):
        """A child that has begun by RDMA, and not fetched most of its memory."""
        start(self.owner, "parent", handler, "wait")
        self.other.must("rm", "-f", "/run/go")
        said = begin(self.other, "/run/waits", "sh", "-c",
                     f"{PROGRAM} remote 0 {handler}; echo status $?")
        self.assertEqual(said, "child waits\n")

    def status(self):
        """Of the child, which goes on."""
        self.other.must("touch", "/run/go")
        return end_of(self.other, "/run/waits")

    def accepted(self):
        return self.statistics(self.owner)["accepted"]

    def test_a_connection_that_breaks_is_made_anew(self):
        self.waiting_child(90)
        before, counted = self.accepted(), self.statistics(self.other)["connections"]
        # Nobody tells the child: the owner's device goes, and with it all of its connections.
        self.owner.must("rdma", "link", "delete", soft_roce.DEVICE)
        soft_roce.start(self.owner)
        self.cluster.switch.pass_tcp(False)
        wait_until(self.other, f"{CALL} connect 0 {self.owner.address} > /dev/null")
        self.assertEqual(self.status(), "status 0\n")
        self.assertGreater(self.accepted(), before)
        self.assertGreater(self.statistics(self.other)["connections"], counted)

    def test_rdma_does_not_get_through(self):
        self.waiting_child(91)
        before = self.statistics(self.other)
        self.cluster.switch.pass_roce(False)
        self.assertEqual(self.status(), "status 0\n")  # what it had missed came over TCP
        after = self.statistics(self.other)
        for name in ("fallback_reads", "connections", "broken_connections"):
            self.assertGreater(after[name], before[name], name)

    def little(self, handler):
        """A child that has prepared itself as the handler behind its parent's, and has touched
        little of its memory: it brings no more. Both stay."""
        before = self.statistics(self.other)["remote_pages"]
        start(self.owner, "pinned", handler, "little")
        said = begin(self.other, f"/run/little{handler}", PROGRAM, "remote", 0, handler)
        self.assertTrue(said.startswith("prepared "), said)
        self.assertLess(self.statistics(self.other)["remote_pages"] - before, MOST / 3)

    def test_who_prepares_itself_does_not_fetch_first(self):
        self.little(94)
        self.owner.must(CALL, "connect", 1, self.other.address)
        # A child on the first machine: some pages are there, the others its parent's.
        self.assertEqual(self.owner.run(PROGRAM, "remote", 1, 95), (0, "child fine\n"))
        # One beside its parent, by RDMA alone and over TCP alone: what it misses is far away.
        self.cluster.switch.pass_tcp(False)
        self.assertEqual(self.other.run(PROGRAM, "child", 95), (0, "child fine\n"))
        self.cluster.switch.pass_tcp(True)
        self.cluster.switch.pass_roce(False)
        self.assertEqual(self.other.run(PROGRAM, "child", 95), (0, "child fine\n"))

    def test_an_ancestor_that_ends(self):
        self.little(96)
        self.assertEqual(self.owner.run(CALL, "reclaim", 96), (0, "reclaim: done\n"))
        said = self.other.run("sh", "-c", f"{PROGRAM} child 97; echo status $?")
        self.assertTrue(said[1].endswith(f"status {128 + SIGBUS}\n"), said)

    def test_who_is_connected_by_a_wrong_number(self):
        start(self.owner, "parent", 98, "memory")
        self.other.must(CALL, "connect", 6, self.owner.address)
        self.assertEqual(self.other.run(PROGRAM, "remote", 6, 98),
                         (1, "resume: Invalid argument\n"))
        self.assertIn("who was Connected as machine 6 is machine 0",
                      "\n".join(kernel_module.log(self.other)[-3:]))

    def test_a_reclaim_is_asked_for_once(self):
        self.waiting_child(92)
        before = self.accepted()
        self.assertEqual(self.owner.run(CALL, "reclaim", 92), (0, "reclaim: done\n"))
        self.assertEqual(self.status(), f"status {128 + SIGBUS}\n")
        # Who refuses RDMA may be anybody: over TCP the owner has said so, and once.
        self.assertEqual(self.accepted(), before + 1)

    def test_a_reclaim_without_rdma(self):
        self.waiting_child(93)
        self.cluster.switch.pass_roce(False)
        self.assertEqual(self.owner.run(CALL, "reclaim", 93), (0, "reclaim: done\n"))
        self.assertEqual(self.status(), f"status {128 + SIGBUS}\n")
