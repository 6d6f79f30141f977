"""The node as a stock gRPC client sees it: health, unknown methods, any legal protobuf, typed refusals."""
import os
import signal
import time

import harness

harness.need_grpc()

import grpc  # noqa: E402
import rpc  # noqa: E402
from harness import NodeTest, until  # noqa: E402
from rpc import pb  # noqa: E402


class WireTest(NodeTest):
    def serve(self, **settings):
        node = self.node(**settings).start()
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        return node, client


class Standard(WireTest):
    def test_health(self):
        node, client = self.serve()
        self.assertEqual(client.health(), 1)
        self.assertEqual(client.health("kvasir.v1.Cache"), 1)
        with self.assertRaises(grpc.RpcError) as caught:
            client.health("no.such.Service")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        client.close()
        node.stop()

    def test_health_is_watched(self):
        """Told at once, and again when it changes; then the stream ends."""
        node, client = self.serve(drain_timeout="60s")
        watches = [client.watch_health(), client.watch_health("kvasir.v1.Cache")]
        for watch in watches:
            self.assertEqual(next(watch).status, 1)
        unknown = client.watch_health("no.such.Service")  # which may come yet
        self.assertEqual(next(unknown).status, 3)
        gone = client.watch_health()
        self.assertEqual(next(gone).status, 1)
        gone.cancel()
        node.signal(signal.SIGTERM)
        for watch in watches:
            self.assertEqual(next(watch).status, 2)
        for watch in [*watches, unknown]:
            with self.assertRaises(grpc.RpcError) as caught:
                next(watch)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        node.wait()

    def test_more_watch_than_there_is_room_for(self):
        node, client = self.serve()
        clients = [client] + [rpc.Client(f"127.0.0.1:{node.port}") for _ in range(2)]
        watches = [client.watch_health() for client in clients for _ in range(90)]  # there is room for 64 at each of 4 pollers at most
        refused = 0
        for watch in watches:
            try:
                self.assertEqual(next(watch).status, 1)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                refused += 1
        self.assertGreater(refused, 0)
        for watch in watches:
            watch.cancel()
        self.assertTrue(until(lambda: self.is_watched(client)))  # there is room again
        for client in clients:
            client.close()
        node.stop()

    def is_watched(self, client):
        try:
            watch = client.watch_health()
            return next(watch).status == 1
        except grpc.RpcError:
            return False
        finally:
            watch.cancel()

    def test_health_over_the_unix_socket(self):
        node, _ = self.serve()
        client = rpc.Client(f"unix:{node.socket}")
        self.assertEqual(client.health(), 1)
        client.close()
        node.stop()

    def test_unknown_method(self):
        """Answered at once; parked until the deadline it would be DEADLINE_EXCEEDED."""
        node, client = self.serve()
        for method in ("/kvasir.v1.Cache/NoSuch", "/no.such.Service/Method", "/"):
            with self.assertRaises(grpc.RpcError) as caught:
                client.channel.unary_unary(method)(b"", timeout=rpc.TIMEOUT)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED, method)
            with self.assertRaises(grpc.RpcError) as caught:
                list(client.channel.stream_stream(method)(iter([b"x"]), timeout=rpc.TIMEOUT))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED, method)
        client.ping()
        node.stop()

    def test_hello(self):
        node, client = self.serve(chunk__max_size="1MiB", frame__max_size="128KiB", batch__max_chunks="7")
        reply = client.hello()
        self.assertEqual((reply.status, reply.chunk_bytes_max, reply.frame_bytes_max, reply.batch_chunks_max),
                         (rpc.OK, 1 << 20, 128 << 10, 7))
        self.assertNotEqual(reply.incarnation, 0)
        skew = client.hello(98, 99)
        self.assertEqual(skew.status, rpc.ERR_VERSION)
        self.assertIn("98", skew.message)
        self.assertIn(str(reply.protocol_max), skew.message)
        first = reply.incarnation
        node.stop()
        node.start()
        again = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(again.close)
        self.assertNotEqual(again.hello().incarnation, first)
        again.close()
        node.stop()

    def test_configuration_over_the_wire(self):
        node, client = self.serve(dram__size="32MiB")
        reply = client.call("Config", pb.Empty(), pb.ConfigReply, service="Admin")
        self.assertIn("dram.size", reply.json)
        node.stop()

    def test_nonsense_in_place_of_a_request(self):
        node, client = self.serve()
        for method in ("Hello", "OpenSpace", "Lookup", "Delete"):
            for junk in (b"\xff" * 64, b"\x0a\xff\xff\xff\xff\x0f", os.urandom(2000)):
                with self.assertRaises(grpc.RpcError) as caught:
                    client.channel.unary_unary(f"/kvasir.v1.Cache/{method}")(junk, timeout=rpc.TIMEOUT)
                self.assertIn(caught.exception.code(), (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL,
                                                        grpc.StatusCode.RESOURCE_EXHAUSTED), (method, junk[:8]))
        client.ping()
        node.stop()


class Chunks(WireTest):
    def test_put_and_get(self):
        node, client = self.serve()
        space, stream = client.open_space(), client.transfer()
        for segments in ([b"x"], [os.urandom(100_000)], [os.urandom(5000) for _ in range(40)]):
            key = rpc.new_key()
            self.assertEqual(stream.get(space, key)[0], rpc.MISS)
            self.assertEqual(stream.put(space, key, segments), rpc.OK)
            self.assertEqual(client.lookup(space, [key]).prefix, 1)
            self.assertEqual(stream.get(space, key), (rpc.OK, b"".join(segments)))
            self.assertEqual(stream.put(space, key, segments), rpc.EXISTS)
        stream.end()
        self.assertEqual(stream.code(), grpc.StatusCode.OK)
        node.stop()

    def test_fields_in_another_order(self):
        """Legal protobuf: data before the header, as a library of another language may write it."""
        node, client = self.serve()
        space, stream, key, data = client.open_space(), client.transfer(), rpc.new_key(), os.urandom(50_000)
        number, start = stream.start_put(space, key, [len(data)])
        stream.send(rpc.reversed_fields(pb.Frame(header=pb.FrameHeader(starts=[start]))))
        stream.send(rpc.reversed_fields(rpc.put_frame(number, 0, data, rpc.crc32c(data))))
        self.assertEqual(stream.wait_end(number), rpc.OK)
        self.assertEqual(stream.get(space, key), (rpc.OK, data))
        stream.end()
        node.stop()

    def test_checksum_that_does_not_fit(self):
        node, client = self.serve()
        space, stream, key = client.open_space(), client.transfer(), rpc.new_key()
        self.assertEqual(stream.put(space, key, [b"a" * 1000, b"b" * 1000], [rpc.crc32c(b"a" * 1000), 1]), rpc.ERR_CHECKSUM)
        self.assertEqual(client.lookup(space, [key]).prefix, 0)
        self.assertEqual(stream.put(space, key, [b"a" * 1000]), rpc.OK)
        stream.end()
        node.stop()

    def test_refusals(self):
        node, client = self.serve(chunk__max_size="1MiB")
        space = client.open_space()
        wrong = client.call("OpenSpace", pb.OpenSpaceRequest(digest=bytes(32), descriptor=rpc.descriptor()),
                            pb.OpenSpaceReply)
        self.assertEqual(wrong.status, rpc.ERR_SPACE_MISMATCH)
        self.assertTrue(wrong.message)
        stream = client.transfer()
        self.assertEqual(stream.put(space, rpc.new_key(16), [b"x"]), rpc.ERR_KEY_LENGTH)
        self.assertEqual(stream.put(os.urandom(32), rpc.new_key(), [b"x"]), rpc.ERR_SPACE_UNKNOWN)
        self.assertEqual(stream.get(os.urandom(32), rpc.new_key())[0], rpc.MISS)
        number, start = stream.start_put(space, rpc.new_key(), [1 << 20, 1])
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        self.assertEqual(stream.wait_end(number), rpc.ERR_TOO_LARGE)
        self.assertEqual(stream.put(space, rpc.new_key(), [b"x"]), rpc.OK)
        stream.end()
        node.stop()

    def test_another_space_is_a_miss_and_the_log_names_the_field(self):
        node, client = self.serve()
        space, stream, key = client.open_space(), client.transfer(), rpc.new_key()
        self.assertEqual(stream.put(space, key, [b"x"]), rpc.OK)
        other = client.open_space(rpc.descriptor(revision="another"))
        self.assertEqual(stream.get(other, key)[0], rpc.MISS)
        self.assertTrue(harness.until(lambda: "revision" in node.log()), node.log())
        stream.end()
        node.stop()

    def test_read_your_write(self):
        node, client = self.serve()
        space, stream = client.open_space(), client.transfer()
        for _ in range(200):
            key = rpc.new_key()
            self.assertEqual(stream.put(space, key, [key]), rpc.OK)
            self.assertEqual(client.lookup(space, [key]).prefix, 1)
        stream.end()
        node.stop()

    def test_a_put_that_stops_half_way_leaves_nothing(self):
        node, client = self.serve()
        space, stream, key = client.open_space(), client.transfer(), rpc.new_key()
        number, start = stream.start_put(space, key, [1000, 1000])
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        stream.send(rpc.put_frame(number, 0, b"a" * 1000, rpc.crc32c(b"a" * 1000)))
        self.assertTrue(harness.until(lambda: node.metric("kvasir_landings") == 1))  # frames of a stream wait for no other call
        self.assertEqual(client.lookup(space, [key]).prefix, 0)
        stream.call.cancel()
        self.assertTrue(harness.until(lambda: node.metric("kvasir_grpc_streams") == 0))
        self.assertEqual(client.lookup(space, [key]).prefix, 0)
        again = client.transfer()
        self.assertEqual(again.put(space, key, [b"b" * 1000]), rpc.OK)
        self.assertEqual(again.get(space, key), (rpc.OK, b"b" * 1000))
        again.end()
        node.stop()

    def test_a_put_that_waits_too_long_is_given_up(self):
        node, client = self.serve()
        space, stream, key = client.open_space(), client.transfer(), rpc.new_key()
        number, start = stream.start_put(space, key, [1000], timeout_ms=200)
        began = time.monotonic()
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        self.assertLess(stream.wait_end(number), 0)
        self.assertGreaterEqual(time.monotonic() - began, 0.2)
        stream.end()
        node.stop()


class BrokenFrames(WireTest):
    def test_broken_frames_end_the_stream_and_nothing_else(self):
        node, client = self.serve()
        space = client.open_space()
        good = rpc.put_frame(1, 0, b"x" * 100, 1).SerializeToString()

        def start(stream, space=space, **fields):
            return stream.start_put(space, rpc.new_key(), [100], **fields)[1]

        def header(**fields):
            return pb.Frame(header=pb.FrameHeader(**fields)).SerializeToString()

        cases = {
            "truncated": lambda stream: [good[:-1]],
            "cut in the header": lambda stream: [good[:5]],
            "garbage": lambda stream: [b"\xff" * 100],
            "a claim of 4 GiB": lambda stream: [b"\x0a\x00\x7a\xff\xff\xff\xff\x0f" + b"x" * 10],
            "a piece without data": lambda stream: [header(starts=[start(stream)], pieces=[pb.Piece(
                id=1, length=100, first=True, last=True)])],
            "data without a piece": lambda stream: [pb.Frame(header=pb.FrameHeader(starts=[start(stream)]),
                                                             data=b"x").SerializeToString()],
            "a piece beyond its segment": lambda stream: [header(starts=[start(stream)]),
                                                          rpc.put_frame(1, 0, b"x" * 101, 1).SerializeToString()],
            "a piece out of order": lambda stream: [header(starts=[start(stream)]), rpc.put_frame(
                1, 0, b"x" * 50, 1, offset=50, first=False).SerializeToString()],
            "a chunk outside its batch": lambda stream: [header(starts=[start(stream)]), rpc.put_frame(
                1, 0, b"x" * 100, 1, chunk=3).SerializeToString()],
            "an id used twice": lambda stream: [header(starts=[start(stream)]), header(
                starts=[start(stream, id=1)])],
            "no keys": lambda stream: [header(starts=[pb.TransferStart(id=1, space=space, lengths=[1])])],
            "a short space": lambda stream: [header(starts=[start(stream, space=b"short")])],
            "an answer from a client": lambda stream: [header(ends=[pb.ChunkEnd(id=1)])],
            "too long a header": lambda stream: [header(cancels=list(range(1 << 60, (1 << 60) + 40000)))],
        }
        for name, messages in cases.items():
            with self.subTest(name):
                stream = client.transfer()
                for message in messages(stream):
                    stream.send(message)
                code = stream.code()
                self.assertIn(code, (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED), name)
                client.ping()
        self.assertGreaterEqual(node.metric("kvasir_grpc_protocol_errors_total"), len(cases))
        stream = client.transfer()
        self.assertEqual(stream.put(space, rpc.new_key(), [b"x"]), rpc.OK)
        stream.end()
        node.stop()


if __name__ == "__main__":
    harness.main(100)
