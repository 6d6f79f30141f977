"""The connector and coded chunks of a real node: of an SSD tier with a codec, and put by a connector that encodes. They go to the caller's memory
as the node holds them, and are decoded there."""
import json
import os
import subprocess

import harness
from harness import SLOW, NodeTest, until
from proxy import DOWN, Proxy

KVASIRCTL = os.environ["KVASIRCTL"]
PROGRAM = os.environ["KVASIR_CODED_CLIENT"]
SSD = '{tier="ssd"}'
CHUNKS = 24  # as the program puts


class Coded(NodeTest):
    def coded_node(self, codec):
        node = self.node(dram__size="16MiB", ssd__size="256MiB", ssd__log_file_size="8MiB", chunk__max_size="1MiB", ssd__codec=codec)
        node.settings["ssd.paths"] = os.path.join(node.folder, "ssd")
        return node.start()

    def client(self, node, command, loss_max, tcp=False, port=None):
        endpoint = f"kvasir://127.0.0.1:{port or node.port}" if tcp else f"unix:{node.socket}"
        environment = {**os.environ, "KVASIR_TEST_ENDPOINT": endpoint}
        done = subprocess.run([PROGRAM, command, str(loss_max)], env=environment, capture_output=True, text=True,
                              timeout=120 * SLOW)
        self.assertEqual(done.returncode, 0, f"{command}:\n{done.stdout}{done.stderr}\nnode:\n{node.log()}")

    def put_and_restart(self, node, loss_max):
        """Afterwards they are on SSD alone."""
        self.client(node, "put", loss_max)
        self.assertTrue(until(lambda: node.metric("kvasir_tier_objects", SSD) == CHUNKS and
                              node.metric("kvasir_tier_operations", SSD) == 0, 60))
        self.assertGreater(node.metric("kvasir_tier_encoded_chunks_total", SSD), 0)
        node.stop()
        node.start()

    def test_lossless(self):
        node = self.coded_node("lossless")
        self.put_and_restart(node, 0)
        self.client(node, "get", 0)
        node.stop()

    def test_ladder(self):
        node = self.coded_node("ladder")
        self.put_and_restart(node, 4)
        self.client(node, "quality", 0)
        self.client(node, "quality", 1)
        self.client(node, "get", 2)
        node.stop()

    # ---- a connector that encodes ----

    def chunks(self, node):
        def ls(*arguments):
            said = subprocess.run([KVASIRCTL, "--endpoint", f"unix:{node.socket}", "ls", *arguments, "--json"], capture_output=True,
                                  text=True, timeout=60 * SLOW)
            self.assertEqual(said.returncode, 0, said.stderr)
            return json.loads(said.stdout)
        spaces = ls("spaces")["spaces"]
        self.assertEqual(len(spaces), 1)
        return ls("chunks", spaces[0]["digest"])["chunks"]

    def encoded(self, loss_max, loss):
        node = self.node(dram__size="64MiB", chunk__max_size="1MiB").start()
        self.client(node, "encode", loss_max, tcp=True)
        chunks = self.chunks(node)
        self.assertEqual(len(chunks), CHUNKS)
        for chunk in chunks:
            self.assertTrue(chunk["coded"], chunk)
            self.assertEqual((chunk["loss"], chunk["loss_max"]), (loss, loss_max))
        for tcp in (True, False):
            self.client(node, "get", loss_max, tcp=tcp)
        if loss > 0:
            self.client(node, "quality", loss - 1)
        node.stop()

    def test_encoded_without_loss(self):
        self.encoded(loss_max=0, loss=0)

    def test_encoded_with_the_loss_that_the_put_allows(self):
        self.encoded(loss_max=4, loss=2)

    def test_who_is_in_a_hurry_takes_fewer_planes(self):
        node = self.node(dram__size="64MiB", chunk__max_size="1MiB").start()
        self.client(node, "encode", 4, tcp=True)
        proxy = Proxy(node.port)
        self.addCleanup(proxy.close)
        proxy.slow(DOWN, 20 << 20)
        self.client(node, "hurry", 4, tcp=True, port=proxy.port)
        # both planes of each in a hurry, and one where that is enough
        self.assertEqual(node.metric("kvasir_get_left_out_planes_total"), (2 + 1) * CHUNKS)
        left_out = node.metric("kvasir_get_left_out_bytes_total")
        self.assertGreater(left_out, 0)
        self.assertGreater(proxy.passed[DOWN], node.metric("kvasir_get_bytes_total"))
        self.assertLess(proxy.passed[DOWN], node.metric("kvasir_get_bytes_total") + left_out)
        for chunk in self.chunks(node):  # they are whole
            self.assertEqual((chunk["coded"], chunk["loss"]), (True, 2))
        self.client(node, "get", 2, tcp=True)
        node.stop()

    def line_of(self, client, node, first):
        lines = []
        for line in client.stdout:
            if line.startswith(first):
                return line
            lines.append(line)
        self.fail(f"{''.join(lines)}{client.communicate()[1]}\nnode:\n{node.log()}")

    def overlap(self, loss_max):
        """The last 96 KiB of a get do not pass before the client has layer 0, whatever time that takes. A node sends the last 192 KiB in a message of their own."""
        node = self.node(dram__size="64MiB", chunk__max_size="1MiB").start()
        self.client(node, "encode", loss_max, tcp=True)
        proxy = Proxy(node.port)
        self.addCleanup(proxy.close)
        client = subprocess.Popen([PROGRAM, "overlap", str(loss_max)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env={**os.environ, "KVASIR_TEST_ENDPOINT": proxy.endpoint}, text=True, bufsize=1)
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        size = int(self.line_of(client, node, "ready ").split()[1])
        proxy.after(DOWN, size - (96 << 10), proxy.hold)
        client.stdin.write("go\n")
        self.line_of(client, node, "layer 0")
        self.assertTrue(proxy.fired.wait(60 * SLOW))
        proxy.release()
        output, errors = client.communicate("on\n", timeout=120 * SLOW)
        self.assertEqual(client.returncode, 0, f"{output}{errors}\nnode:\n{node.log()}")
        node.stop()

    def test_layer_0_is_there_before_the_last_bytes_without_loss(self):
        self.overlap(0)

    def test_layer_0_is_there_before_the_last_bytes_of_a_ladder(self):
        self.overlap(4)

    def test_less_loss_than_the_level_has_is_none(self):
        node = self.node(dram__size="64MiB", chunk__max_size="1MiB").start()
        self.client(node, "encode", 1, tcp=True)
        self.assertEqual({(chunk["coded"], chunk["loss"]) for chunk in self.chunks(node)}, {(True, 0)})
        self.client(node, "get", 0, tcp=True)
        node.stop()

    def test_a_socket_of_this_machine_is_no_slow_link(self):
        node = self.node(dram__size="64MiB", chunk__max_size="1MiB").start()
        self.client(node, "encode", 4)
        self.assertEqual({chunk["coded"] for chunk in self.chunks(node)}, {False})
        node.stop()


if __name__ == "__main__":
    harness.main(120)
