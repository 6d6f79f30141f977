"""A node that encodes what it writes to SSD: without loss an engine's logits differ by exactly 0, and the SSD holds more in the same bytes; where
the engine allows a loss they differ the less the more planes there are; and who allows none gets none."""
import json
import os
import subprocess

import harness
from engine import EngineTest
from harness import SLOW, until

KVASIRCTL = os.environ["KVASIRCTL"]
CHUNK = 256
CHUNKS = 3
PROMPT = [(i * 7919 + i * i) % 1000 for i in range(CHUNKS * CHUNK + 21)]


class Codec(EngineTest):
    def tiered(self, name, **settings):
        return self.serve(**{"ssd__log_file_size": "8MiB", "ssd__size": "64MiB", "chunk__max_size": "2MiB",
                             "ssd__paths": os.path.join(self.folder, name), **settings})

    def shown(self, node):
        """What `kvasirctl stats` counts of SSD."""
        said = subprocess.run([KVASIRCTL, "--endpoint", node.endpoint, "--timeout", f"{60 * SLOW}s", "--json", "tiers"],
                              capture_output=True, text=True, timeout=120 * SLOW)
        self.assertEqual(said.returncode, 0, said.stderr + node.log())
        counts = {}
        for stat in json.loads(said.stdout)["stats"]:
            if 'tier="ssd"' in stat["labels"]:
                counts[stat["name"].removeprefix("kvasir_tier_")] = stat["value"]
        return counts

    def run_prompt(self, endpoint, kind, **options):
        return self.ask(PROMPT, endpoint, chunk=CHUNK, kv_type=kind, n_predict=8,
                        logits_compare=os.path.join(self.folder, "logits-" + kind), **options)

    def expected(self, kind):
        """What an engine without a store answers; its logits are what others are compared with."""
        return self.ask(PROMPT, "embedded:", no_load=True, no_save=True, embedded_mib=16, chunk=CHUNK, kv_type=kind, n_predict=8,
                        logits_out=os.path.join(self.folder, "logits-" + kind))

    def over_ssd(self, kind, name, loss_max=0, **settings):
        """One process saves the prompt; the node is restarted, so that it has it on SSD alone; another process loads it. Returns the node, the second
        one's answer, and how many times smaller the node has made it."""
        node = self.tiered(name, **settings)
        self.run_prompt(node.endpoint, kind, loss_max=loss_max)
        self.assertTrue(until(lambda: self.shown(node)["objects"] == CHUNKS, 60), f"{self.shown(node)}\n{node.log()}")
        counts = self.shown(node)
        self.assertEqual(counts["encoded_chunks_total"], CHUNKS, counts)
        smaller = counts["encoded_raw_bytes_total"] / counts["encoded_bytes_total"]
        node.stop()
        self.restart(node)
        counts = self.shown(node)
        self.assertEqual([counts["recovered_objects"], counts["only_objects"]], [CHUNKS, CHUNKS])
        answer = self.run_prompt(node.endpoint, kind, loss_max=loss_max)
        self.assertEqual([answer["reused"], answer["failed_chunks"]], [CHUNKS * CHUNK, 0], node.log())
        self.assertEqual(self.shown(node)["hits_total"], CHUNKS)
        return node, answer, smaller

    def test_without_loss(self):
        for kind, at_least in (("bf16", 1.4), ("f16", 1.1)):
            with self.subTest(kind=kind):
                expected = self.expected(kind)
                node, answer, smaller = self.over_ssd(kind, kind, ssd__codec="lossless")
                self.assertEqual(answer["max_abs_logit_diff"], 0)
                self.assertEqual(answer["logits_sha256"], expected["logits_sha256"])
                self.assertGreaterEqual(smaller, at_least)
                print(f"{kind} without loss: {smaller:.2f} times as many tokens in the same bytes")
                node.stop()

    def test_the_more_planes_the_smaller_the_loss(self):
        expected = self.expected("bf16")
        differences = []
        for planes in range(4):
            node, answer, smaller = self.over_ssd("bf16", f"planes{planes}", loss_max=4, ssd__codec="ladder", codec__planes=planes)
            differences.append(answer["max_abs_logit_diff"])
            same = answer["predicted"] == expected["predicted"]
            print(f"{planes} planes: {smaller:.2f} times as many tokens, largest logit error {differences[-1]:.4g}, same tokens: {same}")
            if planes == 2:
                self.assertGreaterEqual(smaller, 2.7)
                # Who allows no loss computes it, and brings a better copy, which others get from then on.
                exact = self.run_prompt(node.endpoint, "bf16")
                self.same(exact, expected["logits_sha256"], reused=0, max_abs_logit_diff=0, failed_chunks=0)
                again = self.run_prompt(node.endpoint, "bf16")
                self.same(again, expected["logits_sha256"], reused=CHUNKS * CHUNK, max_abs_logit_diff=0)
            if planes == 3:
                # Fewer planes than there are: as good as what an encoder with so few makes. It keeps sinks as exact as its own last plane.
                for enough in (2, 3, 4):
                    answer = self.run_prompt(node.endpoint, "bf16", loss_max=4, loss_enough=enough)
                    self.assertEqual(answer["reused"], CHUNKS * CHUNK)
                    as_encoded = differences[4 - enough]
                    self.assertAlmostEqual(answer["max_abs_logit_diff"], as_encoded, delta=as_encoded / 4)
                answer = self.run_prompt(node.endpoint, "bf16", loss_max=4)
                self.assertEqual(answer["max_abs_logit_diff"], differences[3])
            node.stop()
        self.assertGreater(differences[-1], 0)
        self.assertEqual(differences, sorted(differences, reverse=True))

    def test_no_loss_without_leave(self):
        """A node that is set to degrade does so to nobody's chunks but theirs who allow it."""
        expected = self.expected("bf16")
        node, answer, smaller = self.over_ssd("bf16", "exact", ssd__codec="ladder", codec__planes=0)
        self.same(answer, expected["logits_sha256"], max_abs_logit_diff=0)
        self.assertLess(smaller, 2)
        node.stop()


if __name__ == "__main__":
    harness.main(580)
