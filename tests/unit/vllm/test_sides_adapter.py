"""Adapters: the engine's hashes name one by its path alone, so that other weights at the same path must give other keys."""
from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from types import SimpleNamespace

from binding_fixture import NodeTest, main
from engine_fixture import CHUNK, Engine, Request, make_plan, prompt


def write_adapter(folder: str, fill: bytes, config: str = "{}") -> None:
    header = json.dumps({"lora_A": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    Path(folder, "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + fill * 16)
    Path(folder, "adapter_config.json").write_text(config)


class Adapter(NodeTest):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        write_adapter(self.folder, b"a")

    def request(self, name: str, **changes: object) -> Request:
        adapter = {"lora_int_id": 1, "lora_name": "sql", "lora_path": self.folder, "load_inplace": False, **changes}
        return Request(name, prompt(2 * CHUNK + 1), lora_request=SimpleNamespace(**adapter))

    def test_same_weights_are_shared(self) -> None:
        plan = make_plan()
        Engine(self, plan).store(self.request("a"))
        engine = Engine(self, plan)
        self.assertEqual(engine.match(self.request("b"))[0], 2 * CHUNK)
        self.assertEqual(engine.match(Request("c", prompt(2 * CHUNK + 1)))[0], 0)

    def test_other_weights_at_the_same_path(self) -> None:
        plan = make_plan()
        Engine(self, plan).store(self.request("a"))
        write_adapter(self.folder, b"b")
        self.assertEqual(Engine(self, plan).match(self.request("b"))[0], 0)

    def test_other_configuration_at_the_same_path(self) -> None:
        plan = make_plan()
        Engine(self, plan).store(self.request("a"))
        write_adapter(self.folder, b"a", '{"lora_alpha": 2}')
        self.assertEqual(Engine(self, plan).match(self.request("b"))[0], 0)

    def test_weights_that_change_under_an_engine(self) -> None:
        """Which of them it has in memory is not known: its requests neither load nor save."""
        engine = Engine(self, make_plan())
        engine.store(self.request("a"))
        self.assertEqual(engine.match(self.request("b"))[0], 2 * CHUNK)
        write_adapter(self.folder, b"c", '{"lora_alpha": 2}')
        self.nothing(engine, self.request("c"))
        write_adapter(self.folder, b"a")
        self.nothing(engine, self.request("d"))

    def test_weights_that_nothing_names(self) -> None:
        engine = Engine(self, make_plan())
        self.nothing(engine, self.request("a", lora_path="org/adapter"))
        self.nothing(engine, self.request("b", load_inplace=True))

    def nothing(self, engine: Engine, request: Request) -> None:
        engine.scheduler.on_new_request(request)
        self.assertEqual(engine.scheduler.match(request, 0), (0, False))
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 0)
        self.assertEqual(engine.step({request.request_id: request.num_tokens}, [request]).saves, [])
        self.assertFalse(engine.scheduler.finished(request, request.blocks, aborted=False))


if __name__ == "__main__":
    main()
