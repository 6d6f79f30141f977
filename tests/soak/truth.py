"""What a node may say of each chunk: the model of the truth beside the load.

A chunk's key, parent and bytes follow from the run's seed, the number of its chain and its place. A chunk that was put may be there or not
(nodes evict), but if it is, it has these bytes. One that was never put whole is nowhere. One that was deleted is not at its home, the
one node that takes its puts and deletes, until it is put again; where the books of the design allow otherwise, `Verdict` says so.
"""
import hashlib
import random
import struct
import threading

import rpc

CHAIN = 8          # chunks of a chain
SMALL = 64 << 10   # what is larger is never written to Redis (redis.max_chunk)
GHOSTS = 1 << 30   # numbers from here on are of chains that are never put whole
SENTINELS = 1 << 31  # and these are put to look for them after a kill

# The space with this number holds keys and values of LAYERS layers, the others opaque bytes.
TENSORS = 2
LAYERS, TOKENS, HEADS, DIM = 3, 32, 2, 64
PLANES, PLANE = 2 * LAYERS, TOKENS * HEADS * DIM * 2

ABSENT, MAYBE, DELETED = "absent", "maybe", "deleted"


class Verdict:
    """Counts and failures; any thread."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {}
        self.failures = {}

    def count(self, name, n=1):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + n

    def fail(self, promise, text):
        with self.lock:
            told = self.failures.setdefault(promise, [])
            if len(told) < 10:
                told.append(text)
                print(f"BROKEN {promise}: {text}", flush=True)

    def get(self, name):
        return self.counts.get(name, 0)


def bf16(chaos, n):
    """Numbers around 0, as keys and values are."""
    floats = struct.pack(f"<{n}f", *(chaos.gauss(0, 1) for _ in range(n)))
    return struct.pack(f"<{n}H", *(word >> 16 for word in struct.unpack(f"<{n}I", floats)))


def text(chaos, size):
    return bytes(chaos.choices(b"abcdefgh", k=size))


class Pool:
    """Blocks of bytes with their checksums, made once: Python is slow at CRC32C. Every other one is smaller when it is encoded."""

    def __init__(self, seed):
        chaos = random.Random(seed)
        sizes = [0, 100, 1000, 4096, 5000, 8192, 12000, 16384, 20001, 30000, 40000, 50000, 65536, 70000, 90000, 120000]
        made = [(text(chaos, size) if i % 2 else chaos.randbytes(size)) for i, size in enumerate(sizes) if size]
        self.blocks = [(data, rpc.crc32c(data)) for data in made]
        self.small = [block for block in self.blocks if len(block[0]) <= 20001]
        self.big = [block for block in self.blocks if len(block[0]) > 20001]
        self.planes = [(data, rpc.crc32c(data)) for data in (bf16(chaos, PLANE // 2) for _ in range(32))]


class Chunk:
    def __init__(self, truth, chain, place):
        chaos = random.Random(f"{truth.seed}/{chain.number}/{place}")
        self.place = place
        self.key = hashlib.sha256(f"{truth.seed}/{chain.number}/{place}".encode()).digest()
        if chain.space == TENSORS:
            self.parts = chaos.sample(truth.pool.planes, PLANES)
        else:
            self.parts = self.blocks(truth, chain, chaos)
        self.length = sum(len(data) for data, _ in self.parts)
        self.state = ABSENT
        self.version = 0      # changes when a put begins or a delete has ended
        self.deleted_life = 0  # of its home, when it was deleted

    def blocks(self, truth, chain, chaos):
        head = self.key[::-1]
        small = chain.number < SENTINELS and chaos.random() < 0.6
        if small:
            picked = [chaos.choice(truth.pool.small) for _ in range(chaos.choice([1, 1, 2, 3]))]
        else:
            picked = [truth.pool.blocks[-1 if chain.number >= SENTINELS else -2]]
            picked += [chaos.choice(truth.pool.big) for _ in range(chaos.choice([0, 0, 0, 1, 2]))]
        return [(head, rpc.crc32c(head)), *picked]

    def data(self):
        return b"".join(data for data, _ in self.parts)

    @property
    def in_redis(self):
        """Whether Redis may have a copy."""
        return self.length <= SMALL


class Chain:
    """lock: held by whoever puts, deletes or leases it."""

    def __init__(self, truth, number):
        self.number = number
        self.home = number % 2
        self.space = number // 2 % (TENSORS if number >= SENTINELS else TENSORS + 1)
        self.lock = threading.Lock()
        self.uncertain = False  # a put may still be under way somewhere
        self.damage = 0         # times that a client found one of its chunks damaged
        self.chunks = [Chunk(truth, self, place) for place in range(CHAIN)]

    def keys(self, first=0, n=CHAIN):
        from kvasir.v1 import cache_pb2 as pb
        chunks = self.chunks[first:first + n]
        return pb.Keys(keys=b"".join(chunk.key for chunk in chunks), key_length=32, first_place=first,
                       parent=self.chunks[first - 1].key if first else b"")


class Truth:
    def __init__(self, seed, verdict, window):
        self.seed = seed
        self.verdict = verdict
        self.pool = Pool(seed)
        self.lock = threading.Lock()
        self.chains = {}
        self.window = window  # chains in use at a time
        self.first = 0

    def chain(self, number):
        with self.lock:
            if number not in self.chains:
                self.chains[number] = Chain(self, number)
            return self.chains[number]

    def pick(self, chaos):
        """The young ones more often. Now and then the oldest is left behind for a new one."""
        with self.lock:
            if chaos.random() < 0.02:
                self.chains.pop(self.first, None)
                self.first += 1
            back = int(self.window * chaos.random() ** 2)
            number = self.first + self.window - 1 - back
        return self.chain(number)

    # ---- what is told to it ----

    def put_begins(self, chunk):
        chunk.version += 1
        chunk.state = MAYBE

    def deleted(self, chunk, life):
        chunk.version += 1
        chunk.state = DELETED
        chunk.deleted_life = life

    # ---- what it says ----

    def look(self, chain, first, n):
        """Taken before a get or a look-up."""
        return [(chunk.state, chunk.version, chunk.deleted_life) for chunk in chain.chunks[first:first + n]]

    def seen(self, node, chain, place, before, data=None):
        """The node says that it has the chunk (look-up: without data). life: of the node, during the call."""
        chunk = chain.chunks[place]
        state, version, deleted_life = before
        name = f"chunk {chain.number}/{place}, {chunk.length} bytes, {chunk.key.hex()[:16]}, at node {node.name}"
        if data is not None and data != chunk.data():
            self.verdict.fail("bytes", f"{name}: wrong bytes ({len(data)} came, state {state})")
            return
        if node.index != chain.home and not chunk.in_redis:
            self.verdict.fail("whole", f"{name}: only node {chain.home} was ever given it")
        if state == MAYBE or chunk.version != version:
            return
        if state == ABSENT:
            self.verdict.fail("whole", f"{name}: it was never put whole, and is there")
        elif node.index == chain.home:
            self.verdict.fail("deleted", f"{name}: it was deleted in life {deleted_life}, and is there in life {node.life}")
        else:  # a copy that the other node had taken: a delete is of one node, and of Redis
            self.verdict.count("still at the other node")
