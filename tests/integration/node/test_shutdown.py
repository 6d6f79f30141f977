"""SIGTERM: new work is refused, work in flight gets drain_timeout, then the process ends, whatever clients do."""
import signal
import time

import harness

harness.need_grpc()

import grpc  # noqa: E402
import rpc  # noqa: E402
from harness import SLOW, NodeTest, until  # noqa: E402
from rpc import pb  # noqa: E402


# What a machine that others load may take longer, seconds: less than the waits whose absence is tested, 10 s and more.
LATE = 0 if harness.STRICT else 4


class Shutdown(NodeTest):
    def serve(self, **settings):
        node = self.node(**settings).start()
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        return node, client

    def ends_within(self, node, seconds, code=0):
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        code_got = node.wait((seconds + LATE) * SLOW)
        took = time.monotonic() - began
        self.assertEqual(code_got, code, node.log())
        node.check_reports()
        return took

    def half_put(self, node, client):
        space, stream = client.open_space(), client.transfer()
        number, start = stream.start_put(space, rpc.new_key(), [1000, 1000])
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        stream.send(rpc.put_frame(number, 0, b"a" * 1000, rpc.crc32c(b"a" * 1000)))
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_transfers") == 1))
        return stream, number

    def test_idle(self):
        node, client = self.serve(drain_timeout="60s")
        client.ping()
        self.ends_within(node, 5)

    def test_idle_stream(self):
        """Clients keep a stream open for ever; with nothing in flight on it there is nothing to wait for."""
        node, client = self.serve(drain_timeout="60s")
        space, stream = client.open_space(), client.transfer()
        self.assertEqual(stream.put(space, rpc.new_key(), [b"x"]), rpc.OK)
        self.ends_within(node, 5)
        self.assertNotEqual(stream.code(), grpc.StatusCode.OK)

    def test_after_writes_that_had_to_wait(self):
        """gRPC may have left a thread of its own in a wait of 10 s behind them: now and then, on a busy machine."""
        piece = bytes(1 << 20)
        crc = rpc.crc32c(piece)
        for _ in range(5):
            node, client = self.serve(dram__size="64MiB")
            space, stream, key = client.open_space(), client.transfer(), rpc.new_key()
            self.assertEqual(stream.put(space, key, [piece] * 16, [crc] * 16), rpc.OK)
            number, start = stream.start_get(space, key, 16 << 20)
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            self.assertEqual(stream.wait_end(number), rpc.OK)
            client.close()
            self.assertTrue(until(lambda: node.metric("kvasir_grpc_connections") == 0))
            self.ends_within(node, 4)

    def test_stuck_stream(self):
        node, client = self.serve(drain_timeout="1s")
        stream, _ = self.half_put(node, client)
        took = self.ends_within(node, 2)
        self.assertGreaterEqual(took, 0.9)
        self.assertNotEqual(stream.code(), grpc.StatusCode.OK)

    def test_no_patience(self):
        node, client = self.serve(drain_timeout="0ms")
        self.half_put(node, client)
        self.ends_within(node, 1)

    def test_work_in_flight_may_end(self):
        node, client = self.serve(drain_timeout="30s")
        stream, number = self.half_put(node, client)
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        self.assertTrue(until(lambda: node.http("/readyz")[::2] == (503, "draining\n")))
        self.assertEqual(node.http("/healthz")[0], 200)
        stream.send(rpc.put_frame(number, 1, b"b" * 1000, rpc.crc32c(b"b" * 1000)))
        self.assertEqual(stream.wait_end(number), rpc.OK)
        self.assertEqual(node.wait(10 * SLOW), 0)
        self.assertLess(time.monotonic() - began, 10 * SLOW)

    def test_new_work_is_refused_while_draining(self):
        node, client = self.serve(drain_timeout="5s")
        stream, _ = self.half_put(node, client)
        node.signal(signal.SIGTERM)
        self.assertTrue(until(lambda: "draining" in node.log()))
        self.assertTrue(until(lambda: not accepts(node)), "it still takes connections")
        space, key = client_space(), rpc.new_key()
        number, start = stream.start_get(space, key, 1000)
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        try:
            self.assertIn(stream.wait_end(number), (rpc.ERR_DRAINING, rpc.MISS))
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        node.wait()

    def test_second_signal_ends_it_at_once(self):
        node, client = self.serve(drain_timeout="60s")
        self.half_put(node, client)
        node.signal(signal.SIGTERM)
        self.assertTrue(until(lambda: "draining" in node.log()))
        node.signal(signal.SIGTERM)
        self.assertEqual(node.wait(), 3)


def client_space():
    return rpc.digest(rpc.descriptor())


def accepts(node):
    try:
        node.connect(1).close()
        return True
    except OSError:
        return False


if __name__ == "__main__":
    harness.main(100)
