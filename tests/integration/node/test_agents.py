"""Three agents of one tenant in memory for two, and a tenant beside them that pins all that it puts: who stays, at what price, and that the second changes nothing for the first. By a clock that the test turns."""
import hashlib
import json
import os
import subprocess

import harness

harness.need_grpc()

import grpc  # noqa: E402
import rpc  # noqa: E402
from harness import SLOW  # noqa: E402
from programs import ACCEPTED, CHUNK, CHUNKS, CLIPPED, DATA, TOOL, Clock, ProgramTest  # noqa: E402
from rpc import pb  # noqa: E402
from test_tenants import Shown  # noqa: E402

BOUND = 2 * CHUNKS * (CHUNK + 16384) + (1 << 18)  # two agents, with their heads
DAYS = 10 * 86400 * 1000
DRAM, SSD = 1, 2
LINES = 120  # of kvasirctl: two minutes


class Agents(ProgramTest):
    def serve_tenants(self, memory, bound=""):
        """Tenants a and b, each with this bound of the node's memory."""
        self.clock = Clock(os.path.join(self.make_directory(), "clock"))
        node = self.node(store__test_clock=self.clock.path, dram__size=str(memory),
                         ssd__paths=self.make_directory(), ssd__size="512MiB", ssd__log_file_size="64MiB")
        documents = []
        self.clients, self.token_files = {}, {}
        for name in ("a", "b"):
            token = f"token-of-{name}-{os.urandom(8).hex()}"
            self.token_files[name] = os.path.join(node.folder, name + ".token")
            with open(self.token_files[name], "w") as file:
                file.write(token + "\n")
            documents.append(f"name: {name}\n{bound}tokens: [sha256:{hashlib.sha256(token.encode()).hexdigest()}]\n")
            channel = grpc.insecure_channel(f"unix:{node.socket}", rpc.OPTIONS)
            self.addCleanup(channel.close)
            self.clients[name] = rpc.Client.__new__(rpc.Client)
            self.clients[name].channel = grpc.intercept_channel(channel, Shown([("authorization", "Bearer " + token)]))
        node.settings["tenants"] = os.path.join(node.folder, "tenants.yaml")
        with open(node.settings["tenants"], "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("---\n".join(documents))
        self.served = node.start()
        for name in ("b", "a"):
            self.become(name)
            self.space = self.client.open_space()

    def become(self, name):
        self.client = self.clients[name]

    def tiers(self, name):
        """Remembers what the last look-up found."""
        self.found = super().tiers(name)
        return self.found

    def written(self):
        """All that was put lies on SSD too."""
        self.assertTrue(harness.until(lambda: self.served.metric("kvasir_tier_write_queue", '{tier="ssd"}') == 0 and
                                      self.served.metric("kvasir_tier_operations", '{tier="ssd"}') == 0, 60))

    def comes(self, name, tool):
        """One of a's programs is back from its tool, or begins, and calls it again. What it found of its chunks is part of the record."""
        puts = CHUNKS - self.step(name, tool)
        self.record.append((name, "".join(map(str, self.found))))
        if puts:
            self.written()

    def flood(self):
        """Tenant b puts one of twelve prompts, leases its beginning, says that nothing is worth more, and closes none of them."""
        self.become("b")
        name = f"loud {self.floods % 12}"
        self.floods += 1
        self.request(name)
        self.client.call("Lookup", pb.LookupRequest(spaces=[self.space], keys=pb.Keys(keys=self.keys(name, 1)[0], key_length=32),
                                                    lease_ms=60000), pb.LookupReply)
        self.assertIn(self.hint(name, CHUNKS, wait_kind=TOOL, priority=100, ttl_ms=DAYS, return_p50_ms=1), (ACCEPTED, CLIPPED))
        self.written()
        self.become("a")

    def lives(self, seconds, slow):
        """Quick is back each two seconds, and slow, if that has begun, each thirty."""
        for second in range(2, seconds + 1, 2):
            self.clock.go(2)
            self.comes("quick", "grep")
            if slow and second % 30 == 0:
                self.comes("slow", "build")
            if self.abused and second % 10 == 0:
                self.flood()

    def watch(self):
        """kvasirctl pins --watch, as tenant a."""
        command = [os.environ["KVASIRCTL"], "--endpoint", f"unix:{self.served.socket}", "--token-file", self.token_files["a"], "--json",
                   "pins", "--watch"]
        self.watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.watching.stdout.close)
        self.addCleanup(self.watching.wait)
        self.addCleanup(self.watching.kill)

    def shown(self, condition):
        """The first document that it prints from now on of which this is so: (all of it, programs by name)."""
        for _ in range(LINES * SLOW):
            document = json.loads(self.watching.stdout.readline())
            programs = {program["program"]: program for program in document["programs"]}
            if condition(programs):
                return document, programs
        self.fail("kvasirctl never showed it")

    def shown_when_waiting(self, name, seconds):
        return self.shown(lambda programs: name in programs and programs[name]["waits_ms"] >= seconds * 1000)

    def row(self, name):
        reply = self.clients[name].call("Tenants", pb.TenantsRequest(), pb.TenantsReply, service="Admin")
        return {row.name: row for row in reply.tenants}[name]

    def begin(self):
        """Quick and lost fit, so they stay for good; and while lost is away, its price falls."""
        self.learn("grep", 2)
        self.learn("build", 30)
        self.comes("quick", "grep")
        self.comes("lost", "wait-for-ci")  # which never returns
        self.watch()
        document, fresh = self.shown(lambda programs: {"quick", "lost"} <= set(programs))
        self.assertEqual(document["memory_price"], 0)
        self.assertIsNone(fresh["lost"]["stays_ms"], "there is room")
        self.lives(240, slow=False)
        _, aged = self.shown_when_waiting("lost", 240)
        self.assertLess(aged["lost"]["price"], fresh["lost"]["price"] / 4)
        self.assertGreater(aged["quick"]["price"], 10 * aged["lost"]["price"])

    def make_room(self):
        """Slow comes, and lost goes for it: that is the price of memory, above which the others stay, for a time that gets shorter; and slow is worth the more, the sooner it is back."""
        self.comes("slow", "build")
        document, first = self.shown(lambda programs: programs.get("slow", {}).get("tool") == "build")
        self.assertGreater(document["memory_price"], 0)
        for name in ("quick", "slow"):
            self.assertTrue(first[name]["pinned"])
            self.assertGreater(first[name]["price"], document["memory_price"])
            self.assertIsNotNone(first[name]["stays_ms"])
        self.lives(20, slow=False)
        _, later = self.shown_when_waiting("slow", 20)
        self.assertLess(later["slow"]["stays_ms"], first["slow"]["stays_ms"] - 19000)
        self.assertGreater(later["slow"]["price"], 1.5 * first["slow"]["price"], "it is back soon")
        self.assertEqual(later["lost"]["chunks"], CHUNKS, "demoted, not lost")

    def look_back(self):
        """Where all of it is in the end, and that lost's chunks come back as they were."""
        for name in ("quick", "slow", "lost"):
            self.record.append((name, "".join(map(str, self.tiers(name)))))
        self.assertRegex(self.record[-1][1], f"^{DRAM}?{DRAM}?{SSD}{{{CHUNKS - 2},}}$")
        own = self.row("a")
        self.record.append(("a", own.own_demotions, own.own_evictions, own.puts_refused))
        stream = self.client.transfer()
        for place, key in enumerate(self.keys("lost")):
            self.assertEqual(stream.get(self.space, key, CHUNK), (rpc.OK, DATA[place]))
        stream.end()

    def one_run(self, abused):
        """Returns what a's agents found each time that they came, and what the node says of b."""
        self.record, self.abused, self.floods = [], abused, 0
        self.serve_tenants(3 * BOUND, bound=f"dram: {BOUND}B\n")  # for two agents each
        self.begin()
        self.make_room()
        self.lives(180, slow=True)
        self.look_back()
        beside = self.row("b")
        self.watching.kill()
        self.served.stop()
        return self.record, beside

    def test_agents(self):
        alone, silent = self.one_run(abused=False)
        for name in ("quick", "slow"):
            found = [entry[1] for entry in alone if entry[0] == name]
            self.assertEqual(set(found[1:]), {str(DRAM) * CHUNKS}, "who is back soon finds all of it in memory")
        beside_loud, loud = self.one_run(abused=True)
        self.assertEqual(silent.chunks, 0)
        self.assertGreater(loud.own_demotions, 5 * CHUNKS)
        self.assertEqual(beside_loud, alone)

    def rent(self, name):
        return self.served.metric("kvasir_tenant_rent_seconds_total", f'{{tenant="{name}"}}')

    def test_rent(self):
        """A tenant pays for its room from when another's chunks have to leave memory that somebody will soon need."""
        self.serve_tenants(BOUND * 5 // 4)  # two agents are well below the mark from which on chunks leave it; three are not in it
        self.learn("build", 30)
        for name in ("quick", "swift"):
            self.step(name, "build")
        self.written()
        self.clock.go(1)
        self.assertEqual((self.rent("a"), self.rent("b")), (0, 0), "there is room for all")
        self.become("b")
        self.step("late", "build")
        self.clock.go(20)
        self.assertTrue(harness.until(lambda: self.rent("a") > 0 and self.rent("b") > 0, 30))
        was = self.rent("a")
        self.clock.go(20)
        self.assertTrue(harness.until(lambda: self.rent("a") > was, 30))
        self.assertGreater(self.row("a").rent_ns, 0)
        self.served.stop()


if __name__ == "__main__":
    harness.main(280)
