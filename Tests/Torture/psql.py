"""SQL through psql processes that stay: the standard library has no client, and a process for each query is too slow."""

import os
import select
import subprocess
import time
import uuid

# The fields of a row, and the end of an answer: neither occurs in what the services store.
FIELD, END = "\x1f", "\x02"


class Away(Exception):
    """The server ended the session, or there is none. Whether a statement took effect is not known."""


class Refused(Exception):
    """The server does not take the statement."""


class Session:
    """One session. Any error ends it: then psql ends, and what it said is the error."""

    def __init__(self, url: str, name: str, timeout: float = 60):
        self.timeout = timeout
        self.buffer = b""
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-F", FIELD, "-v", "ON_ERROR_STOP=1", url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(os.environ, PGAPPNAME=name, PGCONNECT_TIMEOUT="5"),
            # Ctrl-C is for the harness, which ends its sessions itself.
            start_new_session=True,
        )

    def query(self, sql: str) -> list[list[str]]:
        """Rows of text; NULL is the empty text."""
        mark = f"{END}{uuid.uuid4().hex}"
        try:
            self.process.stdin.write(f"{sql.rstrip().rstrip(';')};\n\\echo {mark}\n".encode())
            self.process.stdin.flush()
        except OSError:
            pass  # What psql said before it ended is still to be read.
        text = self._read_until(f"{mark}\n".encode())
        return [line.split(FIELD) for line in text.decode().splitlines()]

    def _read_until(self, mark: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout
        output = self.process.stdout.fileno()
        while not self.buffer.endswith(mark):
            ready, _, _ = select.select([output], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(output, 1 << 16) if ready else b""
            if not piece:
                self.close()
                said = self.buffer.decode(errors="replace").strip() or "no answer in time"
                raise (Refused if "ERROR:" in said else Away)(said[-500:])
            self.buffer += piece
        text, self.buffer = self.buffer[: -len(mark)], b""
        return text

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Database:
    """Questions of one thread to one database, asked again while the server is away."""

    def __init__(self, url: str, name: str = "torture", patience: float = 60):
        self.url, self.name, self.patience = url, name, patience
        self.session: Session | None = None

    def once(self, sql: str) -> list[list[str]]:
        """Asks once: for statements that change something, or where "away" is an answer."""
        if self.session is None:
            self.session = Session(self.url, self.name)
        try:
            return self.session.query(sql)
        except (Away, Refused):
            self.session = None
            raise

    def rows(self, sql: str) -> list[list[str]]:
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return self.once(sql)
            except Away:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def row(self, sql: str) -> list[str] | None:
        """The first row."""
        rows = self.rows(sql)
        return rows[0] if rows else None

    def value(self, sql: str) -> str:
        """The only value of a query that has one."""
        return self.rows(sql)[0][0]

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None
