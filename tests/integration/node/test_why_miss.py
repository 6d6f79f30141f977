"""kvasirctl why-miss asks a real node for the main causes, by key and by prompt."""
import hashlib
import json
import os
import shutil
import struct
import subprocess
import tempfile

import harness

harness.need_grpc()

import rpc  # noqa: E402
from harness import SLOW, NodeTest, free_port  # noqa: E402
from rpc import cbor, pb  # noqa: E402
from programs import Clock  # noqa: E402

FOUND, MISSES, USAGE = 0, 1, 2
TOKENS = 16  # of a chunk
OPAQUE, NATIVE, SGLANG, VLLM = 0, 1, 2, 3
TOOL, ACCEPTED = 1, 1


def native_keys(space, tokens):
    """As docs/formats/keys.md says."""
    keys, parent = [], space
    for first in range(0, len(tokens) - TOKENS + 1, TOKENS):
        parent = hashlib.sha256(parent + struct.pack(f"<{TOKENS}I", *tokens[first:first + TOKENS])).digest()
        keys.append(parent)
    return keys


def vllm_keys(tokens, block, hash_seed, salt):
    """The same of vLLM's sha256_cbor; a chunk's key is that of its last block."""
    keys, parent = [], hashlib.sha256(cbor(hash_seed)).digest()
    for first in range(0, len(tokens) - block + 1, block):
        extra = cbor([salt]) if salt and first == 0 else b"\xf6"
        items = cbor(parent) + cbor(list(tokens[first:first + block])) + extra
        parent = hashlib.sha256(b"\x83" + items).digest()
        keys.append(parent)
    return keys[TOKENS // block - 1::TOKENS // block]


class WhyMiss(NodeTest):
    def serve(self, **settings):
        self.served = self.node(**{"dram__size": "16MiB", **settings}).start()
        self.client = rpc.Client(f"127.0.0.1:{self.served.port}")
        self.addCleanup(self.client.close)
        return self.served

    def put(self, space, keys, size=1000):
        stream = self.client.transfer()
        for key in keys:
            self.assertEqual(stream.put(space, key, [os.urandom(size)]), rpc.OK)
        stream.end()

    def put_chain(self, space, name, n, size=1 << 20):
        """n chunks, each behind the one before; their keys."""
        keys = [f"{name} {place}".encode().ljust(32, b".") for place in range(n)]
        stream = self.client.transfer()
        for place, key in enumerate(keys):
            number, start = stream.start_put(space, key, [size])
            start.keys.CopyFrom(pb.Keys(keys=key, key_length=32, first_place=place, parent=keys[place - 1] if place else b""))
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            data = os.urandom(size)
            stream.send(rpc.put_frame(number, 0, data, rpc.crc32c(data)))
            self.assertEqual(stream.wait_end(number), rpc.OK)
        stream.end()
        return keys

    def hint(self, program, space=b"", key=None, **fields):
        ask = pb.HintRequest(program=program, space=space, **fields)
        if key is not None:
            ask.keys.CopyFrom(pb.Keys(keys=key, key_length=32))
        return self.client.call("Hint", ask, pb.HintReply).outcome

    def get(self, space, key):
        stream = self.client.transfer()
        self.assertEqual(stream.get(space, key)[0], rpc.MISS)
        stream.end()

    def misses(self, cause):
        return self.served.metric("kvasir_get_misses_total", f'{{cause="{cause}"}}')

    def ctl(self, *arguments, code=0, stdin=""):
        done = subprocess.run([os.environ["KVASIRCTL"], "--endpoint", f"unix:{self.served.socket}", *arguments], input=stdin,
                              capture_output=True, text=True, timeout=60 * SLOW)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}\nnode: {self.served.log()}")
        return done.stdout + done.stderr

    def why(self, space, what, *options, code=MISSES, stdin=""):
        """(the document, the words) of a question; those for people have the same words."""
        asked = ("why-miss", "--space", space.hex(), *options, what)
        document = json.loads(self.ctl("--json", *asked, code=code, stdin=stdin))
        self.assertEqual(document["found"], code == FOUND)
        self.ctl(*asked, code=code, stdin=stdin)
        return document, document["text"]

    def test_causes(self):
        node = self.serve()
        space = self.client.open_space()
        key, never = rpc.new_key(), rpc.new_key()
        self.put(space, [key])
        document, words = self.why(space, key.hex(), code=FOUND)
        self.assertEqual(document["tiers"], ["dram"])
        self.assertEqual(document["chunk"]["length"], 1000)

        document, words = self.why(space, never.hex())
        self.assertEqual(document["cause"], "never")
        self.assertTrue(document["since_start"])
        self.assertIn("since it was started", words)

        self.ctl("evict", "--all")
        document, words = self.why(space, key.hex())
        self.assertEqual((document["cause"], document["departure"]["rule"]), ("evicted", "asked"))
        self.assertIn("an operator asked", words)
        self.assertEqual(document["departure"]["length"], 1000)

        self.put(space, [key])
        keys = pb.Keys(keys=key, key_length=len(key))
        self.client.call("Delete", pb.DeleteRequest(space=space, keys=keys), pb.DeleteReply)
        document, words = self.why(space, key.hex())
        self.assertEqual(document["cause"], "deleted")

        filling = [rpc.new_key() for _ in range(40)]
        self.put(space, filling, size=1 << 20)  # memory holds 15 of them
        told = [self.why(space, key.hex()) for key in filling[:20]]  # of a few it may be forgotten how they went
        document, words = next(one for one in told if one[0]["departure"])
        self.assertEqual((document["cause"], document["departure"]["rule"]), ("evicted", "room"))
        self.assertEqual(document["departure"]["length"], 1 << 20)
        self.assertIn("make room", words)
        self.assertIn("1.0 MiB", words)

        unknown = os.urandom(32)
        document, words = self.why(unknown, never.hex())
        self.assertEqual(document["cause"], "space")
        node.stop()

    def test_closed_and_what_it_cost(self):
        """What an ended program alone had goes first, and says so; what goes after that has a price."""
        node = self.serve()
        space = self.client.open_space()
        ended, stays = self.put_chain(space, "ended", 6), self.put_chain(space, "stays", 6)  # memory holds 15
        for name, keys in (("ended", ended), ("stays", stays)):
            self.assertEqual(self.hint(name, space, keys[-1], wait_kind=TOOL, tool="build"), ACCEPTED)
        self.assertEqual(self.hint("ended", close=True), ACCEPTED)
        self.put_chain(space, "more", 9)
        for key in ended:
            document, words = self.why(space, key.hex())
            departure = document["departure"]
            self.assertEqual((document["cause"], departure["cause"], departure["rule"], departure["price"]), ("closed", "closed", "closed", 0))
            self.assertIn("since its program has ended", words)
        self.get(space, ended[0])
        self.assertEqual((self.misses("closed"), self.misses("evicted")), (1, 0))
        self.assertEqual(node.metric("kvasir_tier_evictions_total", '{tier="dram",rule="closed"}'), 6)

        self.put_chain(space, "others", 14)
        document, words = self.why(space, stays[-1].hex())
        self.assertEqual((document["cause"], document["departure"]["rule"]), ("evicted", "room"))
        self.assertTrue(document["departure"]["by_price"])
        self.assertGreater(document["departure"]["price"], 0)
        self.assertRegex(words, r"Its price was [0-9.e-]+ \(seconds saved for each second and GiB of keeping it\)\.")
        node.stop()

    def test_told_times_that_ran_out(self):
        """What goes for room after the time that it was kept for has expired, and says since when; what goes before, or because somebody asks for it, was evicted, and says how long it still had."""
        directory = tempfile.mkdtemp(prefix="kvasir-clock-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        for policy, fields, after, over in (("index", {"ttl_ms": 300000}, 400, 100000), ("index", {"return_p90_ms": 60000}, 400, 340000),
                                            ("fixed-ttl", {}, 62, 60000)):
            clock = Clock(os.path.join(directory, "clock"))
            node = self.serve(store__test_clock=clock.path, store__policy=policy)
            space = self.client.open_space()
            keys = self.put_chain(space, "told", 3)
            self.assertEqual(self.hint("told", space, keys[-1], wait_kind=TOOL, **fields), ACCEPTED)
            clock.go(after)
            self.put_chain(space, "others", 15)  # which is all that memory holds
            document, words = self.why(space, keys[0].hex())
            self.assertEqual((document["cause"], document["departure"]["rule"]), ("expired", "room"), policy)
            self.assertTrue(over <= document["departure"]["over_ms"] < over + 60000 * SLOW, document)
            self.assertRegex(words, r"make room.* The time that it was kept for had run out [0-9.]+ (s|min) before\.")
            self.assertEqual(document["departure"]["price"] is None, policy != "index")
            self.get(space, keys[0])
            self.assertEqual((self.misses("expired"), self.misses("evicted")), (1, 0))
            keys = self.put_chain(space, "again", 2)
            self.assertEqual(self.hint("again", space, keys[-1], wait_kind=TOOL, ttl_ms=3600000), ACCEPTED)
            self.ctl("evict", "--all")
            document, words = self.why(space, keys[1].hex())
            self.assertEqual((document["cause"], document["departure"]["rule"]), ("evicted", "asked"))
            if policy == "index":
                self.assertTrue(-3600000 <= document["departure"]["over_ms"] < -3500000, document)
                self.assertIn("The time that it was kept for still had", words)
            node.stop()

    def test_quota(self):
        node = self.node(dram__size="16MiB")
        path = os.path.join(node.folder, "tenants.yaml")
        with open(path, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("name: alpha\ndram: 3MiB\nanonymous: true\n")
        node.settings["tenants"] = path
        self.served = node.start()
        self.client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(self.client.close)
        space = self.client.open_space()
        keys = self.put_chain(space, "mine", 2)
        others = self.put_chain(space, "more", 2)
        document, words = self.why(space, keys[1].hex())
        self.assertEqual((document["cause"], document["departure"]["rule"]), ("quota", "quota"))
        self.assertGreater(document["departure"]["price"], 0)
        self.assertIn("since its tenant had more than it may have", words)
        self.why(space, others[1].hex(), code=FOUND)
        self.get(space, keys[1])
        self.assertEqual(self.misses("quota"), 1)
        node.stop()

    def test_other_spaces(self):
        node = self.serve()
        here = self.client.open_space(rpc.descriptor(tp_size=2))
        there = self.client.open_space(rpc.descriptor(tp_size=2, tp_rank=1))
        key = rpc.new_key()
        self.put(there, [key])
        document, words = self.why(here, key.hex())
        self.assertEqual(document["cause"], "other_space")
        self.assertEqual((document["other"]["space"], document["other"]["differences"]), (there.hex(), 1))
        self.assertIn("tp_rank 0 / 1", words)
        self.get(here, key)
        self.assertEqual(self.misses("other_space"), 1)
        self.assertEqual(self.misses("never"), 0)

        # A space that the node does not know, told by its fields.
        spaces = json.loads(self.ctl("--json", "ls"))["spaces"]
        fields = next(space["descriptor"] for space in spaces if space["digest"] == here.hex())
        path = os.path.join(node.folder, "descriptor.json")
        for wrong in ({}, {**fields, "layout": "none"}, {**fields, "tp_rank": 5}):
            with open(path, "w") as file:
                json.dump(wrong, file)
            self.assertIn("is no descriptor", self.ctl("why-miss", "--descriptor", path, key.hex(), code=USAGE))
        with open(path, "w") as file:
            json.dump({**fields, "key_dtype": fields["key_dtype"], "revision": "2\033[2J"}, file)
        said = self.ctl("why-miss", "--descriptor", path, "00" * 32, code=MISSES)
        self.assertIn("does not know this space", said)
        self.assertIn("revision '2?[2J' / ''", said)
        node.stop()

    def test_prompts(self):
        node = self.serve()
        space = self.client.open_space(rpc.descriptor(hash=NATIVE, tokens_per_chunk=TOKENS, engine_block=TOKENS))
        tokens = list(range(1000, 1000 + 5 * TOKENS + 3))
        keys = native_keys(space, tokens)
        self.put(space, keys)
        prompt = os.path.join(node.folder, "prompt")
        with open(prompt, "w") as file:
            json.dump(tokens, file)
        document, words = self.why(space, prompt, code=FOUND)
        self.assertEqual((document["keys"], document["prefix"]), (5, 5))
        self.assertEqual(document["key"], keys[4].hex())
        self.client.call("Delete", pb.DeleteRequest(space=space, keys=pb.Keys(keys=keys[3], key_length=32)), pb.DeleteReply)
        document, words = self.why(space, prompt)
        self.assertEqual((document["prefix"], document["tiers"]), (3, ["dram"] * 3))
        self.assertEqual((document["key"], document["cause"]), (keys[3].hex(), "deleted"))
        said = self.ctl("why-miss", "--space", space.hex()[:12], prompt, code=MISSES)
        self.assertRegex(said, rf"2  {keys[2].hex()[:16]}   32-47  dram")
        self.assertRegex(said, rf"3  {keys[3].hex()[:16]}   48-63  missing")
        # Other words of the same prompt, and another prompt with the same beginning.
        self.why(space, "-", stdin=" ".join(map(str, tokens)))
        document, words = self.why(space, "-", stdin=", ".join(map(str, tokens[:2 * TOKENS] + [7] * TOKENS)))
        self.assertEqual((document["prefix"], document["cause"]), (2, "never"))

        for stdin, complaint in (("1 2 3", "there is no whole one"), ("1 two 3", "at byte 2"), ("1 -2", "at byte 2"),
                                 ("1 4294967296", "at byte 2"), ("", "has 0 tokens")):
            self.assertIn(complaint, self.ctl("why-miss", "--space", space.hex(), "-", code=USAGE, stdin=stdin))
        self.assertIn("are of vLLM's hash", self.ctl("why-miss", "-s", space.hex(), "--salt", "x", prompt, code=USAGE))
        self.assertIn("of which space", self.ctl("why-miss", prompt, code=USAGE))
        self.assertIn("It is taken for a file", self.ctl("why-miss", "-s", space.hex(), "no/such", code=4))
        self.assertIn("another length", self.ctl("why-miss", "-s", space.hex(), "00" * 16, code=USAGE))
        opaque = self.client.open_space()
        self.assertIn("the engine's own", self.ctl("why-miss", "-s", opaque.hex(), prompt, code=USAGE))
        self.assertIn("--descriptor", self.ctl("why-miss", "-s", "00" * 32, prompt, code=USAGE))
        node.stop()

    def test_prompts_of_vllm(self):
        node = self.serve()
        space = self.client.open_space(rpc.descriptor(hash=VLLM, tokens_per_chunk=TOKENS, engine_block=4))
        tokens = [3, 70000, 300, 24] * TOKENS
        for seed, salt in (("vllm-none-hash", None), ("0", None), ("0", "a salt that is longer than 23 bytes")):
            keys = vllm_keys(tokens, 4, seed, salt)
            self.put(space, keys[:-1])
            options = ([] if seed == "vllm-none-hash" else ["--hash-seed", seed]) + (["--salt", salt] if salt else [])
            document, _ = self.why(space, "-", *options, stdin=json.dumps(tokens))
            self.assertEqual((document["prefix"], document["key"]), (len(keys) - 1, keys[-1].hex()))
        keys = vllm_keys(tokens, 8, "1", None)
        self.put(space, keys)
        self.why(space, "-", "--hash-seed", "1", "--hash-block", "8", code=FOUND, stdin=json.dumps(tokens))
        self.ctl("why-miss", "-s", space.hex(), "--hash-block", "5", "-", code=USAGE, stdin=json.dumps(tokens))
        node.stop()

    def test_damage_and_a_tier_that_is_out(self):
        node = self.serve(dram__test_fault="error:read:every=1", redis__mode="single",
                          redis__addresses=f"127.0.0.1:{free_port()}", redis__connect_timeout="200ms")
        space = self.client.open_space()
        key = rpc.new_key()
        self.put(space, [key])
        self.get(space, key)  # its table does not fit
        self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 1)
        self.assertTrue(harness.until(lambda: node.metric("kvasir_redis_up") == 0), node.log())
        document, words = self.why(space, key.hex())  # Redis may have it
        self.assertEqual((document["cause"], document["departure"]["cause"]), ("tier", "corrupt"))
        self.assertEqual(document["damaged"]["found_by"], "get")
        self.assertIn("did not fit their checksum", words)
        document, words = self.why(space, rpc.new_key().hex())
        self.assertEqual(document["cause"], "tier")
        self.assertEqual(document["tiers_out"], [{"tier": "redis", "parts": 1, "out": 1}])
        self.assertIn("Tier redis: 1 of 1 are out", words)
        node.stop()


if __name__ == "__main__":
    harness.main(120)
