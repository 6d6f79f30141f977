"""The binding's structs, enums and version are those of the C headers, by the compiler's own word."""
import ctypes
import enum
import json
import os
import re
import subprocess
import unittest
from pathlib import Path

import binding_fixture
import kvasir
from kvasir import abi

SOURCE = Path(__file__).resolve().parents[3]
HEADERS = ("base/include/kvasir/status.h", "proto/include/kvasir/space.h", "connector/include/kvasir/connector.h")
ENUMS: dict[str, tuple[type[enum.IntEnum], str]] = {
    "kvs_status": (kvasir.Status, "KVS_"),
    "kvs_layout": (kvasir.Layout, "KVS_LAYOUT_"),
    "kvs_dtype": (kvasir.Dtype, "KVS_DTYPE_"),
    "kvs_hash": (kvasir.Hash, "KVS_HASH_"),
    "kvs_encode": (kvasir.Encode, "KVS_ENCODE_"),
    "kvs_wait_kind": (kvasir.WaitKind, "KVS_WAIT_"),
    "kvs_hint_outcome": (kvasir.HintOutcome, "KVS_HINT_"),
    "kvsc_cause": (kvasir.Cause, "KVSC_CAUSE_"),
}


def headers() -> str:
    return "".join((SOURCE / name).read_text() for name in HEADERS)


class Library(unittest.TestCase):
    def test_versions_agree(self) -> None:
        self.assertEqual(".".join(map(str, kvasir.library_version())), kvasir.__version__)
        project = re.search(r"project\(kvasir VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text())
        assert project is not None
        self.assertEqual(project.group(1), kvasir.__version__)

    def test_every_function_of_the_header_has_a_prototype(self) -> None:
        declared = set(re.findall(r"^KVS_API .*?\b(kvs_\w+)\(", headers(), re.M))
        self.assertGreater(len(declared), 20)
        self.assertEqual(declared - set(abi._PROTOTYPES), {"kvs_space_get_digest"})  # kvs_space_digest gives the same


@unittest.skipUnless(os.environ.get("KVASIR_ABI_LAYOUT"), "KVASIR_ABI_LAYOUT does not name the program abi_layout")
class Layout(unittest.TestCase):
    layout: dict

    @classmethod
    def setUpClass(cls) -> None:
        cls.layout = json.loads(subprocess.run([os.environ["KVASIR_ABI_LAYOUT"]], capture_output=True, check=True).stdout)

    def test_structs(self) -> None:
        self.assertEqual(set(self.layout["structs"]), set(abi.STRUCTS))
        for name, struct in abi.STRUCTS.items():
            expected = self.layout["structs"][name]
            with self.subTest(name):
                self.assertEqual(ctypes.sizeof(struct), expected["size"])
                fields = {field[0]: [getattr(struct, field[0]).offset, getattr(struct, field[0]).size]
                          for field in struct._fields_}
                self.assertEqual(fields, expected["fields"])

    def test_the_program_knows_every_struct_and_enumerator_of_the_headers(self) -> None:
        text = re.sub(r"/\*.*?\*/", "", headers(), flags=re.S)
        structs = set(re.findall(r"typedef struct (\w+) \{", text))
        self.assertEqual(structs, set(self.layout["structs"]))
        known = {name for values in self.layout["enums"].values() for name in values}
        for body in re.findall(r"typedef enum \w+ \{(.*?)\}", text, re.S):
            for name in re.findall(r"(KVS\w+) =", body):
                self.assertIn(name, known)

    def test_enums(self) -> None:
        self.assertEqual(set(self.layout["enums"]), set(ENUMS))
        for name, (python, prefix) in ENUMS.items():
            with self.subTest(name):
                ours = {prefix + member.name: member.value for member in python}
                self.assertEqual(ours, self.layout["enums"][name])

    def test_constants(self) -> None:
        constants = self.layout["constants"]
        self.assertEqual((constants["KVS_VERSION_MAJOR"], constants["KVS_VERSION_MINOR"], constants["KVS_VERSION_PATCH"]),
                         abi.VERSION)
        self.assertEqual((constants["KVS_DIGEST_SIZE"], constants["KVS_HASH_SIZE"]), (abi.DIGEST_SIZE, abi.HASH_SIZE))

    def test_counters_and_completion_name_the_c_fields(self) -> None:
        counters = set(self.layout["structs"]["kvs_counters"]["fields"]) - {"struct_size"}
        self.assertEqual(set(kvasir.Counters.__dataclass_fields__), counters)


if __name__ == "__main__":
    binding_fixture.main()
