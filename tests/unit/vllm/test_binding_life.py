"""Life and end: threads, deadlines, cancels, dead nodes, use after close, forks, the interpreter's exit, leaks."""
import gc
import os
import resource
import select
import subprocess
import sys
import threading
import time
import tracemalloc
import unittest
import warnings

import binding_fixture
from binding_fixture import GRACE, PACKAGE, WAIT, EmbeddedTest, Node, NodeTest, Paged, description, is_blocked, keys, slots, until

import kvasir
from kvasir import Status


class Closing(EmbeddedTest):
    def test_use_after_close(self) -> None:
        space, cache = self.connector.space(description()), Paged(self.connector)
        op = space.put(keys(1), cache.memory, slots(0, 1), 2)
        self.connector.close()
        self.connector.close()
        self.assertTrue(self.connector.closed)
        for use in (lambda: self.connector.poll(), lambda: self.connector.state(), lambda: self.connector.counters(),
                    lambda: self.connector.space(description()), lambda: self.connector.lookup([space], keys(1)),
                    lambda: space.put(keys(1), cache.memory, slots(0, 1), 2), lambda: op.wait(1.0), op.cancel,
                    lambda: self.connector.release(1), lambda: self.connector.hint(kvasir.Hint(program="p")),
                    cache.memory.unregister, lambda: Paged(self.connector)):
            with self.assertRaises(kvasir.ClosedError):
                use()
        self.assertEqual(self.connector.in_flight, 0)

    def test_close_in_the_middle_of_a_call(self) -> None:
        from kvasir import handle

        self.addCleanup(setattr, handle, "CLOSE_SECONDS", handle.CLOSE_SECONDS)
        handle.CLOSE_SECONDS = 0.05
        with self.connector._handle:  # as a signal handler would find it
            with self.assertRaises(kvasir.BusyError):
                self.connector.close()
        self.assertFalse(self.connector.closed)
        self.assertEqual(self.connector.state().status, Status.OK)
        self.assertTrue(self.connector.usable)
        self.connector.close()

    def test_things_of_another_connector(self) -> None:
        old = self.connect()
        space, cache = old.space(description()), Paged(old)
        for closed in (False, True):
            if closed:
                old.close()
            # The library tells by what a space or a memory says of itself, which is gone once its connector is closed: a new
            # connector may then lie where the old one lay. Several, since that is up to malloc.
            for connector in [self.connect() for _ in range(20 if closed else 1)]:
                own = connector.space(description())
                for wrong in (lambda: connector.lookup([own, space], keys(1)),
                              lambda: connector.hint(kvasir.Hint(program="p"), space=space, keys=keys(1)),
                              lambda: own.put(keys(1), cache.memory, slots(0, 1), 2),
                              lambda: own.get(keys(1), cache.memory, slots(0, 1), 2)):
                    with self.assertRaisesRegex(kvasir.InvalidError, "of another connector"):
                        wrong()
                connector.close()

    def test_an_exception_between_the_start_and_its_note(self) -> None:
        """Ctrl-C while the library starts an operation: what the library may still write must stay."""
        space, cache = self.connector.space(description()), Paged(self.connector)
        library = self.connector._library

        class Interrupted:
            def __getattr__(self, name: str) -> object:
                return getattr(library, name)

            def kvs_put(self, *arguments: object) -> int:
                library.kvs_put(*arguments)
                raise KeyboardInterrupt

        self.connector._library = Interrupted()  # type: ignore[assignment]
        with self.assertRaises(KeyboardInterrupt):
            space.put(keys(1), cache.memory, slots(0, 1), 2, statuses=True, user="interrupted")
        self.connector._library = library
        self.assertEqual(self.connector.in_flight, 1)
        done: list[kvasir.Completion] = []
        self.assertTrue(until(lambda: done.extend(self.connector.poll()) or done))
        self.assertEqual([(one.user, one.status, one.statuses) for one in done], [("interrupted", Status.OK, (Status.OK,))])

    def test_close_without_close(self) -> None:
        connector = kvasir.Connector("embedded:1MiB")
        pending = connector.lookup([connector.space(description())], keys(1))
        with self.assertWarns(ResourceWarning):
            del connector, pending
            gc.collect()

    def test_exit_of_the_interpreter_with_everything_open(self) -> None:
        code = ("import kvasir\n"
                "c = kvasir.Connector('embedded:1MiB')\n"
                "s = c.space(kvasir.SpaceDescription(model='m', layout=kvasir.Layout.OPAQUE, key_length=8))\n"
                "m = c.register([kvasir.Region.of(bytearray(64), 16)])\n"
                "o = s.put(b'12345678', m, [1], 1, statuses=True)\n"
                "t = s.get(b'12345678', m, [2], 1)\n")
        done = subprocess.run([sys.executable, "-W", "error", "-X", "dev", "-c", code], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(PACKAGE)}, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_exit_closes_the_others_when_one_does_not_close(self) -> None:
        from kvasir import connector as module, handle

        self.addCleanup(setattr, handle, "CLOSE_SECONDS", handle.CLOSE_SECONDS)
        handle.CLOSE_SECONDS = 0.05
        others = [self.connect() for _ in range(3)]
        with self.connector._handle, self.assertRaises(kvasir.BusyError):
            module._close_all()
        self.assertEqual([one.closed for one in (self.connector, *others)], [False, True, True, True])

    def test_fork(self) -> None:
        space, cache = self.connector.space(description()), Paged(self.connector)
        op = space.put(keys(1), cache.memory, slots(0, 1), 2)
        child = os.fork()
        if child == 0:
            os._exit(self._in_the_child(space, cache, op))
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(op.wait(WAIT).status, Status.OK)
        self.assertEqual(self.connector.lookup([space], keys(1)).wait(WAIT).n_prefix, 1)

    def _in_the_child(self, space: kvasir.Space, cache: Paged, op: kvasir.Operation) -> int:
        for number, use in enumerate((self.connector.poll, self.connector.state, lambda: op.wait(1.0), op.cancel,
                                      lambda: self.connector.lookup([space], keys(1)), cache.memory.unregister), 1):
            try:
                use()
                return number
            except kvasir.ForkedError:
                pass
            except BaseException:
                return 100 + number
        self.connector.close()
        with kvasir.Connector("embedded:1MiB") as own:
            return 0 if own.lookup([own.space(description())], keys(1)).wait(WAIT).status == Status.MISS else 99

    def test_wrong_endpoints_and_options(self) -> None:
        for endpoint in ("nonsense", "unix:", "embedded:12cows", "a\0b", 7):
            with self.assertRaises(kvasir.InvalidError, msg=endpoint):
                kvasir.Connector(endpoint)  # type: ignore[arg-type]
        for options in ({"timeout": -1.0}, {"timeout": float("nan")}, {"timeout": 10**9}, {"max_operations": 65537},
                        {"max_operations": -1}, {"embedded_bytes": 2**64}, {"encode": 4}, {"encode_planes": 4}, {"encode_threads": 65},
                        {"encode_mib": 65537}):
            with self.assertRaises(kvasir.InvalidError, msg=options):
                kvasir.Connector("embedded:", **options)  # type: ignore[arg-type]

    def test_options_of_encoding_are_passed_on(self) -> None:
        with kvasir.Connector("embedded:1MiB", encode=kvasir.Encode.LADDER, encode_planes=3, encode_threads=1, encode_mib=64) as own:
            self.assertTrue(own.state().ok)
            self.assertEqual(own.counters().encoded_chunks, 0)  # an embedded store is no link

    def test_errors_are_the_right_ones(self) -> None:
        space, cache = self.connector.space(description()), Paged(self.connector)
        with self.assertRaises(kvasir.SpaceMismatchError) as refused:  # 3 pages are no 96 bytes
            space.put(keys(1), cache.memory, slots(0, 1, 2), 3)
        self.assertEqual(refused.exception.status, Status.ERR_SPACE_MISMATCH)
        self.assertIn("put: ERR_SPACE_MISMATCH", str(refused.exception))
        for wrong in (lambda: space.put(keys(1), cache.memory, slots(0, -1), 2),  # no holes in a put
                      lambda: space.get(keys(1), cache.memory, slots(0, 16), 2),  # no such slot
                      lambda: space.get(keys(1), cache.memory, slots(0), 2),
                      lambda: space.get(keys(1)[:-1], cache.memory, slots(0, 1), 2),
                      lambda: space.get(b"", cache.memory, slots(), 2),
                      lambda: space.get("text", cache.memory, slots(0, 1), 2),  # type: ignore[arg-type]
                      lambda: space.get(keys(1), cache.memory, bytes(16), 2),
                      lambda: space.get(keys(1), cache.memory, slots(0, 1), 2, parent=b"short"),
                      lambda: space.get(keys(1), cache.memory, slots(0, 1), 2, first_place=2**32),
                      lambda: space.get(keys(1), cache.memory, slots(0, 1), 2, timeout=-1),
                      lambda: self.connector.lookup([], keys(1)),
                      lambda: self.connector.register([]),
                      lambda: self.connector.register([kvasir.Region(0, 1, 1, 1)]),
                      lambda: self.connector.register([kvasir.Region(1, 2, 1, 1)]),
                      lambda: kvasir.Region.of(bytearray(10), 11),
                      lambda: kvasir.Region.of(bytearray(10), 4, stride=4, slots=3),
                      lambda: kvasir.Region.of(bytes(10), 4)):
            with self.assertRaises(kvasir.InvalidError):
                wrong()
        with self.assertRaises(kvasir.Error) as large:
            self.connector.lookup([space], keys(8193))
        self.assertEqual(large.exception.status, Status.ERR_TOO_LARGE)
        self.assertEqual((self.connector.in_flight, self.connector.counters().in_flight), (0, 0))

    def test_busy(self) -> None:
        connector = self.connect(max_operations=2)
        space = connector.space(description())
        ops = [connector.lookup([space], keys(1)) for _ in range(2)]
        with self.assertRaises(kvasir.BusyError):
            connector.lookup([space], keys(1))
        self.assertEqual(connector.counters().busy, 1)
        ops[0].wait(WAIT)
        connector.lookup([space], keys(1))
        self.assertEqual(connector.in_flight, 2)

    def test_unknown_statuses_keep_their_number(self) -> None:
        self.assertEqual((Status(77), Status(-77).name, Status(-77).is_error), (77, "UNKNOWN_MINUS_77", True))


class Threads(NodeTest):
    def test_fd_and_poll(self) -> None:
        space = self.connector.space(description())
        self.assertEqual(self.connector.poll(), [])
        ops = {self.connector.lookup([space], keys(2), user=i) for i in range(5)}
        seen = set()
        while len(seen) < 5:
            ready, _, _ = select.select([self.connector.fd], [], [], WAIT)
            self.assertTrue(ready, "no completion in time")
            taken = self.connector.poll(2)
            self.assertLessEqual(len(taken), 2)
            seen |= {done.op for done in taken}
        self.assertEqual(seen, ops)
        self.assertEqual(select.select([self.connector.fd], [], [], 0)[0], [])
        self.assertEqual(sorted(op.completion.user for op in ops if op.completion is not None), list(range(5)))

    def test_wait_sees_what_another_thread_polled(self) -> None:
        space, stop = self.connector.space(description()), threading.Event()
        taken: list[kvasir.Completion] = []
        told = threading.Condition()

        def poll() -> None:
            while not stop.is_set():
                done = self.connector.poll()
                if done:
                    with told:
                        taken.extend(done)
                        told.notify()

        poller = threading.Thread(target=poll)
        poller.start()
        try:
            for i in range(100):
                op = self.connector.lookup([space], keys(1), user=i)
                if i % 2:  # the other thread has it for certain; else who takes it is the scheduler's choice
                    with told:
                        self.assertTrue(told.wait_for(lambda: any(done.op == op for done in taken), WAIT))
                self.assertEqual(op.wait(WAIT).user, i)
        finally:
            stop.set()
            poller.join()
        self.assertGreaterEqual(len(taken), 50)
        self.assertEqual((self.connector.in_flight, self.connector.counters().in_flight), (0, 0))

    def test_many_threads(self) -> None:
        space, faults = self.connector.space(description()), []

        def work(number: int) -> None:
            try:
                cache = Paged(self.connector)
                named = keys(2, f"thread-{number}")
                for _ in range(50):
                    done = space.put(named, cache.memory, slots(0, 1, 2, 3), 2).wait(WAIT)
                    assert done.n_ok == 2, done
                    done = space.get(named, cache.memory, slots(4, 5, 6, 7), 2).wait(WAIT)
                    assert done.n_ok == 2 and cache.page(7) == cache.page(3), done
                cache.memory.unregister()
            except BaseException as fault:
                faults.append(fault)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(self.connector.in_flight, 0)


class Slow(unittest.TestCase):
    """On a node of their own, which they stop and kill."""

    def setUp(self) -> None:
        if not binding_fixture.NODE:
            self.skipTest("KVASIR_NODE does not name a kvasird")
        self.node = Node()
        self.addCleanup(self.node.close)
        self.node.start()
        self.connector = kvasir.Connector(self.node.endpoint, wait_connected=WAIT, timeout=30.0)
        self.addCleanup(self.connector.close)
        self.space = self.connector.space(description())
        self.cache = Paged(self.connector)
        done = self.space.put(keys(2), self.cache.memory, slots(0, 1, 2, 3), 2).wait(WAIT)
        self.assertEqual(done.n_ok, 2)

    def test_deadline(self) -> None:
        self.node.pause()
        start = time.monotonic()
        get = self.space.get(keys(2), self.cache.memory, slots(4, 5, 6, 7), 2, timeout=2.0, statuses=True)
        lookup = self.connector.lookup([self.space], keys(2), timeout=2.0)
        self.assertLess(time.monotonic() - start, 1.5)  # starting does not block
        with self.assertRaises(kvasir.DeadlineError):
            get.wait(0.05)
        with self.assertRaises(TimeoutError):
            get.wait_layer(0, 0.05)
        self.assertEqual(get.wait_layer(1, WAIT), Status.MISS)
        for op in (get, lookup):
            done = op.wait()
            self.assertIn(done.status, (Status.MISS, Status.ERR_DEADLINE))
            self.assertEqual(done.n_ok, 0)
        self.assertTrue(1.95 < time.monotonic() - start < 2.0 + GRACE, time.monotonic() - start)
        self.assertEqual(self.connector.counters().deadline_exceeded, 2)

    def test_the_gil_is_free_while_waiting(self) -> None:
        self.node.pause()
        op, counted, ended = self.connector.lookup([self.space], keys(2), timeout=1.0), 0, threading.Event()

        def wait() -> None:
            op.wait()
            ended.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        while not ended.is_set():
            counted += 1
        waiter.join()
        self.assertGreater(counted, 1000)  # a wait that held it would let the loop run a few times at most

    def test_cancel(self) -> None:
        self.node.pause()
        op = self.space.get(keys(2), self.cache.memory, slots(4, 5, 6, 7), 2)
        with self.assertRaises(kvasir.BusyError):
            self.cache.memory.unregister()
        start = time.monotonic()
        op.cancel()
        done = op.wait(WAIT)
        self.assertLess(time.monotonic() - start, 0.25 + GRACE)
        self.assertIn(done.status, (Status.ERR_CANCELED, Status.MISS))
        self.assertEqual(done.n_ok, 0)
        op.cancel()  # taken: nothing
        self.cache.memory.unregister()
        self.assertEqual(self.connector.counters().canceled, 1)

    def test_close_sends_waiters_home(self) -> None:
        self.node.pause()
        op, ends = self.connector.lookup([self.space], keys(2)), []

        def wait() -> None:
            try:
                ends.append(op.wait().status)
            except kvasir.ClosedError:
                ends.append(Status.ERR_CLOSED)

        waiter = threading.Thread(target=wait)
        waiter.start()
        self.assertTrue(until(lambda: is_blocked(waiter)))  # if not yet in the wait, it must come back all the same
        start = time.monotonic()
        self.connector.close()
        waiter.join(WAIT)
        self.assertFalse(waiter.is_alive())
        self.assertLess(time.monotonic() - start, 1.0 + GRACE)
        self.assertIn(ends, ([Status.ERR_CANCELED], [Status.ERR_CLOSED], [Status.MISS]))

    def test_dead_node_is_a_fast_miss(self) -> None:
        self.node.kill()
        self.assertTrue(until(lambda: not self.connector.state().ok))
        self.assertFalse(self.connector.usable)
        self.assertEqual(self.connector.state().status, Status.ERR_UNREACHABLE)
        self.assertNotEqual(self.connector.state().text, "")
        start = time.monotonic()
        found = self.connector.lookup([self.space], keys(2), lease=5.0).wait(WAIT)
        got = self.space.get(keys(2), self.cache.memory, slots(4, 5, 6, 7), 2, statuses=True).wait(WAIT)
        put = self.space.put(keys(2, "new"), self.cache.memory, slots(0, 1, 2, 3), 2).wait(WAIT)
        self.connector.hint(kvasir.Hint(program="p")).wait(WAIT)
        self.assertLess(time.monotonic() - start, GRACE)
        self.assertEqual((found.status, found.cause, found.lease), (Status.MISS, kvasir.Cause.NODE, 0))
        self.assertEqual((got.status, got.cause, got.statuses), (Status.MISS, kvasir.Cause.NODE, (Status.MISS,) * 2))
        self.assertEqual(put.n_ok, 0)
        self.assertTrue(put.status.is_error)
        self.assertIsInstance(self.connector.release(12345), Status)  # no error: there is nobody to tell
        self.node.start()
        self.assertTrue(until(lambda: self.connector.state().ok, 3 * WAIT))
        self.assertEqual(self.connector.lookup([self.space], keys(2)).wait(WAIT).status, Status.MISS)
        self.assertGreaterEqual(self.connector.counters().reconnects, 1)

    def test_open_with_the_node_down(self) -> None:
        start = time.monotonic()
        with kvasir.Connector(f"unix:{self.node.folder}/nobody.sock") as connector:
            done = connector.lookup([connector.space(description())], keys(3), present=True).wait(WAIT)
            self.assertEqual((done.status, done.cause, done.present), (Status.MISS, kvasir.Cause.NODE, b"\0"))
        self.assertLess(time.monotonic() - start, 1.0 + GRACE)


class Leaks(NodeTest):
    def test_ten_thousand_operations(self) -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(2)
        gc.collect()
        gc.disable()  # what is left must go by itself: no cycles
        self.addCleanup(gc.enable)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self._run(5_000, space, cache, named)  # fills the interpreter's own lists of free objects, which are bounded
        resident = _resident()
        before = tracemalloc.get_traced_memory()[0]
        self._run(10_000, space, cache, named)
        grown = tracemalloc.get_traced_memory()[0] - before
        self.assertLess(grown, 128 << 10)  # a leak of one small object each would be four times that
        self.assertLess(_resident() - resident, 16 << 20)
        self.assertEqual((self.connector.in_flight, self.connector.counters().in_flight), (0, 0))

    def _run(self, count: int, space: kvasir.Space, cache: Paged, named: bytes) -> None:
        started = taken = 0
        while taken < count:
            if started < count and started - taken < 64:
                kind = started % 3
                if kind == 0:
                    self.connector.lookup([space], named, present=True)
                elif kind == 1:
                    space.put(named, cache.memory, slots(0, 1, 2, 3), 2, statuses=True)
                else:
                    space.get(named, cache.memory, slots(4, 5, 6, 7), 2, statuses=True)
                started += 1
                continue
            ready, _, _ = select.select([self.connector.fd], [], [], WAIT)
            self.assertTrue(ready, f"{started - taken} operations have no end")
            taken += len(self.connector.poll())


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


class Finding(unittest.TestCase):
    """How the library is found: each case a process of its own."""

    def load(self, **environment: str) -> tuple[int, str]:
        clean = {name: value for name, value in os.environ.items() if name not in ("KVASIR_LIBRARY", "LD_LIBRARY_PATH")}
        done = subprocess.run([sys.executable, "-c", "import kvasir; print(kvasir.library_version())"], capture_output=True,
                              text=True, env={**clean, "PYTHONPATH": str(PACKAGE), **environment}, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_file_folder_and_path(self) -> None:
        path = os.environ["KVASIR_LIBRARY"]
        for environment in ({"KVASIR_LIBRARY": path}, {"KVASIR_LIBRARY": os.path.dirname(path)},
                            {"LD_LIBRARY_PATH": os.path.dirname(path)}):
            self.assertEqual(self.load(**environment), (0, f"{kvasir.library_version()}\n"))

    def test_not_found(self) -> None:
        code, said = self.load(KVASIR_LIBRARY="/nowhere/libkvasir-connector.so")
        self.assertEqual(code, 1)
        self.assertIn("LibraryError: libkvasir-connector was not found (/nowhere/libkvasir-connector.so", said)
        self.assertIn("Set KVASIR_LIBRARY", said)

    def test_something_else(self) -> None:
        code, said = self.load(KVASIR_LIBRARY="libc.so.6")
        self.assertEqual(code, 1)
        self.assertIn("LibraryError: libc.so.6 is not libkvasir-connector", said)

    def test_another_version(self) -> None:
        from kvasir import abi, library

        self.addCleanup(setattr, abi, "VERSION", abi.VERSION)
        abi.VERSION = (0, 99, 0)
        with self.assertRaisesRegex(kvasir.LibraryError, r"is version 0\.\d+\.\d+, this package is 0\.99\.0"):
            library._open()


if __name__ == "__main__":
    warnings.simplefilter("error")
    binding_fixture.main()
