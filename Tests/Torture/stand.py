"""The platform under torture: a PostgreSQL, a broker, auth, two replicas of order, two of activity."""

import base64
import http.client
import json
import os
import secrets
import shutil
import socket
import tempfile
import urllib.error
import urllib.request

from cluster import Cluster
from console import eventually
from parts import Part
from psql import Database

SERVICES = ("auth", "order", "activity")


def free_ports(count: int) -> list[int]:
    """Below the range that the system takes ports of outgoing connections from: a dead part's port must stay free."""
    found: list[int] = []
    while len(found) < count:
        port = 20_000 + secrets.randbelow(9_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def call(method: str, url: str, token: str | None = None, body: object = None, timeout: float = 30):
    """Status and JSON of an answer; status 0 where nobody answers."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method)
    if data is not None:
        request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] in b"{[" else text.decode()
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text[:1] == b"{" else text.decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException):
        return 0, None


class Stand:
    def __init__(self, binaries: str):
        self.folder = tempfile.mkdtemp(prefix="lantern-torture-")
        # PostgreSQL runs as another user where we are root, and must reach its folder.
        os.chmod(self.folder, 0o755)
        self.logs = os.path.join(self.folder, "log")
        os.mkdir(self.logs)
        database, broker, *ports = free_ports(7)
        self.admin_email, self.admin_password = "admin@lantern.test", f"lt-{secrets.token_urlsafe(18)}"
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.cluster = Cluster(f"{self.folder}/postgres", database, secrets.token_hex(16), self._log("postgres"))
        self.bootstrap = f"127.0.0.1:{broker}"
        self.broker = Part(
            "broker", [f"{binaries}/lantern", "broker", "--port", str(broker)], {"PATH": "/usr/bin:/bin"}, self._log("broker")
        )
        self.broker_port = broker
        self.auth_url = f"http://127.0.0.1:{ports[0]}"
        self.urls: dict[str, str] = {}
        names = ("auth-1", "order-1", "order-2", "activity-1", "activity-2")
        parts = [self._service(name, binaries, port) for name, port in zip(names, ports)]
        self.auth, self.orders, self.activities = parts[0], parts[1:3], parts[3:5]

    def _log(self, name: str) -> str:
        return os.path.join(self.logs, f"{name}.log")

    def _service(self, name: str, binaries: str, port: int) -> Part:
        service = name.split("-")[0]
        self.urls[name] = f"http://127.0.0.1:{port}"
        # As `lantern up` sets it, but that sessions bear the name of their replica.
        environment = {
            "PATH": "/usr/bin:/bin", "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port),
            "DATABASE_URL": self.cluster.url(service, name), "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_FETCH_WAIT_MAX_MS": "50", "KAFKA_SESSION_TIMEOUT_MS": "6000", "KAFKA_RECONNECT_BACKOFF_MAX_MS": "1000",
            # The embedded broker forgets, without an answer, who waits to join while it is frozen; a member waits for the
            # answer as long as this. Apache Kafka answers.
            "KAFKA_MAX_POLL_INTERVAL_MS": "20000",
            "AUTH_ISSUER": self.auth_url, "AUTH_AUDIENCE": "lantern",
            "AUTH_JWKS_URL": f"{self.auth_url}/.well-known/jwks.json", "LOG_FORMAT": "json",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "info"),
            # A crash says where.
            "SWIFT_BACKTRACE": "enable=yes,color=no,interactive=no",
        }
        if service == "order":
            # Longer than any run: what expires later would be an event in the middle of an audit.
            environment["ORDER_RESERVATION_TTL"] = "48h"
        if service == "auth":
            environment |= {
                "AUTH_KEY_ENCRYPTION_KEY": self.key, "AUTH_PASSWORD_COST": "10",
                "AUTH_BOOTSTRAP_ADMIN_EMAIL": self.admin_email, "AUTH_BOOTSTRAP_ADMIN_PASSWORD": self.admin_password,
            }
        return Part(name, [f"{binaries}/{service}"], environment, self._log(name))

    @property
    def services(self) -> list[Part]:
        return [self.auth, *self.orders, *self.activities]

    @property
    def parts(self) -> list[Part]:
        return [*self.services, self.broker, self.cluster.part]

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def database(self, service: str, name: str = "torture") -> Database:
        return Database(self.cluster.url(service), name)

    def start(self) -> list[str]:
        """Starts everything for the first time; answers what is not ready."""
        if not self.cluster.start():
            return ["postgres"]
        postgres = self.database("postgres")
        for name in SERVICES:
            postgres.once(f'CREATE DATABASE "{name}"')
        postgres.close()
        return self.revive()

    def revive(self, within: float = 90) -> list[str]:
        """Starts what is dead, thaws what is frozen, and waits; answers what is not ready then."""
        self.cluster.thaw()
        for part in self.parts:
            part.thaw()
        if not self.cluster.part.alive and not self.cluster.start():
            return ["postgres"]
        for part in (self.broker, *self.services):
            part.start()

        def missing() -> list[str]:
            names = [part.name for part in self.services if not self.is_ready(part)]
            return names if self.broker_listens() else ["broker", *names]

        eventually(within, lambda: not missing(), pause=0.2)
        return missing()

    def is_ready(self, part: Part) -> bool:
        return part.alive and call("GET", f"{self.urls[part.name]}/readyz", timeout=5)[0] == 200

    def broker_listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return self.broker.alive and probe.connect_ex(("127.0.0.1", self.broker_port)) == 0

    def start_broker(self) -> None:
        """Starts it with empty topics; a port that is not free yet is tried again."""

        def listens() -> bool:
            self.broker.doomed = True
            self.broker.start()
            return self.broker_listens()

        eventually(30, listens)
        self.broker.doomed = False

    def log_in(self, email: str, password: str) -> str | None:
        status, answer = call("POST", f"{self.auth_url}/v1/sessions", body={"email": email, "password": password})
        return answer["access_token"] if status == 201 else None

    def admin(self) -> str | None:
        """A token of the admin, who reads and changes everything; waits while auth or its database is away."""
        return eventually(30, lambda: self.log_in(self.admin_email, self.admin_password), pause=0.2)

    def end(self) -> None:
        """Ends every process, whatever state it is in."""
        for part in (*self.services, self.broker):
            part.kill()
        self.cluster.kill()

    def remove(self, keep_logs: bool) -> None:
        """Removes the folder, but for the logs where they are wanted."""

        def gone() -> bool:
            # PostgreSQL's last processes write until they notice that the server has gone.
            left = [name for name in os.listdir(self.folder) if not (keep_logs and name == "log")]
            for name in left:
                shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
            return not left

        eventually(10, gone, pause=0.2)
        if not keep_logs:
            os.rmdir(self.folder)
