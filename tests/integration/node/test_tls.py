"""TLS on the clients' port: works with the files it was given, and lets nobody in without."""
import os
import subprocess

import harness

harness.need_grpc()

import grpc  # noqa: E402
import rpc  # noqa: E402
from certificates import Certificates  # noqa: E402
from harness import NodeTest  # noqa: E402


class Tls(NodeTest):
    def serve(self, **settings):
        node = self.node()
        self.files = Certificates(node.folder)
        node.settings.update({"tls.cert_file": self.files.path("server.pem"), "tls.key_file": self.files.path("server.key")})
        node.settings.update({name.replace("__", "."): self.files.path(value) for name, value in settings.items()})
        return node.start()

    def client(self, node, own=None, authority="ca.pem"):
        pair = (self.files.read(own + ".key"), self.files.read(own + ".pem")) if own else (None, None)
        credentials = grpc.ssl_channel_credentials(self.files.read(authority), *pair)
        client = rpc.Client.__new__(rpc.Client)
        client.channel = grpc.secure_channel(f"localhost:{node.port}", credentials, rpc.OPTIONS)
        self.addCleanup(client.close)
        return client

    def refused(self, client):
        with self.assertRaises(grpc.RpcError) as caught:
            client.ping()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_put_and_get(self):
        node = self.serve()
        client = self.client(node)
        space, stream, key = client.open_space(), client.transfer(), rpc.new_key()
        data = os.urandom(200_000)
        self.assertEqual(stream.put(space, key, [data]), rpc.OK)
        self.assertEqual(stream.get(space, key), (rpc.OK, data))
        stream.end()
        node.stop()

    def test_no_way_in_without(self):
        node = self.serve()
        plain = rpc.Client(f"localhost:{node.port}")
        self.addCleanup(plain.close)
        self.refused(plain)
        self.refused(self.client(node, authority="client.pem"))  # a client that trusts another authority
        unix = rpc.Client(f"unix:{node.socket}")  # the unix socket stays without
        unix.ping()
        unix.close()
        node.stop()

    def test_client_certificates(self):
        node = self.serve(tls__client_ca_file="ca.pem")
        self.refused(self.client(node))
        self.client(node, own="client").ping()
        node.stop()

    def ctl(self, node, *options, **environment):
        """kvasirctl's ping: its exit code and what it says of an error. By address: c-ares leaks ten bytes of "localhost"."""
        keep = {name: value for name, value in os.environ.items() if not name.startswith("KVASIR_")}
        done = subprocess.run([os.environ["KVASIRCTL"], "-e", f"kvasir://127.0.0.1:{node.port}", *options, "ping", "--count", "1"],
                              env={**keep, **environment}, capture_output=True, text=True, timeout=10 * harness.SLOW)
        return done.returncode, done.stderr

    def test_kvasirctl(self):
        node = self.serve()
        ca = ("--tls-ca", self.files.path("ca.pem"))
        self.assertEqual(self.ctl(node, *ca), (0, ""))
        self.assertEqual(self.ctl(node, *ca, "--tls-name", "localhost"), (0, ""))
        self.assertEqual(self.ctl(node, KVASIR_TLS_CA=ca[1], KVASIR_TLS_NAME="localhost"), (0, ""))
        self.assertEqual(self.ctl(node, *ca, KVASIR_TLS_CA=self.files.path("client.pem")), (0, ""))  # the option wins
        for options in (), ("--tls-ca", self.files.path("client.pem")), (*ca, "--tls-name", "elsewhere.example"):
            code, said = self.ctl(node, "--timeout", "2s", *options)
            self.assertEqual(code, 3, said)
            self.assertIn("no node at", said)
        code, said = self.ctl(node, "--tls-ca", self.files.path("none.pem"))
        self.assertEqual(code, 2)
        self.assertIn("none.pem': No such file", said)
        node.stop()

    def test_kvasirctl_with_a_certificate(self):
        node = self.serve(tls__client_ca_file="ca.pem")
        ca, cert, key = (self.files.path(name) for name in ("ca.pem", "client.pem", "client.key"))
        self.assertEqual(self.ctl(node, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key), (0, ""))
        self.assertEqual(self.ctl(node, KVASIR_TLS_CA=ca, KVASIR_TLS_CERT=cert, KVASIR_TLS_KEY=key), (0, ""))
        code, said = self.ctl(node, "--timeout", "2s", "--tls-ca", ca)
        self.assertEqual(code, 3, said)
        node.stop()

    def test_port_in_use(self):
        first = self.serve()
        second = self.node(listen=f"127.0.0.1:{first.port}", tls__cert_file=self.files.path("server.pem"),
                           tls__key_file=self.files.path("server.key"))
        code, said = second.run()
        self.assertEqual(code, 1)
        self.assertIn("in use", said)
        first.stop()


if __name__ == "__main__":
    harness.main(50)
