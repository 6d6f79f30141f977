"""Starts a kvasird for a test, on free ports and in a folder of its own, and takes it away again.

Nothing here sleeps to wait for a result: readiness comes as systemd's datagram, ends come from waitpid, and each wait
has a deadline.
"""
import faulthandler
import http.client
import itertools
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

KVASIRD = os.environ["KVASIRD"]
SANITIZED = os.environ.get("KVASIR_SANITIZE", "") != ""
# The promise is an end within 250 ms after the deadline. On a machine that others load, or under a sanitizer, the scheduler
# alone may take as long, so only a gross miss fails; KVASIR_STRICT_DEADLINES=1 asks for the promise, on a quiet machine.
STRICT = os.environ.get("KVASIR_STRICT_DEADLINES", "") != "" and not SANITIZED
GRACE_MS = 250 if STRICT else 1250
SLOW = 5 if SANITIZED else 1  # how much longer waits may be
START_SECONDS = 20 * SLOW
STOP_SECONDS = 10 * SLOW
REPORTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")


class Node:
    """One kvasird. Settings are dotted names with '__' for '.'; limits is a function run in the child before exec."""

    def __init__(self, limits=None, **settings):
        self.folder = tempfile.mkdtemp(prefix="kvasir-node-")
        self.socket = os.path.join(self.folder, "node.sock")
        self.settings = {"listen": "127.0.0.1:0", "unix_socket": self.socket, "admin.listen": "127.0.0.1:0",
                         "dram.size": "64MiB", "drain_timeout": "2s"}
        self.settings.update({name.replace("__", "."): value for name, value in settings.items()})
        self.limits = limits
        self.process = self.notify = None
        self.port = self.admin_port = 0

    # ---- life ----

    def spawn(self, *arguments, program=KVASIRD):
        """Starts the program without waiting for anything."""
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        self.log_path = os.path.join(self.folder, "log")
        notify_path = os.path.join(self.folder, "notify")
        if self.notify is not None:
            self.notify.close()
            os.unlink(notify_path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(notify_path)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KVASIR_")}
        environment["NOTIFY_SOCKET"] = notify_path
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen([program, *options, *arguments], stderr=log, stdout=log, env=environment,
                                            preexec_fn=self.limits)
        return self

    def start(self, *arguments):
        self.spawn(*arguments)
        self.wait_notified("READY=1")
        log = self.log()
        ports = re.findall(r"grpc on \S+:(\d+)", log)
        self.port = int(ports[0]) if ports else 0
        admin = re.search(r"admin on \S+:(\d+)", log)
        self.admin_port = int(admin.group(1)) if admin else 0
        return self

    def wait_notified(self, word):
        pid = os.pidfd_open(self.process.pid)
        try:
            ready, _, _ = select.select([self.notify, pid], [], [], START_SECONDS)
            if self.notify in ready:
                said = self.notify.recv(256).decode()
                assert said == word, said
                return
            raise AssertionError(("it ended" if pid in ready else "not in time") + ":\n" + self.log())
        finally:
            os.close(pid)

    def run(self, *arguments, **how):
        """Runs it to its end: (exit code, what it said)."""
        self.spawn(*arguments, **how)
        code = self.process.wait(START_SECONDS)
        return code, self.log()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        return self.process.wait(seconds)

    def stop(self):
        """Ends it as an operator would and demands that it ended well."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        self.check_reports()
        assert code == 0, f"exit code {code}:\n{self.log()}"

    def check_reports(self):
        log = self.log()
        assert not any(report in log for report in REPORTS), log

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        if self.notify is not None:
            self.notify.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- looking at it ----

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def memory(self, field="VmRSS"):
        """Bytes of a field of /proc/PID/status."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"^{field}:\s+(\d+) kB", status.read(), re.M).group(1)) * 1024

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def http(self, path, method="GET"):
        """(status, headers, body) of the admin port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10 * SLOW)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()
        finally:
            connection.close()

    def metric(self, name, labels=""):
        text = self.http("/metrics")[2]
        match = re.search(rf"^{re.escape(name + labels)} (\S+)$", text, re.M)
        return float(match.group(1)) if match else None

    def connect(self, timeout=10 * SLOW):
        return socket.create_connection(("127.0.0.1", self.port), timeout)


def until(condition, seconds=10):
    """Waits for something that can only be asked for. Returns whether it came."""
    deadline = time.monotonic() + seconds * SLOW
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


class NodeTest(unittest.TestCase):
    def node(self, **settings):
        node = Node(**settings)
        self.addCleanup(node.close)
        return node

    def assert_seconds(self, node, name, labels=""):
        """For what one thread did, or a mean: some time, and in seconds less than the node is up."""
        self.assertGreater(node.metric(name, labels), 0, name)
        self.assertLess(node.metric(name, labels), node.metric("kvasir_node_uptime_seconds"), name)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


_turns = itertools.count()


def free_port():
    """A port that was free a moment ago, for tests that need the same one twice. It lies below those that the kernel gives to
    outgoing connections, so that it stays free, and each process has 64 of its own, so that two tests do not choose the same."""
    first, slots, ports = 12000, 312, 64
    for _ in range(ports):
        port = first + os.getpid() % slots * ports + next(_turns) % ports
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


def open_files_limit(count):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def main(deadline):
    """Runs the tests of the calling file; after `deadline` seconds the process ends with all stacks printed."""
    faulthandler.dump_traceback_later(deadline * SLOW, exit=True)
    unittest.main(verbosity=2)


def need_grpc():
    """For files that speak gRPC: ends with ctest's word for skipped when Debian's modules are not installed."""
    try:
        import grpc  # noqa: F401
        import kvasir.v1.cache_pb2  # noqa: F401
    except ImportError as missing:
        print(f"skipped: {missing}: install python3-grpcio, python3-protobuf and protobuf-compiler")
        sys.exit(77)
