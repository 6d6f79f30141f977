"""Clients that never read, and clients that never write on: they hold what they have, nothing more, and not for ever."""
import socket

import harness
import h2

harness.need_grpc()

import rpc  # noqa: E402
from harness import SANITIZED, SLOW, NodeTest, until  # noqa: E402

MIB = 1 << 20


class Stalled(NodeTest):
    def serve_chunk(self, **settings):
        node = self.node(**settings).start()
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        space, stream, key = client.open_space(), client.transfer(), rpc.new_key()
        segment = bytes(range(256)) * 4096
        assert stream.put(space, key, [segment] * 24, [rpc.crc32c(segment)] * 24) == rpc.OK
        stream.end()
        return node, client, space, key

    def never_reads(self, node, client, space, key, gets=8):
        """Asks for the chunk several times over one connection with windows wide open, and reads nothing."""
        stranger = socket.socket()
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        stranger.settimeout(20)
        stranger.connect(("127.0.0.1", node.port))
        self.addCleanup(stranger.close)
        connection = h2.Connection(stranger, pairs=[(4, 0x7FFFFFFF)], window=0x7FFF0000)
        stranger.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.call_headers("/kvasir.v1.Cache/Transfer")))
        stream = rpc.Transfer.__new__(rpc.Transfer)
        stream.ids = iter(range(1, 1000))
        for _ in range(gets):
            _, start = stream.start_get(space, key, 64 * MIB)
            payload = rpc.pb.Frame(header=rpc.pb.FrameHeader(starts=[start])).SerializeToString()
            stranger.sendall(h2.frame(h2.DATA, 0, 1, h2.message(payload)))
        return connection

    def test_never_reading_clients_are_shut_down(self):
        node, client, space, key = self.serve_chunk(grpc__stall_timeout="1s")
        before = node.memory()
        for _ in range(10):
            self.never_reads(node, client, space, key)
        stream = client.transfer()
        self.assertEqual(stream.get(space, key)[0], rpc.OK)  # others are served meanwhile
        stream.end()
        grown = node.memory() - before
        self.assertLess(grown, 128 * MIB * (3 if SANITIZED else 1), f"grew by {grown >> 20} MiB")
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_stalled_connections_total") >= 10, 20))
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_streams") == 0))
        client.ping()
        node.stop()

    def test_a_late_get_holds_nothing_open(self):
        """Chunks that come abreast are open at the same time: until the get's own deadline, however slowly its client reads."""
        node, client, _, _ = self.serve_chunk(grpc__stall_timeout="300s", dram__size="256MiB")
        space, stream, keys = client.open_space(), client.transfer(), [rpc.new_key() for _ in range(8)]
        segments = [bytes(range(256)) * 256, bytes(range(256)) * 8 * 1024]  # all of the first are on their way before the second
        crcs = [rpc.crc32c(segment) for segment in segments]
        for key in keys:
            self.assertEqual(stream.put(space, key, segments, crcs), rpc.OK)
        connection = self.never_reads(node, client, space, keys[0], gets=0)
        # It takes coded chunks, as libkvasir does: it may hold an eighth of the memory open, others half as much.
        start = rpc.pb.TransferStart(id=1, space=space, timeout_ms=12000 * SLOW, lengths=[3 * MIB] * len(keys), abreast=True, codings=2,
                                     keys=rpc.pb.Keys(keys=b"".join(keys), key_length=len(keys[0]), unchained=True))
        payload = rpc.pb.Frame(header=rpc.pb.FrameHeader(starts=[start])).SerializeToString()
        connection.sock.sendall(h2.frame(h2.DATA, 0, 1, h2.message(payload)))
        # The first frame has the first segments of all of them.
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_bytes_total", '{direction="out"}') >= 8 * len(segments[0])))
        request = rpc.pb.DeleteRequest(space=space, keys=rpc.pb.Keys(keys=b"".join(keys), key_length=32, unchained=True))
        self.assertTrue(until(lambda: self.holds(node, client, request) >= 7 * 2 * MIB, 5))
        self.assertTrue(until(lambda: self.holds(node, client, request) <= 2 * 2.2 * MIB, 30))  # what is in the frame under way
        self.assertEqual(node.metric("kvasir_grpc_stalled_connections_total"), 0)
        connection.sock.close()
        stream.end()
        node.stop()

    def holds(self, node, client, request):
        """Bytes of chunks that are gone, but still being read."""
        client.call("Delete", request, rpc.pb.DeleteReply)
        return node.metric("kvasir_tier_zombie_bytes", '{tier="dram"}')

    def test_an_idle_connection_is_not_stalled(self):
        node, client, _, _ = self.serve_chunk(grpc__stall_timeout="200ms")
        client.ping()
        silent = client.transfer()
        space, key = client.open_space(), rpc.new_key()
        self.assertEqual(silent.put(space, key, [b"x"]), rpc.OK)
        self.assertTrue(until(lambda: node.metric("kvasir_node_uptime_seconds") > 2))
        self.assertEqual(silent.get(space, key), (rpc.OK, b"x"))
        self.assertEqual(node.metric("kvasir_grpc_stalled_connections_total"), 0)
        silent.end()
        node.stop()

    def test_sigterm_with_a_client_that_never_reads(self):
        node, client, space, key = self.serve_chunk(grpc__stall_timeout="60s", drain_timeout="1s")
        self.never_reads(node, client, space, key)
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_streams") >= 1))
        node.stop()


if __name__ == "__main__":
    harness.main(200)
