"""kvasir-llama as a process, for tests: an engine that comes, answers a prompt and goes."""
import json
import os
import shutil
import subprocess
import tempfile
import time

from harness import SLOW, NodeTest

LLAMA = os.environ["KVASIR_LLAMA"]
MODELS = os.environ["KVASIR_MODELS"]
CHUNK = 128
# Chunks of two frames, so that a node can have one half: 8 KiB a token, two chunks of 4 MiB and a rest, and a byte in
# the midst of the second one's second frame.
LARGE_CHUNK = 512
LARGE = {"chunk": LARGE_CHUNK, "kv_type": "f32"}
LARGE_CHUNKS = 2
LARGE_PROMPT = [(i * 7919 + i * i) % 1000 for i in range(LARGE_CHUNKS * LARGE_CHUNK + 20)]
LARGE_MIDDLE = 7 << 20
TIMEOUT_MS = 1000  # of an engine whose node is hurt meanwhile
PATIENT_MS = 20000 * SLOW  # of one that shall get and store everything, on a busy machine
COMPUTE_SECONDS = 60 * SLOW  # an engine that computes everything, on a busy machine


def model(name):
    return os.path.join(MODELS, name + ".gguf")


class Engine:
    """One run of it. Options are those of the command line with '_' for '-'; True stands for a switch."""

    def __init__(self, folder, prompt, **options):
        name = tempfile.mkstemp(dir=folder, prefix="engine-")[1]
        with open(name + ".tokens", "w") as file:
            file.write("\n".join(map(str, prompt)))
        settings = {"model": model("dense"), "chunk": CHUNK, "timeout_ms": PATIENT_MS, "wait_ms": 5000 * SLOW, **options}
        command = [LLAMA, "--json", "--tokens", name + ".tokens"]
        for option, value in settings.items():
            command.append("--" + option.replace("_", "-"))
            if value is not True:
                command.append(str(value))
        self.errors = name + ".stderr"
        self.began = time.monotonic()
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)

    def said(self):
        with open(self.errors, errors="replace") as errors:
            return errors.read()

    def kill(self):
        self.process.kill()

    def close(self):
        self.kill()
        self.process.communicate()

    def answer(self, seconds=COMPUTE_SECONDS):
        """Its JSON, with the seconds it took. Demands that it ended well and in time."""
        try:
            text, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.communicate()
            raise AssertionError(f"the engine did not end within {seconds} s: {self.said()}") from None
        assert self.process.returncode == 0, f"exit code {self.process.returncode}: {self.said()}"
        assert "Sanitizer" not in self.said() and "runtime error:" not in self.said(), self.said()
        return {**json.loads(text), "seconds": time.monotonic() - self.began}


class EngineTest(NodeTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="kvasir-engine-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def serve(self, **settings):
        node = self.node(**{"dram__size": "128MiB", **settings}).start()
        node.endpoint = f"kvasir://127.0.0.1:{node.port}"
        return node

    def restart(self, node):
        node.start()
        node.endpoint = f"kvasir://127.0.0.1:{node.port}"

    def engine(self, prompt, endpoint, **options):
        engine = Engine(self.folder, prompt, endpoint=endpoint, **options)
        self.addCleanup(engine.close)
        return engine

    def ask(self, prompt, endpoint, **options):
        return self.engine(prompt, endpoint, **options).answer()

    def alone(self, prompt, **options):
        """What an engine answers that has never heard of Kvasir: the digest of its logits."""
        return self.ask(prompt, "embedded:", no_load=True, no_save=True, embedded_mib=16, **options)["logits_sha256"]

    def same(self, answer, digest, **expected):
        self.assertEqual(answer["logits_sha256"], digest, answer)
        for name, value in expected.items():
            self.assertEqual(answer[name], value, answer)
