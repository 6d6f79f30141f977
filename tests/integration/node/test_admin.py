"""The admin port: pages, methods, bounds; and that /metrics is what Prometheus reads."""
import os
import re
import signal
import socket

import harness
from harness import NodeTest

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABELS = r'\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"(?:,(?!\})|(?=\})))+\}'
VALUE = r"(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|NaN|[+-]Inf)"
SAMPLE = re.compile(rf"^({NAME})({LABELS})? ({VALUE})$")
UNITS = {"ns", "us", "ms", "nanoseconds", "microseconds", "milliseconds", "minutes", "hours", "days", "kb", "mb", "gb", "tb", "kib",
         "mib", "gib", "tib", "bits", "percent"}  # of what Prometheus gives in seconds, bytes and as a ratio


def parse(text):
    """A strict reader of the text format 0.0.4: {(name, labels): value}; raises on the first fault."""
    samples, kinds, helped, closed = {}, {}, set(), set()
    current = None
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    for number, line in enumerate(text[:-1].split("\n"), 1):
        words = line.split(" ", 3)
        if line.startswith("# HELP "):
            name = words[2]
            if name in helped or name in closed:
                raise ValueError(f"line {number}: second HELP of {name}")
            if current is not None:
                closed.add(current)
            helped.add(name)
            current = name
            if len(words) < 4 or not words[3]:
                raise ValueError(f"line {number}: {name} has no help")
        elif line.startswith("# TYPE "):
            name, kind = words[2], words[3]
            if name in kinds or name != current or kind not in ("counter", "gauge"):
                raise ValueError(f"line {number}: {line}")
            if (kind == "counter") != name.endswith("_total"):
                raise ValueError(f"line {number}: a counter ends in _total and nothing else does: {line}")
            if UNITS & set(name.split("_")):
                raise ValueError(f"line {number}: not a base unit: {line}")
            kinds[name] = kind
        else:
            match = SAMPLE.match(line)
            if match is None:
                raise ValueError(f"line {number}: not a sample: {line}")
            name, labels, value = match.groups()
            if name != current or name not in kinds:
                raise ValueError(f"line {number}: {name} outside its group")
            if (name, labels) in samples:
                raise ValueError(f"line {number}: {name}{labels} twice")
            samples[name, labels or ""] = float(value)
            if kinds[name] == "counter" and float(value) < 0:
                raise ValueError(f"line {number}: a counter below zero")
    return samples


class Metrics(NodeTest):
    def test_the_reader_is_strict(self):
        good = '# HELP a_total A.\n# TYPE a_total counter\na_total{x="1"} 1\na_total{x="2"} 2.5\n'
        self.assertEqual(len(parse(good)), 2)
        for bad in (good[:-1], good + good, good.replace("_total", ""), good.replace("counter", "gauge"),
                    good + "b 1\n", good.replace('"1"', '1'), good.replace('x="2"', 'x="1"'),
                    good.replace("2.5", "two"), good.replace(" A.", ""), good + "\n", good.replace("a_", "a_ms_")):
            with self.assertRaises(ValueError, msg=bad):
                parse(bad)

    def test_metrics(self):
        node = self.node(dram__size="64MiB").start()
        status, headers, body = node.http("/metrics")
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        samples = parse(body)
        names = {name for name, _ in samples}
        for name in ("kvasir_build_info", "kvasir_node_uptime_seconds", "kvasir_node_ready", "process_open_fds",
                     "process_cpu_seconds_total", "process_resident_memory_bytes", "kvasir_grpc_connections"):
            self.assertIn(name, names)
        self.assertTrue([name for name in names if "dram" in name or "tier" in name], names)
        for name in names:
            self.assertTrue(name.startswith(("kvasir_", "process_")), name)
        self.assertGreaterEqual(samples["process_resident_memory_bytes", ""], 64 << 20)
        self.assertLessEqual(abs(samples["process_open_fds", ""] - node.open_files()), 3)
        node.stop()

    def node_with_tenants(self, **settings):
        node = self.node(**settings)
        node.settings["tenants"] = os.path.join(node.folder, "tenants.yaml")
        with open(node.settings["tenants"], "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("name: default\nanonymous: true\n")
        return node

    def test_metrics_of_all_tiers(self):
        """With a Redis that is not there: its metrics are."""
        node = self.node_with_tenants(chunk__max_size="1MiB", ssd__size="64MiB", ssd__log_file_size="2MiB", redis__mode="single",
                                      redis__addresses=f"127.0.0.1:{harness.free_port()}")
        node.settings["ssd.paths"] = os.path.join(node.folder, "ssd")
        samples = parse(node.start().http("/metrics")[2])
        self.assertEqual(samples["kvasir_tier_devices", '{tier="ssd"}'], 1)
        self.assertEqual(samples["kvasir_redis_up", ""], 0)
        self.assert_seconds(node, "kvasir_tier_recovery_seconds", '{tier="ssd"}')
        node.stop()

    def test_every_metric_is_in_the_book(self):
        node = self.node_with_tenants().start()
        names = {name for name, _ in parse(node.http("/metrics")[2])}
        with open(os.path.join(os.environ["KVASIR_SOURCE"], "docs", "operate.md")) as page:
            told = set(re.findall(r"`(kvasir_[a-z_]+|process_[a-z_]+)(?:\{[a-z]+\})?`", page.read()))
        self.assertEqual(names, told)
        node.stop()

    def test_counters_do_not_go_back(self):
        node = self.node().start()
        before = parse(node.http("/metrics")[2])
        for _ in range(20):
            node.connect().close()
        after = parse(node.http("/metrics")[2])
        self.assertEqual(set(before), set(after))
        for sample, value in before.items():
            if sample[0].endswith("_total"):
                self.assertGreaterEqual(after[sample], value, sample)
        self.assertTrue(harness.until(lambda: node.metric("kvasir_grpc_connections_total") >= 20))
        node.stop()


class Pages(NodeTest):
    def test_pages(self):
        node = self.node().start()
        self.assertEqual(node.http("/healthz")[::2], (200, "ok\n"))
        self.assertEqual(node.http("/readyz")[::2], (200, "ready\n"))
        self.assertIn("/metrics", node.http("/")[2])
        self.assertEqual(node.http("/nothing")[0], 404)
        self.assertEqual(node.http("/healthz", "HEAD")[::2], (200, ""))
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
            status, headers, _ = node.http("/metrics", method)
            self.assertEqual((status, headers.get("Allow")), (405, "GET, HEAD"))
        node.stop()

    def test_not_ready_before_memory_is_touched(self):
        node = self.node(dram__size="1GiB", dram__huge_pages="false").spawn()
        self.assertTrue(harness.until(lambda: "admin on" in node.log()))
        node.admin_port = int(re.search(r"admin on \S+:(\d+)", node.log()).group(1))
        answers = set()
        while True:  # ends with readiness, or by the file's deadline
            status, _, body = node.http("/readyz")
            answers.add((status, body))
            if status == 200:
                break
            self.assertEqual(node.http("/healthz")[0], 200)
            parse(node.http("/metrics")[2])
        self.assertLessEqual(answers, {(503, "starting\n"), (200, "ready\n")})
        self.assertGreaterEqual(node.memory(), 1 << 30)
        node.wait_notified("READY=1")
        node.signal(signal.SIGTERM)
        self.assertEqual(node.wait(), 0)

    def test_clients_that_dawdle_do_not_shut_others_out(self):
        node = self.node(admin__max_connections="8").start()
        held = [socket.create_connection(("127.0.0.1", node.admin_port), 10) for _ in range(40)]
        for byte in b"GET /healthz HTTP/1.1\r\nX: ":  # never idle for long enough to be ended for that, never done
            for connection in held:
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    pass  # ended in favour of a later one
        self.assertTrue(harness.until(lambda: answers(node), 5))
        for connection in held:
            connection.close()
        self.assertTrue(harness.until(lambda: answers(node)))
        node.stop()


def answers(node):
    try:
        return node.http("/healthz")[0] == 200
    except (OSError, harness.http.client.HTTPException):
        return False


if __name__ == "__main__":
    harness.main(50)
