"""Programs that say what they wait for, to a node whose clock a test turns: what the tests of policy `index` share."""
import json
import os
import random
import shutil
import subprocess
import tempfile

import harness

harness.need_grpc()

import grpc  # noqa: E402
import rpc  # noqa: E402
from harness import SLOW, NodeTest  # noqa: E402
from rpc import pb  # noqa: E402
from test_tenants import Shown  # noqa: E402

TOOL = 1
ACCEPTED, CLIPPED, DEFERRED, REJECTED, MISSING = 1, 2, 3, 4, 5
CHUNK = 128 << 10
CHUNKS = 20  # of an agent
DATA = [random.Random(place).randbytes(CHUNK) for place in range(CHUNKS)]  # which no codec makes smaller
CRCS = [rpc.crc32c(data) for data in DATA]


class Clock:
    """The policy's: the machine's, and what this file says."""

    def __init__(self, path):
        self.path, self.ahead = path, 0
        self.go(0)

    def go(self, seconds):
        self.ahead += int(seconds * 1e9)
        with open(self.path, "r+b" if os.path.exists(self.path) else "w+b", buffering=0) as file:
            file.write(self.ahead.to_bytes(8, "little"))


class ProgramTest(NodeTest):
    """A node, and programs of CHUNKS chunks each, by name."""

    def make_directory(self):
        directory = tempfile.mkdtemp(prefix="kvasir-programs-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def serve(self, **settings):
        self.clock = Clock(os.path.join(self.make_directory(), "clock"))
        self.served = self.node(store__test_clock=self.clock.path, **settings).start()
        self.client = rpc.Client(f"127.0.0.1:{self.served.port}")
        self.addCleanup(self.client.close)
        self.space = self.client.open_space()

    def ctl(self, *arguments, text=False, code=0):
        options = [] if text else ["--json"]
        done = subprocess.run([os.environ["KVASIRCTL"], "--endpoint", f"unix:{self.served.socket}", *options, *arguments],
                              capture_output=True, text=True, timeout=60 * SLOW)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if text else json.loads(done.stdout)

    def keys(self, name, n=CHUNKS):
        return [f"{name} {place}".encode().ljust(32, b".") for place in range(n)]

    def request(self, name, n=CHUNKS):
        """A prompt is looked up, what of it is not in memory is got, and what is missing is put. Returns how many of its chunks were there."""
        keys = self.keys(name, n)
        tiers = self.tiers(name)[:n]
        prefix = (tiers + [0]).index(0)
        stream = self.client.transfer()
        for place in range(prefix):
            if tiers[place] != 1:
                self.assertEqual(stream.get(self.space, keys[place], CHUNK), (rpc.OK, DATA[place]))
        for place in range(prefix, n):
            number, start = stream.start_put(self.space, keys[place], [CHUNK])
            start.keys.CopyFrom(pb.Keys(keys=keys[place], key_length=32, first_place=place,
                                        parent=keys[place - 1] if place else b""))
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            stream.send(rpc.put_frame(number, 0, DATA[place], CRCS[place]))
            self.assertEqual(stream.wait_end(number), rpc.OK)
        stream.end()
        return prefix

    def hint(self, program, n=0, **fields):
        ask = pb.HintRequest(program=program, **fields)
        if n:
            ask.space = self.space
            ask.keys.CopyFrom(pb.Keys(keys=self.keys(program)[n - 1], key_length=32, first_place=n - 1))
        reply = self.client.call("Hint", ask, pb.HintReply)
        return reply.outcome

    def learn(self, tool, seconds):
        """A program that came back from this tool a hundred times."""
        for _ in range(100):
            self.request("teacher", 1)
            self.assertEqual(self.hint("teacher", 1, wait_kind=TOOL, tool=tool), ACCEPTED)
            self.clock.go(seconds)
        self.assertEqual(self.hint("teacher", close=True), ACCEPTED)

    def tiers(self, name):
        """A look-up. By chunk from the first on: the tier that it lies in; 0: none."""
        keys = self.keys(name)
        reply = self.client.call("Lookup", pb.LookupRequest(spaces=[self.space], keys=pb.Keys(keys=b"".join(keys), key_length=32),
                                                            want_tiers=True), pb.LookupReply)
        return list(reply.tiers)

    def pins(self):
        return {program["program"]: program for program in self.ctl("pins")["programs"]}

    def step(self, name, tool):
        """The program is back from its tool, and calls it again. Returns how many of its chunks were there."""
        hits = self.request(name)
        self.assertEqual(self.hint(name, CHUNKS, wait_kind=TOOL, tool=tool), ACCEPTED)
        return hits

    def session(self, name):
        """A client that has one."""
        client = rpc.Client.__new__(rpc.Client)
        channel = grpc.insecure_channel(f"127.0.0.1:{self.served.port}", rpc.OPTIONS)
        client.channel = grpc.intercept_channel(channel, Shown([("kvasir-session", name)]))
        self.addCleanup(channel.close)
        return client
