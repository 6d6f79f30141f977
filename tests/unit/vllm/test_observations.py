"""What the connector's metrics are made of."""
from __future__ import annotations

import pickle
import types
import unittest

import tier_paths  # noqa: F401
import kvasir
from kvasir_vllm import observations
from kvasir_vllm.counters import Counters
from kvasir_vllm.times import Times


class Take(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 10.0
        self.node = (True, 3, 0)
        self.observer = observations.Observer("worker 1", lambda: self.node, lambda: self.now)
        self.counters, self.steps, self.loads = Counters(), Times(), Times()
        self.failures: dict[str, int] = {}

    def take(self) -> observations.Data:
        return self.observer.take(self.counters, self.steps, self.loads, self.failures)

    def test_nothing_is_empty(self) -> None:
        self.take()
        self.assertTrue(observations.is_empty(self.take()))

    def test_counts_are_what_came_since(self) -> None:
        self.counters.load_chunks, self.counters.save_bytes = 4, 100
        self.assertEqual(self.take()["counts"], {"load_chunks/ok": 4, "save_bytes": 100})
        self.counters.load_chunks = 5
        self.failures["load/corrupt"] = 2
        self.assertEqual(self.take()["counts"], {"load_chunks/ok": 1, "failures/load/corrupt": 2})
        self.assertEqual(self.take()["counts"], {})

    def test_every_counter_but_doubles_is_told(self) -> None:
        untold = set(Counters().as_dict()) - set(observations.COUNTS)
        self.assertEqual(untold - {"loads", "saves", "load_failures"}, set())

    def test_a_step_is_one_sample(self) -> None:
        self.steps.record(0.25)
        self.assertEqual(self.take()["samples"], {"step_seconds/worker": [0.25]})
        self.assertEqual(self.take()["samples"], {})

    def test_loads_keep_their_sum(self) -> None:
        for seconds in (0.001, 0.002, 0.5):
            self.loads.record(seconds)
        samples = self.take()["samples"]["load_seconds"]
        self.assertEqual(len(samples), 3)
        self.assertAlmostEqual(sum(samples), 0.503)
        for sample, seconds in zip(sorted(samples), (0.001, 0.002, 0.5)):
            self.assertLess(max(sample / seconds, seconds / sample), 1.5)
        self.loads.record(0.125)
        self.assertEqual([round(sample, 9) for sample in self.take()["samples"]["load_seconds"]], [0.125])

    def test_many_loads_are_bounded(self) -> None:
        for _ in range(1000):
            self.loads.record(0.001)
        self.assertEqual(len(self.take()["samples"]["load_seconds"]), observations.SAMPLES_MAX)

    def test_gauges_when_they_change_and_once_a_second(self) -> None:
        self.assertEqual(self.take()["gauges"], {"node_connected": {"worker 1": 1}, "operations_in_flight": {"worker 1": 3}})
        self.node = (False, 3, 2)
        self.assertEqual(self.take()["gauges"], {})
        self.now += 1.5
        data = self.take()
        self.assertEqual((data["gauges"], data["counts"]), ({"node_connected": {"worker 1": 0}}, {"reconnects": 2}))


class Add(unittest.TestCase):
    def test_processes_and_intervals(self) -> None:
        data = observations.empty()
        one = {"counts": {"load_bytes": 1}, "samples": {"load_seconds": [1.0]}, "gauges": {"node_connected": {"worker 0": 1}}}
        two = {"counts": {"load_bytes": 2}, "samples": {"load_seconds": [2.0]}, "gauges": {"node_connected": {"worker 1": 0}}}
        for more in (one, two, one):
            observations.add(data, pickle.loads(pickle.dumps(more)))
        self.assertEqual(data, {"counts": {"load_bytes": 4}, "samples": {"load_seconds": [1.0, 2.0, 1.0]},
                                "gauges": {"node_connected": {"worker 0": 1, "worker 1": 0}}})
        self.assertEqual(observations.gauge("node_connected", data["gauges"]["node_connected"]), 0)
        self.assertEqual(observations.gauge("operations_in_flight", {"a": 1, "b": 2}), 3)


class Cause(unittest.TestCase):
    def test_of_misses_and_errors(self) -> None:
        for status, cause, wanted in ((kvasir.Status.PARTIAL, kvasir.Cause.CORRUPT, "corrupt"),
                                      (kvasir.Status.MISS, kvasir.Cause.NEVER, "never"),
                                      (kvasir.Status.ERR_DEADLINE, kvasir.Cause.NONE, "err_deadline")):
            self.assertEqual(observations.cause_of(types.SimpleNamespace(status=status, cause=cause)), wanted)


if __name__ == "__main__":
    unittest.main()
