"""The parts of KvasirConnector that need neither an engine nor a store: chunk arithmetic, options, fingerprints, layouts, counting."""
from __future__ import annotations

import ctypes
import json
import os
import pickle
import struct
import tempfile
import unittest
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import binding_fixture  # noqa: F401  (puts connector/vllm on the path)

import kvasir
from kvasir import abi
from kvasir_vllm import chunks, opening, options, space, weights
from kvasir_vllm.breaker import Breaker
from kvasir_vllm.compat import Facts
from kvasir_vllm.counters import Counters
from kvasir_vllm.orders import Report
from kvasir_vllm.times import Times


class Chunks(unittest.TestCase):
    def test_size(self) -> None:
        self.assertEqual(chunks.chunk_size(0, [16], 16), 256)
        self.assertEqual(chunks.chunk_size(0, [48], 48), 288)
        self.assertEqual(chunks.chunk_size(0, [16, 24], 8), 288)
        self.assertEqual(chunks.chunk_size(128, [32], 32), 128)
        with self.assertRaisesRegex(ValueError, "100 is not a multiple of 32.*96 would be"):
            chunks.chunk_size(100, [32], 32)

    def test_last_token_is_computed(self) -> None:
        self.assertEqual([chunks.loadable_tokens(n, 4) for n in (0, 1, 4, 5, 8, 9)], [0, 0, 0, 4, 4, 8])

    def test_keys(self) -> None:
        hashes = [bytes([i]) * 2 for i in range(7)]
        self.assertEqual(chunks.chunk_keys(hashes, 3, 2), bytes([2, 2, 5, 5]))
        self.assertEqual(chunks.chunk_keys(hashes, 1, 2), bytes([0, 0, 1, 1]))

    def test_load_slots(self) -> None:
        """Blocks of 4 tokens, chunks of 8; tokens 4 to 20 of five blocks; the null block is never written."""
        self.assertEqual(list(chunks.load_slots([9, 8, 7, 6, 5], 4, 8, 0, 3, 4, 20)), [-1, 8, 7, 6, 5, -1])
        self.assertEqual(list(chunks.load_slots([0, 0, 7, 6], 4, 8, 0, 2, 0, 16)), [-1, -1, 7, 6])
        self.assertEqual(list(chunks.load_slots([9, 8, 7, 6], 4, 8, 1, 2, 8, 12)), [7, -1])

    def test_save_slots(self) -> None:
        self.assertEqual(chunks.save_slots([3, 4, 5, 6], 4, 8, 1), array("q", [5, 6]))
        self.assertIsNone(chunks.save_slots([3, 4, 5], 4, 8, 1))
        self.assertIsNone(chunks.save_slots([0, 4, 5, 6], 4, 8, 0))

    def test_match_of_full_attention(self) -> None:
        self.assertEqual(chunks.longest_match(0b0111, [], 32, 8, 0), 24)
        self.assertEqual(chunks.longest_match(0b0111, [], 20, 8, 0), 20)
        self.assertEqual(chunks.longest_match(0b1101, [], 32, 8, 0), 8)
        self.assertEqual(chunks.longest_match(0b1100, [], 32, 8, 16), 32)  # the engine has the first two itself
        self.assertEqual(chunks.longest_match(0b1100, [], 32, 8, 12), 12)  # and here half of the second
        self.assertEqual(chunks.longest_match(0, [], 32, 8, 12), 12)

    def test_match_of_windows(self) -> None:
        """A window of 9 tokens reaches 8 back: from token 32 to 24, one chunk; from 28 to 20, two."""
        full = 0b1111
        self.assertEqual(chunks.longest_match(full, [(0b1000, 9)], 32, 8, 0), 32)
        self.assertEqual(chunks.longest_match(full, [(0b1000, 9)], 28, 8, 0), 0)
        self.assertEqual(chunks.longest_match(full, [(0b1100, 9)], 28, 8, 0), 28)
        self.assertEqual(chunks.longest_match(full, [(0b0111, 9)], 32, 8, 0), 24)
        self.assertEqual(chunks.longest_match(full, [(0b1000, 9), (0b0110, 9)], 32, 8, 0), 0)
        self.assertEqual(chunks.longest_match(full, [(0b1000, 1000)], 32, 8, 24), 32)  # the rest of the window is local

    def test_gaps(self) -> None:
        self.assertEqual(list(chunks.gaps(0b0110, 0, 5)), [(0, 1), (3, 5)])
        self.assertEqual(list(chunks.gaps(0b1111, 0, 4)), [])
        self.assertEqual(list(chunks.gaps(0, 2, 2)), [])

    def test_bits(self) -> None:
        self.assertEqual(chunks.bits(bytes([0xFF, 0x03]), 9), 0x1FF)

    def test_runs_know_their_chain(self) -> None:
        keys = bytes(range(200))
        run = chunks.make_run(0, keys, 1, 66, array("q", range(8)), 4)
        self.assertEqual((run.keys, run.parent, run.extent_first), (bytes([66, 67, 68, 69]), bytes([65]), bytes([64])))
        self.assertEqual(chunks.make_run(0, keys, 1, 0, array("q", [1]), 1).parent, None)
        self.assertEqual(chunks.make_run(0, keys, 1, 64, array("q", [1]), 1).extent_first, None)

    def test_split_runs_are_those_made_apart(self) -> None:
        keys = bytes(range(200))
        whole = chunks.make_run(0, keys, 1, 60, array("q", range(2 * 70)), 70)
        for most in (1, 7, 64, 70):
            made = list(whole.split(most))
            self.assertEqual(sum(run.n for run in made), 70)
            for run in made:
                at = run.first_place - 60
                self.assertEqual(run, chunks.make_run(0, keys, 1, run.first_place, array("q", range(2 * at, 2 * (at + run.n))), run.n))


# Every option, with a value that is not its default.
ALL = {"endpoint": "kvasir://h:1", "chunk_tokens": 512, "load": "layerwise", "save": False, "hints": False, "recompute": 2,
       "tool_tokens": [7, 8], "lookup_timeout": 1, "load_timeout": 2.5, "save_timeout": 3, "lease": 4, "retry_after": 5,
       "max_save_bytes": "2GiB", "max_operations": 100, "model": "m", "revision": "r", "weights": "AB" * 32, "tls_ca_file": "a",
       "tls_cert_file": "b", "tls_key_file": "c", "tls_server_name": "d", "token_file": "t", "plain_token": True,
       "wait_connected": 1.5, "encode": "ladder", "encode_planes": 3, "encode_threads": 4, "encode_mib": 5, "loss_max": 6,
       "loss_enough": 5, "hurry": 0.5, "cpus": "inherit", "library": "l", "log_level": "debug"}


def opened_with(config: dict) -> dict:
    """The fields of kvs_options that opening with this configuration gives to kvs_open."""
    seen: dict = {}

    def kvs_open(given: Any, made: Any) -> int:
        seen.update({name: getattr(given._obj, name) for name, _ in given._obj._fields_})
        made._obj.value = 1
        return 0

    library = SimpleNamespace(kvs_open=kvs_open, kvs_fd=lambda connector: -1, kvs_close=lambda connector: None)
    with mock.patch.object(kvasir.connector, "load", lambda embedded: library), mock.patch.dict(os.environ):
        opening.open_connector(options.parse(config)).close()
    return seen


class OptionsTest(unittest.TestCase):
    def refused(self, text: str, **config: object) -> None:
        with self.assertRaisesRegex(options.OptionError, text):
            options.parse({"endpoint": "unix:/x", **config})

    def test_defaults(self) -> None:
        parsed = options.parse({"endpoint": "unix:/x"})
        self.assertEqual((parsed.load, parsed.save, parsed.chunk_tokens), ("async", "on", 0))

    def test_all(self) -> None:
        self.assertEqual(set(ALL), set(options.Options.__dataclass_fields__))
        parsed = options.parse(ALL)
        self.assertEqual((parsed.save, parsed.hints, parsed.tool_tokens, parsed.max_save_bytes, parsed.weights), ("off", "off", (7, 8), 2**31, "ab" * 32))

    def test_every_option_of_the_library_is_reached(self) -> None:
        """A field that comes to kvs_options is an option here, or stands below with the reason why not."""
        expected = {"endpoint": b"kvasir://h:1", "timeout_ms": 2500, "wait_connected_ms": 1500, "max_operations": 100,
                    "tls_ca_file": b"a", "tls_cert_file": b"b", "tls_key_file": b"c", "tls_server_name": b"d", "token_file": b"t",
                    "plain_token": 1, "encode": 2, "encode_planes": 3, "encode_threads": 4, "encode_mib": 5,
                    "hand_over": 1,  # always: the engine's step must not wait
                    "embedded_dram_bytes": 0,  # embedded: is refused
                    "reserved": 0, "reserved_more": 0, "struct_size": ctypes.sizeof(abi.Options)}
        self.assertEqual(opened_with(ALL), expected)

    def test_defaults_are_the_librarys(self) -> None:
        said = {name for name, value in opened_with({"endpoint": "unix:/x"}).items() if value}
        self.assertEqual(said, {"struct_size", "endpoint", "timeout_ms", "max_operations", "hand_over"})

    def test_every_term_of_a_request_is_known(self) -> None:
        """A field that comes to kvs_request is an option here, or the connector's own. test_sides_load.py sees them arrive."""
        of_options = {"timeout_ms", "lease_ms", "loss_max", "loss_enough", "hurry_ms"}
        its_own = {"struct_size", "user", "lease", "statuses", "present", "by_layer", "chain_chunks",
                   "reserved", "reserved_2", "reserved_3"}
        self.assertEqual({name for name, _ in abi.Request._fields_}, of_options | its_own)

    def test_embedded_names_unix(self) -> None:
        for endpoint in ("embedded:", "embedded:4GiB", "embedded"):
            with self.assertRaisesRegex(options.OptionError, "unix:/run/kvasir/kvasird.sock"):
                options.parse({"endpoint": endpoint})

    def test_missing_endpoint(self) -> None:
        with self.assertRaisesRegex(options.OptionError, "endpoint: missing"):
            options.parse({})

    def test_unknown_suggests_and_lists(self) -> None:
        self.refused("chunk_token: no such option.*Did you mean chunk_tokens.*save_timeout", chunk_token=1)

    def test_wrong(self) -> None:
        for ids in (7, [-1], [True], ["7"], [2**31], [1] * 65):
            self.refused("tool_tokens: a list of at most 64", tool_tokens=ids)
        self.refused("load: one of async, layerwise, off", load="sync")
        self.refused("chunk_tokens: a whole number", chunk_tokens="256")
        self.refused("chunk_tokens: a whole number", chunk_tokens=True)
        self.refused("lookup_timeout: seconds", lookup_timeout=0)
        for factor in (True, 0.5, 1001, "on", float("nan")):
            self.refused("recompute: off, or a number from 1", recompute=factor)
        for factor in (False, "off", 0):
            self.assertEqual(options.parse({"endpoint": "unix:/x", "recompute": factor}).recompute, 0)
        self.refused("load_timeout: seconds", load_timeout=float("nan"))
        self.refused("max_save_bytes: bytes", max_save_bytes="lots")
        self.refused("weights: auto, off or 64", weights="abc")
        self.refused("encode: one of none, lossless, ladder, cachegen", encode="zip")
        self.refused("encode_planes: a whole number from 0 to 3", encode_planes=4)
        self.refused("loss_max: a whole number from 0 to 15", loss_max=16)
        self.refused("loss_enough: 3 is more loss than loss_max allows .2.", loss_max=2, loss_enough=3)
        for pause in (-1, True, "1s", 601):
            self.refused("hurry: seconds", hurry=pause)
            self.refused("wait_connected: seconds", wait_connected=pause)
        self.assertEqual(options.parse({"endpoint": "unix:/x", "hurry": 0}).hurry, 0.0)
        self.refused("tls_cert_file and tls_key_file", tls_cert_file="x")
        self.refused("endpoint", endpoint="tcp://x")


class Weights(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, name: str, tensors: dict[str, bytes], dtype: str = "U8") -> Path:
        header, at = {}, 0
        for key, data in tensors.items():
            header[key] = {"dtype": dtype, "shape": [len(data)], "data_offsets": [at, at + len(data)]}
            at += len(data)
        text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
        path = self.folder / name
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))
        weights._cache.clear()
        return path

    def test_differences(self) -> None:
        big = bytearray(os.urandom(100_000))
        self.write("model.safetensors", {"a": bytes(big), "b": b"12"})
        first = weights.fingerprint(self.folder)
        self.assertEqual(first, weights.fingerprint(self.folder))
        seen = {first}
        big[-1] ^= 1
        for tensors, dtype in (({"a": bytes(big), "b": b"12"}, "U8"), ({"a": bytes(big), "b": b"13"}, "U8"),
                               ({"a": bytes(big), "c": b"13"}, "U8"), ({"a": bytes(big), "c": b"13"}, "I8")):
            self.write("model.safetensors", tensors, dtype)
            seen.add(weights.fingerprint(self.folder))
        self.assertEqual(len(seen), 5)

    def test_files_do_not_matter(self) -> None:
        self.write("model.safetensors", {"a": b"1", "b": b"2"})
        whole = weights.fingerprint(self.folder)
        (self.folder / "model.safetensors").unlink()
        self.write("model-1.safetensors", {"b": b"2"})
        self.write("model-2.safetensors", {"a": b"1"})
        self.assertEqual(weights.fingerprint(self.folder), whole)

    def test_cached(self) -> None:
        self.write("model.safetensors", {"a": b"1"})
        weights.fingerprint(self.folder)
        with mock.patch.object(weights, "_digest", side_effect=AssertionError("read again")):
            weights.fingerprint(self.folder)

    def test_damaged(self) -> None:
        with self.assertRaisesRegex(weights.WeightsError, "no \\*.safetensors"):
            weights.fingerprint(self.folder)
        path = self.write("model.safetensors", {"a": bytes(1000)})
        whole = path.read_bytes()
        for data, text in ((whole[:4], "not a safetensors"), (whole[:20], "damaged"), (whole[:-1], "ends beyond"),
                           (b"\xff" * 30, "not a safetensors")):
            path.write_bytes(data)
            weights._cache.clear()
            with self.assertRaisesRegex(weights.WeightsError, text):
                weights.fingerprint(self.folder)


class Parts(unittest.TestCase):
    """Tensors of engines to regions: shape, strides in bytes, bytes of an element, blocks, bytes of a page."""

    def check(self, shape: tuple, strides: tuple, item: int, n_blocks: int, page: int, *expected: tuple) -> None:
        self.assertEqual([(part.offset, part.size, part.stride) for part in space.parts(shape, strides, item, n_blocks, page)],
                         list(expected))

    def test_packed(self) -> None:
        """vLLM 0.32: [blocks, heads, tokens, K and V], a page in one piece."""
        self.check((8192, 2, 32, 128), (32768, 16384, 512, 4), 4, 8192, 32768, (0, 32768, 32768))

    def test_blocks_outermost_of_several_layers(self) -> None:
        self.check((10, 2, 4, 8), (6 * 256, 128, 32, 4), 4, 10, 256, (0, 256, 6 * 256))

    def test_tokens_before_heads(self) -> None:
        """The same memory shown with dimensions in another order is the same region."""
        self.check((10, 2, 4, 8), (256, 32, 64, 4), 4, 10, 256, (0, 256, 256))

    def test_planes(self) -> None:
        """Older layouts: K and V apart, [2, blocks, tokens, heads, dim]."""
        self.check((2, 10, 4, 2, 8), (2560, 256, 64, 32, 4), 4, 10, 512, (0, 256, 256), (2560, 256, 256))

    def test_heads_outside_of_layers(self) -> None:
        """A page in pieces: one for each head."""
        self.check((10, 2, 4, 8), (768, 384, 32, 4), 4, 10, 256, (0, 128, 768), (384, 128, 768))

    def test_kernel_blocks(self) -> None:
        """The kernel cuts each block in two."""
        self.check((20, 2, 2, 8), (128, 64, 32, 4), 4, 10, 256, (0, 256, 256))

    def test_padding_belongs_to_the_page(self) -> None:
        self.check((10, 4, 8), (160, 32, 4), 4, 10, 160, (0, 160, 160))

    def test_one_block(self) -> None:
        self.check((1, 2, 4, 8), (256, 128, 32, 4), 4, 1, 256, (0, 256, 256))

    def test_refused(self) -> None:
        for shape, strides, page in (((10, 4, 8), (128, 32, 4), 64), ((9, 4, 8), (128, 32, 4), 128), ((10, 4, 8), (0, 32, 4), 128)):
            with self.assertRaises(ValueError):
                space.parts(shape, strides, 4, 10, page)


class Spec(SimpleNamespace):
    """As much of a KV cache spec as a plan is made from."""


def engine(kinds: tuple[str, ...] = ("full_attention",), **changes: object) -> tuple:
    """(vllm_config, kv_cache_config, facts) of a model with a group for each kind."""
    specs = [Spec(kind=kind, block_size=16, page_size_bytes=4096, sliding_window=64 if "sliding" in kind else None, dtype="torch.float32",
                  num_kv_heads=2, head_size=8) for kind in kinds]
    groups = [SimpleNamespace(kv_cache_spec=spec, layer_names=[f"g{i}.l0", f"g{i}.l1"]) for i, spec in enumerate(specs)]
    parallel = SimpleNamespace(tensor_parallel_size=1, pipeline_parallel_size=1, decode_context_parallel_size=1)
    model = SimpleNamespace(model="org/name", revision="main", dtype="torch.float32", quantization=None,
                            hf_config=SimpleNamespace(_commit_hash="c0ffee", to_dict=lambda: {"rope_theta": 1e4, "_commit_hash": "x"}))
    vllm = SimpleNamespace(parallel_config=parallel, model_config=model, load_config=SimpleNamespace(load_format="auto"),
                           cache_config=SimpleNamespace(prefix_caching_hash_algo="sha256_cbor", cache_dtype="auto"))
    for path, value in changes.items():
        owner, name = path.split("__")
        setattr(vllm if owner == "vllm" else getattr(vllm, owner), name, value)
    cache = SimpleNamespace(kv_cache_groups=groups, prefix_cacheable_group_ids=tuple(range(len(kinds))), kv_cache_layout="LBHNC",
                            kv_cache_tensors=[SimpleNamespace(layers=[name for group in groups for name in group.layer_names])])
    return vllm, cache, Facts("0.32", 16, 16, lambda spec: spec.kind, lambda spec: "x86_64/vec/AVX512", True)


def plan(*args: object, option: dict | None = None, **changes: object) -> space.Plan:
    vllm, cache, facts = engine(*args, **changes)
    return space.make_plan(vllm, cache, options.parse({"endpoint": "unix:/x", **(option or {})}), facts)


class PlanTest(unittest.TestCase):
    def test_plain(self) -> None:
        made = plan()
        self.assertEqual((made.chunk_tokens, made.model, made.revision, made.key_length), (256, "org/name", "c0ffee", 32))
        self.assertEqual(made.groups[0].chunk_bytes(256), 2 * 4096 * 16)

    def test_what_keeps_engines_apart(self) -> None:
        digests = [space.describe(made, made.groups[0], 0).digest() for made in (
            plan(), plan(option={"model": "m"}), plan(option={"revision": "r"}), plan(option={"chunk_tokens": 512}),
            plan(option={"weights": "ab" * 32}), plan(model_config__dtype="torch.bfloat16"), plan(cache_config__cache_dtype="fp8"),
            plan(cache_config__prefix_caching_hash_algo="sha256"), plan(model_config__quantization="awq"),
            plan(model_config__quantization_config={"linear": "fp8"}),
            plan(parallel_config__tensor_parallel_size=2), plan(("sliding_window",)),
            plan(model_config__hf_config=SimpleNamespace(_commit_hash="c0ffee", to_dict=lambda: {"rope_theta": 2e4})))]
        self.assertEqual(len(set(digests)), len(digests))
        self.assertEqual(digests[0], space.describe(plan(), plan().groups[0], 0).digest())

    def test_long_rope_depends_on_the_longest_sequence(self) -> None:
        """vLLM takes the long or the short factors by max_model_len: keys rotated by one are garbage to the other."""
        rope = {"rope_type": "longrope", "original_max_position_embeddings": 4096, "short_factor": [1.0], "long_factor": [2.0]}
        for values in ({"rope_parameters": rope}, {"text_config": {"rope_parameters": {"full_attention": rope}}}):
            config = SimpleNamespace(_commit_hash="c0ffee", to_dict=lambda values=values: dict(values))
            short, middle, long, longer = [
                space.describe(made, made.groups[0], 0).digest() for made in
                (plan(model_config__hf_config=config, model_config__max_model_len=n) for n in (2048, 4096, 4097, 131072))]
            self.assertEqual((short, long), (middle, longer))
            self.assertNotEqual(short, long)
        self.assertEqual(*(plan(model_config__max_model_len=n).weights for n in (2048, 131072)))

    def test_draft_models_are_apart(self) -> None:
        """Their layers lie beside the model's in the same pages."""
        def drafted(method: str, model: str, revision: str = "") -> bytes:
            draft = SimpleNamespace(model=model, revision=revision)
            return plan(vllm__speculative_config=SimpleNamespace(method=method, draft_model_config=draft)).weights
        digests = [plan().weights, drafted("eagle", "org/a"), drafted("eagle", "org/b"), drafted("eagle", "org/a", "r2"),
                   drafted("mtp", "org/a")]
        self.assertEqual(len(set(digests)), len(digests))
        self.assertEqual(drafted("ngram", "org/a"), plan().weights)

    def test_ranks_and_groups_are_apart(self) -> None:
        made = plan(("full_attention", "sliding_window"), parallel_config__tensor_parallel_size=2)
        digests = {space.describe(made, group, rank).digest() for group in made.groups for rank in range(2)}
        self.assertEqual(len(digests), 4)
        self.assertEqual([group.window for group in made.groups], [0, 64])

    def test_refused(self) -> None:
        for arguments, changes, text in (
                ((("full_attention", "mamba"),), {}, "group 1 is of kind mamba"),
                ((("chunked_local_attention",),), {}, "kind chunked_local_attention"),
                ((), {"parallel_config__pipeline_parallel_size": 2}, "pipeline_parallel_size"),
                ((), {"parallel_config__decode_context_parallel_size": 2}, "decode_context_parallel_size"),
                ((), {"cache_config__prefix_caching_hash_algo": "md5"}, "md5 is not known"),
                ((), {"option": {"chunk_tokens": 100}}, "100 is not a multiple of 16"),
                ((), {"option": {"chunk_tokens": 2**20}}, "choose fewer tokens")):
            with self.assertRaisesRegex(space.PlanError, text):
                plan(*arguments, **changes)

    def test_local_model_without_weights(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(space.PlanError, "no \\*.safetensors"):
                plan(model_config__model=folder)
            with self.assertRaisesRegex(space.PlanError, "Give the option `revision`"):
                plan(model_config__model=folder, model_config__revision=None, option={"weights": "off"})
            made = plan(model_config__model=folder, model_config__revision=None, option={"weights": "off", "revision": "2"})
            self.assertEqual((made.model, made.revision), (os.path.basename(folder), "2"))

    def test_device_memory_is_refused(self) -> None:
        made = plan()
        tensor = SimpleNamespace(device=SimpleNamespace(type="cuda"))
        with self.assertRaisesRegex(space.PlanError, "OffloadingConnector with KvasirTier"):
            space.regions(made.groups[0], {"g0.l0": tensor}, 4)
        with self.assertRaisesRegex(space.PlanError, "no KV cache for this layer"):
            space.regions(made.groups[0], {}, 4)


class Counting(unittest.TestCase):
    def test_times(self) -> None:
        times = Times()
        for _ in range(98):
            times.record(50e-6)
        times.record(0.1)
        times.record(1000.0)  # beyond the last bound
        self.assertEqual(times.count, 100)
        self.assertTrue(50e-6 <= times.p50 < 75e-6, times.p50)
        self.assertTrue(0.1 <= times.p99 < 0.15, times.p99)
        self.assertAlmostEqual(times.sum, 1000.1049)
        before = times.copy()
        times.record(1e-9)
        self.assertEqual(times.diff(before).count, 1)
        before.add(times.diff(before))
        self.assertEqual(before.buckets, times.buckets)
        self.assertEqual(pickle.loads(pickle.dumps(times)), times)
        self.assertEqual(Times().p99, 0.0)

    def test_counters(self) -> None:
        counters = Counters(lookups=2)
        before = counters.copy()
        counters.add(Counters(lookups=3, load_bytes=5))
        self.assertEqual(counters.diff(before), Counters(lookups=3, load_bytes=5))
        self.assertEqual(counters.as_dict()["lookups"], 5)
        self.assertEqual(pickle.loads(pickle.dumps(counters)), counters)

    def test_reports_of_ranks(self) -> None:
        one, other = Report(saved={("a", 0): 1}, failed={("b", 0): 5}), Report(saved={("a", 0): 2}, failed={("b", 0): 3}, loaded={("c", 1): 1})
        one.add(other)
        self.assertEqual((one.saved, one.failed, one.loaded), ({("a", 0): 3}, {("b", 0): 3}, {("c", 1): 1}))
        self.assertFalse(Report())

    def test_breaker(self) -> None:
        breaker = Breaker(2.0, 0.5)
        self.assertTrue(breaker.allows(0.0))
        breaker.failed(0.0, 1.0)
        breaker.failed(0.5, 1.1)  # was under way already: no longer pause for it
        self.assertFalse(breaker.allows(1.4))
        self.assertTrue(breaker.allows(1.5))
        self.assertFalse(breaker.allows(1.6))  # one probe
        breaker.failed(1.5, 1.7)
        self.assertFalse(breaker.allows(2.6))
        self.assertTrue(breaker.allows(2.7))
        for at in (3.0, 6.0, 9.0):
            breaker.failed(at, at)
        self.assertTrue(breaker.allows(11.0))  # never more than `most`
        breaker.answered()
        self.assertTrue(breaker.allows(11.1) and breaker.allows(11.1))


if __name__ == "__main__":
    binding_fixture.main()
