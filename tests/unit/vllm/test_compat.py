"""What the connector says of a vLLM that it cannot work with, or does not know: tried on modules made here, which have as much of vLLM 0.32
as it looks for."""
from __future__ import annotations

import sys
import unittest
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import binding_fixture  # noqa: F401  (puts connector/vllm on the path)

from kvasir_vllm import compat
from kvasir_vllm.compat import CompatError


def base_class() -> type:
    """KVConnectorBase_V1, anew for each test to damage."""

    class KVConnectorBase_V1:
        def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> Any: ...
        def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> Any: ...
        def build_connector_meta(self, scheduler_output: Any) -> Any: ...
        def update_connector_output(self, connector_output: Any) -> Any: ...
        def get_transfer_results(self, finished_req_ids: Any) -> Any: ...
        def get_block_ids_with_load_errors(self) -> Any: ...
        def handle_preemptions(self, kv_connector_metadata: Any) -> Any: ...
        def build_connector_worker_meta(self) -> Any: ...
        def wait_for_layer_load(self, layer_name: str) -> Any: ...
        def wait_for_save(self) -> Any: ...

    return KVConnectorBase_V1


METHODS = [name for name in vars(base_class()) if not name.startswith("_")]
CLASSES = ("SupportsHMA", "KVConnectorTransferResults", "KVConnectorWorkerMetadata")


@dataclass
class SchedulerOutput:
    kv_connector_block_state: Any = None
    preempted_req_ids: Any = None


@dataclass
class WithoutPreempted:
    kv_connector_block_state: Any = None


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(members)
    return made


def fake_vllm(version: str = "0.32.1", output: type = SchedulerOutput) -> dict[str, ModuleType]:
    """What `import` finds, by name."""
    package = "vllm.distributed.kv_transfer.kv_connector.v1"
    base = module(f"{package}.base", KVConnectorBase_V1=base_class(), **{name: type(name, (), {}) for name in CLASSES})
    made = {f"{package}.base": base, package: module(package, base=base), "vllm": module("vllm", __version__=version),
            "vllm.v1.core.sched.output": module("vllm.v1.core.sched.output", SchedulerOutput=output),
            "vllm.platforms": module("vllm.platforms", current_platform=SimpleNamespace(is_cpu=lambda: False)),
            "vllm.v1.core.kv_cache_utils": module("vllm.v1.core.kv_cache_utils",
                                                  resolve_kv_cache_block_sizes=lambda cache, config: (32, 16)),
            "vllm.v1.kv_cache_interface": module("vllm.v1.kv_cache_interface",
                                                 get_kv_cache_spec_kind=lambda spec: SimpleNamespace(value="full_attention"))}
    for name in list(made):
        while "." in name:  # the packages above it
            name = name.rpartition(".")[0]
            made.setdefault(name, module(name))
    return made


class Compat(unittest.TestCase):
    def fake(self, **changes: Any) -> dict[str, ModuleType]:
        modules = fake_vllm(**changes)
        patch = mock.patch.dict(sys.modules, modules)
        patch.start()
        self.addCleanup(patch.stop)
        self.base = modules["vllm.distributed.kv_transfer.kv_connector.v1.base"]
        return modules

    def refused(self, *names: str) -> None:
        with self.assertRaises(CompatError) as caught:
            compat.check()
        self.assertEqual(str(caught.exception), f"vLLM 0.32.1 does not have {', '.join(names)}, which KvasirConnector needs; "
                                                "tested with vLLM 0.32")

    def test_the_tested_version(self) -> None:
        self.fake()
        with self.assertNoLogs(compat.logger):
            self.assertEqual(compat.check(), "0.32")

    def test_another_version_with_the_same_interface(self) -> None:
        self.fake(version="0.99.0")
        with self.assertLogs(compat.logger, "WARNING") as logs:
            self.assertEqual(compat.check(), "0.99")
        self.assertRegex(logs.output[0], r"vLLM 0\.99\.0 was not tested with this connector \(tested: 0\.32\)")

    def test_a_class_is_missing(self) -> None:
        for name in CLASSES:
            with self.subTest(name):
                self.fake()
                delattr(self.base, name)
                self.refused(name)

    def test_a_method_is_missing(self) -> None:
        self.assertEqual(set(METHODS), set(compat._NEEDED))
        for name in METHODS:
            with self.subTest(name):
                self.fake()
                delattr(self.base.KVConnectorBase_V1, name)
                self.refused(f"KVConnectorBase_V1.{name}")

    def test_a_method_takes_something_else(self) -> None:
        self.fake()
        self.base.KVConnectorBase_V1.wait_for_layer_load = lambda self, layer_index: None
        self.base.KVConnectorBase_V1.wait_for_save = lambda self, layer_name: None
        self.refused("KVConnectorBase_V1.wait_for_layer_load(layer_name)", "KVConnectorBase_V1.wait_for_save()")

    def test_a_field_of_a_step_is_missing(self) -> None:
        self.fake(output=WithoutPreempted)
        self.refused("SchedulerOutput.preempted_req_ids")

    def test_facts(self) -> None:
        self.fake()
        facts = compat.facts(None, None, "0.32")
        self.assertEqual((facts.version, facts.scheduler_block, facts.hash_block, facts.cpu), ("0.32", 32, 16, False))
        self.assertEqual((facts.kind_of(None), facts.isa_of(None)), ("full_attention", ""))

    def test_facts_that_this_vllm_does_not_have(self) -> None:
        for where, name in (("vllm.platforms", "current_platform"), ("vllm.v1.core.kv_cache_utils", "resolve_kv_cache_block_sizes"),
                            ("vllm.v1.kv_cache_interface", "get_kv_cache_spec_kind")):
            with self.subTest(name):
                modules = self.fake()
                delattr(modules[where], name)
                with self.assertRaisesRegex(CompatError, f"vLLM 0.32 lacks what KvasirConnector asks it for: .*{name}"):
                    compat.facts(None, None, "0.32")


if __name__ == "__main__":
    binding_fixture.main()
