"""LMCache's Redis adapter in C++ (`resp`), driven for kvasir-bench, which carries this text and runs it with the Python of an
environment that has LMCache (tools/fetch-vllm.sh --lmcache).

    python lmcache_resp.py PORT

A Redis listens on the loopback's PORT. Orders come as lines of JSON on the standard input, each is answered by one line:

    {"order": "prepare", "op": "put" | "get", "bytes": N, "connections": C, "in_flight": F}
    {"order": "run", "seconds": S}                                            runs what was prepared, once

An answer has "ok"; without it "why" says what went wrong. That of a run has "operations", "seconds", "p50_us", "p99_us",
"cpu_seconds" (of this process while the clock ran) and "cpu_all_seconds" (with what was looked at before and after).

What is not what it seems is an error. Redis' own counters have to agree with what was counted here: connections, commands,
hits, and the bytes that went over its sockets. Every value is different, by a number at both its ends; a get is looked at there
as it ends, and some are compared whole before the clock starts, as is the last value that was put, after it has stopped.
"""
from __future__ import annotations

import gc
import json
import os
import select
import struct
import sys
import time
from typing import Any, Callable

import redis
import torch
from lmcache.v1.distributed.api import ObjectKey
from lmcache.v1.distributed.l2_adapters import create_l2_adapter
from lmcache.v1.distributed.l2_adapters.resp_l2_adapter import RESPL2AdapterConfig
from lmcache.v1.memory_management import MemoryFormat, MemoryObj, MemoryObjMetadata, TensorMemoryObj
from lmcache.v1.platform import consume_fd

MIB = 1 << 20
RING_BYTES = 128 * MIB      # of values that are put, and as much where gets land: what the tiers' rows have
STORED_BYTES = 256 * MIB    # that gets read in turn
TOUCHED_BYTES = 1280 * MIB  # of Redis' memory, written before the clock starts, anew for each size
COMPARED = 16               # values that are compared whole before gets are timed
WARM_SECONDS = 0.02         # as every way has it
CONNECT_SECONDS = 10.0
WAIT_SECONDS = 30.0         # for one operation, and for Redis to become empty
WORD = struct.Struct("<Q")
COMMANDS = {"put": "cmdstat_set", "get": "cmdstat_get"}


class Wrong(Exception):
    """Something is not what was measured."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


class Ring:
    """Touched memory, cut into objects of LMCache's of one size."""

    def __init__(self) -> None:
        self.tensor = torch.randint(0, 256, (RING_BYTES,), dtype=torch.uint8)
        self.memory = memoryview(self.tensor.numpy())
        self.size = 0
        self.objects: list[MemoryObj] = []
        self.numbers: list[int] = []  # by place: of the value that was put from there last
        self.turn: list[int] = []     # by slot in flight

    def deal(self, slots: int) -> None:
        """Each slot goes round in places of its own, so that none is used anew while its last operation is in flight."""
        self.turn = [0] * slots

    def next(self, slot: int) -> int:
        turn, slots = self.turn[slot], len(self.turn)
        self.turn[slot] = (turn + 1) % (len(self.objects) // slots)
        return turn * slots + slot

    def cut(self, size: int) -> None:
        if size == self.size:
            return
        self.size = size
        self.objects = []
        for begin in range(0, RING_BYTES - size + 1, size):
            metadata = MemoryObjMetadata(shape=torch.Size([size]), dtype=torch.uint8, address=begin, phy_size=size,
                                         fmt=MemoryFormat.KV_2LTD, ref_count=1)
            self.objects.append(TensorMemoryObj(raw_data=self.part(begin, size), metadata=metadata, parent_allocator=None))
        self.numbers = [0] * len(self.objects)

    def part(self, begin: int, size: int) -> torch.Tensor:
        return self.tensor[begin:begin + size]

    def whole(self, place: int) -> torch.Tensor:
        return self.part(place * self.size, self.size)

    def stamp(self, place: int, number: int) -> None:
        self.numbers[place] = number
        WORD.pack_into(self.memory, place * self.size, number)
        WORD.pack_into(self.memory, (place + 1) * self.size - WORD.size, number)

    def has(self, place: int, number: int) -> bool:
        return (WORD.unpack_from(self.memory, place * self.size)[0] == number
                and WORD.unpack_from(self.memory, (place + 1) * self.size - WORD.size)[0] == number)


class Lane:
    """Puts or gets of the adapter: it says by a descriptor that some have ended."""

    def __init__(self, adapter: Any, op: str) -> None:
        self.adapter = adapter
        self.is_put = op == "put"
        self.submit: Callable[[list[ObjectKey], list[MemoryObj]], int] = (
            adapter.submit_store_task if self.is_put else adapter.submit_load_task)
        self.fd = adapter.get_store_event_fd() if self.is_put else adapter.get_load_event_fd()
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLIN)
        self.pending: dict[int, Any] = {}  # by the adapter's number of the task: whatever the caller wants back

    def issue(self, key: ObjectKey, value: MemoryObj, tag: Any) -> None:
        self.pending[self.submit([key], [value])] = tag

    def _ended(self) -> list[tuple[int, bool]]:
        if self.is_put:
            return [(task, result.is_successful()) for task, result in self.adapter.pop_completed_store_tasks().items()]
        results = [(task, self.adapter.query_load_result(task)) for task in self.pending]
        return [(task, bitmap.popcount() == 1) for task, bitmap in results if bitmap is not None]

    def reap(self) -> list[Any]:
        """Tags of one operation and more; what the adapter says has failed is an error."""
        tags: list[Any] = []
        while not tags:
            demand(bool(self.poll.poll(WAIT_SECONDS * 1000)), "an operation did not end")
            consume_fd(self.fd)
            for task, good in self._ended():
                demand(good, "the adapter says that an operation failed")
                tags.append(self.pending.pop(task))
        return tags


class Case:
    """What was prepared: an operation, a size, connections, and the adapter that has them."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.op = str(order["op"])
        self.size = int(order["bytes"])
        self.connections = int(order["connections"])
        self.in_flight = int(order["in_flight"])


class Peer:
    def __init__(self, port: int) -> None:
        self.port = port
        self.redis = redis.Redis(host="127.0.0.1", port=port)
        self.values, self.landing = Ring(), Ring()
        self.adapter: Any = None
        self.clients: set[str] = set()  # Redis' ids of the adapter's connections
        self.touched = 0                # size of the values that touched Redis' memory last
        self.next_number = 1            # of a value; none is used twice
        self.stored = range(0)          # numbers that gets ask for
        self.case: Case | None = None

    # connections

    def _clients(self) -> dict[str, dict[str, Any]]:
        return {str(client["id"]): client for client in self.redis.client_list()}

    def _connect(self, connections: int) -> None:
        if self.adapter is not None and len(self.clients) == connections:
            return
        if self.adapter is not None:
            self.adapter.close()
        before = set(self._clients())
        self.adapter = create_l2_adapter(RESPL2AdapterConfig(host="127.0.0.1", port=self.port, num_workers=connections))
        until = time.monotonic() + CONNECT_SECONDS
        self.clients = set(self._clients()) - before
        while len(self.clients) < connections:
            demand(time.monotonic() < until, f"only {len(self.clients)} of {connections} connections")
            time.sleep(0.01)
            self.clients = set(self._clients()) - before

    def _check_connections(self, case: Case) -> None:
        now = self._clients()
        demand(len(self.clients) == case.connections, f"{len(self.clients)} connections instead of {case.connections}")
        wanted = "set" if case.op == "put" else "get"
        for client in self.clients:
            demand(client in now and now[client]["cmd"] == wanted, f"a connection that was not used for {wanted}")

    # values

    @staticmethod
    def _key(number: int) -> ObjectKey:
        return ObjectKey(chunk_hash=number.to_bytes(16, "big"), model_name="bench", kv_rank=0)

    def _redis_key(self, number: int) -> str:
        return f"bench@{0:08x}@0@{number.to_bytes(16, 'big').hex()}"

    def _put_one(self, lane: Lane, slot: int, tag: Any) -> None:
        """Starts the put of the next value."""
        number = self.next_number
        place = self.values.next(slot)
        self.next_number += 1
        self.values.stamp(place, number)
        lane.issue(self._key(number), self.values.objects[place], tag)

    def _fill(self, case: Case, total: int) -> range:
        lane = Lane(self.adapter, "put")
        first = self.next_number
        left = total // case.size
        free = list(range(case.in_flight))
        self.values.deal(case.in_flight)
        while left > 0 or lane.pending:
            while left > 0 and free:
                slot = free.pop()
                self._put_one(lane, slot, slot)
                left -= 1
            free += lane.reap()
        return range(first, self.next_number)

    def _compare_some(self, case: Case) -> None:
        lane = Lane(self.adapter, "get")
        known = [place for place, number in enumerate(self.values.numbers) if number in self.stored]
        demand(len(known) >= COMPARED, "too few values to compare")
        for place in known[:: len(known) // COMPARED]:
            self.landing.whole(place).zero_()
            lane.issue(self._key(self.values.numbers[place]), self.landing.objects[place], None)
            lane.reap()
            demand(torch.equal(self.landing.whole(place), self.values.whole(place)), "wrong bytes were read")

    def _empty(self) -> None:
        """Redis keeps its memory so; after FLUSHALL SYNC it gives it back to the kernel and touches it anew."""
        self.redis.flushall(asynchronous=True)
        until = time.monotonic() + WAIT_SECONDS
        while self.redis.info("memory")["lazyfree_pending_objects"] > 0:
            demand(time.monotonic() < until, "Redis does not become empty")
            time.sleep(0.002)

    # orders

    def prepare(self, order: dict[str, Any]) -> dict[str, Any]:
        case = Case(order)
        self.case = None
        self._connect(case.connections)
        self.values.cut(case.size)
        self.landing.cut(case.size)
        if self.touched != case.size:
            self.redis.flushall()  # gives its memory back: what was cut for another size would stay, and it would grow
            self._fill(case, TOUCHED_BYTES)
            self.touched = case.size
        if case.op == "put":
            self._timed(case, WARM_SECONDS)
        self._empty()
        if case.op == "get":
            self.stored = self._fill(case, STORED_BYTES)
            self._compare_some(case)
            self._timed(case, WARM_SECONDS)
        self.case = case
        return {}

    def _timed(self, case: Case, seconds: float) -> tuple[list[float], float]:
        """Latencies, and the time from the first start to the last end."""
        lane = Lane(self.adapter, case.op)
        ring = self.values if case.op == "put" else self.landing
        latencies: list[float] = []
        free = list(range(case.in_flight))
        ring.deal(case.in_flight)
        started = 0
        begin = now = end = time.perf_counter()
        while True:
            while free and (now < begin + seconds or started == 0):
                slot = free.pop()
                now = time.perf_counter()
                if case.op == "put":
                    self._put_one(lane, slot, (slot, now, 0, 0))
                else:
                    number, place = self.stored[started % len(self.stored)], ring.next(slot)
                    lane.issue(self._key(number), ring.objects[place], (slot, now, place, number))
                started += 1
            if not lane.pending:
                return latencies, end - begin
            for slot, since, place, number in lane.reap():
                end = now = time.perf_counter()
                latencies.append(end - since)
                if case.op == "get":
                    demand(ring.has(place, number), "a get left other bytes")
                free.append(slot)

    def _counters(self, case: Case) -> dict[str, int]:
        info = self.redis.info("everything")
        calls = info.get(COMMANDS[case.op], {})
        return {"calls": calls.get("calls", 0), "failed": calls.get("failed_calls", 0) + calls.get("rejected_calls", 0),
                "hits": info["keyspace_hits"], "misses": info["keyspace_misses"], "evicted": info["evicted_keys"],
                "in": info["total_net_input_bytes"], "out": info["total_net_output_bytes"]}

    def _check(self, case: Case, operations: int, before: dict[str, int], first: int) -> None:
        after = self._counters(case)
        counted = {name: after[name] - before[name] for name in after}
        demand(counted["calls"] == operations, f"Redis saw {counted['calls']} commands instead of {operations}")
        demand(counted["failed"] == 0, "Redis refused commands")
        moved = counted["in" if case.op == "put" else "out"]
        payload = operations * case.size
        demand(payload <= moved <= payload + payload // 100 + MIB, f"{moved} bytes moved for {payload} of payload")
        self._check_connections(case)
        if case.op == "get":
            demand(counted["hits"] == operations and counted["misses"] == 0, "gets did not all hit")
        else:
            self._check_put(case, operations, counted["evicted"], first)

    def _check_put(self, case: Case, operations: int, evicted: int, first: int) -> None:
        kept = self.redis.dbsize()
        demand(kept + evicted == operations, f"Redis has {kept} values, let {evicted} go, of {operations}")
        places = {number: place for place, number in enumerate(self.values.numbers) if number >= first}
        lengths = {number: self.redis.strlen(self._redis_key(number)) for number in places}
        there = [number for number in lengths if lengths[number] != 0]
        demand(bool(there) and (evicted > 0 or len(there) == len(places)), "values that were put are not there")
        demand(all(lengths[number] == case.size for number in there), "values have another length")
        last = max(there)
        stored = torch.frombuffer(bytearray(self.redis.get(self._redis_key(last))), dtype=torch.uint8)
        demand(torch.equal(stored, self.values.whole(places[last])), "wrong bytes were put")

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        demand(self.case is not None, "nothing was prepared")
        case, self.case = self.case, None
        assert case is not None
        cpu_all = time.process_time()
        before = self._counters(case)
        first = self.next_number
        gc.collect()
        gc.disable()
        cpu = time.process_time()
        latencies, seconds = self._timed(case, float(order["seconds"]))
        cpu = time.process_time() - cpu
        gc.enable()
        self._check(case, len(latencies), before, first)
        latencies.sort()
        return {"operations": len(latencies), "seconds": seconds, "p50_us": latencies[len(latencies) // 2] * 1e6,
                "p99_us": latencies[len(latencies) * 99 // 100] * 1e6, "cpu_seconds": cpu,
                "cpu_all_seconds": time.process_time() - cpu_all}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # LMCache prints; answers have a line of their own
    torch.set_num_threads(1)
    peer = Peer(int(sys.argv[1]))
    print(json.dumps({"ok": True}), file=answers, flush=True)
    orders = {"prepare": peer.prepare, "run": peer.run}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"ok": True, **orders[order["order"]](order)}
        except Exception as error:  # whatever it is, it is told, and the row has no value
            answer = {"ok": False, "why": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # threads of LMCache's keep it alive otherwise


main()
