#!/usr/bin/env python3
"""Writes vectors.h: expected keys, digests and tables, computed from the definitions in docs/formats/ and from those of
SGLang and vLLM, with Python's own hashlib and the few lines of CBOR and CRC-32C below: nothing here calls Kvasir.

    vectors.py > vectors.h        makes it anew
    vectors.py --check vectors.h  fails if it is not what would be written
"""
import hashlib
import struct
import sys

# ---- the encodings, as RFC 8949 section 4.2.1 and RFC 3720 appendix B.4 say


def cbor_head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for code, form in ((24, ">B"), (25, ">H"), (26, ">I"), (27, ">Q")):
        if n < 1 << 8 * struct.calcsize(form):
            return bytes([major << 5 | code]) + struct.pack(form, n)
    raise ValueError(n)


def cbor(item):
    if item is None:
        return b"\xf6"
    if isinstance(item, int):
        return cbor_head(0, item)
    if isinstance(item, bytes):
        return cbor_head(2, len(item)) + item
    if isinstance(item, str):
        text = item.encode()
        return cbor_head(3, len(text)) + text
    return cbor_head(4, len(item)) + b"".join(map(cbor, item))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sha(data):
    return hashlib.sha256(data).digest()


# ---- chains


def le(tokens):
    return struct.pack("<%dI" % len(tokens), *tokens)


def chain(tokens, chunk, block, parent, step):
    """step(parent, tokens, index of the block) for each block; the key of a chunk is its last block's hash."""
    keys = []
    for i in range(len(tokens) // chunk * chunk // block):
        parent = step(parent, tokens[i * block : (i + 1) * block], i)
        if (i + 1) * block % chunk == 0:
            keys.append(parent)
    return keys


def native(tokens, chunk, block, parent):
    return chain(tokens, chunk, block, parent, lambda p, t, i: sha(p + le(t)))


def sglang(tokens, chunk, block, parent=b""):  # get_hash_str(token_ids, prior_hash)
    return chain(tokens, chunk, block, parent, lambda p, t, i: sha(p + le(t)))


def vllm(tokens, chunk, block, parent, extra=None):  # hash_block_tokens with sha256_cbor
    return chain(tokens, chunk, block, parent, lambda p, t, i: sha(cbor([p, t, extra if i == 0 else None])))


def none_hash(seed):  # init_none_hash
    return sha(cbor(seed))


def made_up_tokens(n):  # the same formula stands in test_keys.c
    return [i * 7919 % 128256 for i in range(n)]


EDGES = [0, 1, 23, 24, 255, 256, 65535, 65536, 128255, 2**31 - 1, 2**31, 2**32 - 1]

# The first block of a prompt whose hash a running vLLM 0.32 (sha256_cbor, block of 32, PYTHONHASHSEED not set) told.
ENGINE_TOKENS = [
    168, 488, 80, 205, 336, 27, 40, 423, 277, 51, 190, 301, 32, 468, 262, 112, 22, 47, 225, 217, 38, 126, 49, 285,
    220, 33, 426, 292, 66, 488, 117, 325,
]
ENGINE_HASH = "6f1e10aab331a49b3f6a0f8129d05424971b4e8cc2b7cd90d5e22306678572a3"

# ---- spaces: the list that is hashed, in order

FIELDS = (
    "model revision weights engine isa layout key_dtype value_dtype layers kv_heads key_dim value_dim layout_detail "
    "tokens_per_chunk engine_block kv_group tp_rank tp_size pp_rank pp_size cp_rank cp_size hash key_length chunk_bytes"
).split()


def space(**set_fields):
    values = dict.fromkeys(FIELDS, 0)
    values.update(dict.fromkeys(("model", "revision", "engine", "isa", "layout_detail"), ""))
    values.update(weights=bytes(32), tp_size=1, pp_size=1, cp_size=1, tokens_per_chunk=256, engine_block=256)
    values.update(set_fields)
    assert list(values) == FIELDS
    return ["kvasir-space", 1] + [values[f] for f in FIELDS]


LLAMA = dict(
    model="llama-3-8b", revision="main", weights=bytes(range(32)), layout=1, key_dtype=3, value_dtype=3, layers=32,
    kv_heads=8, key_dim=128, value_dim=128, hash=1, key_length=32, chunk_bytes=32 * 8 * (128 + 128) * 2 * 256,
)
SPACES = {
    "tensors": space(**LLAMA),
    "tensors_rank": space(**{**LLAMA, "kv_heads": 4, "chunk_bytes": LLAMA["chunk_bytes"] // 2, "tp_rank": 1,
                             "tp_size": 2, "engine_block": 16}),
    "q8_0": space(**{**LLAMA, "key_dtype": 7, "value_dtype": 7, "chunk_bytes": 32 * 256 * 2 * (8 * 128 // 32 * 34)}),
    "opaque": space(model="modèle", engine="llama.cpp/0.5.0", isa="avx512", layout=2, layout_detail="v_trans=0",
                    hash=0, key_length=8),
    "vllm_pages": space(model="m" * 255, engine="vllm/0.32.0", isa="avx512", layout=2, engine_block=32, kv_group=3,
                        pp_rank=1, pp_size=4, cp_rank=7, cp_size=8, hash=3, key_length=64, chunk_bytes=2**33),
}

# ---- segment tables


def table(segments, quality):
    body = struct.pack("<Q", sum(n for n, _ in segments)) + b"".join(struct.pack("<II", *s) for s in segments)
    head = struct.pack("<IHHI", 0x3154564B, 1, quality, len(segments))
    return head + struct.pack("<I", crc32c(head + bytes(4) + body)) + body


# ---- output


def array(name, items):
    return "static const char *const %s[] = {\n%s};\n" % (name, "".join('    "%s",\n' % i.hex() for i in items))


def text(name, data):
    return 'static const char %s[] =\n%s;\n' % (
        name, "\n".join('    "%s"' % data.hex()[i : i + 96] for i in range(0, len(data.hex()), 96)))


def numbers(name, values):
    return "static const uint32_t %s[] = {%s};\n" % (name, ", ".join("%du" % v for v in values))


def make():
    tokens, seed = made_up_tokens(1000), sha(b"a space")
    engine = vllm(ENGINE_TOKENS, 32, 32, none_hash("vllm-none-hash"))
    assert engine[0].hex() == ENGINE_HASH, engine[0].hex()
    out = [
        "/* Written by vectors.py; do not edit. */\n#ifndef KVI_TESTS_UNIT_PROTO_VECTORS_H\n"
        "#define KVI_TESTS_UNIT_PROTO_VECTORS_H\n\n#include <stdint.h>\n\n/* clang-format off */\n",
        text("vector_seed", seed),
        numbers("vector_edge_tokens", EDGES),
        numbers("vector_engine_tokens", ENGINE_TOKENS),
        array("vector_native", native(tokens, 256, 256, seed)),
        array("vector_native_blocks", native(tokens, 256, 16, seed)),
        array("vector_native_edges", native(EDGES, 4, 4, seed)),
        array("vector_sglang", sglang(tokens, 256, 256)),
        array("vector_sglang_pages", sglang(tokens, 256, 64)),
        array("vector_vllm", vllm(tokens, 256, 256, none_hash("0"))),
        array("vector_vllm_blocks", vllm(tokens, 256, 32, none_hash("0"))),
        array("vector_vllm_salt", vllm(tokens, 256, 32, none_hash("0"), ["salt"])),
        array("vector_vllm_edges", vllm(EDGES, 6, 3, none_hash("0"))),
        array("vector_vllm_engine", engine),
        array("vector_none_hashes", [none_hash(s) for s in ("0", "", "vllm-none-hash", "x" * 255)]),
        text("vector_salt_item", cbor(["salt"])),
        text("vector_table_one", table([(5, 0xDEADBEEF)], 0)),
        text("vector_table_three", table([(1, 0), (70000, 0xFFFFFFFF), (4096, 1)], 0x1234)),
    ]
    out += [text("vector_space_" + n, sha(cbor(s))) for n, s in SPACES.items()]
    out.append("#endif\n")
    return "\n".join(out)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        with open(sys.argv[2], encoding="ascii") as f:
            sys.exit(0 if f.read() == make() else "%s is not what vectors.py writes" % sys.argv[2])
    elif sys.argv[1:] == ["--cbor"]:
        for name, fields in SPACES.items():
            print(name, cbor(fields).hex())
    else:
        sys.stdout.write(make())
