"""Tenants of a node: who is let in, that none sees or harms another, and what a share that is used up comes to."""
import hashlib
import json
import os
import signal
import subprocess
import time

import harness

harness.need_grpc()

import grpc  # noqa: E402
import rpc  # noqa: E402
from certificates import Certificates  # noqa: E402
from harness import NodeTest  # noqa: E402
from rpc import pb  # noqa: E402

ERR_QUOTA = -10
MIB = 1 << 20
CHUNK = 128 << 10  # small: checksums in Python take their time


class Shown(grpc.StreamStreamClientInterceptor, grpc.UnaryUnaryClientInterceptor):
    """Adds headers to every call."""

    def __init__(self, headers):
        self.headers = headers

    def details(self, details):
        return details._replace(metadata=[*(details.metadata or []), *self.headers])

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self.details(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self.details(details), requests)


class Tenants(NodeTest):
    def write(self, text):
        with open(self.path, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)

    def token(self, name):
        """A new one: its value, and its line in the file."""
        value = f"token-of-{name}-{os.urandom(8).hex()}"
        with open(os.path.join(self.folder, name + ".token"), "w") as file:
            file.write(value + "\n")
        self.tokens[name] = value
        return f"tokens: [sha256:{hashlib.sha256(value.encode()).hexdigest()}]"

    def serve(self, text=None, **settings):
        node = self.node(**settings)
        self.folder, self.path, self.tokens = node.folder, os.path.join(node.folder, "tenants.yaml"), {}
        self.write(text if text is not None else f"""
name: alpha
dram: 1MiB
{self.token("alpha")}
---
name: beta
dram: 2MiB
weight: 3
{self.token("beta")}
---
name: root
dram: 1MiB
admin: true
{self.token("root")}
""")
        node.settings["tenants"] = self.path
        return node

    def shown(self, channel, *headers):
        client = rpc.Client.__new__(rpc.Client)
        client.channel = grpc.intercept_channel(channel, Shown(headers))
        self.addCleanup(channel.close)
        return client

    def client(self, node, name=None, token=None, session=None):
        """By the unix socket, as this tenant."""
        value = token or self.tokens[name]
        headers = [("authorization", "Bearer " + value)] + ([("kvasir-session", session)] if session else [])
        return self.shown(grpc.insecure_channel(f"unix:{node.socket}", rpc.OPTIONS), *headers)

    def refused(self, action, code=grpc.StatusCode.UNAUTHENTICATED):
        with self.assertRaises(grpc.RpcError) as caught:
            action()
        self.assertEqual(caught.exception.code(), code)

    def tenants(self, client):
        return client.call("Tenants", pb.TenantsRequest(), pb.TenantsReply, service="Admin").tenants

    def ctl(self, node, *arguments, token=None, **environment):
        keep = {name: value for name, value in os.environ.items() if not name.startswith("KVASIR_")}
        shown = ["--token-file", os.path.join(self.folder, token + ".token")] if token else []
        return subprocess.run([os.environ["KVASIRCTL"], "-e", f"unix:{node.socket}", *shown, *arguments], text=True,
                              env={**keep, **environment}, capture_output=True, timeout=20 * harness.SLOW)

    # ---- who is let in ----

    def test_nobody_without_a_credential(self):
        node = self.serve().start()
        plain = rpc.Client(f"unix:{node.socket}")
        self.addCleanup(plain.close)
        self.refused(plain.ping)
        self.refused(plain.hello)
        self.assertEqual(plain.transfer().code(), grpc.StatusCode.UNAUTHENTICATED)
        self.refused(lambda: plain.channel.unary_unary("/kvasir.v1.Cache/Lookup")(b"\xff" * 64))  # not even looked at
        self.assertEqual(plain.health(), 1)  # whoever asks for health is a load balancer
        for token in ("wrong", self.tokens["alpha"] + "x", self.tokens["alpha"][:-1], "x" * 5000):
            wrong = self.client(node, token=token)
            self.refused(wrong.ping)
            self.assertEqual(wrong.transfer().code(), grpc.StatusCode.UNAUTHENTICATED)
        hashed = "sha256:" + hashlib.sha256(self.tokens["alpha"].encode()).hexdigest()
        self.refused(self.client(node, token=hashed).ping)
        channel = grpc.insecure_channel(f"unix:{node.socket}", rpc.OPTIONS)
        for headers in ([("authorization", "Basic " + self.tokens["alpha"])], [("authorization", "Bearer ")],
                        [("authorization", "Bearer " + self.tokens["alpha"]), ("authorization", "Bearer wrong")]):
            self.refused(self.shown(channel, *headers).ping)
        self.client(node, "alpha").ping()
        self.assertIn("refused: it has no credential", node.log())
        for value in self.tokens.values():
            self.assertNotIn(value, node.log())
        self.assertRegex(node.http("/metrics")[2], r"kvasir_grpc_credentials_refused_total [1-9]")
        node.stop()

    def test_by_certificate(self):
        node = self.serve("name: gamma\ncertificates: [cn:client]\n---\nname: delta\ncertificates: [spiffe://a/b]\n")
        files = Certificates(node.folder)
        for name in ("spiffe", "nobody"):
            files.make(name, ["-x509", "-CA", files.path("ca.pem"), "-CAkey", files.path("ca.key"), "-addext",
                              "subjectAltName=" + ("URI:spiffe://a/b" if name == "spiffe" else "DNS:client")])
        node.settings.update({"tls.cert_file": files.path("server.pem"), "tls.key_file": files.path("server.key"),
                              "tls.client_ca_file": files.path("ca.pem")})
        node.start()
        seen = {}
        for own in ("client", "spiffe", "nobody"):
            credentials = grpc.ssl_channel_credentials(files.read("ca.pem"), files.read(own + ".key"), files.read(own + ".pem"))
            client = self.shown(grpc.secure_channel(f"localhost:{node.port}", credentials, rpc.OPTIONS))
            if own == "nobody":
                self.refused(client.ping)
            else:
                seen[own] = [row.name for row in self.tenants(client)]
        self.assertEqual(seen, {"client": ["gamma"], "spiffe": ["delta"]})
        plain = rpc.Client(f"unix:{node.socket}")
        self.addCleanup(plain.close)
        self.refused(plain.ping)
        node.stop()

    def test_a_reload_changes_tokens(self):
        node = self.serve().start()
        old = self.client(node, "alpha")
        space, stream, key = old.open_space(), old.transfer(), rpc.new_key()
        self.assertEqual(stream.put(space, key, [b"kept"]), rpc.OK)
        stream.end()
        self.write(f"name: alpha\ndram: 4MiB\n{self.token('alpha')}\n")
        node.signal(signal.SIGHUP)
        new = self.client(node, "alpha")
        deadline = time.monotonic() + harness.START_SECONDS
        while True:
            try:
                new.ping()
                break
            except grpc.RpcError:
                self.assertLess(time.monotonic(), deadline)
        self.refused(old.ping)
        self.refused(self.client(node, "beta").ping)
        stream = new.transfer()
        self.assertEqual(stream.get(space, key), (rpc.OK, b"kept"))
        stream.end()
        self.assertEqual([(row.name, row.dram_max) for row in self.tenants(new)], [("alpha", 4 * MIB)])
        self.write("name: alpha\nnonsense: 1\n")
        node.signal(signal.SIGHUP)
        while "nonsense" not in node.log():
            self.assertLess(time.monotonic(), deadline)
        new.ping()  # a file that is refused changes nothing
        node.stop()

    def test_a_bad_file_does_not_start(self):
        for text, says in (("name: a\n---\nname: a\n", "is there already"), ("", "names no tenant")):
            code, said = self.serve(text).run()
            self.assertEqual(code, 2, said)
            self.assertIn(says, said)
        node = self.serve()
        os.chmod(self.path, 0o644)
        code, said = node.run()
        self.assertEqual(code, 2, said)
        self.assertIn("others may change or read it", said)

    # ---- isolation ----

    def test_the_same_key_is_another_chunk(self):
        node = self.serve().start()
        alpha, beta = self.client(node, "alpha"), self.client(node, "beta")
        space, key = alpha.open_space(), rpc.new_key()
        self.assertEqual(beta.open_space(), space)
        a, b = alpha.transfer(), beta.transfer()
        self.assertEqual(a.put(space, key, [b"of alpha"]), rpc.OK)
        self.assertEqual(alpha.lookup(space, [key]).prefix, 1)
        self.assertEqual(beta.lookup(space, [key]).prefix, 0)
        self.assertEqual(b.get(space, key)[0], rpc.MISS)
        self.assertEqual(b.put(space, key, [b"of beta"]), rpc.OK)  # not EXISTS: that would tell
        self.assertEqual(a.get(space, key), (rpc.OK, b"of alpha"))
        self.assertEqual(b.get(space, key), (rpc.OK, b"of beta"))
        deleted = beta.call("Delete", pb.DeleteRequest(space=space, keys=pb.Keys(keys=key, key_length=32)), pb.DeleteReply)
        self.assertEqual(deleted.status, rpc.OK)
        evicted = beta.call("Evict", pb.EvictRequest(all=True), pb.EvictReply, service="Admin")
        self.assertEqual(evicted.chunks, 0)
        self.assertEqual(a.get(space, key), (rpc.OK, b"of alpha"))
        for stream in (a, b):
            stream.end()
        node.stop()

    def test_leases_are_the_tenants_own(self):
        """Under the session that another tenant has, which it may have seen in a log."""
        node = self.serve().start()
        alpha, beta = (self.client(node, name, session="00000000deadbeef") for name in ("alpha", "beta"))
        space, key = alpha.open_space(), rpc.new_key()
        stream = alpha.transfer()
        self.assertEqual(stream.put(space, key, [b"x"]), rpc.OK)
        request = pb.LookupRequest(spaces=[space], keys=pb.Keys(keys=key, key_length=32), lease_ms=60000)
        lease = alpha.call("Lookup", request, pb.LookupReply).lease
        self.assertNotEqual(lease, 0)
        self.assertEqual(beta.call("Release", pb.ReleaseRequest(leases=[lease]), pb.ReleaseReply).released, 0)
        self.assertEqual(alpha.call("Release", pb.ReleaseRequest(leases=[lease]), pb.ReleaseReply).released, 1)
        stream.end()
        node.stop()

    def test_what_tells_of_all_is_an_administrators(self):
        node = self.serve().start()
        alpha, root = self.client(node, "alpha"), self.client(node, "root")
        self.refused(lambda: alpha.call("Config", pb.Empty(), pb.ConfigReply, service="Admin"), grpc.StatusCode.PERMISSION_DENIED)
        root.call("Config", pb.Empty(), pb.ConfigReply, service="Admin")
        own, every = ({stat.labels if stat.name.startswith("kvasir_tenant_") else "" for stat in
                       client.call("Stats", pb.StatsRequest(), pb.StatsReply, service="Admin").stats} for client in (alpha, root))
        self.assertEqual(own, {'tenant="alpha"'})
        self.assertEqual(every, {"", 'tenant=""', 'tenant="alpha"', 'tenant="beta"', 'tenant="root"'})
        self.assertEqual([row.name for row in self.tenants(alpha)], ["alpha"])
        self.assertEqual([row.name for row in self.tenants(root)], ["", "alpha", "beta", "root"])
        self.assertEqual([row.weight for row in self.tenants(root)], [1, 1, 3, 1])
        node.stop()

    # ---- shares ----

    def test_a_flood_costs_the_flooder_alone(self):
        node = self.serve(dram__size="4MiB").start()
        alpha, beta = self.client(node, "alpha"), self.client(node, "beta")
        space = alpha.open_space()
        beta.open_space()
        a, b, kept, flood = alpha.transfer(), beta.transfer(), [], []
        for _ in range(12):
            kept.append(rpc.new_key())
            self.assertEqual(b.put(space, kept[-1], [os.urandom(CHUNK)]), rpc.OK)
        for _ in range(60):
            flood.append(rpc.new_key())
            self.assertEqual(a.put(space, flood[-1], [bytes(CHUNK)]), rpc.OK)
        self.assertEqual(sum(beta.lookup(space, [key]).prefix for key in kept), 12)
        left = [alpha.lookup(space, [key]).prefix for key in flood]
        self.assertTrue(5 <= sum(left) <= 8, left)
        self.assertEqual(left[-1], 1)
        row = self.tenants(alpha)[0]
        self.assertLessEqual(row.dram_bytes, row.dram_max)
        self.assertEqual((row.own_evictions, row.puts_refused), (60 - sum(left), 0))
        page = node.http("/metrics")[2]
        self.assertIn(f'kvasir_tenant_chunks{{tenant="alpha"}} {sum(left)}', page)
        self.assertIn('kvasir_tenant_dram_quota_bytes{tenant="beta"} 2097152', page)
        for stream in (a, b):
            stream.end()
        node.stop()

    def test_what_is_pinned_uses_up_the_share(self):
        node = self.serve().start()
        alpha, beta = self.client(node, "alpha"), self.client(node, "beta")
        space = alpha.open_space()
        beta.open_space()
        a, b, keys = alpha.transfer(), beta.transfer(), [rpc.new_key() for _ in range(7)]
        for key in keys:
            self.assertEqual(a.put(space, key, [bytes(CHUNK)]), rpc.OK)
        leases = []
        for key in keys:
            request = pb.LookupRequest(spaces=[space], keys=pb.Keys(keys=key, key_length=32), lease_ms=60000)
            leases.append(alpha.call("Lookup", request, pb.LookupReply).lease)
        self.assertEqual(a.put(space, rpc.new_key(), [bytes(CHUNK)]), ERR_QUOTA)
        self.assertEqual(b.put(space, rpc.new_key(), [bytes(CHUNK)]), rpc.OK)
        self.assertEqual(self.tenants(alpha)[0].puts_refused, 1)
        done = self.ctl(node, "put", "file", os.environ["KVASIRCTL"], token="alpha")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("kvasirctl tenants", done.stderr)
        for stream in (a, b):
            stream.end()
        node.stop()

    # ---- what a person sees ----

    def test_kvasirctl(self):
        node = self.serve().start()
        done = self.ctl(node, "ping", "--count", "1")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("wants a credential", done.stderr)
        self.assertIn("--token-file", done.stderr)
        self.assertEqual(self.ctl(node, "ping", "--count", "1", token="alpha").returncode, 0)
        path = os.path.join(self.folder, "alpha.token")
        self.assertEqual(self.ctl(node, "ping", "--count", "1", KVASIR_TOKEN_FILE=path).returncode, 0)
        self.assertIn("kvasir_tenant_chunks", self.ctl(node, "stats", token="alpha").stdout)
        done = self.ctl(node, "config", token="alpha")
        self.assertEqual(done.returncode, 4)
        self.assertIn("administrators", done.stderr)
        self.assertIn("1.0 MiB", self.ctl(node, "tenants", token="alpha").stdout)
        rows = json.loads(self.ctl(node, "--json", "tenants", token="root").stdout)["tenants"]
        self.assertEqual([(row["name"], row["dram_quota"]) for row in rows],
                         [("", 0), ("alpha", MIB), ("beta", 2 * MIB), ("root", MIB)])
        fresh = os.path.join(self.folder, "fresh.token")
        done = self.ctl(node, "token", fresh)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(fresh) as file:
            value = file.read().strip()
        self.assertEqual(done.stdout.strip(), "sha256:" + hashlib.sha256(value.encode()).hexdigest())
        self.assertEqual(os.stat(fresh).st_mode & 0o777, 0o600)
        self.assertEqual(self.ctl(node, "token", fresh).returncode, 4)  # it does not overwrite
        done = subprocess.run([os.environ["KVASIRCTL"], "-e", "kvasir://192.0.2.1:7070", "--token-file", fresh, "ping"],
                              capture_output=True, text=True, timeout=20 * harness.SLOW)
        self.assertEqual(done.returncode, 2)
        self.assertIn("by TLS alone", done.stderr)
        node.stop()


if __name__ == "__main__":
    harness.main(50)
