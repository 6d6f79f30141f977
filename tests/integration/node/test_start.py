"""kvasird starts, stops, starts again, and refuses what it cannot do in one clear line."""
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
import unittest

import harness
from h2 import PREFACE, settings
from harness import KVASIRD, NodeTest, until


def connect_as(uid, gid, path):
    """What a process of this user hears from the socket: "answer" to its preface, or the "end"."""
    folder, name = os.path.split(path)
    heard, says = os.pipe()
    child = os.fork()
    if child == 0:
        word = b""
        try:
            os.chdir(folder)  # from here on only this folder has to let the user through
            become(uid, gid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(60)
                connection.connect(name)
                word = hear(connection)
        except BaseException as fault:
            word = repr(fault).encode()
        finally:
            os.write(says, word)
            os._exit(0)
    os.close(says)
    with open(heard, "rb") as end:
        word = end.read().decode()
    os.waitpid(child, 0)
    return word


def become(uid, gid):
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def hear(connection):
    try:
        connection.sendall(PREFACE + settings())
        return b"answer" if connection.recv(1) else b"end"
    except (BrokenPipeError, ConnectionResetError):
        return b"end"


class Life(NodeTest):
    def test_start_and_stop(self):
        node = self.node().start()
        self.assertGreater(node.port, 0)
        self.assertEqual(node.http("/readyz")[0], 200)
        self.assertEqual(stat.S_IMODE(os.stat(node.socket).st_mode), 0o660)
        node.connect().close()
        node.stop()
        self.assertFalse(os.path.exists(node.socket), "it left its socket behind")

    def test_restart_on_the_same_port(self):
        port = harness.free_port()
        for _ in range(3):
            node = self.node(listen=f"127.0.0.1:{port}").start()
            connection = node.connect()  # leaves TIME_WAIT behind
            node.stop()
            connection.close()

    def test_restart_after_kill(self):
        node = self.node().start()
        node.signal(signal.SIGKILL)
        node.wait()
        self.assertTrue(os.path.exists(node.socket))
        node.start()  # the stale socket is no obstacle
        node.stop()

    def test_interrupt_ends_it_too(self):
        node = self.node().start()
        node.signal(signal.SIGINT)
        self.assertEqual(node.wait(), 0)

    def test_memory_is_there_before_ready(self):
        node = self.node(dram__size="128MiB").start()
        self.assertGreaterEqual(node.memory(), 128 << 20)
        node.stop()

    def test_unix_socket_alone(self):
        node = self.node(listen="", admin__listen="").start()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(node.socket)
        node.stop()

    def test_tcp_alone(self):
        node = self.node(unix_socket="").start()
        node.connect().close()
        node.stop()

    def test_several_addresses(self):
        node = self.node(listen="127.0.0.1:0,127.0.0.2:0").start()
        self.assertEqual(node.log().count("grpc on 127."), 2)
        node.stop()

    @unittest.skipUnless(harness.has_ipv6(), "this machine has no IPv6")
    def test_all_addresses_of_both_families(self):
        port = harness.free_port()
        node = self.node(listen=f"0.0.0.0:{port},[::]:{port}", insecure="true").start()
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=10).close()
        node.stop()

    def test_unix_mode(self):
        node = self.node(unix_mode="0600").start()
        self.assertEqual(stat.S_IMODE(os.stat(node.socket).st_mode), 0o600)
        node.stop()

    @unittest.skipUnless(os.geteuid() == 0, "only root may become somebody else")
    def test_unix_mode_holds_for_whoever_gets_to_the_socket(self):
        """It is looked at by the peer's credentials: a mode of the file that was changed since lets nobody in."""
        nobody, group = 65534, os.getegid()
        for mode, gid, admitted in (("0660", nobody, False), ("0600", group, False), ("0660", group, True), ("0666", nobody, True)):
            with self.subTest(mode=mode, gid=gid):
                node = self.node(unix_mode=mode).start()
                os.chmod(node.folder, 0o755)
                os.chmod(node.socket, 0o777)
                self.assertEqual(connect_as(nobody, gid, node.socket), "answer" if admitted else "end")
                self.assertTrue(until(lambda: node.metric("kvasir_grpc_connections_refused_total") == (0 if admitted else 1)))
                refusal = f"uid {nobody} refused: the socket's mode does not admit its user"
                self.assertEqual(node.log().count(refusal), 0 if admitted else 1, node.log())
                self.assertEqual(connect_as(0, 0, node.socket), "answer")
                node.stop()

    def test_socket_directory_is_made(self):
        node = self.node()
        node.settings["unix_socket"] = os.path.join(node.folder, "run", "node.sock")
        node.start()
        node.stop()


class Reload(NodeTest):
    def test_hangup_reads_the_file_again(self):
        node = self.node()
        path = os.path.join(node.folder, "kvasird.yaml")
        with open(path, "w") as file:
            file.write("log: {level: info}\n")
        node.start(f"--config={path}")
        with open(path, "w") as file:
            file.write("log: {level: debug}\nstore: {max_spaces: 7}\n")
        node.signal(signal.SIGHUP)
        self.assertTrue(harness.until(lambda: "read again" in node.log()))
        self.assertIn("log.level is now debug", node.log())
        self.assertIn("store.max_spaces changed, which needs a restart", node.log())
        with open(path, "w") as file:
            file.write("nonsense: 1\n")
        node.signal(signal.SIGHUP)
        self.assertTrue(harness.until(lambda: "not read again" in node.log()))
        self.assertIn("kvasird.yaml:1", node.log())
        node.stop()


class Refusals(NodeTest):
    def refused(self, code, *words, arguments=(), **settings):
        """It ends with the code and a last line that says all the words, and is quick about it."""
        got, said = self.node(**settings).run(*arguments)
        line = [line for line in said.splitlines() if line.startswith("kvasird: ")][-1:]
        self.assertEqual(got, code, said)
        self.assertTrue(line, said)
        for word in words:
            self.assertIn(word, line[0])
        return line[0]

    def file(self, text):
        node = self.node()
        path = os.path.join(node.folder, "kvasird.yaml")
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_unknown_key(self):
        path = self.file("listen: [127.0.0.1:0]\ndram:\n  siez: 1GiB\n")
        self.refused(2, f"{path}:3", "dram.siez", "dram.size", arguments=[f"--config={path}"])

    def test_bad_values(self):
        for text, line in (("dram: {size: lots}\n", 1), ("listen: []\n\ndrain_timeout: -1s\n", 3),
                           ("grpc:\n  pollers: 1000\n", 2), ("store:\n  policy: best\n", 2), ("insecure: perhaps\n", 1)):
            path = self.file(text)
            self.refused(2, f"{path}:{line}", arguments=[f"--config={path}"])

    def test_broken_yaml(self):
        for text in ("listen: [", "\t- x", "a: b: c", "- 1\n- 2\n", "\x00", "listen: &a [*a]"):
            path = self.file(text)
            self.refused(2, path, arguments=[f"--config={path}"])

    def test_no_such_file(self):
        self.refused(2, "/nonexistent/kvasird.yaml", arguments=["--config=/nonexistent/kvasird.yaml"])

    def test_unknown_option(self):
        self.refused(2, "no-such-option", arguments=["--no-such-option=1"])

    def test_strangers(self):
        self.refused(2, "listen", "insecure: true", listen="0.0.0.0:0")
        self.refused(2, "listen", "insecure: true", listen="[::]:0")
        self.refused(2, "admin.listen", "insecure: true", admin__listen="0.0.0.0:0")
        node = self.node(listen="0.0.0.0:0", insecure="true").start()
        node.stop()

    def test_port_in_use(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = f"127.0.0.1:{other.getsockname()[1]}"
            self.refused(1, address, "in use", listen=address)
            self.refused(1, address, "in use", admin__listen=address)

    def test_port_of_another_node(self):
        first = self.node().start()
        self.refused(1, "in use", listen=f"127.0.0.1:{first.port}")
        self.refused(1, "in use", unix_socket=first.socket)
        first.connect().close()  # it was not disturbed
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(first.socket)
        first.stop()

    def test_directory_without_rights(self):
        # Where even root makes no socket.
        self.refused(1, "unix_socket", "/proc/kvasir", unix_socket="/proc/kvasir/node.sock")
        self.refused(1, "/sys/node.sock", unix_socket="/sys/node.sock")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_directory_of_somebody_else(self):
        node = self.node(limits=lambda: os.setuid(65534))
        os.chmod(node.folder, 0o777)
        closed = os.path.join(node.folder, "closed")
        os.mkdir(closed, 0o755)
        program = shutil.copy(KVASIRD, node.folder)  # the build tree may be closed to others, too
        for path in (os.path.join(closed, "node.sock"), os.path.join(closed, "run", "node.sock")):
            node.settings["unix_socket"] = path
            code, said = node.run(program=program)
            self.assertEqual(code, 1, said)
            self.assertRegex(said, r"kvasird: unix_socket: .*closed.*: Permission denied")

    def test_file_in_place_of_the_socket(self):
        node = self.node()
        path = os.path.join(node.folder, "file")
        open(path, "w").close()
        self.refused(1, "not a socket", unix_socket=path)
        self.assertTrue(os.path.exists(path))

    def test_address_of_another_machine(self):
        self.refused(1, "203.0.113.7", listen="203.0.113.7:0", insecure="true")

    def test_too_much_memory(self):
        self.refused(2, "dram.size", dram__size="60TiB")

    def test_tls_files(self):
        folder = self.node().folder
        key, cert, bad = (os.path.join(folder, name) for name in ("key.pem", "cert.pem", "bad.pem"))
        make_certificate(key, cert)
        with open(bad, "w") as file:
            file.write("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        self.refused(2, "tls.key_file", tls__cert_file=cert)
        self.refused(2, "/nonexistent", tls__cert_file=cert, tls__key_file="/nonexistent")
        self.refused(2, "tls.client_ca_file", tls__client_ca_file=cert)
        self.refused(1, "grpc", tls__cert_file=bad, tls__key_file=key)
        self.refused(1, "grpc", tls__cert_file=cert, tls__key_file=bad)
        node = self.node(listen="0.0.0.0:0", tls__cert_file=cert, tls__key_file=key).start()
        node.stop()


def make_certificate(key, cert):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)


class Printing(NodeTest):
    def print(self, *arguments):
        done = subprocess.run([KVASIRD, *arguments], capture_output=True, text=True, timeout=harness.START_SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_pages(self):
        self.assertIn("--dram-size", self.print("--help"))
        self.assertRegex(self.print("--version"), r"kvasird \d+\.\d+\.\d+")
        self.assertIn("good", self.print("--check-config", "--listen=127.0.0.1:1"))

    def test_the_packaged_configuration(self):
        path = os.path.join(os.environ["KVASIR_SOURCE"], "deploy", "kvasird.yaml")
        self.assertIn("good", self.print("--check-config", f"--config={path}"))

    def test_dumped_configuration_loads_again(self):
        first = self.print("--dump-config", "--dram-size=32MiB")
        path = os.path.join(self.node().folder, "kvasird.yaml")
        with open(path, "w") as file:
            file.write(first)
        self.assertIn("size: 32MiB", self.print("--dump-config", f"--config={path}"))


class Impatience(NodeTest):
    def test_interrupted_start(self):
        """A signal while much memory is touched ends it at once."""
        node = self.node(dram__size="2GiB", dram__huge_pages="false").spawn()
        self.assertTrue(harness.until(lambda: "admin on" in node.log()))
        node.signal(signal.SIGTERM)
        began = time.monotonic()
        node.wait()
        self.assertLess(time.monotonic() - began, harness.STOP_SECONDS)


if __name__ == "__main__":
    harness.main(100)
