"""One client of the soak: does one thing after the other to the nodes, and tells the truth what came of it."""
import random
import threading
import time

import grpc
import rpc
from rpc import pb
from truth import CHAIN, GHOSTS, MAYBE

OP_MS = 10000           # what the node is given for an operation
CALL_SECONDS = 100      # after which an operation has hung, however slow the machine
LEASE_MS = 20000
BUSY, FULL, DEADLINE, DRAINING, NOMEM, IO = -9, -200, -2, -103, -300, -202
PUT_ENDS = {rpc.OK, rpc.EXISTS, BUSY, FULL, DEADLINE, DRAINING, NOMEM}
CORRUPT = 5  # KVI_MISS_CORRUPT: the cause of a miss
GET_ENDS = {rpc.OK, rpc.MISS, BUSY, DEADLINE, DRAINING}


class Gone(Exception):
    """The node went away under the call."""


class Connection:
    """To one life of a node."""

    def __init__(self, node, spaces):
        self.node, self.life = node, node.life
        self.client = rpc.Client(f"unix:{node.process.socket}")
        try:
            self.spaces = [self.client.open_space(space) for space in spaces]
        except BaseException:
            self.client.close()
            raise

    def close(self):
        self.client.close()

    def call(self, method, request, reply, service="Cache"):
        return self.client.call(method, request, reply, service=service, timeout=CALL_SECONDS)

    def stream(self):
        return Stream(self.client.channel)


class Stream(rpc.Transfer):
    def __init__(self, channel):
        super().__init__(channel, timeout=CALL_SECONDS)

    def put_chain(self, space, chain, first, n):
        """Statuses of n chunks, one put each, in order."""
        ends = []
        for chunk in chain.chunks[first:first + n]:
            number = next(self.ids)
            lengths = [len(data) for data, _ in chunk.parts]
            start = pb.TransferStart(id=number, put=True, space=space, timeout_ms=OP_MS, lengths=[chunk.length],
                                     keys=chain.keys(chunk.place, 1), segment_counts=[len(lengths)], segment_lengths=lengths)
            self.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            for index, (data, crc) in enumerate(chunk.parts):
                self.send(rpc.put_frame(number, index, data, crc))
            ends.append(self.wait_end(number))
        return ends

    def half_a_put(self, space, chain):
        """The first segment of a chunk, and no more."""
        number, chunk = next(self.ids), chain.chunks[0]
        lengths = [len(data) for data, _ in chunk.parts]
        start = pb.TransferStart(id=number, put=True, space=space, timeout_ms=OP_MS, lengths=[chunk.length],
                                 keys=chain.keys(0, 1), segment_counts=[len(lengths)], segment_lengths=lengths)
        self.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        self.send(rpc.put_frame(number, 0, *chunk.parts[0]))
        return number

    def cancel(self, number):
        self.send(pb.Frame(header=pb.FrameHeader(cancels=[number])))

    def get_chain(self, space, chain, first, n, lease=0):
        """[(status, cause of a miss, bytes, whether each segment fits the checksum that came with it)] of n chunks, in one get. The
        last is a function: Python is slow at checksums, and right bytes need none."""
        number = next(self.ids)
        chunks = chain.chunks[first:first + n]
        start = pb.TransferStart(id=number, space=space, timeout_ms=OP_MS, lengths=[chunk.length for chunk in chunks],
                                 keys=chain.keys(first, n), lease=lease)
        self.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        parts, sums = [{} for _ in chunks], [{} for _ in chunks]
        ends = {}
        while len(ends) < n:
            frame, at = self.receive(), 0
            for piece in frame.header.pieces:
                parts[piece.chunk].setdefault(piece.segment, bytearray()).extend(frame.data[at:at + piece.length])
                at += piece.length
                if piece.first:
                    sums[piece.chunk][piece.segment] = piece.crc32c
            for end in frame.header.ends:
                assert end.id == number and end.chunk not in ends, f"chunk {end.chunk} ended twice"
                ends[end.chunk] = (end.status, end.cause)

        def sound(i):
            return all(rpc.crc32c(part) == sums[i].get(segment) for segment, part in parts[i].items())

        return [(*ends[i], b"".join(parts[i][segment] for segment in sorted(parts[i])), lambda i=i: sound(i)) for i in range(n)]


class Worker(threading.Thread):
    def __init__(self, number, world):
        super().__init__(name=f"client {number}", daemon=True)
        self.number, self.world = number, world
        self.truth, self.verdict = world.truth, world.verdict
        self.chaos = random.Random(f"{world.seed}/client/{number}")
        self.connections = {}
        self.ghosts = 0
        self.doing = "nothing"
        self.causes = []  # of the misses of the last get

    # ---- running ----

    def run(self):
        things = [(self.put, 25), (self.get, 40), (self.look, 12), (self.lease, 8), (self.delete, 6), (self.half, 4),
                  (self.hint, 2), (self.evict, 1)]
        names, weights = [thing for thing, _ in things], [weight for _, weight in things]
        while not self.world.ended.is_set():
            thing = self.chaos.choices(names, weights)[0]
            chain = self.truth.pick(self.chaos)
            index = chain.home if thing != self.get or self.chaos.random() < 0.75 else 1 - chain.home
            node = self.world.nodes[index]
            if not node.enter():
                self.world.ended.wait(0.05)
                continue
            self.doing = f"{thing.__name__} of chain {chain.number} at {node.name}"
            try:
                self.one(node, thing, chain)
            except Exception as error:  # pylint: disable=broad-except
                self.verdict.fail("answers", f"{self.doing}: {type(error).__name__}: {error}")
            finally:
                self.doing = "nothing"
                node.leave()
        for connection in self.connections.values():
            connection.close()

    def one(self, node, thing, chain):
        life = node.life
        try:
            connection = self.connections.get(node.index)
            if connection is None or connection.life != life:
                if connection is not None:
                    connection.close()
                self.connections.pop(node.index, None)
                connection = self.connections[node.index] = Connection(node, self.world.spaces)
            thing(node, connection, chain)
            self.verdict.count("operations")
        except (grpc.RpcError, Gone) as error:
            if not node.left(life):
                code = error.code() if isinstance(error, grpc.RpcError) else error
                self.verdict.fail("answers", f"{self.doing}: {code}: {error}")
            self.verdict.count("cut off")
            self.world.ended.wait(0.05)

    # ---- what it does ----

    def put(self, node, connection, chain):
        with chain.lock:
            first = self.chaos.choice([0, 0, 0, self.chaos.randrange(CHAIN)])
            n = self.chaos.randint(1, CHAIN - first)
            for chunk in chain.chunks[first:first + n]:
                self.truth.put_begins(chunk)
            chain.uncertain = True
            stream = connection.stream()
            ends = stream.put_chain(connection.spaces[chain.space], chain, first, n)
            stream.end()
            chain.uncertain = False
        for end in ends:
            self.verdict.count("puts")
            self.verdict.count("put " + {0: "stored", 3: "exists", BUSY: "busy", FULL: "full"}.get(end, "other"))
            if end not in PUT_ENDS:
                self.verdict.fail("answers", f"{self.doing}: a put ended with {end}")

    def get(self, node, connection, chain):
        first = self.chaos.choice([0, 0, 0, self.chaos.randrange(CHAIN)])
        self.get_some(node, connection, chain, first, self.chaos.randint(1, CHAIN - first))

    def get_some(self, node, connection, chain, first, n, lease=0):
        before = self.truth.look(chain, first, n)
        stream = connection.stream()
        ends = stream.get_chain(connection.spaces[chain.space], chain, first, n, lease)
        self.causes = [cause for _, cause, *_ in ends]
        stream.end()
        for i, (status, cause, data, sound) in enumerate(ends):
            self.verdict.count("gets")
            if status == rpc.MISS and cause == CORRUPT and node.copies_changed:
                self.dropped(chain)
            elif status == rpc.OK and node.memory_changed and data != chain.chunks[first + i].data() and not sound():
                self.damaged(node, connection, chain, first + i)
            elif status == rpc.OK:
                self.verdict.count("hits")
                self.verdict.count("bytes", len(data))
                self.truth.seen(node, chain, first + i, before[i], data)
            elif status not in GET_ENDS:
                self.verdict.fail("answers", f"{self.doing}: a get ended with {status}")
        return [status for status, *_ in ends]

    def dropped(self, chain):
        """
        Memory had changed on purpose before the chunk was written to SSD, which takes the pages as they lie, with the checksums of the put: whoever
        reads it finds out, maybe long after the fault is off.
        """
        self.verdict.count("damage found by a node")
        chain.damage += 1

    def damaged(self, _node, connection, chain, place):
        """Memory has changed on purpose, and the checksum told: the client drops the chunk, as libkvasir does."""
        self.verdict.count("damage found")
        chain.damage += 1
        request = pb.DeleteRequest(space=connection.spaces[chain.space], keys=chain.keys(place, 1), only_corrupt=True)
        connection.call("Delete", request, pb.DeleteReply)

    def lookup(self, connection, chain, lease_ms=0):
        request = pb.LookupRequest(spaces=[connection.spaces[chain.space]], keys=chain.keys(), lease_ms=lease_ms, want_tiers=True)
        return connection.call("Lookup", request, pb.LookupReply)

    def look(self, node, connection, chain):
        before = self.truth.look(chain, 0, CHAIN)
        reply = self.lookup(connection, chain)
        self.verdict.count("lookups")
        if reply.status not in (rpc.OK, rpc.MISS, BUSY, DRAINING):
            self.verdict.fail("answers", f"{self.doing}: {reply.status}")
        for place in range(CHAIN):
            if reply.present and reply.present[place // 8] >> place % 8 & 1:
                self.truth.seen(node, chain, place, before[place])

    def lease(self, node, connection, chain):
        """What a look-up with a lease has found in the node's own tiers can be had, as long as nothing fails on purpose."""
        with chain.lock:  # nobody deletes it meanwhile
            calm, damage = self.world.calm(), chain.damage
            began = time.monotonic()
            reply = self.lookup(connection, chain, LEASE_MS)
            if not reply.lease or reply.prefix == 0:
                self.verdict.count("leases refused" if reply.lease_status < 0 else "leases of nothing")
                return
            own = [tier in (1, 2) for tier in reply.tiers[:reply.prefix]]
            n = own.index(False) if False in own else len(own)
            ends = self.get_some(node, connection, chain, 0, n, reply.lease) if n else []
            # the node's own deadlines are 10 s: a machine too slow for that proves nothing
            fair = calm is not None and self.world.calm() == calm and chain.damage == damage and time.monotonic() - began < 5
            self.verdict.count("leases kept" if fair else "leases in trouble")
            if fair and rpc.MISS in ends:
                self.verdict.fail("leases", f"{self.doing}: tiers {list(reply.tiers)}, prefix {reply.prefix}, got {ends}, causes {self.causes}")
            if self.chaos.random() < 0.95:  # the others run out
                connection.call("Release", pb.ReleaseRequest(leases=[reply.lease]), pb.ReleaseReply)

    def delete(self, node, connection, chain):
        with chain.lock:
            if chain.uncertain:
                return
            first = self.chaos.choice([0, self.chaos.randrange(CHAIN)])
            request = pb.DeleteRequest(space=connection.spaces[chain.space], keys=chain.keys(first, CHAIN - first))
            life = node.life
            reply = connection.call("Delete", request, pb.DeleteReply)
            if reply.status not in (rpc.OK, rpc.MISS):  # it may still be in Redis
                self.verdict.count("deletes in trouble")
                if reply.status not in (BUSY, DRAINING, IO):
                    self.verdict.fail("answers", f"{self.doing}: {reply.status}")
                return
            for chunk in chain.chunks[first:]:
                if chunk.state == MAYBE:
                    self.truth.deleted(chunk, life)
                    self.verdict.count("deletes")

    def half(self, node, connection, chain):
        """A put that stops half way, by a cancel or by the end of its stream, leaves nothing."""
        self.ghosts += 1
        number = GHOSTS + (self.number * 1000000 + self.ghosts) * 2 + node.index
        ghost = self.truth.chain(number)
        stream = connection.stream()
        put = stream.half_a_put(connection.spaces[ghost.space], ghost)
        if self.chaos.random() < 0.5:
            stream.cancel(put)
            status = stream.wait_end(put)
            if status == rpc.OK:
                self.verdict.fail("whole", f"{self.doing}: half a put ended with OK")
            stream.end()
        else:
            stream.call.cancel()
        self.get_some(node, connection, ghost, 0, 1)
        self.truth.chains.pop(number, None)

    def hint(self, node, connection, chain):
        request = pb.HintRequest(program=f"soak-{self.number}", turn=1, wait_kind=1, tool="sleep", return_p50_ms=100,
                                 space=connection.spaces[chain.space], keys=chain.keys())
        connection.call("Hint", request, pb.HintReply)

    def evict(self, node, connection, chain):
        request = pb.EvictRequest(space=connection.spaces[chain.space], bytes=self.chaos.choice([100000, 1000000]))
        reply = connection.call("Evict", request, pb.EvictReply, service="Admin")
        if reply.status < 0:
            self.verdict.fail("answers", f"{self.doing}: {reply.status}")
