"""kvasirctl hint tells a real node of programs: each answer and its exit code, and what the node then shows."""
import hashlib
import json
import os
import struct
import subprocess

import harness

harness.need_grpc()

import rpc  # noqa: E402
from harness import SLOW, NodeTest  # noqa: E402
from rpc import pb  # noqa: E402

DONE, NO, USAGE, FAILED = 0, 1, 2, 4
TOKENS = 16  # of a chunk
CHUNKS = 5
MOST_MS = 1000000000
PROMPT = list(range(1000, 1000 + CHUNKS * TOKENS))


class Hint(NodeTest):
    def setUp(self):
        super().setUp()
        self.served = self.node(dram__size="16MiB").start()
        self.client = rpc.Client(f"127.0.0.1:{self.served.port}")
        self.addCleanup(self.client.close)
        self.space = self.client.open_space(rpc.descriptor(hash=1, tokens_per_chunk=TOKENS, engine_block=TOKENS))
        self.keys, parent = [], self.space
        stream = self.client.transfer()
        for place in range(CHUNKS):
            before, parent = parent, hashlib.sha256(parent + struct.pack(f"<{TOKENS}I", *PROMPT[place * TOKENS:][:TOKENS])).digest()
            number, start = stream.start_put(self.space, parent, [100])
            start.keys.CopyFrom(pb.Keys(keys=parent, key_length=32, first_place=place, parent=before if place else b""))
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            stream.send(rpc.put_frame(number, 0, bytes(100), rpc.crc32c(bytes(100))))
            self.assertEqual(stream.wait_end(number), rpc.OK)
            self.keys.append(parent)
        stream.end()

    def ctl(self, *arguments, code=DONE, stdin=""):
        done = subprocess.run([os.environ["KVASIRCTL"], "--endpoint", f"unix:{self.served.socket}", *arguments], input=stdin,
                              capture_output=True, text=True, timeout=60 * SLOW)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}\nnode: {self.served.log()}")
        return done.stdout + done.stderr

    def hint(self, outcome, *arguments, code=DONE, stdin=""):
        """The answer in words, which is the same for people and in JSON. (A hint that is told twice is the same hint.)"""
        document = json.loads(self.ctl("--json", "hint", *arguments, code=code, stdin=stdin))
        self.assertEqual(list(document), ["outcome", "text"])
        self.assertEqual(document["outcome"], outcome)
        if not outcome == "missing" and "--close" not in arguments:
            said = self.ctl("hint", *arguments, code=code, stdin=stdin)
            self.assertEqual(said, f"{outcome}: {document['text']}\n" if document["text"] else f"{outcome}\n")
        return document["text"]

    def program(self, name):
        programs = {program["program"]: program for program in json.loads(self.ctl("--json", "programs"))["programs"]}
        return programs.get(name)

    def of_prompt(self):
        return ("-s", self.space.hex()[:12], "-")

    def test_of_a_prompt(self):
        prompt = json.dumps(PROMPT)
        self.assertEqual(self.hint("accepted", "agent", *self.of_prompt(), "--turn", "3", "--parent", "chief", stdin=prompt), "")
        agent = self.program("agent")
        self.assertEqual((agent["turn"], agent["parent"], agent["waits_for"], agent["chunks"]), (3, "chief", "answer", CHUNKS))
        self.hint("accepted", "agent", *self.of_prompt(), "--wait", "tool", "--tool", "grep", "--return-p50", "2h", "--return-p90", "3h",
                  "--priority", "60", stdin=prompt)
        agent = self.program("agent")
        self.assertEqual((agent["waits_for"], agent["tool"], agent["announced_ms"]), ("tool", "grep", 7200000))
        self.assertEqual((agent["turn"], agent["parent"]), (3, "chief"))  # as they were said last
        # What was announced stands when it is not said again. A priority of 0 is the least, and stays until another is said; one that is not said changes nothing.
        prices = []
        for options in (["50"], ["0"], [], ["100"], []):
            self.hint("accepted", "agent", "--wait", "tool", "--tool", "grep", *(["--priority"] + options if options else []))
            prices.append(self.program("agent")["price"])
        for price, times in zip(prices, (1, 0.25, 0.25, 4, 4)):
            self.assertAlmostEqual(price / prices[0], times, delta=times / 5)  # they change while it stays away
        # A priority of the first tokens is not its last chunk's, unless those are all.
        for tokens, chunks, times in ((TOKENS * CHUNKS - TOKENS, CHUNKS - 1, 1), (TOKENS * CHUNKS - TOKENS + 1, CHUNKS, 4), (0, 0, 4)):
            self.hint("accepted", "agent", "--wait", "tool", "--tool", "grep", "--priority", "100", "--range-tokens", str(tokens))
            agent = self.program("agent")
            self.assertEqual(agent["range_chunks"], chunks)
            self.assertAlmostEqual(agent["price"] / prices[0], times, delta=times / 5)
        # By one key, whichever it is, and by what it used last.
        self.hint("accepted", "agent", "--space", self.space.hex(), self.keys[-1].hex(), "--wait", "human")
        self.assertEqual(self.program("agent")["waits_for"], "human")
        self.hint("accepted", "agent", "--wait", "approval")
        self.assertEqual(self.program("agent")["waits_for"], "approval")
        self.hint("accepted", "agent", "--close")
        self.assertIsNone(self.program("agent"))
        self.served.stop()

    def test_answers(self):
        self.assertIn("no such program", self.hint("missing", "nobody", "--close", code=NO))
        self.assertIn("nothing of the program is known", self.hint("deferred", "nobody", "--wait", "tool", code=NO))
        self.assertIn("none of the keys", self.hint("missing", "agent", "--space", self.space.hex(), "00" * 32, code=NO))
        key = ("-s", self.space.hex(), self.keys[-1].hex())
        words = self.hint("clipped", "agent", *key, "--wait", "tool", "--return-p50", "20d", "--return-p90", "21d", "--ttl", "100d")
        self.assertEqual(words, f"return_p50_ms: {20 * 86400000} to {MOST_MS} ms; return_p90_ms: {21 * 86400000} to {MOST_MS} ms; "
                                f"ttl_ms: {4294967295} to {MOST_MS} ms")
        self.assertEqual(self.program("agent")["announced_ms"], MOST_MS)
        self.hint("clipped", "agent", *key, "--return-p90", "21d")
        self.hint("accepted", "agent", *key, "--return-p90", "21s")
        announced = self.program("agent")["announced_ms"]  # counted from when it began to wait
        self.assertTrue(21000 <= announced < 21000 + 60000 * SLOW, announced)
        self.assertIn("at most 100", self.hint("rejected", "agent", "--priority", "101", code=FAILED))
        self.assertIn("above", self.hint("rejected", "agent", "--return-p50", "2s", "--return-p90", "1s", code=FAILED))
        self.assertIn("names no program", self.hint("rejected", "", code=FAILED))
        for outcome, count in (("accepted", 2), ("clipped", 4), ("deferred", 2), ("rejected", 6), ("missing", 2)):
            self.assertEqual(self.served.metric("kvasir_hints_total", f'{{outcome="{outcome}"}}'), count)
        self.served.stop()

    def test_prefills(self):
        space = ("--space", self.space.hex())
        for tokens in (256, 512, 1024):
            self.hint("accepted", "", *space, "--prefill-tokens", str(tokens), "--prefill-from", "64", "--prefill-time", f"{tokens}ms")
        self.assertIn("fewer than 64", self.hint("deferred", "", *space, "--prefill-tokens", "63", "--prefill-time", "1s", code=NO))
        self.assertIn("at 1 to 1e+07 tokens a second", self.hint("clipped", "", *space, "--prefill-tokens", "64", "--prefill-time", "1h"))
        self.assertIn("the space is not known",
                      self.hint("missing", "", "--space", "00" * 32, "--prefill-tokens", "64", "--prefill-time", "1s", code=NO))
        self.served.stop()

    def test_wrong_command_lines(self):
        for arguments, complaint in ((("a", "--wait", "tea"), "nothing to wait for"), (("a", "--range-tokens", "64"), "say one of them"), (("a", "--tool", "grep"), "say --wait tool"),
                                     (("a", "00" * 16), "of which space"), (("a", "--prefill-tokens", "64"), "both"),
                                     (("a", "-s", self.space.hex()), "of a prefill alone"), (("a" * 256,), "at most 255"),
                                     (("a", "--prefill-tokens", "64", "--prefill-time", "1s"), "of which space"),
                                     (("a", "-s", self.space.hex(), "-d", "x", "00" * 16), "either"), ((), "it takes PROGRAM")):
            self.assertIn(complaint, self.ctl("hint", *arguments, code=USAGE))
        self.assertIn("no whole one", self.ctl("hint", "a", *self.of_prompt(), code=USAGE, stdin="1 2 3"))
        self.assertIn("no space", self.ctl("hint", "a", "-s", "0123", self.keys[0].hex(), code=NO))
        self.served.stop()


if __name__ == "__main__":
    harness.main(120)
