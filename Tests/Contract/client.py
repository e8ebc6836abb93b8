"""A small HTTP/1.1 client over bare sockets: it can send what no well-behaved client sends, reads while it
still writes (a server may refuse a large body early), and has one deadline for the whole exchange."""

from __future__ import annotations

import json as jsonlib
import secrets
import select
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from suite import Failure

AUTO = object()
ABSENT = object()


class NoAnswer(Failure):
    """The exchange ended without a whole HTTP response."""


class TimedOut(NoAnswer):
    slow = True


def new_trace_id() -> str:
    return secrets.token_hex(16)


def with_query(path: str, parameters: dict) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path


@dataclass
class Response:
    request: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    trace_id: str | None = None

    def header(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def media_type(self) -> str:
        return (self.header("content-type") or "").split(";")[0].strip().lower()

    def json(self):
        try:
            return jsonlib.loads(self.body.decode("utf-8"))
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise Failure(f"saw {self}, expected a JSON body ({error})") from None

    def __str__(self) -> str:
        text = self.body[:240].decode("utf-8", "backslashreplace")
        return f"{self.request} -> {self.status} {text}".rstrip()


class Service:
    """One base URL, and what was noticed about it during the run."""

    patience = 45.0  # seconds that a request may spend on being told 429

    def __init__(self, name: str, url: str, deadline: float):
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"--{name} {url!r}: expected http://HOST:PORT")
        self.name = name
        self.host, self.port = parts.hostname, parts.port or 80
        self.prefix = parts.path.rstrip("/")
        self.deadline = deadline
        self.server_errors: list[str] = []
        self.throttled: list[Response] = []
        self.timeouts_in_a_row = 0
        self.answers = 0
        self.lock = threading.Lock()

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def request(self, method: str, target: str, *, query: dict | None = None, token: str | None = None, json=ABSENT,
                body: bytes | str | None = None, content_type: str | None = "application/json", headers=(),
                trace=AUTO, chunked: bool = False, deadline: float | None = None, patient: bool = True) -> Response:
        """Sends one request on a connection of its own. `trace`: AUTO a new trace, a trace id, or None for no
        `traceparent`. An answer 429 is waited out unless `patient` is false."""
        if json is not ABSENT:
            body = jsonlib.dumps(json)
        if isinstance(body, str):
            body = body.encode("utf-8")
        trace_id = new_trace_id() if trace is AUTO else trace
        lines = [("Host", self.authority), ("Connection", "close"), ("User-Agent", "lantern-contract")]
        if trace_id:
            lines.append(("traceparent", f"00-{trace_id}-{secrets.token_hex(8)}-01"))
        if token is not None:
            lines.append(("Authorization", f"Bearer {token}"))
        if body is not None:
            if content_type is not None:
                lines.append(("Content-Type", content_type))
            lines.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body))))
        elif method in ("POST", "PUT", "PATCH"):
            lines.append(("Content-Length", "0"))
        lines.extend(headers)
        target = with_query(target, query or {})
        head = f"{method} {self.prefix}{target} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines) + "\r\n"
        payload = head.encode("latin-1") + (in_chunks(body) if chunked and body is not None else body or b"")
        label = f"{method} {self.name} {target[:120]}"

        until = time.monotonic() + self.patience
        while True:
            response = self.exchange(payload, label, deadline=deadline, no_body=method == "HEAD")
            response.trace_id = trace_id
            if response.status != 429:
                return response
            with self.lock:
                self.throttled.append(response)
            wait = retry_after(response)
            if not patient or time.monotonic() + wait > until:
                return response
            time.sleep(wait)

    def exchange(self, payload: bytes, label: str, *, deadline: float | None = None, no_body: bool = False) -> Response:
        """Sends the bytes as they are and gives the first final response."""
        responses = self.pipeline(payload, label, 1, deadline=deadline, no_body=no_body)
        return responses[0]

    def pipeline(self, payload: bytes, label: str, count: int, *, deadline: float | None = None, no_body: bool = False) -> list[Response]:
        seconds = self.deadline if deadline is None else deadline
        if self.timeouts_in_a_row >= 5:
            seconds = min(seconds, 1.0)  # a service that hangs must not hold up the whole run
        try:
            responses = converse(self.host, self.port, payload, label, count, seconds, no_body)
        except TimedOut:
            self.timeouts_in_a_row += deadline is None
            raise
        self.timeouts_in_a_row = 0
        self.answers += len(responses)
        for response in responses:
            if response.status >= 500:
                with self.lock:
                    self.server_errors.append(str(response))
        return responses

    def send_and_close(self, payload: bytes) -> None:
        """Sends the bytes and closes at once, without reading."""
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as connection:
                connection.sendall(payload)
        except OSError as error:
            raise NoAnswer(f"connection to {self.name} failed ({error}), expected it to take bytes") from None


def retry_after(response: Response) -> float:
    try:
        return min(max(float(response.header("retry-after") or 1), 0.2), 60.0)
    except ValueError:
        return 1.0


def in_chunks(body: bytes, size: int = 65536) -> bytes:
    parts = []
    for start in range(0, len(body), size):
        piece = body[start:start + size]
        parts.append(b"%x\r\n%s\r\n" % (len(piece), piece))
    return b"".join(parts) + b"0\r\n\r\n"


def converse(host: str, port: int, payload: bytes, label: str, count: int, seconds: float, no_body: bool) -> list[Response]:
    until = time.monotonic() + seconds
    try:
        connection = socket.create_connection((host, port), timeout=min(seconds, 5))
    except TimeoutError:
        raise TimedOut(f"no connection to {host}:{port} in time for {label}, expected one") from None
    except OSError as error:
        raise NoAnswer(f"no connection to {host}:{port} for {label} ({error}), expected one") from None
    with connection:
        connection.setblocking(False)
        view, sent, received, ended, trouble = memoryview(payload), 0, bytearray(), False, ""
        responses: list[Response] = []
        while len(responses) < count:
            while len(responses) < count and (parsed := parse(received, ended, label, no_body)):
                response, used = parsed
                del received[:used]
                responses.append(response)
            if len(responses) >= count:
                break
            if ended:
                raise NoAnswer(f"{label}: the connection ended{trouble} after {len(received)} bytes of answer, expected a whole HTTP response")
            left = until - time.monotonic()
            if left <= 0:
                raise TimedOut(f"{label}: no whole answer within {seconds:g} s ({len(received)} bytes so far), expected one")
            readable, writable, _ = select.select([connection], [connection] if sent < len(view) else [], [], left)
            if writable:
                try:
                    sent += connection.send(view[sent:sent + 262144])
                except BlockingIOError:
                    pass
                except OSError as error:
                    sent, trouble = len(view), f" ({error} while sending)"
            if readable:
                try:
                    data = connection.recv(262144)
                    received += data
                    ended = not data
                except BlockingIOError:
                    pass
                except OSError as error:
                    ended, trouble = True, f" ({error})"
        return responses


def parse(received: bytearray, ended: bool, label: str, no_body: bool) -> tuple[Response, int] | None:
    """The first final response in the bytes and how many bytes it took; None while it is not whole."""
    start = 0
    while True:
        end = received.find(b"\r\n\r\n", start)
        if end < 0:
            return None
        lines = bytes(received[start:end]).decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not code.isdigit():
            raise NoAnswer(f"{label}: saw status line {lines[0][:80]!r}, expected HTTP/1.1 and a status")
        headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        status, start = int(code), end + 4
        if status >= 200:
            break
    fields = {name.lower(): value for name, value in headers}
    if no_body or status in (204, 304):
        return Response(label, status, headers, b""), start
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return parse_chunks(received, start, ended, label, status, headers)
    if "content-length" in fields:
        length = int(fields["content-length"]) if fields["content-length"].isdigit() else -1
        if length < 0:
            raise NoAnswer(f"{label}: saw Content-Length {fields['content-length']!r}, expected a number")
        if len(received) - start < length:
            return None
        return Response(label, status, headers, bytes(received[start:start + length])), start + length
    return (Response(label, status, headers, bytes(received[start:])), len(received)) if ended else None


def parse_chunks(received, at, ended, label, status, headers) -> tuple[Response, int] | None:
    body = bytearray()
    while True:
        end = received.find(b"\r\n", at)
        if end < 0:
            return None
        try:
            size = int(bytes(received[at:end]).split(b";")[0], 16)
        except ValueError:
            raise NoAnswer(f"{label}: saw chunk size {bytes(received[at:end])[:40]!r}, expected hexadecimal") from None
        at = end + 2
        if size == 0:
            finish = end if received[at:at + 2] == b"\r\n" else received.find(b"\r\n\r\n", at)
            if finish < 0 or len(received) < finish + 4:
                return None
            return Response(label, status, headers, bytes(body)), finish + 4
        if len(received) < at + size + 2:
            return None
        body += received[at:at + size]
        at += size + 2
