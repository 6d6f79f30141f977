"""The options of a tier."""
from __future__ import annotations

import unittest

import tier_paths  # noqa: F401
from kvasir_vllm.options import OptionError
from kvasir_vllm.tier_options import tier_options

ENDPOINT = {"endpoint": "unix:/run/kvasird.sock"}


class Options(unittest.TestCase):
    def test_defaults_are_the_connectors(self) -> None:
        options = tier_options(ENDPOINT)
        self.assertEqual((options.common.endpoint, options.common.lookup_timeout), ("unix:/run/kvasird.sock", 0.25))
        self.assertEqual((options.isa, options.layout_detail, options.enable_kv_events, options.locality), ("", "", False, ""))

    def test_all_kinds(self) -> None:
        options = tier_options({**ENDPOINT, "max_save_bytes": "2MiB", "load_timeout": 1, "locality": "REMOTE", "enable_kv_events": True,
                                "isa": "cuda/9.0", "layout_detail": "backend=FLASH_ATTN"})
        self.assertEqual((options.common.max_save_bytes, options.common.load_timeout, options.locality, options.enable_kv_events),
                         (2 << 20, 1.0, "REMOTE", True))

    def test_refused(self) -> None:
        for given, word in (({}, "endpoint"), ({"endpoint": "embedded:"}, "unix:"), ({**ENDPOINT, "endpont": 1}, "endpont"),
                            ({**ENDPOINT, "chunk_tokens": 256}, "block_size"), ({**ENDPOINT, "load": "off"}, "load"),
                            ({**ENDPOINT, "locality": "NEAR"}, "locality"), ({**ENDPOINT, "enable_kv_events": 1}, "enable_kv_events"),
                            ({**ENDPOINT, "isa": 1}, "isa"), ({**ENDPOINT, "layout_detail": None}, "layout_detail"),
                            ({**ENDPOINT, "lookup_timeout": 0}, "lookup_timeout")):
            with self.subTest(given), self.assertRaisesRegex(OptionError, word):
                tier_options(given)


if __name__ == "__main__":
    unittest.main()
