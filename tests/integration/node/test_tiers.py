"""A node with an SSD tier holds more than its memory, and keeps it over a restart and a kill."""
import json
import os
import re
import shutil
import signal
import subprocess

import harness
from harness import until
from tiers import CHAIN, SSD, TierTest

N = 60  # chains: 75 MB, of which memory holds 4


class Tiers(TierTest):
    def all_there(self, node, first, n):
        self.assertEqual(self.get(node, first, n), {chain: "1" * CHAIN for chain in range(first, first + n)})

    def test_more_than_memory_over_kill_and_restart(self):
        node = self.ssd_node().start()
        self.put(node, 0, N)
        self.all_there(node, 0, N)
        self.assertGreater(node.metric("kvasir_tier_demotions_total", '{tier="ssd",rule="mark"}'), 0)
        self.assertGreater(node.metric("kvasir_tier_promotions_total", SSD), 0)
        self.assertEqual(node.metric("kvasir_chunks"), N * CHAIN)
        self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0)
        node.signal(signal.SIGKILL)
        self.assertEqual(node.wait(), -signal.SIGKILL)
        node.start()
        self.assertEqual(node.metric("kvasir_tier_recovered_objects", SSD), N * CHAIN)
        self.all_there(node, 0, N)
        node.stop()
        node.start()  # in good order: footers are read, not data
        self.assertEqual(node.metric("kvasir_tier_recovered_objects", SSD), N * CHAIN)
        self.assertLess(node.metric("kvasir_tier_recovery_read_bytes", SSD), 4 << 20)
        self.all_there(node, 0, N)
        node.stop()

    def found_at_start(self, node, chunks):
        """What `kvasirctl stats` says of it, as text and as JSON."""
        numbers = {stat["name"]: stat["value"] for stat in json.loads(self.kvasirctl(node, "--json", "stats"))["stats"]
                   if stat["labels"] == 'tier="ssd"'}
        self.assertEqual(numbers["kvasir_tier_recovered_objects"], chunks)
        self.assertGreater(numbers["kvasir_tier_recovery_seconds"], 0)
        if chunks > 0:
            self.assertGreater(numbers["kvasir_tier_recovered_bytes"], chunks * (64 << 10))
            self.assertGreater(numbers["kvasir_tier_recovery_read_bytes"], 0)
        said = re.findall(r"^found on ssd at start: (\d+) chunks, (.+), in (.+)$", self.kvasirctl(node, "stats"), re.M)
        self.assertEqual(len(said), 1)
        self.assertEqual(int(said[0][0]), chunks)
        self.assertRegex(said[0][1], r"^[\d.]+ ?[KMG]iB$" if chunks > 0 else r"^0 ?B$")
        self.assertRegex(said[0][2], r"^[\d.]+ ?(us|ms|s)$")

    def test_what_was_found_at_a_start_is_told(self):
        node = self.ssd_node().start()
        self.found_at_start(node, 0)
        self.put(node, 0, 4)
        node.stop()
        node.start()
        self.found_at_start(node, 4 * CHAIN)
        self.put(node, 4, 1)
        self.found_at_start(node, 4 * CHAIN)  # of the start, not of now
        node.signal(signal.SIGKILL)
        node.wait()
        node.start()
        self.found_at_start(node, 5 * CHAIN)
        node.stop()
        node = self.node().start()
        self.assertNotIn("found on ssd", self.kvasirctl(node, "stats"))
        node.stop()

    def test_more_than_the_disk(self):
        """Old chains go from their ends, files are freed, the disk's bound holds, and a restart finds what is left."""
        node = self.ssd_node(ssd__size="24MiB").start()
        self.put(node, 0, N)
        there = self.get(node, 0, N)
        for chain, chunks in there.items():
            self.assertRegex(chunks, r"^1*0*$", f"chain {chain} lacks a chunk in its middle")
        self.assertEqual(there[N - 1], "1" * CHAIN)
        self.assertEqual(there[0], "0" * CHAIN)
        self.assertGreater(sum(chunks.count("1") for chunks in there.values()), 60)
        self.assertGreater(node.metric("kvasir_tier_reclaims_total", SSD), 0)
        folder = os.path.join(node.folder, "ssd")
        disk = sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))
        self.assertLessEqual(disk, (24 << 20) + (1 << 20))
        node.signal(signal.SIGKILL)
        node.wait()
        node.start()
        after = self.get(node, 0, N)
        self.assertEqual(after[N - 1], "1" * CHAIN)
        node.stop()

    def test_deleted_chunks_stay_away(self):
        node = self.ssd_node().start()
        self.put(node, 0, 4)
        self.client(node, "delete", 1, 1)
        self.written(node)
        self.put(node, 10, 1)
        node.stop()
        node.start()
        self.assertEqual(self.get(node, 1, 1)[1], "0" * CHAIN)
        self.all_there(node, 2, 2)
        node.stop()

    def test_a_space_that_nobody_has_told_again_is_listed(self):
        node = self.ssd_node().start()
        self.put(node, 0, 1)
        node.stop()
        node.start()
        said = subprocess.run([os.environ["KVASIRCTL"], "--endpoint", f"unix:{node.socket}", "ls", "spaces", "--json"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(said.returncode, 0, said.stderr + node.log())
        self.assertEqual([space["chunks"] for space in json.loads(said.stdout)["spaces"]], [CHAIN])
        node.stop()

    def test_plain_reads_and_writes(self):
        node = self.ssd_node(ssd__io_uring="false", ssd__durability="put").start()
        self.assertIn("pread and pwrite", node.log())
        self.put(node, 0, 8)
        self.all_there(node, 0, 8)
        node.stop()
        node.start()
        self.all_there(node, 0, 8)
        node.stop()

    def test_two_directories(self):
        node = self.ssd_node(ssd__paths="")
        paths = [os.path.join(node.folder, name) for name in ("one", "two")]
        node.settings["ssd.paths"] = ",".join(paths)
        node.start()
        self.put(node, 0, 20)
        node.stop()
        for path in paths:
            self.assertGreater(len(os.listdir(path)), 4)
        node.start()
        self.all_there(node, 0, 20)
        node.stop()

    def test_damaged_chunks_are_named(self):
        """Bytes rot on the disk: the chunks are misses, dropped, counted, and kvasirctl says which they were."""
        node = self.ssd_node().start()
        self.put(node, 0, 8)
        folder = os.path.join(node.folder, "ssd")
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "r+b") as file:
                file.seek(64 << 10)  # in the midst of a chunk, if the file has any
                if any(file.read(4096)):
                    file.seek(64 << 10)
                    file.write(bytes(4096))
                    file.flush()
                    os.fsync(file.fileno())
        there = self.get(node, 0, 8)
        self.assertIn("0", there[0])  # chain 0 has left memory long ago
        lost = node.metric("kvasir_corrupt_chunks_total")
        self.assertGreater(lost, 0)
        shown = json.loads(self.kvasirctl(node, "--json", "tiers"))
        self.assertEqual(len({chunk["key"] for chunk in shown["damaged"]}), lost)
        spaces = {space["digest"] for space in json.loads(self.kvasirctl(node, "--json", "ls", "spaces"))["spaces"]}
        for chunk in shown["damaged"]:
            self.assertEqual(chunk["tier"], "ssd")
            self.assertIn(chunk["found_by"], ("get", "scrub"))
            self.assertIn(chunk["space"], spaces)
        oldest = shown["damaged"][-1]  # the log leaves out what comes too fast
        self.assertIn(f"chunk {oldest['key']} of space {oldest['space'][:8]}: its bytes on ssd", node.log())
        self.assertIn(shown["damaged"][0]["key"], self.kvasirctl(node, "tiers"))
        node.stop()

    def kvasirctl(self, node, *arguments):
        said = subprocess.run([os.environ["KVASIRCTL"], "--endpoint", f"unix:{node.socket}", *arguments],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(said.returncode, 0, said.stderr + node.log())
        return said.stdout

    def test_a_directory_in_use_is_refused(self):
        node = self.ssd_node().start()
        other = self.ssd_node(ssd__paths=node.settings["ssd.paths"])
        code, log = other.run()
        self.assertNotEqual(code, 0)
        self.assertIn("another process", log)
        node.stop()

    def test_a_directory_that_cannot_be_opened(self):
        """Its device is gone: the node starts, works from memory, and says that a device is out."""
        node = self.ssd_node(ssd__paths="/proc").start()  # nobody can make a file there
        self.assertIn("/proc/kvasir.lock: cannot be opened", node.log())
        self.assertIn("the node goes on without the tier", node.log())
        self.assertEqual(node.metric("kvasir_tier_devices", SSD), 1)
        self.assertEqual(node.metric("kvasir_tier_devices_failed", SSD), 1)
        self.assertIn("stored 0\n", self.client(node, "put", 0, 1))
        self.assertTrue(until(lambda: node.metric("kvasir_tier_put_failures_total", '{tier="ssd",cause="device"}') >= CHAIN, 60))
        self.assertEqual(node.metric("kvasir_tier_put_failures_total", '{tier="ssd",cause="shed"}'), 0)
        self.assertEqual(self.get(node, 0, 1)[0], "1" * CHAIN)
        node.stop()

    def test_one_of_two_directories_cannot_be_opened(self):
        node = self.ssd_node(ssd__paths="")
        node.settings["ssd.paths"] = "/proc," + os.path.join(node.folder, "ssd")
        node.start()
        self.assertEqual(node.metric("kvasir_tier_devices", SSD), 2)
        self.assertEqual(node.metric("kvasir_tier_devices_failed", SSD), 1)
        self.put(node, 0, 8)
        self.all_there(node, 0, 8)
        node.stop()

    def test_what_is_no_directory_is_refused(self):
        node = self.ssd_node(ssd__paths="")
        node.settings["ssd.paths"] = os.path.join(node.folder, "file")
        with open(node.settings["ssd.paths"], "w"):
            pass
        code, log = node.run()
        self.assertNotEqual(code, 0)
        self.assertIn("a path is no directory", log)

    def test_files_of_another_directory_are_refused(self):
        node = self.ssd_node().start()
        self.put(node, 0, 8)
        node.stop()
        folder = os.path.join(node.folder, "ssd")
        shutil.copy(os.path.join(folder, "log-00000.kvl"), os.path.join(folder, "log-00001.kvl"))
        code, log = node.run()
        self.assertNotEqual(code, 0)
        self.assertIn("log file 1 belongs to another directory or place", log)
        self.assertIn("ssd.paths: a directory holds log files of another format", log)

    def test_settings_that_do_not_fit(self):
        for settings in (dict(ssd__paths="relative"), dict(ssd__size="4MiB"), dict(ssd__log_file_size="1MiB"),
                         dict(ssd__size="0")):
            code, log = self.ssd_node(**settings).run()
            self.assertNotEqual(code, 0, settings)
            self.assertIn("ssd.", log)


if __name__ == "__main__":
    harness.main(280)
