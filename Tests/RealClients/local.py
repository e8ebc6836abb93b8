"""The platform on this machine, its HTTP interface, and the counting of checks. Standard library only."""

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

results = {"passed": 0, "failed": 0}
# Where much is broken, nothing is waited for at length any more.
patience = time.monotonic() + 120


def check(name, condition, seen=""):
    """Counts and prints; answers whether it holds."""
    results["passed" if condition else "failed"] += 1
    print(f"ok  {name}" if condition else f"FAIL {name}: {str(seen)[:1_000]}", flush=True)
    return bool(condition)


def eventually(seconds, attempt, pause=0.05):
    """The first true answer within so many seconds, else the last one."""
    now = time.monotonic()
    deadline = min(now + seconds, max(patience, now + 1))
    while True:
        value = attempt()
        if value or time.monotonic() > deadline:
            return value
        threading.Event().wait(pause)


def free_base():
    """A base with seven free ports above it."""
    for _ in range(100):
        base = random.randrange(20_000, 29_000)
        try:
            for port in range(base + 1, base + 8):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise SystemExit("no free ports")


def fetch(method, url, token=None, body=None, headers=None):
    """Status and bytes of an answer; status 0 where nobody answers."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None:
        request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


def call(method, url, token=None, body=None, headers=None):
    """Status and JSON of an answer; text where it is none."""
    status, answer = fetch(method, url, token, body, headers)
    try:
        return status, json.loads(answer)
    except ValueError:
        return status, answer.decode(errors="replace")


def die_with_parent():
    """Runs in the child: it is told to stop where this process is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Platform:
    """`lantern up` as a child of this process, so that it never outlives it."""

    def __init__(self, binaries, folder):
        self.lantern = os.path.join(binaries, "lantern")
        self.state = os.path.join(folder, "state")
        self.base = free_base()
        self.auth, self.order, self.activity = (f"http://127.0.0.1:{self.base + n}" for n in (1, 2, 3))
        self.broker = f"127.0.0.1:{self.base + 5}"
        self.output = os.path.join(folder, "up.log")
        self.environment = dict(os.environ, AUTH_PASSWORD_COST="10")
        self.process = None
        self.admin_token = self.admin_id = None

    def start(self):
        """Whether it runs."""
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [self.lantern, "up", "--state", self.state, "--port-base", str(self.base)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        return eventually(60, lambda: self.process.poll() is not None or self.runs()) and self.process.poll() is None

    def status(self):
        answer = subprocess.run(
            [self.lantern, "status", "--state", self.state, "--output", "json"], capture_output=True, timeout=30
        )
        try:
            return json.loads(answer.stdout)
        except ValueError:
            return []

    def runs(self):
        rows = {row["name"]: row["state"] for row in self.status()}
        return "prometheus" in rows and set(rows.values()) == {"running"}

    def pid(self, name):
        return next(row["pid"] for row in self.status() if row["name"] == name)

    def stop(self):
        """Ends everything; answers whether that went in order."""
        if self.process is None:
            return True
        pids = [row["pid"] for row in self.status() if row.get("pid")]
        self.process.terminate()
        try:
            ended = self.process.wait(timeout=60) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            ended = False
        left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return ended and not left

    def secrets(self):
        with open(os.path.join(self.state, "secrets.json"), encoding="utf-8") as file:
            return json.load(file)

    def sql(self, statement):
        """What psql reads in the database of activity."""
        environment = dict(os.environ, PGPASSWORD=self.secrets()["databasePassword"])
        command = [
            "psql",
            "--no-psqlrc",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.base + 4),
            "-U",
            "lantern",
            "-At",
            "activity",
        ]
        run = subprocess.run([*command, "-c", statement], env=environment, capture_output=True, text=True, timeout=30)
        return run.stdout.strip() if run.returncode == 0 else run.stderr.strip()

    def log_in(self, email, password, headers=None):
        """Token and the id of its user."""
        body = {"email": email, "password": password}
        status, answer = call("POST", f"{self.auth}/v1/sessions", body=body, headers=headers)
        assert status == 201, (status, answer)
        token = answer["access_token"]
        status, user = call("GET", f"{self.auth}/v1/users/me", token)
        assert status == 200, (status, user)
        return token, user["id"]

    def log_in_admin(self):
        secrets = self.secrets()
        self.admin_token, self.admin_id = self.log_in(secrets["adminEmail"], secrets["adminPassword"])

    def register(self):
        """A new customer's address and password."""
        email, password = f"c-{uuid.uuid4()}@example.com", f"long enough {uuid.uuid4()}"
        body = {"email": email, "password": password, "name": "C"}
        status, answer = call("POST", f"{self.auth}/v1/users", body=body)
        assert status == 201, (status, answer)
        return email, password

    def get(self, path):
        """What activity answers to the administrator, or an AssertionError."""
        status, answer = call("GET", self.activity + path, self.admin_token)
        assert status == 200, (path, status, answer)
        return answer

    def post(self, path, body=None):
        return call("POST", self.activity + path, self.admin_token, body)

    def entries(self, **filters):
        """The newest entries that match."""
        return self.get(f"/v1/timeline?{urllib.parse.urlencode({'limit': 200, **filters})}")["data"]

    def entry(self, entry_id):
        """One entry, and its data as the bytes that stand in the answer."""
        status, body = fetch("GET", f"{self.activity}/v1/timeline/{entry_id}", self.admin_token)
        assert status == 200, (entry_id, status, body[:200])
        # Nothing before it can hold this outside of a string, and within one the quotes are escaped.
        data = body.split(b',"data":', 1)[1]
        return json.loads(body), data[:-1]

    def letters(self):
        """Every dead letter, by topic, partition and offset; each a list, for there must be one."""
        found, cursor = {}, ""
        while True:
            page = self.get(f"/v1/dead-letters?limit=200{cursor}")
            for letter in page["data"]:
                found.setdefault((letter["topic"], letter["partition"], letter["offset"]), []).append(letter)
            if not page["page"]["next_cursor"]:
                return found
            cursor = f"&cursor={page['page']['next_cursor']}"
