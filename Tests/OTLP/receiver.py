"""A receiver of spans on 127.0.0.1 that answers as it is told, rightly or not."""

import gzip
import socket
import threading
import time
from dataclasses import dataclass, field

import wire


@dataclass
class Request:
    path: str
    # Names in lower case.
    headers: list
    # As it came.
    raw: bytes
    # When all of it was there.
    time: float
    wall: float
    # What was answered, once it has been.
    answer: object = None

    def header(self, name):
        found = [value for key, value in self.headers if key == name]
        return found[0] if len(found) == 1 else found or None

    @property
    def body(self):
        return gzip.decompress(self.raw) if self.header("content-encoding") == "gzip" else self.raw

    @property
    def ids(self):
        return wire.span_ids(self.body)


@dataclass
class Answer:
    status: int = 200
    headers: list = field(default_factory=list)
    body: bytes = b""
    # Seconds before it.
    delay: float = 0

    def bytes(self):
        lines = [f"HTTP/1.1 {self.status} X", *[f"{name}: {value}" for name, value in self.headers]]
        if not any(name.lower() == "content-length" for name, _ in self.headers):
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Receiver:
    """`script` is asked about each request, and its number from 0: it gives an `Answer`, or a function that is given
    the connection, which is closed after it. A receiver that `ignores` does not even read."""

    def __init__(self, script=None, *, ignores=False, is_open=True):
        self.script = script or (lambda request, number: Answer())
        self.ignores = ignores
        self.requests, self.connections = [], set()
        self.lock = threading.Lock()
        self.is_leaving = False
        self.socket = self.bound(0)
        self.port = self.socket.getsockname()[1]
        if is_open:
            self.open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_leaving = True
        self.close()
        self.socket.close()

    @staticmethod
    def bound(port):
        """A socket whose port is taken, but which refuses connections."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        return made

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1/traces"

    @property
    def ids(self):
        """Of all spans that came, as often as they came."""
        return [each for request in list(self.requests) for each in request.ids]

    @property
    def taken(self):
        """Of all spans whose request was answered with 200."""
        taken = [request for request in list(self.requests) if request.answer and request.answer.status == 200]
        return [each for request in taken for each in request.ids]

    def open(self):
        self.socket.listen(64)
        threading.Thread(target=self.accept, args=[self.socket], daemon=True).start()

    def close(self):
        """Refuses connections from now on, and ends those that there are."""
        listening, self.socket = self.socket, socket.socket()
        try:
            listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        listening.close()
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.socket.close()
        self.socket = self.bound(self.port)

    def accept(self, listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with self.lock:
                self.connections.add(connection)
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection, connection.makefile("rb", 1 << 16) as stream:
                if self.ignores:
                    # Until the other side gives up.
                    while not self.is_leaving and connection.fileno() >= 0 and not is_gone(connection):
                        time.sleep(0.05)
                    return
                while request := self.read(stream):
                    with self.lock:
                        number = len(self.requests)
                        self.requests.append(request)
                    answer = self.script(request, number)
                    if callable(answer):
                        return answer(connection)
                    if answer.delay:
                        time.sleep(answer.delay)
                    connection.sendall(answer.bytes())
                    request.answer = answer
        except (OSError, ValueError):
            return
        finally:
            with self.lock:
                self.connections.discard(connection)

    @staticmethod
    def read(stream):
        """The next request, None where there is none."""
        first = stream.readline(1 << 16).split()
        if len(first) != 3 or first[0] != b"POST" or first[2] != b"HTTP/1.1":
            return None
        headers, length = [], 0
        while (line := stream.readline(1 << 16)) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
            if name.lower() == "content-length":
                length = int(value)
        raw = stream.read(length)
        return Request(first[1].decode(), headers, raw, time.monotonic(), time.time()) if len(raw) == length else None


def is_gone(connection):
    """Whether the other side has closed, though there may be bytes that nobody has read."""
    # struct tcp_info begins with the state: 1 is ESTABLISHED.
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1
