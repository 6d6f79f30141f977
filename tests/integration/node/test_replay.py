"""kvasirctl replay against real nodes: it hits as kvasir-sim says, chunk for chunk; it sees wrong bytes; it ends well when it is interrupted or the node goes."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile

import harness
from harness import SLOW, NodeTest, until

BLOCK = 512
CHUNK = 60 << 10  # with its head four pages of a node's memory
PAGES = 64 << 10
OK, USAGE, UNREACHABLE, ERROR = 0, 2, 3, 4
KVASIRCTL, SIM = os.environ["KVASIRCTL"], os.environ["KVASIR_SIM"]


def conversations(requests, seed=1):
    """Chains of block ids that grow, of which the last few go on; some begin alike."""
    source, numbers, chains = random.Random(seed), iter(range(1, 1 << 30)), []
    system = [next(numbers) for _ in range(3)]
    for _ in range(requests):
        if not chains or source.random() < 0.12:
            chain = system[:source.choice((0, 3))]
            chains.append(chain)
            more = source.randrange(1, 12)
        else:
            chain, more = source.choice(chains[-25:]), source.randrange(0, 4)
        chain.extend(next(numbers) for _ in range(more))
        yield list(chain)


def mooncake(chains, apart_ms=100):
    return [{"timestamp": number * apart_ms, "input_length": len(chain) * BLOCK - 7, "output_length": 1, "hash_ids": chain}
            for number, chain in enumerate(chains)]


def agents(runs, turns):
    """Each a run of its own: a prompt that every turn makes longer, by a chunk of 256 tokens."""
    return [{"id": str(run), "block_size": 256, "requests": [
        {"t": 10 * turn + run / 10, "in": 256 * (turn + 2), "out": run + 1, "hash_ids": list(range(turn + 2)), "stop": "tool_use",
         "api_time": 1} for turn in range(turns + run)]} for run in range(runs)]


class Replay(NodeTest):
    def serve(self, **settings):
        self.served = self.node(**{"store__policy": "lru", **settings}).start()
        return self.served

    def clock(self):
        """A new one, for the node and the replay that turns it."""
        directory = tempfile.mkdtemp(prefix="kvasir-clock-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.path = os.path.join(directory, "clock")
        with open(self.path, "wb") as file:
            file.write(bytes(8))
        return self.path

    def write(self, lines, name="trace.jsonl"):
        path = os.path.join(self.served.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        return path

    def write_runs(self, runs):
        for run in runs:
            self.write([run], os.path.join("runs", run["id"] + ".json"))
        return os.path.join(self.served.folder, "runs")

    def command(self, *arguments):
        return [KVASIRCTL, "--endpoint", f"unix:{self.served.socket}", "--timeout", f"{10 * SLOW}s", *arguments]

    def ctl(self, *arguments, code=OK):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=100 * SLOW)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}\nnode: {self.served.log()}")
        self.assertFalse(any(report in done.stderr for report in harness.REPORTS), done.stderr)
        return done.stdout, done.stderr

    def replay(self, *arguments, code=OK, speed="max"):
        return json.loads(self.ctl("--json", "replay", "--speed", speed, *arguments, code=code)[0])

    def simulated(self, path, chunks, *arguments, tokens=BLOCK, policy="lru"):
        done = subprocess.run([SIM, "--json", "--policy", policy, "--capacity", str(chunks * tokens), *arguments, path],
                              capture_output=True, text=True, timeout=60 * SLOW, check=True)
        return json.loads(done.stdout)["rows"][0]["seeds"][0]

    def held(self):
        return sum(space["chunks"] for space in json.loads(self.ctl("--json", "ls", "spaces")[0])["spaces"])

    def same_as(self, found, simulated):
        for field in ("requests", "chunks", "hits", "input_tokens", "hit_tokens"):
            self.assertEqual(found[field], simulated[field], field)
        self.assertEqual(found["stored"], simulated["inserted"])
        self.assertAlmostEqual(found["paid_s"], simulated["paid_s"], delta=1e-3)
        self.assertEqual((found["wrong"], found["refused"], found["unanswered"]), (0, 0, 0))

    def test_hits_are_those_of_the_simulator(self):
        for mib in (4, 8):
            self.serve(dram__size=f"{mib}MiB")
            path = self.write(mooncake(conversations(400)))
            found = self.replay("--chunk-bytes", str(CHUNK), "--space", "kept", path)
            self.assertEqual(self.held(), mib * (1 << 20) // PAGES)
            expected = self.simulated(path, self.held())
            self.assertGreater(expected["evicted"], 0)
            self.assertGreater(expected["hits"], 0)
            self.same_as(found, expected)
            self.assertEqual(found["read_bytes"], found["hits"] * CHUNK)
            self.served.stop()

    def test_other_policies_hit_about_as_much(self):
        """A node puts a prompt from its first chunk on, and makes room for each; who hears of no program pins none, and is exact."""
        for policy in ("lfu", "gdsf", "s3fifo", "sieve", "fixed-ttl", "continuum"):
            self.serve(dram__size="4MiB", store__policy=policy)
            path = self.write(mooncake(conversations(1000)))
            found = self.replay("--chunk-bytes", str(CHUNK), "--space", "kept", path)
            expected = self.simulated(path, self.held(), policy=policy)
            self.assertGreater(expected["evicted"], 0)
            if policy in ("fixed-ttl", "continuum"):
                self.same_as(found, expected)
            self.assertAlmostEqual(found["hits"], expected["hits"], delta=expected["hits"] * 0.05, msg=policy)
            self.assertEqual((found["wrong"], found["refused"], found["unanswered"]), (0, 0, 0))
            self.served.stop()

    def test_admission_is_that_of_the_simulator(self):
        """By the trace's own time prices are the simulator's, and so is what is declined: a node that stores whatever is put computes more."""
        how = ("--load", "1000", "--seed", "5")
        paid = {}
        for admission in ("price", "all"):
            self.serve(dram__size="8MiB", store__policy="index", store__admission=admission, store__test_clock=self.clock())
            path = self.write_runs(agents(24, 30))
            found = self.replay("--chunk-bytes", str(CHUNK), "--space", "kept", "--test-clock", self.path, *how, path)
            self.assertEqual((found["wrong"], found["refused"], found["unanswered"]), (0, 0, 0))
            self.assertEqual(found["declined"] > 0, admission == "price")
            paid[admission] = found["paid_s"]
            chunks = self.held()
            self.served.stop()
        expected = self.simulated(path, chunks, *how, tokens=256, policy="index")
        self.assertLess(paid["price"], 0.95 * paid["all"], paid)
        self.assertAlmostEqual(paid["price"], expected["paid_s"], delta=0.05 * expected["paid_s"])

    def test_a_clock_that_is_none(self):
        """Nothing is sent, and the command says why; what is mapped of an empty file cannot be touched."""
        self.serve()
        path = self.write(mooncake(conversations(1)))
        for clock in (b"", bytes(7)):
            with open(self.clock(), "wb") as file:
                file.write(clock)
            error = self.ctl("--json", "replay", "--speed", "max", "--test-clock", self.path, path, code=ERROR)[1]
            self.assertIn("cannot be turned", error)
        self.assertEqual(self.held(), 0)

    def test_pages_are_rounded_up(self):
        """A chunk that is a little too long for four pages takes five: the node holds as many fewer."""
        self.serve(dram__size="4MiB")
        path = self.write(mooncake(conversations(300)))
        found = self.replay("--chunk-bytes", "64KiB", "--space", "kept", path)
        self.assertEqual(self.held(), (4 << 20) // (80 << 10))
        self.same_as(found, self.simulated(path, self.held()))

    def test_runs_of_agents_begin_where_the_simulator_lets_them(self):
        self.serve(dram__size="4MiB")
        path = self.write_runs(agents(16, 12))
        how = ("--half", "report", "--load", "1000", "--seed", "5")
        found = self.replay("--chunk-bytes", str(CHUNK), "--space", "kept", *how, path)
        self.assertEqual(found["chunk_tokens"], 256)
        expected = self.simulated(path, self.held(), *how, tokens=256)
        self.assertGreater(expected["evicted"], 0)
        self.same_as(found, expected)

    def test_those_of_one_run_wait_for_each_other(self):
        """With room for all, many at a time find what one at a time finds."""
        self.serve(store__policy="index")
        path = self.write_runs(agents(16, 8))
        expected = self.simulated(path, 1 << 20, tokens=256, policy="infinite")
        for hints in ("none", "kind", "full"):
            found = self.replay("--chunk-bytes", "4KiB", "--parallel", "12", "--hints", hints, path)
            self.same_as(found, expected)
            self.assertEqual(found["hints_refused"], 0)
            turns = {"none": 0, "kind": found["requests"], "full": found["requests"] + 16}
            self.assertEqual(found["hints"], turns[hints])

    def test_a_conversation_that_is_told_waits_and_hints(self):
        """One chat is a run, whose requests go one after the other at any --parallel; files that tell no runs are none, however many."""
        self.serve(store__policy="index")
        path = self.write([{"chat_id": turn, "parent_chat_id": turn - 1 if turn else -1, "timestamp": turn / 1000, "turn": turn,
                            "hash_ids": list(range(64 * (turn + 1)))} for turn in range(20)])
        found = self.replay("--chunk-bytes", "4KiB", "--parallel", "8", "--hints", "kind", path, speed="1000")
        self.same_as(found, self.simulated(path, 1 << 20, tokens=256, policy="infinite"))
        self.assertEqual((found["hints"], found["hints_refused"]), (20, 0))
        lone = [self.write(mooncake([[1]]), f"{number}.jsonl") for number in range(2)]
        self.assertIn("runs", self.ctl("replay", "--hints", "full", *lone, code=ERROR)[1])

    def test_what_is_told_with_the_next_request_is_told_before_it(self):
        """Else the node would take its program for one that waits, while it has asked already."""
        self.serve(store__policy="index")
        requests = [{"t": turn, "in": 256 * (turn + 1), "out": 1, "hash_ids": list(range(turn + 1)), "stop": "tool_use",
                     "api_time": 1 if turn == 0 else 3600} for turn in range(2)]
        self.launch(self.write_runs([{"id": "1", "block_size": 256, "requests": requests}]), "--hints", "kind", "--chunk-bytes", "4KiB",
                    "--speed", "10")
        self.assertTrue(until(lambda: self.served.metric("kvasir_put_commits_total") == 2 and
                              self.served.metric("kvasir_hints_total", '{outcome="accepted"}') == 1, 10 * SLOW))
        programs = json.loads(self.ctl("--json", "programs")[0])["programs"]
        self.assertEqual([program["waits_for"] for program in programs], ["answer"])

    def test_replays_meet_by_name_and_seed_only(self):
        self.serve()
        path = self.write(mooncake(conversations(60)))
        first = self.replay("--chunk-bytes", "4KiB", path)
        self.assertEqual(self.held(), 0)  # it deleted what it put
        self.assertEqual(self.replay("--chunk-bytes", "4KiB", path)["hits"], first["hits"])
        for arguments in (("--space", "a"), ("--space", "b"), ("--space", "a", "--seed", "2"),
                          ("--space", "a", "--chunk-bytes", "8KiB")):
            found = self.replay("--chunk-bytes", "4KiB", *arguments, path)
            self.assertEqual((found["hits"], found["existed"]), (first["hits"], 0), arguments)
        again = self.replay("--chunk-bytes", "4KiB", "--space", "a", path)
        self.assertEqual((again["hits"], again["stored"]), (again["chunks"], 0))
        other = self.write(mooncake(conversations(60), apart_ms=200), "other.jsonl")  # the same ids of other blocks
        found = self.replay("--chunk-bytes", "4KiB", "--space", "a", other)
        self.assertEqual((found["hits"], found["existed"]), (first["hits"], 0))
        both = self.replay("--chunk-bytes", "4KiB", "--space", "a", other, path)  # in another place
        self.assertEqual((both["hits"], both["stored"]), (both["chunks"], 0))

    def test_wrong_bytes_are_counted(self):
        try:
            import rpc
        except ImportError as missing:
            self.skipTest(str(missing))
        self.serve()
        path = self.write(mooncake([[1, 2, 3], [1, 2, 3, 4]]))
        arguments = ("--chunk-bytes", "1000", "--space", "kept", path)
        self.assertEqual(self.replay(*arguments)["wrong"], 0)
        space = json.loads(self.ctl("--json", "ls", "spaces")[0])["spaces"][0]["digest"]
        chunks = json.loads(self.ctl("--json", "ls", "chunks", space)[0])["chunks"]
        second = next(bytes.fromhex(chunk["key"]) for chunk in chunks if chunk["place"] == 1)
        self.ctl("evict", "--all")
        client = rpc.Client(f"127.0.0.1:{self.served.port}")
        self.addCleanup(client.close)
        stream = client.transfer()
        self.assertEqual(stream.put(bytes.fromhex(space), second, [bytes(1000)]), rpc.OK)
        stream.end()
        found = self.replay(*arguments, code=ERROR)
        self.assertEqual((found["wrong"], found["hits"], found["existed"]), (1, 1, 3))
        self.assertIn("other bytes", self.ctl("replay", "--speed", "max", *arguments, code=ERROR)[1])

    def test_it_says_who_is_late(self):
        self.serve()
        path = self.write(mooncake(conversations(50)))
        found = self.replay("--parallel", "1", path, speed="1e9")  # all are due at once
        self.assertGreater(found["latest_s"], 0)
        self.assertEqual(found["requests"], 50)
        self.assertEqual(self.replay("--limit", "7", path)["requests"], 7)

    def launch(self, *arguments, **how):
        process = subprocess.Popen(self.command("--json", "replay", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, **how)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def begin(self, *arguments, **how):
        """A replay whose first request is over, and whose next comes in an hour."""
        self.serve()
        path = self.write(mooncake([[1, 2], [1, 2, 3]], apart_ms=3600000))
        process = self.launch(*arguments, path, **how)
        self.assertTrue(until(lambda: self.served.metric("kvasir_put_commits_total") == 2, 10 * SLOW))
        return process

    def test_an_interrupt_ends_it_with_what_there_is(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.begin()
            process.send_signal(number)
            out, err = process.communicate(timeout=20 * SLOW)
            self.assertEqual((process.returncode, err), (OK, ""))
            found = json.loads(out)
            self.assertEqual((found["interrupted"], found["requests"], found["requests_all"]), (True, 1, 2))
            self.assertEqual(self.held(), 0)
            self.served.stop()

    def test_an_interrupt_that_is_ignored_stays_so(self):
        process = self.begin(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            ignored = next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn"))
        self.assertTrue(ignored >> (signal.SIGINT - 1) & 1)
        process.send_signal(signal.SIGTERM)
        self.assertTrue(json.loads(process.communicate(timeout=20 * SLOW)[0])["interrupted"])

    def test_an_interrupt_waits_for_no_long_request(self):
        self.serve(dram__size="512MiB")
        process = self.launch("--chunk-bytes", "8KiB", self.write(mooncake([list(range(20000))])))
        self.assertTrue(until(lambda: self.served.metric("kvasir_put_commits_total") > 0, 10 * SLOW))
        self.served.signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        self.served.signal(signal.SIGCONT)
        out, err = process.communicate(timeout=60 * SLOW)
        self.assertEqual((process.returncode, err), (OK, ""))
        found = json.loads(out)
        self.assertEqual((found["interrupted"], found["requests"]), (True, 0))
        self.assertLess(found["stored"], 20000)
        self.assertEqual(self.held(), 0)

    def what_is_left(self, process, code):
        """Says which command drops what it could not, and that does."""
        out, err = process.communicate(timeout=60 * SLOW)
        self.served.signal(signal.SIGCONT)
        self.assertEqual(process.returncode, code, err)
        words = re.search(r"'kvasirctl (--endpoint \S+ evict --all --space [0-9a-f]{64})'", err)
        self.assertIsNotNone(words, err)
        self.assertTrue(until(lambda: self.held() == 2, 10 * SLOW))
        subprocess.run([KVASIRCTL, *words.group(1).split()], check=True, stdout=subprocess.DEVNULL, timeout=60 * SLOW)
        self.assertEqual(self.held(), 0)
        return out, err

    def test_a_node_that_hangs_at_the_end_is_told(self):
        process = self.begin("--timeout", "500ms")
        self.served.signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        self.what_is_left(process, UNREACHABLE)

    def test_a_second_interrupt_ends_it_at_once(self):
        process = self.begin("--timeout", "10m")
        self.served.signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        self.assertTrue(json.loads(process.stdout.readline())["interrupted"])
        process.send_signal(signal.SIGINT)
        self.what_is_left(process, ERROR)

    def test_gets_that_are_answered_in_part_are_counted(self):
        """One chunk of a prompt lies where it is not read in time."""
        self.serve(dram__size="4MiB", chunk__max_size="1MiB", ssd__log_file_size="2MiB", ssd__size="64MiB", ssd__test_fault="delay:read:1h:every=3",
                   ssd__paths=tempfile.mkdtemp(prefix="kvasir-ssd-"))
        self.addCleanup(shutil.rmtree, self.served.settings["ssd.paths"])
        path, ssd = self.write(mooncake([list(range(90))])), '{tier="ssd"}'
        self.assertGreater(self.replay("--space", "kept", path)["stored"], (4 << 20) // PAGES)
        self.assertTrue(until(lambda: self.served.metric("kvasir_tier_write_queue", ssd) == 0, 10 * SLOW))
        found = json.loads(self.ctl("--timeout", f"{SLOW}s", "--json", "replay", "--speed", "max", "--space", "kept", path)[0])
        self.assertGreater(found["hits"], 0)
        self.assertLess(found["hits"], found["found"])
        self.assertGreater(found["unanswered"], 0)

    def test_why_chunks_are_refused(self):
        self.serve(dram__size="4MiB")
        path = self.write(mooncake([[1], [1, 2]]))
        for size, whys in (("4MiB", ("ERR_FULL", "ERR_TOO_LARGE")), ("8MiB", ("ERR_TOO_LARGE",))):  # of a node's own, and before it is asked
            out, err = self.ctl("--json", "replay", "--speed", "max", "--chunk-bytes", size, path, code=ERROR)
            for word in ("--chunk-bytes", "dram.size"):
                self.assertIn(word, err)
            self.assertEqual(json.loads(out)["stored"], 0)
            self.assertIn(json.loads(out)["refused_why"], whys)
            self.assertEqual("nothing was stored" in err, size == "4MiB")
        # A prompt that is larger than memory is stored as far as it goes, which is a warning.
        out, err = self.ctl("--json", "replay", "--speed", "max", "--chunk-bytes", "1MiB", self.write(mooncake([list(range(9))])))
        self.assertGreater(json.loads(out)["stored"], 0)
        self.assertEqual("some of what was put was refused" in err, json.loads(out)["refused"] > 0)
        self.assertIsNone(self.replay(path)["refused_why"])

    def test_no_program_is_left_either(self):
        self.serve(store__policy="index")
        path = self.write_runs(agents(4, 3))
        found = self.replay("--chunk-bytes", "4KiB", "--hints", "kind", path)
        self.assertEqual((found["hints"], found["hints_refused"]), (found["requests"], 0))
        self.assertEqual((self.held(), self.served.metric("kvasir_programs")), (0, 0))
        self.replay("--chunk-bytes", "4KiB", "--hints", "kind", "--space", "kept", path)
        self.assertEqual(self.served.metric("kvasir_programs"), 4)

    def test_a_node_that_goes_ends_it(self):
        self.serve()
        path = self.write(mooncake([[number] for number in range(20000)]))
        process = self.launch(path)
        self.assertTrue(until(lambda: self.served.metric("kvasir_put_commits_total") > 0))
        self.served.process.kill()
        out, err = process.communicate(timeout=60 * SLOW)
        self.assertEqual(process.returncode, UNREACHABLE, err)
        self.assertGreater(json.loads(out)["unanswered"], 0)
        self.assertIn("evict --all", err)

    def test_mistakes_are_told(self):
        self.serve()
        path = self.write(mooncake([[1]]))
        for arguments, word in ((("--speed", "fast"), "speed"), (("--load", "0"), "load"), (("--half", "third"), "half"),
                                (("--hints", "random"), "hints"), (("--parallel", "65"), "parallel"), (("--format", "csv"), "format"),
                                (("--limit", "0"), "limit"), (("--chunk-bytes", "1GiB"), "chunk-bytes"),
                                (("--parallel", "0"), "--parallel goes from 1"), (("--chunk-bytes", "0"), "from 1 byte"),
                                (("--space", 256 * "x"), "--space"), (("--space", b"\xff"), "--space"), (("--space", ""), "--space")):
            self.assertIn(word, self.ctl("replay", *arguments, path, code=USAGE)[1])
        self.assertIn("no-such", self.ctl("replay", path + "no-such", code=ERROR)[1])
        self.assertIn("trace.jsonl:1:", self.ctl("replay", self.write([{"timestamp": -1}]), code=ERROR)[1])
        self.assertIn("runs", self.ctl("replay", "--hints", "full", self.write(mooncake([[1]])), code=ERROR)[1])
        for arguments in (("--half", "tune"), ("--load", "1")):
            self.assertIn(arguments[0], self.ctl("replay", *arguments, self.write(mooncake([[1]])), code=ERROR)[1])
        self.ctl("replay", "--hints", "kind", "--space", 85 * "\u20ac", self.write_runs(agents(1, 1)))  # cut between characters
        text = self.ctl("replay", "--speed", "max", self.write(mooncake([[1], [1, 2]])))[0]
        self.assertRegex(text, r"(?m)^  found +1$")
        self.assertRegex(text, r"(?m)^  came +1 \(0\.3333 of all\)$")
        for word in ("token hit rate", "wrong bytes", "prefill saved", "LATENCY", "lookup", "get", "put"):
            self.assertIn(word, text)


if __name__ == "__main__":
    harness.main(200)
