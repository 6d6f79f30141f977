"""A TCP proxy in front of a node that counts bytes and, after a given number of them, does something.

"In the middle of a put" is then a number and not a matter of luck: exactly so many bytes have reached the other side,
and whatever waits in the system's own buffers behind them has not.
"""
import socket
import threading
import time

PIECE = 64 << 10
UP, DOWN = "up", "down"  # client to node (a put's bytes), node to client (a get's)


class Proxy:
    def __init__(self, port):
        self.node_port = port  # a restarted node has another
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"kvasir://127.0.0.1:{self.port}"
        self.lock = threading.Lock()
        self.flows = threading.Event()  # cleared: nothing passes, in either direction
        self.flows.set()
        self.fired = threading.Event()
        self.sockets = set()
        self.closed = False
        self.passed = {UP: 0, DOWN: 0}
        self.direction = self.action = None
        self.left = 0
        self.flip_every = {UP: 0, DOWN: 0}
        self.flipped = {UP: 0, DOWN: 0}
        self.bytes_per_s = {UP: 0, DOWN: 0}
        threading.Thread(target=self._accept, daemon=True).start()

    def after(self, direction, count, action):
        """When count more bytes have passed in a direction (over all connections), calls action in the midst of them.
        The thread that forwards waits for it, so nothing passes there meanwhile."""
        with self.lock:
            self.direction, self.left, self.action = direction, count, action
            self.fired.clear()

    def flip(self, direction, every):
        """From now on one bit of each `every` bytes in a direction is changed; 0: none."""
        with self.lock:
            self.flip_every[direction] = every

    def slow(self, direction, bytes_per_s):
        """From now on each connection has no more than so much in a direction; 0: as much as there is."""
        with self.lock:
            self.bytes_per_s[direction] = bytes_per_s

    def hold(self):
        """From now on nothing passes. New connections are taken."""
        self.flows.clear()

    def release(self):
        self.flows.set()

    def cut(self):
        """Ends all connections; what was under way in them is lost."""
        with self.lock:
            sockets, self.sockets = self.sockets, set()
        for end in sockets:
            self._end(end)

    def close(self):
        with self.lock:
            self.closed = True
        self.flows.set()
        self._end(self.listener)
        self.cut()

    @staticmethod
    def _end(end):
        try:
            end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
        except OSError:
            pass
        end.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                node = socket.create_connection(("127.0.0.1", self.node_port), 10)
                node.settimeout(None)
            except OSError:
                client.close()
                continue
            with self.lock:
                if self.closed:
                    client.close()
                    node.close()
                    return
                self.sockets |= {client, node}
            for source, target, direction in ((client, node, UP), (node, client, DOWN)):
                threading.Thread(target=self._pump, args=(source, target, direction), daemon=True).start()

    def _pump(self, source, target, direction):
        try:
            while data := source.recv(PIECE):
                self._forward(target, direction, data)
        except OSError:
            pass
        with self.lock:
            self.sockets -= {source, target}
        self._end(source)
        self._end(target)

    def _damaged(self, direction, data):
        every = self.flip_every[direction]
        if every == 0:
            return data
        data = bytearray(data)
        for i in range(every - 1 - self.passed[direction] % every, len(data), every):
            data[i] ^= 1 << (self.flipped[direction] % 8)
            self.flipped[direction] += 1
        return bytes(data)

    def _forward(self, target, direction, data):
        self.flows.wait()
        with self.lock:
            data = self._damaged(direction, data)
            head, action = data, None
            if self.action is not None and direction == self.direction:
                if len(data) >= self.left:
                    head, action, self.action = data[:self.left], self.action, None
                self.left -= len(head)
            self.passed[direction] += len(data)
            pause = len(data) / self.bytes_per_s[direction] if self.bytes_per_s[direction] else 0
        if pause:
            time.sleep(pause)
        target.sendall(head)
        if action is not None:
            action()
            self.fired.set()
            self.flows.wait()
            target.sendall(data[len(head):])
