"""Who waits for what, and what was learned of waits, outlives the node: after an orderly stop, after a kill, and not when the file is damaged."""
import os
import re
import signal

import harness

harness.need_grpc()

import rpc  # noqa: E402
from harness import SLOW  # noqa: E402
from programs import ACCEPTED, CHUNKS, TOOL, ProgramTest  # noqa: E402

INTERVAL_MS = 200
AGENTS = ("quick", "slow", "lost")


class Remember(ProgramTest):
    def serve_ssd(self, **settings):
        self.folder = self.make_directory()
        self.state = os.path.join(self.folder, "waiters.kvw")
        self.serve(dram__size="32MiB", ssd__paths=self.folder, ssd__size="96MiB", ssd__log_file_size="2MiB", chunk__max_size="1MiB",
                   store__state_interval=f"{INTERVAL_MS}ms", **settings)

    def connect(self):
        self.client.close()
        self.client = rpc.Client(f"127.0.0.1:{self.served.port}")
        self.addCleanup(self.client.close)
        self.space = self.client.open_space()

    def restart(self, number=signal.SIGTERM):
        self.served.signal(number)
        self.assertEqual(self.served.wait(), 0 if number == signal.SIGTERM else -number, self.served.log())
        self.served.check_reports()
        self.before_start()
        self.served.start()
        self.connect()

    def before_start(self):
        """What happens to the folder while the node is down."""

    def written(self):
        self.assertTrue(harness.until(lambda: self.served.metric("kvasir_tier_write_queue", '{tier="ssd"}') == 0 and
                                      self.served.metric("kvasir_tier_operations", '{tier="ssd"}') == 0, 30))

    def three_agents(self, **settings):
        """Tools of which two were learned; what each agent waits for, and how much of its chain there is."""
        self.serve_ssd(**settings)
        self.learn("grep", 20)
        self.learn("build", 300)
        self.step("quick", "grep")
        self.assertEqual(self.request("slow", CHUNKS), 0)
        self.assertEqual(self.hint("slow", CHUNKS, wait_kind=TOOL, tool="build", priority=60, ttl_ms=90000), ACCEPTED)
        self.clock.go(1)  # before what is told last: nothing is saved again of a node that was told nothing, and that the clock was turned is not seen by the machine's
        self.request("lost")
        self.assertEqual(self.hint("lost", CHUNKS, wait_kind=TOOL, tool="ci", return_p50_ms=400000), ACCEPTED)
        self.written()
        return self.pins()

    def order(self, pins):
        return sorted(pins, key=lambda name: pins[name]["price"])

    def assert_same(self, before, after):
        self.assertEqual(set(before), set(after))
        self.assertEqual(self.order(before), self.order(after), "who goes first is the same")
        for name in AGENTS:
            old, new = before[name], after[name]
            for field in ("waits_for", "tool", "chunks", "chunks_whole", "answered", "announced_ms", "value_s"):
                self.assertEqual(old.get(field), new.get(field), f"{field} of {name}")
            self.assertGreaterEqual(new["waits_ms"], old["waits_ms"])
            self.assertLess(new["waits_ms"], old["waits_ms"] + 60000 * SLOW)
        self.assertGreater(before["quick"]["price"], 2 * before["slow"]["price"])
        self.assertGreater(after["quick"]["price"], 2 * after["slow"]["price"], "what was learned of the tools is known")

    def test_stopped(self):
        before = self.three_agents()
        self.restart()
        self.assertRegex(self.served.log(), r"waiters: of 3 in \S+, saved \d+ s ago, 3 are back; 0 more")
        self.assert_same(before, self.pins())
        self.assertEqual(os.stat(self.state).st_mode & 0o777, 0o600)
        for name in AGENTS:
            self.assertEqual(self.step(name, "grep"), CHUNKS, "who comes back finds its chunks")
        self.assertEqual(set(self.pins()), set(AGENTS), "and is known")
        self.served.stop()

    def test_killed(self):
        before = self.three_agents()
        self.assertTrue(harness.until(lambda: os.path.exists(self.state), 30))
        # A save that begins from now on has all: two have ended.
        for _ in range(2):
            was = os.stat(self.state).st_ino
            self.client.call("Hint", rpc.pb.HintRequest(program="nobody", wait_kind=TOOL), rpc.pb.HintReply)
            self.assertTrue(harness.until(lambda: os.stat(self.state).st_ino != was, 30))
        self.restart(signal.SIGKILL)
        self.assert_same(before, self.pins())
        self.served.stop()

    def test_price_decides_after_restart(self):
        """Of those who wait the cheapest loses first: as it would have been without the restart."""
        self.three_agents()
        self.clock.go(3600)
        self.step("quick", "grep")
        self.step("slow", "build")
        self.written()
        self.restart()
        for number in range(100):
            self.request(f"filler {number}")
            self.hint(f"filler {number}", CHUNKS, wait_kind=TOOL, tool="grep")  # deferred if too much of it has gone itself already
            pins = self.pins()
            if pins["lost"]["chunks"] == 0:  # victims are the cheapest of a few: slow may have lost some as well
                break
        self.assertEqual((pins["lost"]["chunks"], pins["quick"]["chunks"]), (0, CHUNKS))
        self.served.stop()

    def test_damaged(self):
        self.three_agents()

        def damage():
            with open(self.state, "r+b") as file:
                file.seek(300)
                byte = file.read(1)
                file.seek(300)
                file.write(bytes([byte[0] ^ 1]))
        self.before_start = damage
        self.restart()
        self.assertIn("is damaged: moved aside", self.served.log())
        self.assertTrue(os.path.exists(self.state + ".aside"))
        self.assertEqual(self.pins(), {})
        self.assertEqual(len([tier for tier in self.tiers("quick") if tier]), CHUNKS, "the chunks are there")
        self.served.stop()

    def test_something_else(self):
        path = os.path.join(self.make_directory(), "notes")
        with open(path, "w") as file:
            file.write("to do\n")
        self.three_agents(store__state_file=path)
        self.assertIn("is something else: left alone", self.served.log())
        self.restart()
        self.assertEqual(self.pins(), {})
        self.served.stop()
        with open(path) as file:
            self.assertEqual(file.read(), "to do\n")

    def test_without_chunks(self):
        """Without a tier that outlives the node only what was learned comes back."""
        path = os.path.join(self.make_directory(), "state")
        self.serve(dram__size="16MiB", store__state_file=path)
        self.learn("grep", 20)
        self.learn("build", 300)
        self.request("agent", 3)
        self.assertEqual(self.hint("agent", 3, wait_kind=TOOL, tool="grep"), ACCEPTED)
        self.restart()
        self.assertTrue(re.search(r"of 1 in \S+, saved \d+ s ago, 0 are back; 0 more .* not 1 whose chunks are gone", self.served.log()),
                        self.served.log())
        self.step("quick", "grep")
        self.step("slow", "build")
        pins = self.pins()
        self.assertGreater(pins["quick"]["price"], 2 * pins["slow"]["price"])
        self.served.stop()


if __name__ == "__main__":
    harness.main(140)
