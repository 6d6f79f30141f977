#!/usr/bin/env python3
"""kvasirctl codec, without a node: there and back for every dtype, cut and damaged objects, comparisons, plots, mistakes.

Usage: codec.py KVASIRCTL
"""

import array
import hashlib
import json
import os
import random
import stat
import struct
import subprocess
import sys
import tempfile

KVASIRCTL = os.path.abspath(sys.argv[1])
LAYERS, TOKENS, HEADS, KEY_DIM, VALUE_DIM = 3, 37, 2, 64, 32


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def run(code, *arguments, **keywords):
    """Runs `kvasirctl codec`; returns its output and its complaints."""
    done = subprocess.run([KVASIRCTL, "codec", *arguments], capture_output=True, timeout=300, check=False, **keywords)
    out, err = done.stdout.decode(), done.stderr.decode()
    check(done.returncode == code, f"codec {' '.join(arguments)}: exit {done.returncode}, not {code}: {out}{err}")
    return out, err


def complains(code, words, *arguments):
    out, err = run(code, *arguments)
    check(words in err, f"codec {' '.join(arguments)}: no '{words}' in: {err}")
    check(out == "", f"codec {' '.join(arguments)}: fails and prints {out}")


def bf16(number):
    return struct.unpack("<I", struct.pack("<f", number))[0] >> 16


def npy(path, descr, shape, data):
    """Writes a NumPy file, version 1."""
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)


def npy_data(path):
    with open(path, "rb") as file:
        content = file.read()
    begin = 10 + struct.unpack("<H", content[8:10])[0]
    return content[10:begin].decode().strip(), content[begin:]


def numbers(shape, seed):
    """bf16 numbers of channels with means and deviations of their own."""
    rand = random.Random(seed)
    count = 1
    for size in shape:
        count *= size
    dim = shape[-1]
    channels = [(rand.gauss(0, 1), 0.5 + rand.random()) for _ in range(dim)]
    return array.array("H", (bf16(rand.gauss(*channels[i % dim])) for i in range(count)))


def content(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def make_tensors():
    k_shape, v_shape = (LAYERS, TOKENS, HEADS, KEY_DIM), (LAYERS, TOKENS, HEADS, VALUE_DIM)
    npy("k.npy", "<u2", k_shape, numbers(k_shape, 1).tobytes())
    npy("v.npy", "<u2", v_shape, numbers(v_shape, 2).tobytes())
    q_shape = (LAYERS, 5, 2 * HEADS, KEY_DIM)
    npy("q.npy", "<u2", q_shape, numbers(q_shape, 3).tobytes())


def there_and_back():
    for level in ("lossless", "raw", "zstd"):
        run(0, "encode", "k.npy", "--values", "v.npy", "-o", "a.kvc", "--level", level)
        run(0, "decode", "a.kvc", "-o", "k2.npy", "--values", "v2.npy")
        check(npy_data("k2.npy") == npy_data("k.npy"), f"{level}: the keys came back different")
        check(npy_data("v2.npy") == npy_data("v.npy"), f"{level}: the values came back different")
    out, _ = run(0, "inspect", "a.kvc")
    check("level zstd" in out and "sound:" in out, out)
    run(0, "decode", "a.kvc", "-o", "all.bin")
    keys, values = npy_data("k.npy")[1], npy_data("v.npy")[1]
    n_keys, n_values = len(keys) // LAYERS, len(values) // LAYERS
    layers = [keys[i * n_keys : (i + 1) * n_keys] + values[i * n_values : (i + 1) * n_values] for i in range(LAYERS)]
    check(content("all.bin") == b"".join(layers), "the raw bytes are not layer by layer, keys first")
    out, _ = run(0, "encode", "k.npy", "-o", "keys.kvc", "--json")
    check(json.loads(out)["value_dim"] == 0 and json.loads(out)["ratio"] > 1, out)
    run(0, "decode", "keys.kvc", "-o", "k2.npy")
    check(npy_data("k2.npy") == npy_data("k.npy"), "keys alone came back different")


def other_dtypes():
    rand = random.Random(4)
    shape = (2, 9, 1, 16)
    small = bytes(rand.randrange(256) for _ in range(2 * 9 * 16))
    wide = bytes(rand.randrange(256) for _ in range(2 * 2 * 9 * 16))
    for descr, dtype, data in (
        ("<u2", "fp16", wide),
        ("<f2", None, wide),
        ("|u1", "e4m3", small),
        ("|u1", "e5m2", small),
        ("|i1", None, small),
    ):
        npy("x.npy", descr, shape, data)
        run(0, "encode", "x.npy", "-o", "x.kvc", *(["--dtype", dtype] if dtype else []))
        run(0, "decode", "x.kvc", "-o", "y.npy")
        check(npy_data("y.npy")[1] == data, f"{descr} as {dtype} came back different")
    npy("f4.npy", "<f4", (1, 2, 1, 8), struct.pack("<16f", *range(16)))
    complains(2, "--dtype", "encode", "f4.npy", "-o", "x.kvc")
    run(0, "encode", "f4.npy", "-o", "x.kvc", "--dtype", "bf16")
    run(0, "decode", "x.kvc", "-o", "y.npy")
    check(npy_data("y.npy")[1] == struct.pack("<16H", *(bf16(i) for i in range(16))), "f4 was not rounded to bf16")


def axes():
    """A file in another order of axes, and with sequences, gives the same object."""
    data = array.array("H", npy_data("k.npy")[1])
    turned = array.array("H")
    for layer in range(LAYERS):
        turned.extend([0] * (HEADS * TOKENS * KEY_DIM))  # sequence 0
        for head in range(HEADS):
            for token in range(TOKENS):
                at = ((layer * TOKENS + token) * HEADS + head) * KEY_DIM
                turned.extend(data[at : at + KEY_DIM])
    npy("turned.npy", "<u2", (LAYERS, 2, HEADS, TOKENS, KEY_DIM), turned.tobytes())
    run(0, "encode", "turned.npy", "--axes", "lshtd", "--sequence", "1", "-o", "turned.kvc")
    check(content("turned.kvc") == content("keys.kvc"), "axes in another order give another object")
    complains(2, "sequences 0 to 1", "encode", "turned.npy", "--axes", "lshtd", "--sequence", "2", "-o", "x.kvc")
    complains(2, "names 4 axes", "encode", "turned.npy", "--axes", "lhtd", "-o", "x.kvc")
    complains(2, "each of s, l, t, h and d once", "encode", "turned.npy", "--axes", "lsttd", "-o", "x.kvc")


def ladder():
    run(0, "encode", "k.npy", "--values", "v.npy", "-o", "l.kvc", "--level", "ladder", "--planes", "3")
    out, _ = run(0, "inspect", "l.kvc")
    for words in ("level ladder, 3 planes", "QUALITY", "PLANE 3", "entropy-coded", "CLASS", "sound:"):
        check(words in out, f"inspect does not say '{words}': {out}")
    out, _ = run(0, "inspect", "l.kvc", "--json")
    seen = json.loads(out)
    whole = content("l.kvc")
    check(seen["sound"] and seen["quality"] == 3 and seen["bytes"] == len(whole), out)
    segments = sum(segment["bytes"] for layer in seen["per_layer"] for segment in layer["segments"])
    check(seen["qualities"][3]["cut_at"] == len(whole) > segments, out)
    blocks = sum(sum(layer["blocks"].values()) for layer in seen["per_layer"])
    bases = sum(layer["segments"][0]["bytes"] for layer in seen["per_layer"])
    check(sum(seen["base_parts"].values()) == bases, "the parts are not the whole")
    columns = sum(sum(counts) for kind in seen["classes"].values() for counts in kind.values())
    check(columns == LAYERS * HEADS * (KEY_DIM + VALUE_DIM) and blocks == 2 * LAYERS, out)
    return whole, [quality["cut_at"] for quality in seen["qualities"]]


def cut_objects(whole, ends):
    decoded = []
    for quality, end in enumerate(ends):
        write("cut.kvc", whole[:end])
        run(0, "decode", "cut.kvc", "-o", "k2.npy", "--values", "v2.npy")
        run(0, "decode", "l.kvc", "-o", "k3.npy", "--values", "v3.npy", "--quality", str(quality))
        check(content("k2.npy") == content("k3.npy"), f"cut at quality {quality} is not quality {quality}")
        decoded.append(content("k2.npy"))
        out, _ = run(0, "inspect", "cut.kvc", "--json")
        check(json.loads(out)["quality"] == quality and json.loads(out)["sound"], out)
    check(len(set(decoded)) == len(ends), "qualities that are the same")
    write("cut.kvc", whole[: ends[1] + 5])
    complains(1, "has no quality 2", "decode", "cut.kvc", "-o", "none.bin", "--quality", "2")
    out, _ = run(0, "inspect", "cut.kvc")
    check("cut:" in out and "cut off" in out, out)
    write("cut.kvc", whole[: ends[0] - 1])
    complains(1, "cut within its base", "decode", "cut.kvc", "-o", "none.bin")
    run(0, "inspect", "cut.kvc")
    for size in (81, 8, 3):
        write("cut.kvc", whole[:size])
        complains(4, "is no KVC1 object" if size < 8 else "cut within its header", "inspect", "cut.kvc")
    check(not os.path.exists("none.bin"), "a failure left a file")


def damaged_objects(whole, ends):
    for at in (20, 100, ends[0] - 10, ends[2] - 10):
        broken = bytearray(whole)
        broken[at] ^= 0x10
        write("broken.kvc", broken)
        out, err = run(4, "inspect", "broken.kvc")
        check("is damaged" in err and (at < 200 or "DAMAGED" in out), f"{at}: {out}{err}")
        if at < ends[2] - 10:
            complains(4, "is damaged", "decode", "broken.kvc", "-o", "none.bin")
    complains(4, "is damaged", "decode", "broken.kvc", "-o", "none.bin")
    run(0, "decode", "broken.kvc", "-o", "some.bin", "--quality", "1")  # what is damaged lies behind
    newer = bytearray(whole)
    newer[4] = 3
    write("newer.kvc", newer)
    complains(4, "version 3", "inspect", "newer.kvc")
    check(not os.path.exists("none.bin"), "a failure left a file")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def raw_object(first_tokens, profile):
    """An object of level raw, bf16, 4 tokens of one head with keys of 8, by docs/formats/kvc1.md and not by our encoder."""
    rows = [bytes([layer + 1]) * (16 * (4 - first)) for layer, first in enumerate(first_tokens)]
    windows = struct.pack(f"<{len(rows)}H", *first_tokens)
    windows += bytes(-len(windows) % 8)
    table = b"".join(struct.pack("<II", len(row), crc32c(row)) for row in rows)
    length = 80 + len(windows) + len(table)
    total = sum(len(row) for row in rows)
    head = b"KVC1" + struct.pack("<BBBBIIQQ", 2, 0, 1, 0, length, 0, length + total, 0) + profile
    head += struct.pack("<HHHHHHIQHHI", len(rows), 4, 1, 8, 0, 0, 100, total, 1, 0, 0)
    head += windows + table
    return head[:12] + struct.pack("<I", crc32c(head)) + head[16:] + b"".join(rows), b"".join(rows)


def sliding_windows_and_profiles():
    whole, rows = raw_object([0, 3], bytes(16))
    write("window.kvc", whole)
    out, _ = run(0, "inspect", "window.kvc")
    check("sliding windows" in out and "from token 100" in out and "sound:" in out, out)
    run(0, "decode", "window.kvc", "-o", "window.bin")
    check(content("window.bin") == rows, "the raw bytes of windows are not what the layers have")
    run(0, "decode", "window.kvc", "-o", "window.npy")
    check(npy_data("window.npy")[1] == b"\x01" * 64 + bytes(48) + b"\x02" * 16, "a window is not at its tokens' place")
    whole, _ = raw_object([0, 3], b"profile" + bytes(9))
    write("profile.kvc", whole)
    complains(4, "needs a profile", "decode", "profile.kvc", "-o", "none.bin")
    out, _ = run(0, "inspect", "profile.kvc")
    check("needs a profile" in out and "cannot be decoded here" in out, out)


def any_bytes():
    data = b"what is no tensor " * 500
    write("state.bin", data)
    run(0, "encode", "state.bin", "-o", "state.kvc")
    check(len(content("state.kvc")) < len(data) // 4, "zstd did not compress")
    run(0, "decode", "state.kvc", "-o", "state2.bin")
    check(content("state2.bin") == data, "bytes came back different")
    run(0, "encode", "k.npy", "--bytes", "--level", "raw", "-o", "state.kvc")
    run(0, "decode", "state.kvc", "-o", "again.npy")
    check(content("again.npy") == content("k.npy"), "a .npy as bytes came back different")
    complains(2, "takes tensors", "encode", "state.bin", "-o", "x.kvc", "--level", "ladder")
    out, _ = run(0, "compare", "state.bin")
    check("zstd -19" in out and "ladder" not in out, out)


def pipes_and_devices():
    """What is no regular file is written to: a device that root names with --output must not give way to a file."""
    write("small.bin", b"one and only " * 100)
    run(0, "encode", "small.bin", "-o", "small.kvc")
    os.mkfifo("pipe")
    pipe = os.open("pipe", os.O_RDWR | os.O_NONBLOCK)
    run(0, "encode", "small.bin", "-o", "pipe")
    check(stat.S_ISFIFO(os.stat("pipe").st_mode), "a pipe gave way to a file")
    check(os.read(pipe, 65536) == content("small.kvc"), "a pipe got something else than a file")
    os.close(pipe)
    os.remove("pipe")
    os.mkdir("folder")
    complains(4, "folder: Is a directory", "encode", "small.bin", "-o", "folder")
    os.rmdir("folder")


def compare():
    out, _ = run(0, "compare", "k.npy", "--values", "v.npy", "--queries", "q.npy", "--plot", "curve.svg")
    for words in ("raw", "lossless", "ladder, 0 planes", "ladder, 1 plane ", "ladder, 3 planes", "cachegen", "zstd"):
        check(words in out, f"compare has no '{words}': {out}")
    check("depends on the machine" in out, out)
    picture = content("curve.svg").decode()
    check(picture.startswith("<svg") and picture.count("<circle") == 2 + 4 + 5, picture)
    out, _ = run(0, "compare", "k.npy", "--values", "v.npy", "--queries", "q.npy", "--json")
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    for name in ("raw", "lossless", "zstd -3"):
        check(rows[name]["exact"] and rows[name]["keys"] == rows[name]["attention"] == 0, out)
    ladders = [rows[f"ladder, {n} plane{'' if n == 1 else 's'}"] for n in range(4)]
    for better, worse in zip(ladders[1:], ladders):
        for error in ("keys", "values", "attention"):
            check(0 < better[error] < worse[error] < 1, f"a plane more is not better: {out}")
        check(better["bits_per_element"] > worse["bits_per_element"], out)
    check(0.01 < ladders[2]["keys"] < 0.04, f"2 planes are not of the FP8 grade: {out}")
    run(0, "compare", "k.npy")
    e4m3 = bytes(random.Random(5).randrange(0x40) for _ in range(LAYERS * TOKENS * HEADS * KEY_DIM))
    npy("k8.npy", "|u1", (LAYERS, TOKENS, HEADS, KEY_DIM), e4m3)
    run(0, "compare", "k8.npy", "--values", "k8.npy", "--dtype", "e4m3", "--queries", "q.npy")  # these are bf16
    not_numbers = array.array("H", npy_data("v.npy")[1])
    not_numbers[5] = 0x7FC0
    npy("nan.npy", "<u2", (LAYERS, TOKENS, HEADS, VALUE_DIM), not_numbers.tobytes())
    out, _ = run(0, "compare", "k.npy", "--values", "nan.npy", "--queries", "q.npy", "--json")
    json.loads(out, parse_constant=lambda name: check(False, f"{name} is no JSON"))
    complains(2, "needs keys and", "compare", "k.npy", "--queries", "q.npy")
    complains(4, "query heads", "compare", "k.npy", "--values", "v.npy", "--queries", "odd.npy")


def sequences_of(name, shape, seed):
    """A file with four sequences, of which two are of one kind and two of another; the second head is a tenth of the first."""
    data = array.array("H")
    for sequence in range(4):
        one = numbers(shape, seed + sequence % 2)
        for i in range(len(one)):
            if i // shape[-1] % shape[-2] == 1:
                one[i] = bf16(struct.unpack("<f", struct.pack("<I", one[i] << 16))[0] / 10)
        data.extend(one)
    npy(name, "<u2", (4, *shape), data.tobytes())


def profiles():
    sequences_of("ks.npy", (LAYERS, TOKENS, HEADS, KEY_DIM), 11)
    sequences_of("vs.npy", (LAYERS, TOKENS, HEADS, VALUE_DIM), 21)
    sequences_of("qs.npy", (LAYERS, 5, 2 * HEADS, KEY_DIM), 31)
    samples = ("ks.npy", "--values", "vs.npy", "--queries", "qs.npy")
    out, _ = run(0, "profile", *samples, "-o", "model.kvp")
    check("from 4 samples" in out and "SAVED" in out and "half of the others" in out, out)
    whole = content("model.kvp")
    check(len(whole) == 40 + LAYERS * HEADS * 4, f"a profile of {len(whole)} bytes")
    out, _ = run(0, "profile", *samples, "-o", "again.kvp", "--json")
    made = json.loads(out)
    check(content("again.kvp") == whole, "the same samples gave another profile")
    check(made["profile"] == hashlib.sha256(whole).hexdigest()[:32], out)
    check(made["samples"] == 4 and made["tried_on_others"] and len(made["qualities"]) == 4, out)
    for quality in made["qualities"]:
        check(0 < quality["with"]["attention"] < 1 and quality["with"]["bits_per_element"] > 1, out)
    factors = [factor for layer in made["factors"] for plane in layer.values() for factor in plane]
    check(len(factors) == LAYERS * HEADS * 2 and all(0.25 <= factor <= 2 for factor in factors), out)
    for layer in made["factors"]:  # attention hardly minds the small head's keys
        check(layer["keys"][1] > 1.2 * layer["keys"][0], out)
    out, _ = run(0, "inspect", "model.kvp", "--json")
    check(json.loads(out)["factors"] == made["factors"] and json.loads(out)["profile"] == made["profile"], out)
    out, _ = run(0, "inspect", "model.kvp")
    check(made["profile"] in out and "Factors" in out, out)
    out, _ = run(0, "profile", *samples, "-o", "one.kvp", "--sequences", "3")
    check("from 1 samples" in out and "only this sample" in out, out)
    two = ("ks.npy", "ks.npy", "--values", "vs.npy,vs.npy", "--queries", "qs.npy,qs.npy")
    out, _ = run(0, "profile", *two, "-o", "two.kvp", "--sequences", "1-2", "--json")
    check(json.loads(out)["samples"] == 4, out)
    use_profile()
    profile_mistakes(samples, whole)


def use_profile():
    chunk = ("ks.npy", "--values", "vs.npy", "--sequence", "2")
    run(0, "encode", *chunk, "-o", "with.kvc", "--level", "ladder", "--profile", "model.kvp")
    run(0, "encode", *chunk, "-o", "without.kvc", "--level", "ladder")
    check(content("with.kvc") != content("without.kvc"), "a profile changes nothing")
    check(content("with.kvc")[32:48] == bytes(16), "the object needs a profile to decode")
    out, _ = run(0, "inspect", "with.kvc")
    check("sound:" in out and "profile" not in out, out)
    run(0, "decode", "with.kvc", "-o", "k2.npy", "--values", "v2.npy")
    out, _ = run(0, "compare", *chunk, "--queries", "qs.npy", "--profile", "model.kvp", "--plot", "both.svg", "--json")
    rows = [row for row in json.loads(out)["rows"] if row["profile"]]
    check([row["planes"] for row in rows] == [3, 2, 1, 0] and rows[1]["bytes"] == len(content("with.kvc")), out)
    check("ladder, profile" in content("both.svg").decode(), "the picture has no curve of the profile")


def profile_mistakes(samples, whole):
    encode = ("encode", "ks.npy", "--values", "vs.npy", "-o", "x.kvc")
    ladder_with = (*encode, "--level", "ladder", "--profile")
    complains(2, "--profile goes with --level ladder", *encode, "--profile", "model.kvp")
    complains(4, "No such file", *ladder_with, "missing.kvp")
    complains(4, "is no profile", *ladder_with, "with.kvc")
    words = "is for 3 layers, 2 heads, keys of 64 and values of 32"
    complains(4, words, "encode", "ks.npy", "-o", "x.kvc", "--level", "ladder", "--profile", "model.kvp")
    for at, words in ((4, "version 3 of KVP1"), (45, "is damaged"), (24, "is damaged")):
        broken = bytearray(whole)
        broken[at] ^= 2
        write("broken.kvp", broken)
        complains(4, words, *ladder_with, "broken.kvp")
        complains(4, words, "inspect", "broken.kvp")
    write("broken.kvp", whole[:50])
    complains(4, "is damaged", "inspect", "broken.kvp")
    complains(2, "--output", "profile", *samples)
    complains(2, "needs --values and --queries", "profile", "ks.npy", "--values", "vs.npy", "-o", "x.kvp")
    complains(2, "one for each SAMPLE", "profile", "ks.npy", *samples, "-o", "x.kvp")
    complains(2, "has sequences 0 to 3", "profile", *samples, "-o", "x.kvp", "--sequences", "2-4")
    complains(2, "--sequences takes", "profile", *samples, "-o", "x.kvp", "--sequences", "3-1")
    complains(4, "is no .npy", "profile", "with.kvc", *samples[1:], "-o", "x.kvp")
    swapped = ("ks.npy", "--values", "qs.npy", "--queries", "qs.npy")
    complains(4, "the keys in ks.npy have", "profile", *swapped, "-o", "x.kvp")
    others = ("ks.npy", "k.npy", "--values", "vs.npy,k.npy", "--queries", "qs.npy,q.npy", "-o", "x.kvp")
    complains(4, "another dtype, layers", "profile", *others)
    npy("v3.npy", "<u2", (3, LAYERS, TOKENS, HEADS, VALUE_DIM), content("vs.npy")[-6 * LAYERS * TOKENS * HEADS * VALUE_DIM :])
    fewer = "v3.npy: has sequences 0 to 2, and those taken of ks.npy go up to 3"
    complains(4, fewer, "profile", "ks.npy", "--values", "v3.npy", "--queries", "qs.npy", "-o", "x.kvp")
    some = ("ks.npy", "--values", "v3.npy", "--queries", "qs.npy", "-o", "some.kvp", "--sequences", "1-2")
    run(0, "profile", *some)
    check(not os.path.exists("x.kvp") and not os.path.exists("x.kvc"), "a mistake left a file")


def plot_png():
    """A gnuplot of ours stands for the real one, which may not be there."""
    os.mkdir("bin")
    write("bin/gnuplot", b"#!/bin/sh\ngrep -q pngcairo && printf picture\n")
    os.chmod("bin/gnuplot", stat.S_IRWXU)
    path = os.environ["PATH"]
    run(0, "compare", "k.npy", "--plot", "curve.png", env={**os.environ, "PATH": f"{os.getcwd()}/bin:{path}"})
    check(content("curve.png") == b"picture", "gnuplot's picture is not in the file")
    _, err = run(4, "compare", "k.npy", "--plot", "none.png", env={**os.environ, "PATH": "/nowhere"})
    check("gnuplot is not installed" in err and not os.path.exists("none.png"), err)
    write("bin/gnuplot", b"#!/bin/sh\nexit 3\n")
    _, err = run(4, "compare", "k.npy", "--plot", "none.png", env={**os.environ, "PATH": f"{os.getcwd()}/bin:{path}"})
    check("gnuplot failed" in err and not os.path.exists("none.png"), err)
    complains(2, ".svg or .png", "compare", "k.npy", "--plot", "curve.pdf")


def mistakes():
    os.remove("x.kvc")
    npy("odd.npy", "<u2", (3, 4, 2, 2, 60), bytes(2 * 3 * 4 * 2 * 2 * 60))
    complains(4, "multiples of 8", "encode", "odd.npy", "-o", "x.kvc")
    npy("odd.npy", "<u2", (3, 5, 3, 64), bytes(2 * 3 * 5 * 3 * 64))
    complains(4, "the keys in k.npy have 37", "encode", "k.npy", "--values", "odd.npy", "-o", "x.kvc")
    npy("long.npy", "|i1", (1, 65536, 1, 8), bytes(65536 * 8))
    complains(4, "65536 tokens", "encode", "long.npy", "-o", "x.kvc")
    npy("u1.npy", "|u1", (1, 2, 1, 8), bytes(16))
    complains(2, "e4m3, e5m2 or int8", "encode", "u1.npy", "-o", "x.kvc")
    complains(2, "cannot be bf16", "encode", "u1.npy", "-o", "x.kvc", "--dtype", "bf16")
    complains(2, "it takes bf16", "encode", "u1.npy", "-o", "x.kvc", "--dtype", "fp8")
    write("not.npy", b"not one")
    complains(4, "not.npy", "encode", "not.npy", "-o", "x.kvc")
    complains(4, "No such file", "encode", "missing.npy", "-o", "x.kvc")
    complains(4, "No such file", "decode", "missing.kvc", "-o", "x.bin")
    complains(4, "is no KVC1 object", "inspect", "k.npy")
    complains(4, "is no file", "inspect", ".")
    complains(4, "No such file", "encode", "k.npy", "-o", "nowhere/x.kvc")
    complains(2, "--output", "encode", "k.npy")
    complains(2, "--planes goes", "encode", "k.npy", "-o", "x.kvc", "--planes", "2")
    complains(2, "--planes goes", "encode", "k.npy", "-o", "x.kvc", "--level", "ladder", "--planes", "4")
    complains(2, "--step goes", "encode", "k.npy", "-o", "x.kvc", "--level", "ladder", "--step", "5")
    complains(2, "--level 'best'", "encode", "k.npy", "-o", "x.kvc", "--level", "best")
    complains(2, "--zstd-level", "encode", "k.npy", "-o", "x.kvc", "--zstd-level", "3")
    complains(2, "--rotary", "encode", "k.npy", "-o", "x.kvc", "--rotary", "12")
    complains(2, "--values says where", "decode", "l.kvc", "-o", "x.npy")
    complains(2, "the object has no values", "decode", "keys.kvc", "-o", "x.npy", "--values", "y.npy")
    complains(2, "one .npy", "decode", "l.kvc", "-o", "x.npy", "--values", "x.npy")
    complains(2, "no option", "inspect", "l.kvc", "--endpoint", "unix:/x")
    complains(2, "no command 'codec fly'", "fly")
    check(not os.path.exists("x.kvc"), "a mistake left a file")


def help_and_completion():
    out, _ = run(0, "--help")
    check("compare" in out, out)
    run(2)
    for command in ("inspect", "encode", "decode", "compare", "profile"):
        out, _ = run(0, command, "--help")
        check(f"Usage: kvasirctl codec {command}" in out and "endpoint" not in out, out)
    script = subprocess.run([KVASIRCTL, "completion", "bash"], capture_output=True, timeout=60, check=True).stdout.decode()
    for words, expected in (("codec in", "inspect"), ("codec encode --lev", "--level"), ("codec decode l.kv", "l.kvc")):
        program = f"{script}\nCOMP_WORDS=(kvasirctl {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_kvasirctl\n"
        done = subprocess.run(
            ["bash", "-c", program + 'echo "${COMPREPLY[*]}"'], capture_output=True, timeout=60, check=True
        )
        check(done.stdout.decode().strip() == expected, f"bash completes '{words}' to {done.stdout} {done.stderr}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_tensors()
        there_and_back()
        other_dtypes()
        axes()
        whole, ends = ladder()
        cut_objects(whole, ends)
        damaged_objects(whole, ends)
        sliding_windows_and_profiles()
        any_bytes()
        pipes_and_devices()
        mistakes()
        compare()
        profiles()
        plot_png()
        help_and_completion()
        check(not [name for name in os.listdir() if name.count(".") > 1], "temporary files were left")
        os.chdir("/")
    print("kvasirctl codec: all well")


main()
