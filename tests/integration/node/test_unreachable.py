"""An endpoint with no node behind it, or something else, or a node that wants another kind of connection: for the
connector a fast miss, for kvasirctl a clear error and exit code 3."""
import os
import socket
import subprocess
import tempfile
import threading
import time

import harness
from certificates import Certificates
from harness import GRACE_MS, SLOW, NodeTest, free_port

CLIENT = os.environ["KVASIR_REACH_CLIENT"]
KVASIRCTL = os.environ["KVASIRCTL"]
WAIT_MS = 500
TIMEOUT_MS = 1000
GARBAGE = b"220 mail.example ESMTP\r\n" + bytes(range(256)) * 64
COMMANDS = (["ping"], ["stats"], ["ls"], ["config"], ["get", "name", "-"], ["put", "name", "/dev/null"],
            ["evict", "--all"], ["bench", "--count", "1"])


class Stranger:
    """A server that is no Kvasir: says `words` to everybody, reads on, and either hangs up or stays."""

    def __init__(self, words=b"", hang_up=False):
        self.words, self.hang_up = words, hang_up
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.guests = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                guest, _ = self.listener.accept()
                self.guests.append(guest)
                guest.sendall(self.words)
                if self.hang_up:
                    guest.close()
            except OSError:
                if self.listener.fileno() < 0:
                    return

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for guest in self.guests:
            guest.close()


class Unreachable(NodeTest):
    def stranger(self, *how):
        stranger = Stranger(*how)
        self.addCleanup(stranger.close)
        return f"kvasir://127.0.0.1:{stranger.port}"

    def reach(self, endpoint, *tls, wait_ms=WAIT_MS):
        """[(what, status, milliseconds, why)] of reach_client."""
        done = subprocess.run([CLIENT, endpoint, str(wait_ms), str(TIMEOUT_MS), *tls], capture_output=True, text=True,
                              timeout=120 * SLOW)
        self.assertEqual(done.returncode, 0, f"{endpoint}: {done.stdout}{done.stderr}")
        print(endpoint, done.stdout.strip().replace("\n", "; "))
        lines = [line.split(" ", 3) + [""] for line in done.stdout.splitlines()]
        return {line[0]: (line[1], int(line[2]), line[3]) for line in lines}

    def misses(self, endpoint, *tls):
        """The connector opens, says why, and everything is a miss at once: nobody waits for a deadline."""
        said = self.reach(endpoint, *tls)
        self.assertEqual(said["open"][0], "ERR_UNREACHABLE", said)
        self.assertTrue(said["open"][2], said)  # a reason
        self.assertLessEqual(said["open"][1], WAIT_MS + GRACE_MS, said)
        for what, status in (("lookup", "MISS"), ("put", "ERR_UNREACHABLE"), ("get", "MISS")):
            self.assertEqual(said[what][0], status, said)
            self.assertLessEqual(said[what][1], GRACE_MS, said)
        self.assertLessEqual(said["close"][1], 1000 + GRACE_MS, said)
        return said["open"][2]

    def refused(self, endpoint, commands=COMMANDS[:1]):
        """kvasirctl ends in time, with 3 and with a sentence that names the endpoint."""
        for command in commands:
            began = time.monotonic()
            done = subprocess.run([KVASIRCTL, "--endpoint", endpoint, "--timeout", f"{TIMEOUT_MS}ms", *command],
                                  capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60 * SLOW)
            seconds = time.monotonic() - began
            self.assertEqual(done.returncode, 3, f"{command}: {done.stdout}{done.stderr}")
            self.assertIn(f"no node at {endpoint}", done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertLess(seconds, (TIMEOUT_MS + 1000 + GRACE_MS) / 1000 * SLOW, command)
            print(command[0], done.stderr.splitlines()[0])

    def works(self, endpoint, *tls):
        said = self.reach(endpoint, *tls, wait_ms=20000 * SLOW)  # it returns as soon as there is a connection
        for what in ("open", "put", "get"):
            self.assertEqual(said[what][0], "OK", said)

    def test_nobody_listens(self):
        endpoint = f"kvasir://127.0.0.1:{free_port()}"
        self.assertIn("refused", self.misses(endpoint))
        self.refused(endpoint, COMMANDS)

    def test_no_such_socket(self):
        folder = tempfile.mkdtemp(prefix="kvasir-none-")
        self.addCleanup(os.rmdir, folder)
        self.misses(f"unix:{folder}/none.sock")
        self.refused(f"unix:{folder}/none.sock")

    def test_no_such_host(self):
        self.misses("kvasir://no-such-host.invalid:7070")
        self.refused("kvasir://no-such-host.invalid:7070")

    def test_garbage(self):
        for hang_up in (False, True):
            endpoint = self.stranger(GARBAGE, hang_up)
            self.misses(endpoint)
            self.refused(endpoint, COMMANDS)

    def test_hangs_up(self):
        endpoint = self.stranger(b"", True)
        self.misses(endpoint)
        self.refused(endpoint)

    def test_says_nothing(self):
        endpoint = self.stranger()
        self.misses(endpoint)
        self.refused(endpoint)

    def test_admin_port(self):
        node = self.node().start()
        endpoint = f"kvasir://127.0.0.1:{node.admin_port}"
        self.misses(endpoint)
        self.refused(endpoint)
        self.works(f"kvasir://127.0.0.1:{node.port}")
        node.stop()

    def test_tls(self):
        plain, node = self.node().start(), self.node()
        files = Certificates(node.folder)
        node.settings.update({"tls.cert_file": files.path("server.pem"), "tls.key_file": files.path("server.key")})
        node.start()
        other = self.node().folder
        stranger = Certificates(other)
        endpoint = f"kvasir://127.0.0.1:{node.port}"
        self.works(endpoint, files.path("ca.pem"))
        self.misses(endpoint)  # speaks without
        self.refused(endpoint)
        self.misses(endpoint, stranger.path("ca.pem"))  # trusts somebody else
        self.misses(f"kvasir://127.0.0.1:{plain.port}", files.path("ca.pem"))  # the node speaks without
        self.works(endpoint, files.path("ca.pem"))
        node.stop()
        plain.stop()

    def test_tls_client_certificate(self):
        node = self.node()
        files = Certificates(node.folder)
        node.settings.update({"tls.cert_file": files.path("server.pem"), "tls.key_file": files.path("server.key"),
                              "tls.client_ca_file": files.path("ca.pem")})
        node.start()
        endpoint = f"kvasir://127.0.0.1:{node.port}"
        own = (files.path("client.pem"), files.path("client.key"))
        self.works(endpoint, files.path("ca.pem"), *own)
        self.misses(endpoint, files.path("ca.pem"))
        self.misses(endpoint)
        node.stop()

    def test_tls_files_that_are_none(self):
        """Options that cannot work are an error at open, not a silent miss."""
        said = self.reach("kvasir://127.0.0.1:1", "/nonexistent/ca.pem")
        self.assertEqual(said["open"][0], "ERR_INVALID", said)


if __name__ == "__main__":
    harness.main(280)
