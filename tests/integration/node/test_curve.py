"""kvasirctl curve asks a real node what memory of another size would have had: the numbers of a model in this file; and what it makes of answers that are none."""
import concurrent.futures
import json
import math
import os
import random
import shutil
import subprocess
import tempfile
import xml.dom.minidom

import harness

harness.need_grpc()

import grpc  # noqa: E402
import rpc  # noqa: E402
from harness import SLOW, NodeTest, until  # noqa: E402
from rpc import pb  # noqa: E402

PAGE = 16384
ROOM = 256  # chunks of a page
TOKENS = rpc.descriptor().tokens_per_chunk
FACTORS = [0.125, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 4]
DATA = os.urandom(1000)
OK, USAGE, ERROR = 0, 2, 4


def lru(requests, counted, room):
    """The part of the uses of the counted requests that hit; a prompt's beginning counts as used last."""
    order, hits, uses = [], 0, 0
    for number, chain in enumerate(requests):
        there = set(order)
        if number >= counted:
            had = next((i for i, chunk in enumerate(chain) if chunk not in there), len(chain))
            hits, uses = hits + had, uses + len(chain)
        own = set(chain)
        order = (chain + [chunk for chunk in order if chunk not in own])[:room]
    return hits / uses


def belady(requests, counted, room):
    uses_of = {}
    for number, chain in enumerate(requests):
        for place, chunk in enumerate(chain):
            uses_of.setdefault(chunk, []).append((number, place))
    there, hits, uses = {}, 0, 0  # chunk: its next use
    for number, chain in enumerate(requests):
        had = next((i for i, chunk in enumerate(chain) if chunk not in there), len(chain))
        if number >= counted:
            hits, uses = hits + had, uses + len(chain)
        for chunk in chain:
            uses_of[chunk].pop(0)
            there[chunk] = uses_of[chunk][0] if uses_of[chunk] else (math.inf, 0)
        there = dict(sorted(there.items(), key=lambda item: item[1])[:room])
    return hits / uses


class Curve(NodeTest):
    def make_directory(self):
        directory = tempfile.mkdtemp(prefix="kvasir-curve-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def serve(self, **settings):
        self.served = self.node(dram__size=f"{ROOM * PAGE}B", dram__page_size="16KiB", store__policy="lru",
                                **settings).start()
        self.client = rpc.Client(f"127.0.0.1:{self.served.port}")
        self.addCleanup(self.client.close)
        self.space = self.client.open_space()

    def ctl(self, *arguments, code=OK, endpoint=None):
        done = subprocess.run([os.environ["KVASIRCTL"], "--endpoint", endpoint or f"unix:{self.served.socket}", *arguments],
                              capture_output=True, text=True, timeout=60 * SLOW)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}\nnode: {self.served.log()}")
        return done.stdout if code == OK else done.stdout + done.stderr

    def request(self, stream, chain):
        keys = [chunk.encode().ljust(32, b".") for chunk in chain]
        had = self.client.lookup(self.space, keys).prefix
        for place in range(had, len(keys)):
            number, start = stream.start_put(self.space, keys[place], [len(DATA)])
            start.keys.CopyFrom(pb.Keys(keys=keys[place], key_length=32, first_place=place,
                                        parent=keys[place - 1] if place else b""))
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            stream.send(rpc.put_frame(number, 0, DATA, rpc.crc32c(DATA)))
            self.assertEqual(stream.wait_end(number), rpc.OK)
        return had

    def test_numbers(self):
        self.serve()
        self.assertIn("nothing was looked up", self.ctl("curve"))
        draw = random.Random(3)
        lines, requests, stream = [[0, 0] for _ in range(24)], [], self.client.transfer()
        had = []
        for _ in range(400):
            number = min(draw.randrange(24), draw.randrange(24))
            line = lines[number]
            line[1] += 1
            if line[1] > 24:  # it is over, another one begins
                line[0], line[1] = line[0] + 1, 1
            requests.append(["prompt 0", "prompt 1"] + [f"{number} {line[0]} {place}" for place in range(line[1])])
            had.append(self.request(stream, requests[-1]))
        stream.end()

        samples = sum(len(chain) + (len(chain) - hits) for chain, hits in zip(requests, had))
        # an answer may be a second old
        self.assertTrue(until(lambda: json.loads(self.ctl("--json", "curve"))["samples"] == samples))
        document = json.loads(self.ctl("--json", "curve"))
        self.assertEqual((document["rate"], document["samples"], document["capacity"]), (1, samples, ROOM * PAGE))
        counted, before = 0, 0  # what counts begins at the first request behind half of the samples
        while before < samples // 2:
            before += 2 * len(requests[counted]) - had[counted]
            counted += 1
        self.assertEqual(document["requests"], len(requests) - counted)
        self.assertTrue(document["enough"])
        asked = sum(map(len, requests[counted:]))
        self.assertEqual(document["asked_tokens"], asked * TOKENS)
        self.assertAlmostEqual(document["memory"], sum(had[counted:]) / asked, places=5)
        self.assertEqual([point["factor"] for point in document["points"]], FACTORS)
        for point in document["points"]:
            room = int(ROOM * point["factor"])
            self.assertEqual(point["bytes"], room * PAGE)
            self.assertAlmostEqual(point["lru"], lru(requests, counted, room), places=5)
            self.assertAlmostEqual(point["belady"], belady(requests, counted, room), places=5)
            self.assertEqual((point["lru_error"], point["belady_error"]), (0, 0))
        own, more = document["points"][4], document["points"][5]
        self.assertLess(abs(document["memory"] - own["lru"]), 0.02)  # its policy is that
        self.assertLess(own["lru"] + 0.05, own["belady"])

        words = self.ctl("curve")
        self.assertIn(f"25 % more DRAM: {100 * document['memory']:.1f} % -> "
                      f"{100 * (document['memory'] + more['lru'] - own['lru']):.1f} %", words)
        self.assertIn("Of the gap between LRU and Belady", words)
        self.assertNotIn("TOO LITTLE", words)
        path = os.path.join(self.make_directory(), "curve.svg")
        self.ctl("curve", "--plot", path)
        picture = xml.dom.minidom.parse(path)
        self.assertEqual(len(picture.getElementsByTagName("polyline")), 2)
        self.assertEqual(len(picture.getElementsByTagName("circle")), 2 * len(FACTORS) + 1 + 3)
        self.ctl("curve", "--plot", path + ".txt", code=USAGE)
        metric = self.served.metric("kvasir_estimated_hit_ratio", '{of="lru_more"}')
        self.assertAlmostEqual(metric, more["lru"], places=5)
        self.served.stop()

    def test_little_and_off(self):
        self.serve()
        stream = self.client.transfer()
        for turn in range(1, 5):
            self.request(stream, [f"a {place}" for place in range(turn)])
        stream.end()
        words = self.ctl("curve")
        self.assertIn("TOO LITTLE", words)
        self.assertIn("fits in memory", words)
        self.assertFalse(json.loads(self.ctl("--json", "curve"))["enough"])
        self.assertTrue(math.isnan(self.served.metric("kvasir_estimated_hit_ratio", '{of="node"}')))
        self.served.stop()
        self.serve(store__curve_samples="0")
        self.assertIn("takes no samples", self.ctl("curve", code=ERROR))
        self.assertIsNone(self.served.metric("kvasir_estimated_hit_ratio", '{of="node"}'))
        self.served.stop()
        code, said = self.node(dram__size="4MiB", store__curve_samples="4095").run()
        self.assertNotEqual(code, 0)
        self.assertIn("store.curve_samples", said)

    def test_strange_answers(self):
        """A server that says Hello as the node does, and anything as a curve."""
        self.serve()
        hello = self.client.hello().SerializeToString()
        answer = pb.CurveReply()

        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                method = details.method.rsplit("/", 1)[1]
                replies = {"Hello": hello, "Curve": answer.SerializeToString(), "Ping": b""}
                if method == "Transfer":
                    return grpc.stream_stream_rpc_method_handler(lambda frames, context: (b"" for _ in frames if False))
                if method not in replies:
                    return None
                return grpc.unary_unary_rpc_method_handler(lambda request, context: replies[method])

        fake = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Handler()])
        path = os.path.join(self.make_directory(), "fake.sock")
        fake.add_insecure_port(f"unix:{path}")
        fake.start()
        self.addCleanup(fake.stop, 0)
        plot = os.path.join(self.make_directory(), "curve.svg")

        def point(factor, bytes=1 << 20, lru=0.5, belady=0.5, **more):
            return pb.CurvePoint(factor=factor, bytes=bytes, lru=lru, belady=belady, **more)

        strange = [{},
                   {"memory": 0.5},
                   {"memory": 0.5, "points": [point(0), point(-1), point(math.nan), point(1, bytes=0)]},
                   {"memory": 0.5, "points": [point(1, lru=math.nan), point(1.25, belady=math.inf)]},
                   {"memory": 1e300, "hit": -5, "points": [point(1, lru=-1e9, belady=1e300, lru_error=1e300)]},
                   {"memory": 0.1, "rate": 1e-300, "asked_tokens": 2**64 - 1, "counted_s": 1e300, "points": [point(1), point(1.25)]},
                   {"memory": 0.1, "before": 1e300, "gain_error": math.nan, "capacity": 2**64 - 1,
                    "points": [point(1 + i, bytes=2**64 - 1) for i in range(5000)]},
                   {"memory": 0.1, "points": [point(1e-300, bytes=1), point(1e300, bytes=2**64 - 1)]}]
        for fields in strange:
            answer.CopyFrom(pb.CurveReply(**fields))
            document = json.loads(self.ctl("--json", "curve", "--plot", plot, endpoint=f"unix:{path}"))
            self.assertEqual(len(document["points"]), len(fields.get("points", [])))
            xml.dom.minidom.parse(plot)
            with open(plot) as picture:
                self.assertNotIn("nan", picture.read())
            self.ctl("curve", endpoint=f"unix:{path}")
        answer.CopyFrom(pb.CurveReply(status=-3))
        self.ctl("curve", endpoint=f"unix:{path}", code=ERROR)
        fake.stop(0).wait()
        self.served.stop()


if __name__ == "__main__":
    harness.main(120)
