#!/usr/bin/env python3
"""stock_protobuf.py FRAME_PEER ROOT: Kvasir's frames against a stock protobuf library, both ways.

Exit status 77 (skipped) where protoc or Python's protobuf is not installed.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

SKIP = 77


def load_messages(root, folder):
    try:
        import google.protobuf  # noqa: F401
    except ImportError:
        sys.exit(SKIP)
    if not shutil.which("protoc"):
        sys.exit(SKIP)
    subprocess.run(
        ["protoc", "--proto_path=" + root, "--python_out=" + folder, "proto/kvasir/v1/cache.proto"], check=True
    )
    sys.path.insert(0, os.path.join(folder, "proto", "kvasir", "v1"))
    import cache_pb2

    return cache_pb2


class Peer:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind, *parts):
        self.process.stdin.write(kind + b"".join(parts))
        self.process.stdin.flush()

    def take(self, n):
        data = self.process.stdout.read(n)
        assert len(data) == n, "the peer has ended"
        return data

    def numbers(self, n):
        return struct.unpack("<%dI" % n, self.take(4 * n))

    def prefix(self, header, data_length):
        self.ask(b"W", struct.pack("<I", len(header)), header, struct.pack("<I", data_length))
        return self.take(*self.numbers(1))

    def shape(self, message):
        self.ask(b"R", struct.pack("<I", len(message)), message)
        status, *shape = self.numbers(5)
        return struct.unpack("<i", struct.pack("<I", status))[0], shape

    def close(self):
        self.process.stdin.close()
        return self.process.wait(10)


def random_header(messages, rng):
    header = messages.FrameHeader()
    number = lambda bits: rng.getrandbits(rng.choice((1, 7, 8, 14, bits)))
    for _ in range(rng.randrange(3)):
        start = header.starts.add(id=number(64), put=rng.random() < 0.5, space=rng.randbytes(32), timeout_ms=number(32))
        start.keys.keys = rng.randbytes(32 * rng.randrange(20))
        start.keys.key_length = 32
        start.keys.first_place = number(32)
        start.keys.parent = rng.randbytes(rng.choice((0, 32)))
        start.keys.unchained = rng.random() < 0.5
        start.lengths.extend(number(64) for _ in range(rng.randrange(20)))
        start.segment_counts.extend(number(32) for _ in range(rng.randrange(20)))
        start.segment_lengths.extend(number(32) for _ in range(rng.randrange(200)))
    for _ in range(rng.randrange(50)):
        header.pieces.add(
            id=number(64), chunk=number(32), segment=number(32), offset=number(32), length=number(32),
            segment_length=number(32), crc32c=number(32), first=rng.random() < 0.5, last=rng.random() < 0.5,
            segments=number(32),
        )
    for _ in range(rng.randrange(10)):
        header.ends.add(id=number(64), chunk=number(32), status=rng.choice((0, 1, 3, -12, -201)), cause=number(3))
    header.cancels.extend(number(64) for _ in range(rng.randrange(5)))
    return header


def check_frame(messages, peer, header, data):
    frame = messages.Frame(header=header, data=data)
    stock = frame.SerializeToString()
    packed = header.SerializeToString()
    assert peer.prefix(packed, len(data)) + data == stock, "written otherwise"

    # Every order of the two fields, with unknown fields around them.
    at = stock.index(packed) + len(packed) if packed else 2
    head, tail, unknown = stock[:at], stock[at:], b"\x10\x05\xa2\x01\x02hi\x1d\x01\x02\x03\x04"
    for message in (stock, tail + head, unknown + head + tail, head + unknown + tail, head + tail + unknown):
        seen = messages.Frame.FromString(message)
        status, (header_offset, header_length, data_offset, data_length) = peer.shape(message)
        assert status == 0, status
        assert message[data_offset : data_offset + data_length] == seen.data, "data elsewhere"
        found = messages.FrameHeader.FromString(message[header_offset : header_offset + header_length])
        assert found == seen.header, "header elsewhere"


def main():
    rng = random.Random(2024)
    with tempfile.TemporaryDirectory() as folder:
        messages = load_messages(sys.argv[2], folder)
        peer = Peer(sys.argv[1])
        for _ in range(300):
            check_frame(messages, peer, random_header(messages, rng), rng.randbytes(rng.choice((0, 1, 127, 128, 5000))))
        check_frame(messages, peer, messages.FrameHeader(), b"")
        check_frame(messages, peer, random_header(messages, rng), rng.randbytes(2 << 20))
        for message in (b"\x0a\x05\x01", b"\x08\x01", b"\x0a\x00\x7a\x03ab"):  # what stock refuses or reads otherwise
            assert peer.shape(message)[0] < 0, message
        assert peer.close() == 0
    print("302 frames, byte for byte")


if __name__ == "__main__":
    main()
