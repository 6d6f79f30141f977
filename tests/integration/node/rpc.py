"""A stock gRPC client for tests: what any language's library would do, nothing of Kvasir's own code."""
import hashlib
import itertools
import os
import queue

import grpc

from harness import SLOW
from kvasir.v1 import cache_pb2 as pb
from kvasir.v1 import health_pb2

OK, MISS, EXISTS = 0, 1, 3
ERR_KEY_LENGTH, ERR_TOO_LARGE, ERR_SPACE_UNKNOWN, ERR_SPACE_MISMATCH = -4, -5, -6, -7
ERR_CHECKSUM, ERR_VERSION, ERR_DRAINING = -12, -101, -103
TIMEOUT = 20 * SLOW
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
           ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def cbor(value):
    """Canonical CBOR of whole numbers, text, bytes and lists."""
    kind = {int: 0, bytes: 2, str: 3, list: 4}[type(value)]
    body = value.encode() if isinstance(value, str) else value
    size = value if kind == 0 else len(body)
    head = bytes([kind << 5 | size]) if size < 24 else next(
        bytes([kind << 5 | code]) + size.to_bytes(width, "big")
        for code, width in ((24, 1), (25, 2), (26, 4), (27, 8)) if size < 1 << 8 * width)
    if kind == 0:
        return head
    return head + (body if kind != 4 else b"".join(cbor(item) for item in body))


def descriptor(**fields):
    """A space of opaque states of any size."""
    base = dict(model="test", weights=bytes(32), engine="test", layout=2, tokens_per_chunk=256, engine_block=256,
                tp_size=1, pp_size=1, cp_size=1, key_length=32)
    return pb.SpaceDescriptor(**{**base, **fields})


def digest(space):
    values = [getattr(space, field.name) for field in space.DESCRIPTOR.fields]
    return hashlib.sha256(cbor(["kvasir-space", 1, *values])).digest()


def new_key(length=32):
    return os.urandom(length)


class Client:
    def __init__(self, target):
        self.channel = grpc.insecure_channel(target, OPTIONS)

    def close(self):
        self.channel.close()

    def call(self, method, request, reply, service="Cache", timeout=TIMEOUT):
        name = f"/kvasir.v1.{service}/{method}"
        stub = self.channel.unary_unary(name, type(request).SerializeToString, reply.FromString)
        return stub(request, timeout=timeout)

    def ping(self, timeout=TIMEOUT):
        return self.call("Ping", pb.Empty(), pb.Empty, timeout=timeout)

    def served(self):
        """Whether a ping is answered. A server under pressure may tell an idle connection to come again: try until it is."""
        try:
            self.ping(timeout=5)
            return True
        except grpc.RpcError:
            return False

    def hello(self, low=1, high=1):
        return self.call("Hello", pb.HelloRequest(protocol_min=low, protocol_max=high, software="test"), pb.HelloReply)

    def watch_health(self, service=""):
        """A stream of statuses; cancel() ends it."""
        stub = self.channel.unary_stream("/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest.SerializeToString,
                                         health_pb2.HealthCheckResponse.FromString)
        return stub(health_pb2.HealthCheckRequest(service=service), timeout=10 * TIMEOUT)

    def health(self, service=""):
        stub = self.channel.unary_unary("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest.SerializeToString,
                                        health_pb2.HealthCheckResponse.FromString)
        return stub(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status

    def open_space(self, space=None):
        space = space or descriptor()
        reply = self.call("OpenSpace", pb.OpenSpaceRequest(digest=digest(space), descriptor=space), pb.OpenSpaceReply)
        assert reply.status == OK, reply
        return digest(space)

    def lookup(self, space, keys, key_length=32):
        request = pb.LookupRequest(spaces=[space], keys=pb.Keys(keys=b"".join(keys), key_length=key_length))
        return self.call("Lookup", request, pb.LookupReply)

    def transfer(self):
        return Transfer(self.channel)


class Transfer:
    """One Transfer stream; messages are bytes, so that tests can send what no library would."""

    def __init__(self, channel, timeout=TIMEOUT):
        self.outgoing = queue.Queue()
        stub = channel.stream_stream("/kvasir.v1.Cache/Transfer")
        self.call = stub(iter(self.outgoing.get, None), timeout=timeout)
        self.ids = itertools.count(1)

    def send(self, message):
        self.outgoing.put(message if isinstance(message, bytes) else message.SerializeToString())

    def end(self):
        self.outgoing.put(None)

    def receive(self):
        return pb.Frame.FromString(next(self.call))

    def code(self):
        """Reads to the stream's end: its status code."""
        try:
            while True:
                next(self.call)
        except StopIteration:
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    # ---- puts and gets of one chunk each ----

    def start_put(self, space, key, lengths, **fields):
        number = next(self.ids)
        start = pb.TransferStart(id=number, put=True, space=space, timeout_ms=TIMEOUT * 1000, lengths=[sum(lengths)],
                                 keys=pb.Keys(keys=key, key_length=len(key), unchained=True),
                                 segment_counts=[len(lengths)], segment_lengths=lengths)
        for name, value in fields.items():
            setattr(start, name, value)
        return number, start

    def put(self, space, key, segments, crcs=None):
        """Sends a chunk, a segment in a frame; returns how it ended. An end may come before all is sent."""
        number, start = self.start_put(space, key, [len(segment) for segment in segments])
        self.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        for index, segment in enumerate(segments):
            crc = crcs[index] if crcs else crc32c(segment)
            self.send(put_frame(number, index, segment, crc))
        return self.wait_end(number)

    def wait_end(self, number):
        while True:
            for end in self.receive().header.ends:
                if end.id == number:
                    return end.status

    def start_get(self, space, key, room):
        number = next(self.ids)
        return number, pb.TransferStart(id=number, space=space, timeout_ms=TIMEOUT * 1000, lengths=[room],
                                        keys=pb.Keys(keys=key, key_length=len(key), unchained=True))

    def get(self, space, key, room=1 << 27):
        """(status, bytes) of a chunk, each segment's checksum compared."""
        number, start = self.start_get(space, key, room)
        self.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        segments, wanted = {}, {}
        while True:
            frame = self.receive()
            at = 0
            for piece in frame.header.pieces:
                segments.setdefault(piece.segment, bytearray()).extend(frame.data[at:at + piece.length])
                at += piece.length
                if piece.first:
                    wanted[piece.segment] = piece.crc32c
            assert at == len(frame.data)
            for end in frame.header.ends:
                if end.id == number:
                    for index, crc in wanted.items():
                        assert end.status != OK or len(segments[index]) > 1 << 21 or crc32c(segments[index]) == crc
                    return end.status, b"".join(segments[index] for index in sorted(segments))


def put_frame(number, segment, data, crc, **fields):
    piece = pb.Piece(id=number, chunk=0, segment=segment, offset=0, length=len(data), crc32c=crc, first=True, last=True)
    for name, value in fields.items():
        setattr(piece, name, value)
    return pb.Frame(header=pb.FrameHeader(pieces=[piece]), data=data)


def reversed_fields(frame):
    """The same message with data in front of the header, which protobuf allows."""
    header = pb.Frame(header=frame.header).SerializeToString()
    return pb.Frame(data=frame.data).SerializeToString() + header
