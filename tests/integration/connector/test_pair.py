"""Two connectors of one process have a connection each: what one of them moves does not hold up the other's frames."""
import os
import subprocess

import harness
from certificates import Certificates
from harness import NodeTest, until

PROGRAM = os.environ["KVASIR_CONNECTOR_PAIR"]
ESTABLISHED = "01"


def connections_to(port):
    """To 127.0.0.1, by sockets of either family: those of the kernel, since the node does not count what TLS brings."""
    rows = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(path):
            with open(path) as table:
                rows += [line.split() for line in table.readlines()[1:]]
    return sum(row[2].endswith(f"0100007F:{port:04X}") and row[3] == ESTABLISHED for row in rows)


class Pair(NodeTest):
    def count(self, node, endpoint, connections, *arguments):
        with subprocess.Popen([PROGRAM, endpoint, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pair:
            for word, n in (("two", 2), ("one", 1)):
                self.assertEqual(pair.stdout.readline().strip(), word, node.log())
                self.assertTrue(until(lambda: connections() == n), f"{connections()} connections of {word}")
                pair.stdin.write("\n")
                pair.stdin.flush()
            pair.stdin.close()
            self.assertEqual(pair.wait(harness.STOP_SECONDS), 0)
        self.assertTrue(until(lambda: connections() == 0))
        node.stop()

    def test_unix(self):
        node = self.node().start()
        self.count(node, f"unix:{node.socket}", lambda: node.metric("kvasir_grpc_connections"))

    def test_tcp(self):
        node = self.node().start()
        self.count(node, f"kvasir://127.0.0.1:{node.port}", lambda: node.metric("kvasir_grpc_connections"))

    def test_tls(self):
        """Here gRPC opens the connections, and would share one among equal channels."""
        node = self.node()
        files = Certificates(node.folder)
        node.settings.update({"tls.cert_file": files.path("server.pem"), "tls.key_file": files.path("server.key")})
        node.start()
        self.count(node, f"kvasir://127.0.0.1:{node.port}", lambda: connections_to(node.port), files.path("ca.pem"))


if __name__ == "__main__":
    harness.main(110)
