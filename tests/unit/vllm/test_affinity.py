"""Where the connector library's threads run when the thread that opens it is pinned."""
from __future__ import annotations

import contextlib
import glob
import os
import unittest

from kvasir_vllm import affinity, options
from kvasir_vllm.opening import open_connector


def threads() -> dict[int, frozenset[int]]:
    """Processors that each thread of this process may use; one that ends just now has none any more."""
    found = {}
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            found[int(task)] = frozenset(os.sched_getaffinity(int(task)))
    return found


class ListTest(unittest.TestCase):
    def test_lists(self) -> None:
        for text, cpus in (("0", {0}), ("0-3,8\n", {0, 1, 2, 3, 8}), ("5,5-6", {5, 6})):
            self.assertEqual(affinity.parse_cpus(text), cpus)

    def test_no_lists(self) -> None:
        for text in ("", "a", "1-", "-1", "3-1", "1,,2", "0-99999999999"):
            with self.assertRaises(ValueError, msg=text):
                affinity.parse_cpus(text)
            with self.assertRaisesRegex(options.OptionError, "cpus: auto, inherit or a list"):
                options.parse({"endpoint": "unix:/x", "cpus": text})


class WidenedTest(unittest.TestCase):
    def check(self, own: set[int], allowed: set[int], nodes: list[set[int]], wanted: set[int]) -> None:
        self.assertEqual(affinity.widened(frozenset(own), frozenset(allowed), [frozenset(node) for node in nodes]), wanted)

    def test_to_the_node(self) -> None:
        self.check({1}, set(range(8)), [{0, 1, 2, 3}, {4, 5, 6, 7}], {0, 1, 2, 3})

    def test_not_beyond_what_the_parent_may(self) -> None:
        self.check({1}, {1, 2, 4}, [{0, 1, 2, 3}, {4, 5, 6, 7}], {1, 2})

    def test_over_two_nodes(self) -> None:
        self.check({1, 4}, set(range(8)), [{0, 1, 2, 3}, {4, 5, 6, 7}], set(range(8)))

    def test_nodes_unknown(self) -> None:
        self.check({1}, {0, 1, 2}, [], {0, 1, 2})

    def test_never_less_than_before(self) -> None:
        self.check({1}, {2}, [{0, 1}], {1})


class ThreadsTest(unittest.TestCase):
    """The library itself, opened from a thread that is pinned to one processor, as vLLM's CPU workers do."""

    def setUp(self) -> None:
        everywhere = os.sched_getaffinity(0)
        if len(everywhere) < 2:
            self.skipTest("there is one processor")
        self.addCleanup(os.sched_setaffinity, 0, everywhere)
        self.everywhere, self.pinned = frozenset(everywhere), frozenset({min(everywhere)})
        os.sched_setaffinity(0, self.pinned)

    def opened(self, cpus: str) -> set[frozenset[int]]:
        before = threads()
        with open_connector(options.parse({"endpoint": "kvasir://127.0.0.1:1", "cpus": cpus})):
            made = [mask for thread, mask in threads().items() if thread not in before]
        self.assertTrue(made, "the library has no thread")
        self.assertEqual(frozenset(os.sched_getaffinity(0)), self.pinned, "the opening thread stays where it is pinned")
        return set(made)

    def test_inherit(self) -> None:
        self.assertEqual(self.opened("inherit"), {self.pinned})

    def test_automatic(self) -> None:
        parent = frozenset(os.sched_getaffinity(os.getppid()))
        if len(glob.glob("/sys/devices/system/node/node[0-9]*")) > 1 or not parent > self.pinned:
            self.skipTest("this machine has several NUMA nodes, or what started this test is pinned too")
        self.assertEqual(self.opened("auto"), {parent})

    def test_a_list(self) -> None:
        last = max(self.everywhere)
        self.assertEqual(self.opened(str(last)), {frozenset({last})})

    def test_a_list_of_none(self) -> None:
        with self.assertRaisesRegex(ValueError, "cpus: none of 65000 may be used here"):
            self.opened("65000")


if __name__ == "__main__":
    unittest.main()
