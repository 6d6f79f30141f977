"""Strangers at the port: garbage, floods, claims. The node may turn them away; it must not hang, grow or end."""
import os
import resource
import socket
import ssl
import struct

import harness
import h2

harness.need_grpc()

import rpc  # noqa: E402
from harness import SANITIZED, SLOW, NodeTest, until  # noqa: E402

MIB = 1 << 20


class HostileTest(NodeTest):
    def serve(self, **settings):
        node = self.node(**settings).start()
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        client.ping()
        return node, client

    def end(self, node, client):
        """A new client is served, and the node ends well."""
        client.close()
        fresh = rpc.Client(f"127.0.0.1:{node.port}")
        self.assertTrue(until(fresh.served))
        fresh.close()
        node.stop()


class Garbage(HostileTest):
    def test_garbage(self):
        node, client = self.serve()
        hello = ssl.MemoryBIO()
        session = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x")
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            pass
        start = h2.PREFACE + h2.settings()
        pieces = [b"", b"\0" * 100, os.urandom(10000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", hello.read(), h2.PREFACE[:10],
                  h2.PREFACE + os.urandom(5000), h2.PREFACE + b"\xff" * 4096,
                  start + h2.frame(h2.DATA, 0, 1, b"x"), start + h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\xff" * 50),
                  start + h2.frame(h2.WINDOW, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 3,
                  start + h2.frame(h2.HEADERS, 0, 1, h2.call_headers("/")) + h2.frame(h2.PING, 0, 0, b"x" * 8),
                  start + b"\xff\xff\xff" + bytes([h2.DATA, 0]) + struct.pack(">I", 1)]
        for piece in pieces:
            for unix in (False, True):
                with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as stranger:
                    stranger.settimeout(10)
                    stranger.connect(node.socket if unix else ("127.0.0.1", node.port))
                    try:
                        stranger.sendall(piece)
                        stranger.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass  # it was thrown out before it had finished
            client.ping()
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_connections") <= 1))
        self.end(node, client)

    def test_calls_that_are_reset_at_once(self):
        """Thousands of calls opened and reset without waiting."""
        node, client = self.serve()
        with node.connect() as stranger:
            connection = h2.Connection(stranger)
            try:
                for stream in range(1, 8000 // SLOW, 2):
                    stranger.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, h2.call_headers("/kvasir.v1.Cache/Transfer"))
                                     + h2.frame(h2.RST, 0, stream, struct.pack(">I", 8)))
            except OSError:
                pass
            client.ping()
            del connection
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_streams") == 0))
        self.end(node, client)

    def test_oversized_headers(self):
        node, client = self.serve()
        with node.connect() as stranger:
            connection = h2.Connection(stranger)
            block = h2.call_headers("/kvasir.v1.Cache/Ping") + h2.literal("x-padding", "y" * 120) * 200
            stranger.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, block[:16384]))
            while not connection.ended(1) and connection.read():
                pass
        client.ping()
        self.end(node, client)


class Memory(HostileTest):
    def test_oversized_messages(self):
        """Claims of 600 MiB, and the bytes to go with it: memory stays near the quota and the call is refused."""
        node, client = self.serve(grpc__memory_quota="64MiB")
        before = node.memory("VmHWM")
        chunk = bytes(4 * MIB)
        for method in ("Transfer", "Lookup"):
            with node.connect() as stranger:
                connection = h2.Connection(stranger)
                connection.open(1, f"/kvasir.v1.Cache/{method}")
                sent = connection.send(1, h2.message(b"", claim=600 * MIB))
                while sent < 600 * MIB and not connection.ended(1):
                    sent += connection.send(1, chunk)
                self.assertTrue(connection.ended(1), f"{method}: {sent} bytes were taken")
            self.assertTrue(until(client.served))  # short of memory, gRPC sends idle connections away: come again
        grown = node.memory("VmHWM") - before
        self.assertLess(grown, 256 * MIB * (3 if SANITIZED else 1), f"grew by {grown >> 20} MiB")
        self.end(node, client)

    def test_many_messages_at_once(self):
        """32 streams that each send half of a message and stop: the quota holds for all of them together."""
        node, client = self.serve(grpc__memory_quota="64MiB")
        before = node.memory("VmHWM")
        strangers = []
        for _ in range(32):
            stranger = node.connect(timeout=1)
            self.addCleanup(stranger.close)
            connection = h2.Connection(stranger)
            connection.open(1, "/kvasir.v1.Cache/Transfer")
            connection.read()
            strangers.append(connection)
        payload = h2.message(bytes(2 * MIB), claim=8 * MIB)
        for connection in strangers:
            room = min(connection.window, connection.stream_windows[1], len(payload))
            for at in range(0, room, 16384):
                try:
                    connection.sock.sendall(h2.frame(h2.DATA, 0, 1, payload[at:min(at + 16384, room)]))
                except OSError:
                    break
        grown = node.memory("VmHWM") - before
        self.assertLess(grown, 256 * MIB * (3 if SANITIZED else 1), f"grew by {grown >> 20} MiB")
        for connection in strangers:
            connection.sock.close()
        self.end(node, client)


class Connections(HostileTest):
    def test_ten_thousand_connections(self):
        """As many as the limit on open files allows, up to 10,000, at a bound of fewer: served before and after."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        count = min(10000, hard - 200)
        node, client = self.serve(grpc__max_connections="20000")
        held = []
        try:
            for _ in range(count):
                held.append(node.connect(timeout=30))
                if len(held) % 1000 == 0:
                    client.ping()  # one that was there before is served
            self.assertTrue(until(lambda: (node.metric("kvasir_grpc_connections_total") or 0) >= min(count, 9000) // 2, 30))
            client.ping()
        finally:
            for connection in held:
                connection.close()
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_connections") <= 1, 60))
        self.end(node, client)

    def test_the_bound_on_connections(self):
        node, client = self.serve(grpc__max_connections="20")
        held = [node.connect() for _ in range(60)]
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_connections_refused_total") >= 40))
        self.assertLessEqual(node.metric("kvasir_grpc_connections"), 20)
        client.ping()
        for connection in held:
            connection.close()
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_connections") <= 1))
        self.end(node, client)

    def test_exhausted_descriptors(self):
        """Accepting fails for a while; afterwards the listener is as good as before."""
        node, client = self.serve()
        pid = node.process.pid
        limit = node.open_files() + 12
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        held = [node.connect() for _ in range(60)]
        for connection in held:  # those that were accepted are served, the rest waits in the kernel
            try:
                connection.sendall(h2.PREFACE + h2.settings())
            except OSError:
                pass
        client.ping()
        for connection in held:
            connection.close()
        for target in (f"127.0.0.1:{node.port}", f"unix:{node.socket}"):
            fresh = rpc.Client(target)
            self.assertTrue(until(fresh.served))
            fresh.close()
        self.end(node, client)

    def test_few_descriptors_from_the_start(self):
        node, client = self.serve(limits=harness.open_files_limit(256))
        self.assertIn("grpc.max_connections lowered", node.log())
        held = [node.connect() for _ in range(200)]
        client.ping()
        for connection in held:
            connection.close()
        self.assertTrue(until(lambda: node.metric("kvasir_grpc_connections") <= 1))
        self.end(node, client)


if __name__ == "__main__":
    harness.main(280)
