"""As much HTTP/2 as it takes to misbehave: frames by hand over a socket, flow control respected unless a test wants not."""
import socket
import struct

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def settings(pairs=()):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def call_headers(path):
    fields = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
              ("content-type", "application/grpc"), ("te", "trailers"))
    return b"".join(literal(*field) for field in fields)


def message(payload, claim=None):
    """A gRPC message; claim is the length its prefix says, if not the true one."""
    return struct.pack(">BI", 0, len(payload) if claim is None else claim) + payload


class Connection:
    def __init__(self, sock, pairs=(), window=0):
        self.sock = sock
        self.window = 65535  # what we may send
        self.stream_windows = {}
        self.initial = 65535
        self.buffer = b""
        self.closed = False
        self.frames = []  # those that tests look at: (kind, flags, stream, payload)
        self.sock.sendall(PREFACE + settings(pairs) + (self.grant(0, window) if window else b""))

    @staticmethod
    def grant(stream, size):
        return frame(WINDOW, 0, stream, struct.pack(">I", size))

    def open(self, stream, path):
        self.stream_windows[stream] = self.initial
        self.sock.sendall(frame(HEADERS, END_HEADERS, stream, call_headers(path)))

    def read(self):
        """Takes what has come; False at the end of the connection. Waits as long as the socket's timeout."""
        try:
            got = self.sock.recv(1 << 16)
        except (ConnectionError, socket.timeout):
            got = b""
        if not got:
            self.closed = True
            return False
        self.buffer += got
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                break
            kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
            payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
            self.handle(kind, flags, stream, payload)
        return True

    def handle(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == 4:
                    for key in self.stream_windows:
                        self.stream_windows[key] += value - self.initial
                    self.initial = value
            self.sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW:
            size = struct.unpack(">I", payload)[0]
            if stream == 0:
                self.window += size
            elif stream in self.stream_windows:
                self.stream_windows[stream] += size
        else:
            self.frames.append((kind, flags, stream, payload))

    def ended(self, stream):
        """Whether the call is over: its trailers, a reset, or the connection's end came."""
        return self.closed or any(
            kind == GOAWAY or (number == stream and (kind == RST or (kind in (HEADERS, DATA) and flags & END_STREAM)))
            for kind, flags, number, _ in self.frames)

    def send(self, stream, payload, size=16384):
        """Sends as the windows allow. Returns the bytes sent: fewer when the call ended under way."""
        sent = 0
        while sent < len(payload) and not self.ended(stream):
            room = min(size, len(payload) - sent, self.window, self.stream_windows[stream])
            if room <= 0:
                self.read()
                continue
            try:
                self.sock.sendall(frame(DATA, 0, stream, payload[sent:sent + room]))
            except OSError:
                self.closed = True
                break
            sent += room
            self.window -= room
            self.stream_windows[stream] -= room
        return sent
