"""Agents wait for tools: what stays of them, at what price, by a clock that the test turns; and what kvasirctl shows of it."""
import random

import harness

harness.need_grpc()

import rpc  # noqa: E402
from programs import ACCEPTED, CHUNK, CHUNKS, CLIPPED, CRCS, DATA, DEFERRED, MISSING, REJECTED, TOOL, ProgramTest  # noqa: E402
from rpc import pb  # noqa: E402

DECLINED = 5


class Programs(ProgramTest):
    def put_cold(self, name, n, send=True, **fields):
        """A prompt that nobody knows, put at once, without a look-up. Returns how its chunks ended; with send=False no byte is sent."""
        keys, number = self.keys(name, n), 1
        stream = self.client.transfer()
        start = pb.TransferStart(id=number, put=True, space=self.space, timeout_ms=rpc.TIMEOUT * 1000, lengths=[CHUNK] * n,
                                 segment_counts=[1] * n, segment_lengths=[CHUNK] * n,
                                 keys=pb.Keys(keys=b"".join(keys), key_length=32), **fields)
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        for place in range(n if send else 0):
            frame = rpc.put_frame(number, 0, DATA[place], CRCS[place])
            frame.header.pieces[0].chunk = place
            stream.send(frame)
        ends = {}
        while len(ends) < n:
            ends.update((end.chunk, end.status) for end in stream.receive().header.ends)
        stream.end()
        return [ends[place] for place in range(n)]

    def serve_full(self, **settings):
        """Memory for two agents, whose tools have been called and will be back in a second."""
        self.serve(dram__size=f"{2 * CHUNKS * (CHUNK + 4096) + (64 << 10)}", dram__page_size="4KiB", **settings)
        self.learn("grep", 2)
        for name in ("quick", "swift"):
            self.step(name, "grep")
        self.clock.go(1)

    def test_a_prompt_that_is_not_worth_its_room_is_declined(self):
        self.serve_full()
        evicted = self.served.metric("kvasir_evictions_total")  # what the teacher has left
        self.assertEqual(self.put_cold("declined", 2, send=False, chain_chunks=4), [DECLINED] * 2)
        self.assertEqual(self.put_cold("declined", 4, chain_chunks=4), [DECLINED] * 4)
        self.assertEqual(self.tiers("quick") + self.tiers("swift"), [1] * 2 * CHUNKS)
        self.assertEqual(self.served.metric("kvasir_put_declined_total"), 6)
        self.assertEqual(self.served.metric("kvasir_put_declined_bytes_total"), 6 * CHUNK)
        self.assertEqual(self.served.metric("kvasir_put_refused_total"), 0)
        self.assertEqual(self.served.metric("kvasir_evictions_total"), evicted)
        asked = ("why-miss", "--space", self.space.hex(), self.keys("declined")[0].hex())
        self.assertEqual(self.ctl(*asked, code=1)["cause"], "declined")
        self.assertIn("not stored", self.ctl(*asked, text=True, code=1))
        self.assertNotIn("declined", self.served.log())
        self.assertEqual(self.put_cold("declined", 4), [rpc.OK] * 4)  # it does not say how long its prompt is
        self.step("quick", "grep")
        self.clock.go(600)  # the tool should be back long since
        self.assertEqual(self.put_cold("later", 4, chain_chunks=4), [rpc.OK] * 4)

    def test_whatever_is_put_is_stored_if_that_is_asked_for(self):
        self.serve_full(store__admission="all")
        self.assertEqual(self.put_cold("cold", 4, chain_chunks=4), [rpc.OK] * 4)
        self.assertEqual(self.served.metric("kvasir_put_declined_total"), 0)

    def live(self, seconds):
        """Two agents go on: one's tool takes two seconds, the other's thirty. Returns the chunks that were missing."""
        missing = 0
        for second in range(2, seconds + 1, 2):
            self.clock.go(2)
            missing += CHUNKS - self.step("quick", "grep")
            if second % 30 == 0:
                missing += CHUNKS - self.step("slow", "build")
        return missing

    def serve_agents(self, **settings):
        """Memory for two of three agents, of which one's tool never returns."""
        self.serve(dram__size=f"{2 * CHUNKS * (CHUNK + 4096) + (1 << 20)}", **settings)
        self.learn("grep", 2)
        self.learn("build", 30)
        self.step("quick", "grep")
        self.step("slow", "build")
        pins = self.pins()
        self.assertGreater(pins["quick"]["price"], 2 * pins["slow"]["price"])
        self.assertEqual((pins["slow"]["waits_for"], pins["slow"]["tool"]), ("tool", "build"))
        self.assertIsNone(pins["slow"]["stays_ms"], "there is room")
        self.step("lost", "wait-for-ci")  # a tool that nobody has seen
        self.assertEqual(self.pins()["lost"]["chunks"], CHUNKS)

    def test_three_agents(self):
        self.serve_agents()
        fresh = self.pins()["lost"]["price"]
        self.live(90)
        pins = self.pins()
        self.assertLess(pins["lost"]["price"], fresh / 2)
        self.live(300)
        pins = self.pins()
        self.assertLess(pins["lost"]["price"], fresh / 10)
        self.assertLess(pins["lost"]["chunks"], CHUNKS, "what does not come back makes room")
        self.assertEqual(self.live(60), 0, "the two that do have all of theirs")
        self.request("other", 5)
        self.assertGreater(self.ctl("price")["memory_price"], 0)
        pins = self.pins()
        self.assertEqual((pins["quick"]["chunks"], pins["lost"]["chunks"]), (CHUNKS, 0))
        self.assertGreater(pins["slow"]["chunks"], CHUNKS / 2)
        shown = self.ctl("pins", text=True)
        self.assertIn("tool build", shown)
        self.assertIn("pinned", shown)
        self.assertIn("slow", self.ctl("programs", text=True))
        self.served.stop()

    def test_demoted_not_lost(self):
        """With a tier below, what leaves memory is there."""
        self.serve_agents(ssd__paths=self.make_directory(), ssd__size="512MiB", ssd__log_file_size="64MiB")
        self.assertTrue(harness.until(lambda: self.served.metric("kvasir_tier_write_queue", '{tier="ssd"}') == 0, 30))
        self.live(60)
        self.request("other", 5)
        self.assertEqual(self.pins()["lost"]["chunks"], CHUNKS)
        tiers = self.tiers("lost")
        self.assertEqual(set(tiers) - {1, 2}, set())
        self.assertGreater(tiers.count(2), CHUNKS // 2)
        self.assertGreater(self.tiers("quick").count(1), CHUNKS // 2)
        self.served.stop()

    def below(self, name):
        return self.served.metric(f"kvasir_tier_{name}", '{tier="ssd"}')

    def test_read_back_ahead(self):
        """Who has said when it will be back finds its chunks in memory, though they had left it; who announces nothing of the kind finds them below."""
        self.serve(dram__size=f"{(CHUNKS + 6) * (CHUNK + 4096) + (1 << 20)}", ssd__paths=self.make_directory(), ssd__size="512MiB",
                   ssd__log_file_size="64MiB", store__prefetch="true")
        for _ in range(60):
            self.request("teacher", 1)
            self.assertEqual(self.hint("teacher", 1, wait_kind=TOOL, return_p50_ms=30000), ACCEPTED)
            self.clock.go(29)
        self.request("timer")
        self.assertEqual(self.hint("timer", CHUNKS, wait_kind=TOOL, return_p50_ms=30000), ACCEPTED)
        self.assertTrue(harness.until(lambda: self.below("objects") == CHUNKS + 1, 30))
        self.request("late")
        self.assertEqual(self.hint("late", CHUNKS, wait_kind=TOOL, return_p50_ms=2000), ACCEPTED)
        self.assertTrue(harness.until(lambda: self.below("objects") == 2 * CHUNKS + 1, 30))
        gone = self.below("only_objects")
        self.assertGreater(gone, CHUNKS / 4)
        self.assertEqual(self.below("prefetched_total"), 0)
        self.clock.go(27)
        self.assertTrue(harness.until(lambda: self.below("prefetched_total") >= gone - 1, 30))  # one may be the teacher's
        self.assertEqual(self.tiers("timer"), [1] * CHUNKS)
        self.assertIn(2, self.tiers("late"))
        stream = self.client.transfer()
        for place, key in enumerate(self.keys("timer")):
            self.assertEqual(stream.get(self.space, key, CHUNK), (rpc.OK, DATA[place]))
        stream.end()
        self.assertGreaterEqual(self.below("prefetched_used_total"), gone - 1)
        self.assertEqual(self.below("prefetched_bytes_total"), self.below("prefetched_total") * CHUNK)
        self.assertIn("read ahead of a return", self.ctl("tiers", text=True))
        self.served.stop()

    def test_a_liar_beside_an_honest_client(self):
        """Two clients of one tenant announce returns, and one of them says anything: the other is believed all the same."""
        self.serve(dram__size="16MiB")
        chance = random.Random(5)
        clients = {"honest": self.session("00000000000000a1"), "liar": self.session("00000000000000b2")}

        def announce(name, seconds):
            self.request(name, 1)
            self.client = clients[name]
            self.assertEqual(self.hint(name, 1, wait_kind=TOOL, return_p50_ms=seconds * 1000), ACCEPTED)

        for _ in range(60):
            seconds = chance.randint(1, 500)
            announce("honest", seconds)
            announce("liar", chance.randint(1, 500))
            self.clock.go(seconds)
        announce("honest", 100)
        announce("liar", 100)
        self.clock.go(97)
        pins = self.pins()
        self.assertGreater(pins["honest"]["price"], 2 * pins["liar"]["price"])
        self.served.stop()

    def test_answers(self):
        self.serve(dram__size="16MiB")
        self.assertEqual(self.hint("nobody", wait_kind=TOOL), DEFERRED)
        self.assertEqual(self.hint("nobody", 3, wait_kind=TOOL), MISSING)
        self.request("agent", 3)
        self.assertEqual(self.hint("agent", 3, wait_kind=TOOL, return_p50_ms=5000), ACCEPTED)
        self.assertEqual(self.hint("agent", 3, wait_kind=TOOL, return_p50_ms=1000000001), CLIPPED)
        self.assertEqual(self.hint("agent", 3, wait_kind=9), REJECTED)
        self.assertEqual(self.hint("agent", close=True), ACCEPTED)
        self.assertEqual([pin["program"] for pin in self.ctl("pins")["programs"]], [])
        self.served.stop()


if __name__ == "__main__":
    harness.main(140)
