"""python3 -m kvasir, and the example of the README, as a user runs them."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import binding_fixture
from binding_fixture import PACKAGE, Node

import kvasir

KEY = "ab" * 32


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """Exit status, output and messages of the command."""
    done = subprocess.run([sys.executable, "-W", "error", "-m", "kvasir", *arguments], input=stdin, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(PACKAGE)}, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode()


class WithoutNode(unittest.TestCase):
    def test_help(self) -> None:
        for command in ((), ("state",), ("lookup",), ("put",), ("get",), ("digest",), ("keys",), ("version",)):
            code, out, _ = run(*command, "--help")
            self.assertEqual(code, 0)
            self.assertIn(b"Exit status: 0 done", out)

    def test_usage(self) -> None:
        for wrong in ((), ("nothing",), ("lookup", "-e", "embedded:1MiB"), ("lookup", "xy", "-e", "embedded:1MiB"),
                      ("keys", "1,x"), ("digest", "--key-length", "-1"), ("state", "-e", "nonsense"),
                      ("keys", "1", "--hash", "opaque")):
            self.assertEqual(run(*wrong)[0], 2, wrong)

    def test_hostile_files_and_numbers(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            binary, deep = Path(folder, "binary"), Path(folder, "deep")
            binary.write_bytes(b"\xff\xfe\x00" * 100)
            deep.write_text("[" * 200_000)
            for wrong in (("keys", f"@{binary}"), ("digest", "--space", str(binary)), ("digest", "--space", str(deep)),
                          ("get", KEY, "-", "-e", "embedded:1MiB", "--room", "-1"),
                          ("get", KEY, "-", "-e", "embedded:1MiB", "--room", "0"),
                          ("get", KEY, "-", "-e", "embedded:1MiB", "--room", str(2**60)),
                          ("get", KEY, "-", "-e", "embedded:1MiB", "--loss-enough", "1"),
                          ("get", KEY, "-", "-e", "embedded:1MiB", "--chunk-bytes", str(2**60))):
                code, out, said = run(*wrong)
                self.assertEqual((code, out, said.count("\n")), (2, b"", 1), f"{wrong}: {said}")
                self.assertTrue(said.startswith("kvasir: "), said)

    def test_nobody_there(self) -> None:
        for command in (("state",), ("lookup", KEY), ("get", KEY, "-")):
            code, _, said = run(*command, "-e", "unix:/nobody/there.sock", "-t", "0.1")
            self.assertEqual(code, 3)
        self.assertIn("/nobody/there.sock", said)

    def test_digest_from_options_and_from_a_file(self) -> None:
        description = kvasir.SpaceDescription(model="m", layout=kvasir.Layout.OPAQUE, tokens_per_chunk=16)
        code, out, _ = run("digest", "--model", "m", "--tokens-per-chunk", "16", "--json")
        answer = json.loads(out)
        self.assertEqual((code, answer["digest"]), (0, description.digest().hex()))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({**answer["space"], "model": "other"}, file)
            file.flush()
            self.assertEqual(run("digest", "--space", file.name, "--model", "m")[1].decode().strip(), answer["digest"])
            file.write("}")
            file.flush()
            self.assertEqual(run("digest", "--space", file.name)[0], 2)

    def test_keys(self) -> None:
        code, out, _ = run("keys", "1,2,3,4,5", "--tokens-per-chunk", "2", "--hash", "sglang")
        expected = kvasir.keys_from_tokens(range(1, 6), 2, hash=kvasir.Hash.SGLANG)
        self.assertEqual((code, b"".join(bytes.fromhex(line) for line in out.decode().split())), (0, expected))
        code, out, _ = run("keys", "1,2", "--tokens-per-chunk", "2", "--hash", "vllm_sha256_cbor", "--python-hash-seed", "0", "-j")
        expected = kvasir.keys_from_tokens([1, 2], 2, hash=kvasir.Hash.VLLM_SHA256_CBOR, seed=kvasir.vllm_none_hash("0"))
        self.assertEqual((code, json.loads(out)), (0, {"keys": [expected.hex()]}))

    def test_version(self) -> None:
        self.assertEqual(json.loads(run("version", "-j")[1]), {"package": kvasir.__version__, "library": kvasir.__version__})

    def test_example_of_the_readme(self) -> None:
        example = re.search(r"```python\n(.*?)```", (PACKAGE / "kvasir/README.md").read_text(), re.S)
        assert example is not None
        done = subprocess.run([sys.executable, "-W", "error", "-c", example.group(1)], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(PACKAGE)}, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "2 chunks, 4096 bytes\n", ""))


@unittest.skipUnless(binding_fixture.NODE, "KVASIR_NODE does not name a kvasird")
class WithNode(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.node = Node()
        cls.addClassCleanup(cls.node.close)
        cls.node.start()

    def run_on_node(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        return run(*arguments, "-e", self.node.endpoint, stdin=stdin)

    def test_state(self) -> None:
        code, out, _ = self.run_on_node("state", "--json")
        self.assertEqual((code, json.loads(out)["ok"]), (0, True))

    def test_put_lookup_get(self) -> None:
        space = ("--model", "command")
        payload = os.urandom(5000)
        self.assertEqual(self.run_on_node("get", KEY, "-", *space)[0], 1)
        self.assertEqual(self.run_on_node("lookup", KEY, *space)[0], 1)
        code, out, _ = self.run_on_node("put", KEY, "-", *space, "-j", stdin=payload)
        self.assertEqual((code, json.loads(out)["status"], json.loads(out)["bytes"]), (0, "OK", 5000))
        code, out, _ = self.run_on_node("put", KEY, "-", *space, "-j", stdin=payload)
        self.assertEqual((code, json.loads(out)["status"]), (0, "EXISTS"))
        self.assertEqual(self.run_on_node("lookup", KEY, *space)[0], 0)
        code, out, _ = self.run_on_node("lookup", KEY, "cd" * 32, *space, "-j")
        answer = json.loads(out)
        self.assertEqual((code, answer["n_prefix"], answer["present"]), (1, 1, [True, False]))
        self.assertEqual(self.run_on_node("get", KEY, "-", *space)[:2], (0, payload))
        self.assertEqual(self.run_on_node("get", KEY, "-", *space, "--loss-max", "4", "--loss-enough", "3")[:2], (0, payload))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "chunk")
            self.assertEqual(self.run_on_node("get", KEY, str(path), *space)[0], 0)
            self.assertEqual(path.read_bytes(), payload)
        code, _, said = self.run_on_node("get", KEY, "-", *space, "--room", "100")
        self.assertEqual(code, 4)
        self.assertIn("larger than --room 100", said)
        self.assertEqual(self.run_on_node("put", KEY, "-", *space)[0], 2)  # nothing to store
        self.assertEqual(self.run_on_node("put", KEY, "/no/such/file", *space)[0], 4)

    def test_lookup_by_tokens(self) -> None:
        space = ("--model", "tokens", "--hash", "native", "--tokens-per-chunk", "2")
        keys = run("keys", "1,2,3,4", *space)[1].decode().split()
        self.assertEqual(self.run_on_node("put", keys[0], "-", *space, stdin=b"x")[0], 0)
        code, out, _ = self.run_on_node("lookup", "--tokens", "1,2,3,4", *space, "-j")
        self.assertEqual((code, json.loads(out)["present"]), (1, [True, False]))


if __name__ == "__main__":
    binding_fixture.main()
