"""Every kind of model and KV through a node, from one process to another: the logits differ by exactly 0. And what is of
another kind is a miss, with the node's log saying what differs."""
import os
import re
import subprocess

import harness
from engine import CHUNK, EngineTest, model

MKMODEL = os.environ["KVASIR_MKMODEL"]
CHUNKS = 3
PROMPT = [(i * 7919 + i * i) % 1000 for i in range(CHUNKS * CHUNK + 21)]
KINDS = [  # model, KV type, flash attention
    ("dense", "f16", "on"), ("dense", "f16", "off"), ("dense", "bf16", "on"), ("dense", "q8_0", "on"),
    ("window", "f16", "on"), ("window", "f16", "off"), ("window", "bf16", "on"), ("window", "q8_0", "on"),
    ("hybrid", "f16", "on"), ("hybrid", "bf16", "on"), ("hybrid", "bf16", "off"), ("hybrid", "q8_0", "on"),
    ("recurrent", "f16", "on"),
]


class Kinds(EngineTest):
    def test_logits_are_the_same(self):
        """All kinds on one node, so that none may take another's chunks."""
        node = self.serve()
        logits = os.path.join(self.folder, "logits")
        for name, kv_type, flash in KINDS:
            with self.subTest(model=name, kv_type=kv_type, flash=flash):
                kind = {"model": model(name), "kv_type": kv_type, "flash_attn": flash}
                plain = self.ask(PROMPT, "embedded:", no_load=True, no_save=True, embedded_mib=16, logits_out=logits, **kind)
                cold = self.ask(PROMPT, node.endpoint, logits_compare=logits, **kind)
                self.same(cold, plain["logits_sha256"], reused=0, saved_chunks=CHUNKS, max_abs_logit_diff=0)
                warm = self.ask(PROMPT, node.endpoint, logits_compare=logits, **kind)
                self.same(warm, plain["logits_sha256"], reused=CHUNKS * CHUNK, saved_chunks=0, max_abs_logit_diff=0)
        node.stop()

    def test_what_differs_is_a_miss_and_is_told(self):
        node = self.serve()
        seeded = os.path.join(self.folder, "seeded.gguf")
        subprocess.run([MKMODEL, "--seed", "2", seeded], check=True, timeout=60, capture_output=True)
        self.same(self.ask(PROMPT, node.endpoint), self.alone(PROMPT), saved_chunks=CHUNKS)
        others = [  # what is changed, and the field the log must name
            ({"model": seeded}, "weights"),
            ({"kv_type": "bf16"}, "dtype"),
            ({"flash_attn": "off"}, "layout_detail"),
            ({"chunk": 64}, "tokens_per_chunk"),
            ({"model": model("window")}, "layout tensors / opaque"),
        ]
        for change, field in others:
            with self.subTest(change=change):
                before = len(node.log())
                answer = self.ask(PROMPT, node.endpoint, **change)
                self.same(answer, self.alone(PROMPT, **change), reused=0, failed_chunks=0)
                told = re.findall(r"differs from the nearest known one in \d+ fields: (.*)", node.log()[before:])
                self.assertEqual(len(told), 1, node.log()[before:])
                self.assertIn(field, told[0])
                print(f"{change}: {told[0]}")
        self.same(self.ask(PROMPT, node.endpoint), self.alone(PROMPT), reused=CHUNKS * CHUNK)  # the first is still there
        node.stop()


if __name__ == "__main__":
    harness.main(580)
