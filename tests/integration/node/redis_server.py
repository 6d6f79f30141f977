"""A real redis-server for a test, on a free port of loopback, in a folder of its own."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import harness


class Redis:
    def __init__(self, *options):
        self.folder = tempfile.mkdtemp(prefix="kvasir-redis-")
        self.options = options
        self.process = None
        self.port = 0

    def start(self, port=0):
        for _ in range(5):
            self.port = port or harness.free_port()
            if self.spawn("--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
                          "--appendonly", "no", *self.options):
                return self
        raise AssertionError("redis-server does not start: is it installed?")

    def start_sentinel(self, configuration):
        for _ in range(5):
            self.port = harness.free_port()
            path = os.path.join(self.folder, "sentinel.conf")
            with open(path, "w") as file:
                file.write(f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n{configuration}")
            if self.spawn(path, "--sentinel"):
                return self
        raise AssertionError("the sentinel does not start")

    def spawn(self, *arguments):
        self.process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        return self.answers()

    def answers(self):
        deadline = time.monotonic() + harness.START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def again(self):
        return self.start(self.port)

    def freeze(self, frozen):
        self.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *words):
        """One command; its reply as bytes, int, None, list, or the text of an error."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 10 * harness.SLOW) as connection:
            connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            with connection.makefile("rb") as replies:
                return reply_of(replies)

    def keys(self):
        return self.ask("KEYS", "*")


def reply_of(replies):
    line = replies.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else replies.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [reply_of(replies) for _ in range(int(rest))]
    return rest.decode()
