"""A node whose SSD tier, or memory, holds chunks encoded: a client that speaks gRPC by itself, and knows no coding, gets the bytes that it put."""
import array
import os
import random
import struct
import subprocess
import threading

import harness
from harness import SLOW, NodeTest, until

harness.need_grpc()
import rpc  # noqa: E402
from rpc import pb  # noqa: E402

PROGRAM = os.environ["KVASIR_CODED_CLIENT"]
SSD = '{tier="ssd"}'
DRAM = '{tier="dram"}'
LAYERS, TOKENS, HEADS, DIM = 4, 32, 2, 32
PLANE = TOKENS * HEADS * DIM * 2
SEGMENTS = 2 * LAYERS
CHUNK_BYTES = SEGMENTS * PLANE
CHUNKS = 12
PROGRAM_CHUNKS = 24


def tensors_space():
    return rpc.descriptor(model="tensors", layout=1, key_dtype=3, value_dtype=3, layers=LAYERS, kv_heads=HEADS, key_dim=DIM,
                          value_dim=DIM, tokens_per_chunk=TOKENS, engine_block=TOKENS, chunk_bytes=CHUNK_BYTES)


def tensors(seed):
    """bf16 numbers around 0, a segment for each layer's keys and values."""
    source = random.Random(seed)
    floats = array.array("f", (source.gauss(0, 1) for _ in range(CHUNK_BYTES // 2)))
    words = struct.unpack(f"<{len(floats)}I", floats.tobytes())
    whole = struct.pack(f"<{len(words)}H", *(word >> 16 for word in words))
    return [whole[at:at + PLANE] for at in range(0, CHUNK_BYTES, PLANE)]


class Coded(NodeTest):
    def coded_node(self, **settings):
        node = self.node(dram__size="16MiB", ssd__size="256MiB", ssd__log_file_size="8MiB", chunk__max_size="1MiB",
                         **{"ssd__codec": "lossless", **settings})
        node.settings["ssd.paths"] = os.path.join(node.folder, "ssd")
        return node.start()

    def plain_client(self, node):
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        return client, client.open_space(tensors_space())

    def put_and_restart(self, node):
        """Afterwards they are on SSD alone, encoded."""
        client, space = self.plain_client(node)
        transfer = client.transfer()
        for number in range(CHUNKS):
            self.assertEqual(transfer.put(space, bytes([number]) * 32, tensors(number)), rpc.OK)
        transfer.end()
        client.close()
        self.restart(node, CHUNKS)

    def restart(self, node, chunks):
        self.assertTrue(until(lambda: node.metric("kvasir_tier_objects", SSD) == chunks and
                              node.metric("kvasir_tier_operations", SSD) == 0, 60))
        self.assertEqual(node.metric("kvasir_tier_encoded_chunks_total", SSD), chunks)
        self.assert_seconds(node, "kvasir_tier_encode_seconds_total", SSD)
        node.stop()
        node.start()

    def get_all(self, client, space):
        transfer = client.transfer()
        for number in range(CHUNKS):
            status, data = transfer.get(space, bytes([number]) * 32, CHUNK_BYTES)
            self.assertEqual(status, rpc.OK)
            self.assertEqual(data, b"".join(tensors(number)))
        transfer.end()

    def program(self, node, command):
        environment = {**os.environ, "KVASIR_TEST_ENDPOINT": f"unix:{node.socket}"}
        done = subprocess.run([PROGRAM, command, "0"], env=environment, capture_output=True, text=True, timeout=120 * SLOW)
        self.assertEqual(done.returncode, 0, f"{command}:\n{done.stdout}{done.stderr}\nnode:\n{node.log()}")

    def test_the_bytes_that_were_put(self):
        node = self.coded_node()
        self.put_and_restart(node)
        client, space = self.plain_client(node)
        for round in (1, 2):  # from SSD, then from memory, where they are as they came from there
            self.get_all(client, space)
            self.assertEqual(node.metric("kvasir_tier_decodes_total"), round * CHUNKS)
        self.assertEqual(node.metric("kvasir_tier_promotions_total", SSD), CHUNKS)
        self.assertEqual(node.metric("kvasir_tier_decoded_raw_bytes_total"), 2 * CHUNKS * CHUNK_BYTES)
        self.assertLess(node.metric("kvasir_tier_decoded_bytes_total"), 2 * CHUNKS * CHUNK_BYTES * 0.8)
        self.assert_seconds(node, "kvasir_tier_decode_seconds_total")
        self.assert_seconds(node, "kvasir_tier_read_latency_seconds", SSD)
        self.assertEqual(node.metric("kvasir_get_misses_total", '{cause="quality"}'), 0)
        self.assertTrue(until(lambda: node.metric("kvasir_tier_decode_memory_bytes") == 0, 30))
        client.close()
        node.stop()

    def test_abreast(self):
        """Segment 0 of every chunk, then segment 1 of every one: each of them is held decoded at a time."""
        node = self.coded_node()
        self.put_and_restart(node)
        client, space = self.plain_client(node)
        transfer = client.transfer()
        keys = b"".join(bytes([number]) * 32 for number in range(CHUNKS))
        start = pb.TransferStart(id=1, space=space, timeout_ms=rpc.TIMEOUT * 1000, lengths=[CHUNK_BYTES] * CHUNKS, abreast=True,
                                 keys=pb.Keys(keys=keys, key_length=32, unchained=True))
        transfer.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        got, ended = [bytearray() for _ in range(CHUNKS)], 0
        while ended < CHUNKS:
            frame = transfer.receive()
            at = 0
            for piece in frame.header.pieces:
                got[piece.chunk] += frame.data[at:at + piece.length]
                at += piece.length
            for end in frame.header.ends:
                self.assertEqual(end.status, rpc.OK)
                ended += 1
        for number in range(CHUNKS):
            self.assertEqual(bytes(got[number]), b"".join(tensors(number)))
        transfer.end()
        client.close()
        node.stop()

    def test_many_clients_and_one_thread(self):
        node = self.coded_node(codec__threads="1")
        self.put_and_restart(node)
        failed = []

        def read():
            try:
                client, space = self.plain_client(node)
                self.get_all(client, space)
            except Exception as error:  # noqa: BLE001: told below, on the test's thread
                failed.append(error)

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(node.metric("kvasir_tier_decodes_total"), 6 * CHUNKS)
        self.assertEqual(node.metric("kvasir_tier_promotions_total", SSD), CHUNKS)
        node.stop()

    def test_libkvasir_decodes_by_itself(self):
        node = self.coded_node()
        self.program(node, "put")
        self.restart(node, PROGRAM_CHUNKS)
        self.program(node, "get")
        self.assertEqual(node.metric("kvasir_tier_decodes_total"), 0)
        self.assertGreaterEqual(node.metric("kvasir_get_hits_total"), PROGRAM_CHUNKS)
        node.stop()

    # ---- memory ----

    def many_put(self, client, space, node, chunks, kinds):
        transfer = client.transfer()
        for number in range(chunks):
            self.assertEqual(transfer.put(space, number.to_bytes(32, "little"), kinds[number % len(kinds)]), rpc.OK)
            self.assertTrue(until(lambda: node.metric("kvasir_tier_encode_queue", DRAM) == 0, 30))
        transfer.end()

    def test_memory_holds_more(self):
        """The same chunks in the same memory, as they are put and coded: all that are there are the bytes that were put."""
        tokens, chunks = 256, 60
        whole = CHUNK_BYTES * tokens // TOKENS
        kinds = [[part * (tokens // TOKENS) for part in tensors(seed)] for seed in range(7)]
        desc = rpc.descriptor(model="long", layout=1, key_dtype=3, value_dtype=3, layers=LAYERS, kv_heads=HEADS, key_dim=DIM,
                              value_dim=DIM, tokens_per_chunk=tokens, engine_block=tokens, chunk_bytes=whole)
        held = {}
        for codec in ("none", "lossless"):
            node = self.node(dram__size="8MiB", chunk__max_size="1MiB", dram__codec=codec).start()
            client = rpc.Client(f"127.0.0.1:{node.port}")
            self.addCleanup(client.close)
            space = client.open_space(desc)
            self.many_put(client, space, node, chunks, kinds)
            held[codec] = int(node.metric("kvasir_chunks"))
            self.assertEqual(node.metric("kvasir_tier_encoded_chunks_total", DRAM), chunks if codec == "lossless" else 0)
            transfer = client.transfer()
            there = 0
            for number in range(chunks):
                status, data = transfer.get(space, number.to_bytes(32, "little"), whole)
                if status == rpc.OK:
                    there += 1
                    self.assertEqual(data, b"".join(kinds[number % len(kinds)]))
            transfer.end()
            self.assertEqual(there, held[codec])
            self.assertEqual(node.metric("kvasir_tier_decodes_total"), held[codec] if codec == "lossless" else 0)
            client.close()
            node.stop()
        self.assertGreaterEqual(held["lossless"], 1.4 * held["none"], held)

    def test_ssd_gets_it_from_memory(self):
        """Encoded once: the SSD's encoder leaves it as it is."""
        node = self.coded_node(dram__codec="lossless")
        client, space = self.plain_client(node)
        transfer = client.transfer()
        for number in range(CHUNKS):
            self.assertEqual(transfer.put(space, bytes([number]) * 32, tensors(number)), rpc.OK)
        transfer.end()
        self.assertTrue(until(lambda: node.metric("kvasir_tier_objects", SSD) == CHUNKS, 60))
        self.assertEqual(node.metric("kvasir_tier_encoded_chunks_total", DRAM), CHUNKS)
        self.assert_seconds(node, "kvasir_tier_encode_seconds_total", DRAM)
        self.assertEqual(node.metric("kvasir_tier_encoded_chunks_total", SSD), 0)
        self.assertEqual(node.metric("kvasir_tier_put_bytes_total", SSD), node.metric("kvasir_tier_encoded_bytes_total", DRAM))
        for _ in range(2):  # from memory, then from SSD
            self.get_all(client, space)
            client.close()
            node.stop()
            node.start()
            client, space = self.plain_client(node)
        client.close()
        node.stop()

    def test_libkvasir_reads_coded_memory(self):
        node = self.node(dram__size="64MiB", chunk__max_size="1MiB", dram__codec="lossless").start()  # all may wait: a quarter of it
        self.program(node, "put")
        self.assertTrue(until(lambda: node.metric("kvasir_tier_encode_queue", DRAM) == 0, 60))
        self.assertEqual(node.metric("kvasir_tier_encoded_chunks_total", DRAM), PROGRAM_CHUNKS)
        self.program(node, "get")
        self.assertEqual(node.metric("kvasir_tier_decodes_total"), 0)
        self.assertGreaterEqual(node.metric("kvasir_get_hits_total"), PROGRAM_CHUNKS)
        node.stop()


if __name__ == "__main__":
    harness.main(240)
