#!/usr/bin/env python3
"""The built executables as processes: start, use, kill, restart, check, stop.

Prints a line for each check and at last `N passed, N failed`. Standard library only.
"""

import argparse
import gzip
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "Tests", "Exposition"))

import wire  # noqa: E402
from scraper import Prometheus  # noqa: E402

results = {"passed": 0, "failed": 0}


def check(name, condition, seen=""):
    if condition:
        results["passed"] += 1
        print(f"ok  {name}", flush=True)
    else:
        results["failed"] += 1
        print(f"FAIL {name}: {seen}", flush=True)


def free_base():
    """A base with ten free ports above it."""
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


def call(method, url, token=None, body=None, headers=None, timeout=30):
    """Status and JSON of an answer; status 0 where nobody answers."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
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
    except (OSError, ValueError):
        return 0, None


def eventually(seconds, attempt):
    """The first true answer within so many seconds, else the last one."""
    deadline = time.monotonic() + seconds
    while True:
        value = attempt()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.05)


class Platform:
    def __init__(self, binaries, state, base):
        self.lantern = os.path.join(binaries, "lantern")
        self.state, self.base = state, base
        self.auth, self.order, self.activity = (f"http://127.0.0.1:{base + n}" for n in (1, 2, 3))
        self.prometheus = f"http://127.0.0.1:{base + 6}"
        self.environment = dict(os.environ, AUTH_PASSWORD_COST="10")

    def run(self, *arguments, timeout=240):
        return subprocess.run(
            [self.lantern, *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout
        )

    def up(self):
        return self.run("up", "--detach", "--state", self.state, "--port-base", str(self.base))

    def down(self):
        return self.run("down", "--state", self.state)

    def pids(self):
        answer = self.run("status", "--state", self.state, "--output", "json")
        return {row["name"]: row for row in json.loads(answer.stdout)}

    def secrets(self):
        with open(os.path.join(self.state, "secrets.json"), encoding="utf-8") as file:
            return json.load(file)

    def log_in(self, email, password):
        status, answer = call("POST", f"{self.auth}/v1/sessions", body={"email": email, "password": password})
        assert status == 201, (status, answer)
        return answer["access_token"]

    def admin(self):
        secrets = self.secrets()
        return self.log_in(secrets["adminEmail"], secrets["adminPassword"])

    def customer(self):
        email, password = f"p-{uuid.uuid4()}@example.com", f"long enough {uuid.uuid4()}"
        status, answer = call("POST", f"{self.auth}/v1/users", body={"email": email, "password": password, "name": "P"})
        assert status == 201, (status, answer)
        return self.log_in(email, password)

    def product(self, admin, stock):
        status, answer = call(
            "POST", f"{self.order}/v1/products", token=admin,
            body={"name": "Lamp", "price": {"amount": 100, "currency": "EUR"}, "stock": stock},
        )
        assert status == 201, (status, answer)
        return answer["id"]

    def timeline(self, admin, query):
        """Every entry of a walk."""
        entries, cursor = [], None
        while True:
            url = f"{self.activity}/v1/timeline?limit=200&{query}" + (f"&cursor={cursor}" if cursor else "")
            status, answer = call("GET", url, token=admin)
            if status != 200:
                return entries
            entries += answer["data"]
            cursor = answer["page"]["next_cursor"]
            if not cursor:
                return entries


class Load:
    """Orders from several threads until stopped; remembers which were accepted."""

    def __init__(self, platform, token, product):
        self.platform, self.token, self.product = platform, token, product
        self.accepted, self.unknown, self.faults = [], 0, []
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def work(self):
        while not self.stopping.is_set():
            status, answer = call(
                "POST", f"{self.platform.order}/v1/orders", token=self.token,
                body={"lines": [{"product_id": self.product, "quantity": 1}]}, timeout=10,
            )
            with self.lock:
                if status == 201:
                    self.accepted.append(answer["id"])
                elif status in (0, 503):
                    self.unknown += 1
                else:
                    self.faults.append((status, answer))
            if status != 201:
                time.sleep(0.05)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=15)


def on_timeline_once(platform, admin, accepted):
    """Orders that are not on the timeline exactly once."""

    def wrong():
        counts = {}
        for entry in platform.timeline(admin, "action=order.order.placed&order=log"):
            counts[entry["target"]["id"]] = counts.get(entry["target"]["id"], 0) + 1
        return [(order, counts.get(order, 0)) for order in accepted if counts.get(order, 0) != 1]

    eventually(60, lambda: not wrong())
    return wrong()


def promtool(platform):
    for name, url in (("auth", platform.auth), ("order", platform.order), ("activity", platform.activity)):
        _, text = call("GET", f"{url}/metrics")
        run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        check(f"promtool finds no fault in the metrics of {name}", run.returncode == 0 and not run.stderr, run.stdout + run.stderr)


def scraped(platform):
    def up():
        _, answer = call("GET", f"{platform.prometheus}/api/v1/query?query=up")
        rows = (answer or {}).get("data", {}).get("result", [])
        values = {row["metric"]["job"]: row["value"][1] for row in rows}
        return values if values == {"auth": "1", "order": "1", "activity": "1"} else None

    check("Prometheus scrapes all three services", eventually(30, up), "up is not 1 for each")


TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
DURATION = "http_server_request_duration_seconds"


def scrape(url, accept="*/*", encoding="identity"):
    """Header fields and body of `/metrics`, as they came."""
    request = urllib.request.Request(f"{url}/metrics", headers={"accept": accept, "accept-encoding": encoding})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, answer.read()


def negotiated(platform):
    """What each service answers to the `Accept` of Debian's Prometheus, without and with native histograms."""
    classic = (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited," + classic
    for name, url in (("auth", platform.auth), ("order", platform.order), ("activity", platform.activity)):
        fields, body = scrape(url)
        is_plain = fields["content-type"] == TEXT and "content-encoding" not in fields and body.endswith(b"\n")
        check(f"the metrics of {name} are text 0.0.4 where nothing is asked for", is_plain, (fields.items(), body[-80:]))
        vary = {part.strip().lower() for part in (fields["vary"] or "").split(",")}
        check(f"the metrics of {name} vary with what is accepted", vary >= {"accept", "accept-encoding"}, fields["vary"])
        fields, body = scrape(url, accept=classic)
        is_openmetrics = fields["content-type"] == OPENMETRICS and body.endswith(b"\n# EOF\n")
        check(f"the metrics of {name} are OpenMetrics for Prometheus", is_openmetrics, (fields["content-type"], body[-80:]))
        fields, body = scrape(url, accept=native, encoding="gzip")
        is_compressed = fields["content-encoding"] == "gzip"
        check(f"the metrics of {name} are compressed where that is accepted", is_compressed, fields.items())
        families = {family["name"]: family for family in wire.families(gzip.decompress(body) if is_compressed else body)}
        requests = families.get(DURATION, {}).get("metric", [{}])
        check(
            f"the metrics of {name} are protobuf with native histograms for a Prometheus that asks for them",
            fields["content-type"] == PROTOBUF and all("schema" in each.get("histogram", {}) for each in requests),
            (fields["content-type"], sorted(families)),
        )


def exemplified(platform):
    """A trace can be found from a bucket, in `/metrics` and in Prometheus."""
    trace = uuid.uuid4().hex

    def shown():
        # A bucket takes another exemplar some time after its last one only, so requests come until one of ours is taken.
        call("GET", f"{platform.order}/v1/products", headers={"traceparent": f"00-{trace}-{uuid.uuid4().hex[:16]}-01"})
        lines = scrape(platform.order, accept="application/openmetrics-text;version=1.0.0")[1].decode().splitlines()
        return [line for line in lines if line.startswith(f"{DURATION}_bucket{{") and f'trace_id="{trace}"' in line]

    lines = eventually(30, shown)
    check("a bucket of the duration of requests names the trace of one", lines, f"no line with {trace}")
    # With the span, value and time, and within its bucket.
    found = lines and re.search(r'le="([^"]+)"\} \d+ # \{.*span_id="[0-9a-f]{16}".*\} (\S+) \d+(\.\d+)?$', lines[0])
    check("it names the span, value and time too", found and float(found[2]) <= float(found[1]), lines)
    began = time.time() - 600

    def stored():
        query = urllib.parse.urlencode(
            {"query": f'{DURATION}_bucket{{job="order"}}', "start": began, "end": time.time() + 60}
        )
        _, answer = call("GET", f"{platform.prometheus}/api/v1/query_exemplars?{query}")
        rows = answer["data"] if isinstance(answer, dict) and answer.get("status") == "success" else []
        return any(each["labels"].get("trace_id") == trace for row in rows for each in row["exemplars"])

    check("Prometheus answers the trace of that request", eventually(30, stored), f"no exemplar with {trace}")


def natively_counted(platform):
    """Another Prometheus, which asks for native histograms, stores what `/metrics` shows."""
    target = urllib.parse.urlsplit(platform.order).netloc
    seen = {}

    def labels(metric):
        return frozenset((key, value) for key, value in metric.items() if key not in ("job", "instance", "__name__"))

    def is_quiet(labels):
        # Scrapes and probes are requests, which go on.
        return dict(labels).get("http_route") not in ("/metrics", "/livez", "/readyz", "/startupz")

    def agree():
        stored = {labels(row["metric"]): float(row["value"][1]) for row in prometheus.query(f"histogram_count({DURATION})")}
        text = scrape(platform.order)[1].decode()
        shown = {
            frozenset(re.findall(r'(\w+)="([^"]*)"', line)): float(line.rpartition(" ")[2])
            for line in text.splitlines() if line.startswith(f"{DURATION}_count{{")
        }
        seen.update(
            stored={key: count for key, count in stored.items() if is_quiet(key)},
            shown={key: count for key, count in shown.items() if is_quiet(key)},
        )
        return seen["stored"] and seen["stored"] == seen["shown"]

    with Prometheus([{"job_name": "order", "static_configs": [{"targets": [target]}]}]) as prometheus:
        agrees = eventually(30, agree)
        check("a Prometheus with native histograms counts what /metrics shows", agrees, (seen, prometheus.said()))
        errors = [each["lastError"] for each in prometheus.targets() if each["lastError"]]
        check("it finds no fault in the scrapes", not errors, errors)
        rows = prometheus.query(DURATION)
        has_buckets = rows and all(row.get("histogram", [0, {}])[1].get("buckets") for row in rows)
        check("it has buckets that nobody had to choose", has_buckets, rows[:2])


def names_exist(platform):
    """Every metric that a panel or a rule names is exposed by the running platform, and docs/metrics.md lists just what is."""
    names, labels = {}, {}
    for url in (platform.auth, platform.order, platform.activity):
        _, text = call("GET", f"{url}/metrics")
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                family, kind = line.split()[2:]
                names[family] = kind
            elif not line.startswith("#"):
                # The labels of a family stand behind its header; `le` is of the format, overflow of the guard.
                found = re.findall(r'[{,](\w+)="(?:[^"\\]|\\.)*"', line)
                labels.setdefault(family, set()).update(set(found) - {"le", "overflow"})
    with open(os.path.join(ROOT, "docs/metrics.md"), encoding="utf-8") as page:
        rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram)[^|]*\| ([^|]*) \|", page.read(), re.MULTILINE)
    documented = {name: kind for name, kind, _ in rows}
    check("docs/metrics.md lists every metric that is exposed, with its type", names.items() <= documented.items(),
          sorted(names.items() - documented.items()))
    check("every metric of docs/metrics.md is exposed by a service that has done its work", documented.keys() <= names.keys(),
          sorted(documented.keys() - names.keys()))
    foreign = {
        name: sorted(labels[name] - set(re.findall(r"`(\w+)`", listed)))
        for name, _, listed in rows
        # Those of OTEL_RESOURCE_ATTRIBUTES are the operator's.
        if name in labels and name != "target_info" and labels[name] - set(re.findall(r"`(\w+)`", listed))
    }
    check("no metric has a label that docs/metrics.md does not list", not foreign, foreign)
    with tempfile.NamedTemporaryFile("w", suffix=".names") as file:
        file.write("\n".join(sorted(names)) + "\n")
        file.flush()
        run = subprocess.run(["scripts/check-deployment", "--names", file.name], cwd=ROOT, capture_output=True, text=True)
    check("every metric of dashboards and rules exists", run.returncode == 0, (run.stdout + run.stderr)[-600:])


def demo(platform):
    run = platform.run("demo", "--state", platform.state)
    check("the demo tells its story to the end", run.returncode == 0, run.stdout[-800:] + run.stderr[-400:])
    check("the demo shows the trace up to the entry", "store timeline entry" in run.stdout, run.stdout[-800:])


def contract(platform):
    secrets = platform.secrets()
    run = subprocess.run(
        [
            sys.executable, "Tests/Contract/contract.py", "--auth", platform.auth, "--order", platform.order,
            "--activity", platform.activity, "--admin-email", secrets["adminEmail"],
            f"--admin-password={secrets['adminPassword']}", "--kafka", f"127.0.0.1:{platform.base + 5}",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )
    lines = run.stdout.splitlines()
    for line in lines:
        if line.startswith("FAIL"):
            print(f"     {line[:600]}", flush=True)
    check(f"the contract holds ({lines[-1] if lines else 'no output'})", run.returncode == 0, run.stderr[-400:])


def latency(platform, admin):
    token, product = platform.customer(), platform.product(admin, 1_000)
    times = []
    for _ in range(30):
        status, order = call(
            "POST", f"{platform.order}/v1/orders", token=token, body={"lines": [{"product_id": product, "quantity": 1}]}
        )
        assert status == 201, order
        began = time.monotonic()
        url = f"{platform.activity}/v1/timeline?target={order['id']}"
        while not call("GET", url, token=admin)[1]["data"]:
            if time.monotonic() - began > 10:
                break
        times.append(time.monotonic() - began)
    times.sort()
    print(f"     answered to visible, unloaded: median {times[15] * 1000:.0f} ms, worst {times[-1] * 1000:.0f} ms", flush=True)
    # Not a benchmark: an order that needs the safety net of a poll or of the next head would be seconds late.
    check("an order is visible soon after its answer", times[15] < 2, f"median {times[15]:.2f} s")


def graceful(platform, admin):
    load = Load(platform, platform.customer(), platform.product(admin, 1_000_000))
    eventually(20, lambda: len(load.accepted) > 20)
    before = platform.pids()["order"]
    os.kill(before["pid"], signal.SIGTERM)
    eventually(30, lambda: platform.pids()["order"]["restarts"] > before["restarts"] and platform.pids()["order"]["state"] == "running")
    count = len(load.accepted)
    eventually(20, lambda: len(load.accepted) > count + 20)
    load.stop()
    check("SIGTERM under load answers no request wrongly", not load.faults, load.faults[:3])
    wrong = on_timeline_once(platform, admin, load.accepted)
    check(f"SIGTERM under load loses none of {len(load.accepted)} accepted orders", not wrong, wrong[:5])


def killed(platform, admin):
    load = Load(platform, platform.customer(), platform.product(admin, 1_000_000))
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    dice = random.Random(seed)
    print(f"     SEED={seed}", flush=True)
    for round_number in range(4):
        count = len(load.accepted)
        eventually(30, lambda: len(load.accepted) > count + 10)
        name = ("activity", "order")[round_number % 2]
        # The moment is the point: anywhere between seal, publish, mark, insert and commit.
        threading.Event().wait(dice.uniform(0, 0.3))
        row = platform.pids()[name]
        if row["pid"]:
            os.kill(row["pid"], signal.SIGKILL)
        eventually(40, lambda: platform.pids()[name]["restarts"] > row["restarts"] and platform.pids()[name]["state"] == "running")
    load.stop()
    check("kill -9 leads to no wrong answer", not load.faults, load.faults[:3])
    wrong = on_timeline_once(platform, admin, load.accepted)
    check(f"kill -9 of activity and order loses and doubles none of {len(load.accepted)} accepted orders", not wrong, wrong[:5])

    def complete():
        _, answer = call("GET", f"{platform.activity}/v1/sources", token=admin)
        rows = [row for row in (answer or {}).get("data", []) if row["source"].startswith("/services/")]
        return rows and all(row["gaps"] == 0 and row["head_announced"] == row["head_contiguous"] for row in rows)

    check("every source is complete afterwards", eventually(60, complete), call("GET", f"{platform.activity}/v1/sources", token=admin)[1])


def logged(platform):
    """Every line that the services wrote under load is one JSON object, with the members of the contract in their order."""
    first = ["timestamp", "level", "message", "logger", "service"]
    for service in ("auth", "order", "activity"):
        with open(os.path.join(platform.state, "log", f"{service}.log"), "rb") as file:
            lines = file.read().splitlines()
        wrong = []
        for line in lines:
            try:
                members = json.loads(line)
            except ValueError:
                wrong.append(line[:200])
                continue
            ids = [members.get(name) for name in ("trace_id", "span_id")]
            shown = [name for name in ("trace_id", "span_id") if name in members]
            if list(members)[:5 + len(shown)] != first + shown or members["service"] != service:
                wrong.append(line[:200])
            elif shown and not (re.fullmatch("[0-9a-f]{32}", ids[0] or "") and re.fullmatch("[0-9a-f]{16}", ids[1] or "")):
                wrong.append(line[:200])
        check(f"each of {len(lines)} lines that {service} logged is a line of the contract", lines and not wrong, wrong[:3])


def killed_whole(platform, admin):
    """kill -9 of everything but the broker's memory matters not: what was visible stays, and a second start works."""
    before = {entry["id"] for entry in platform.timeline(admin, "order=log")}
    with open(os.path.join(platform.state, "state.json"), encoding="utf-8") as file:
        state = json.load(file)
    os.kill(state["pid"], signal.SIGKILL)
    for row in state["processes"]:
        if row.get("pid"):
            try:
                os.kill(row["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass
    again = platform.up()
    check("a second start after kill -9 of all works", again.returncode == 0, again.stdout[-300:] + again.stderr[-300:])
    if again.returncode != 0:
        return
    admin = platform.admin()
    after = {entry["id"] for entry in platform.timeline(admin, "order=log")}
    check(f"the {len(before)} entries are all there after it", before <= after, f"{len(before - after)} are gone")
    token, product = platform.customer(), platform.product(admin, 10)
    status, order = call(
        "POST", f"{platform.order}/v1/orders", token=token, body={"lines": [{"product_id": product, "quantity": 1}]}
    )
    seen = eventually(30, lambda: status == 201 and platform.timeline(admin, f"target={order['id']}"))
    check("new orders appear on the timeline after it", seen, (status, order))


def faults(platform):
    with socket.socket() as blocker:
        blocker.bind(("127.0.0.1", 0))
        blocker.listen()
        port = blocker.getsockname()[1]
        run = platform.run("up", "--state", platform.state + "-other", "--port-base", str(port - 1))
        check(
            "a port in use gives one clear line", run.returncode == 1 and f"port {port} (auth) is in use" in run.stderr
            and len(run.stderr.strip().splitlines()) == 1, run.stderr,
        )
    run = platform.run("up", "--state", platform.state, "--port-base", str(platform.base))
    check("a second platform of one folder is refused", run.returncode == 1 and "already" in run.stderr, run.stderr)
    run = platform.run("demo", "--state", "/nonexistent")
    check("a demo without a platform is misuse", run.returncode == 2 and "make up" in run.stderr, (run.returncode, run.stderr))
    run = platform.run("up", "--port-base", "1")
    check("a wrong option is misuse", run.returncode == 2, (run.returncode, run.stderr))
    binary = os.path.join(os.path.dirname(platform.lantern), "auth")
    key = "A" * 43 + "="
    for environment, expected in (
        ({}, "AUTH_KEY_ENCRYPTION_KEY is not set"),
        ({"AUTH_KEY_ENCRYPTION_KEY": "short"}, "AUTH_KEY_ENCRYPTION_KEY=*** is not valid"),
        ({"AUTH_KEY_ENCRYPTION_KEY": key}, "DATABASE_URL is not set"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL=loud is not valid"),
        (
            {
                "AUTH_KEY_ENCRYPTION_KEY": key, "DATABASE_URL": "postgresql://127.0.0.1/x",
                "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "KAFKA_NO_SUCH_THING": "1",
            },
            "KAFKA_NO_SUCH_THING=*** is not valid",
        ),
    ):
        run = subprocess.run([binary], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, timeout=60)
        check(
            f"auth says in one line: {expected}", run.returncode == 2 and expected in run.stderr
            and len(run.stderr.strip().splitlines()) == 1, (run.returncode, run.stderr[-300:]),
        )


def stopped(platform):
    rows = platform.pids().values()
    run = platform.down()
    check("down stops everything", run.returncode == 0, run.stdout + run.stderr)
    left = [row["name"] for row in rows if row.get("pid") and os.path.exists(f"/proc/{row['pid']}")]
    check("nothing is left running", not left, left)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", default=".build/debug")
    parser.add_argument("--keep", action="store_true", help="keep the state folder")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="lantern-process-")
    # PostgreSQL runs as another user where we are root, and must reach its folder.
    os.chmod(folder, 0o755)
    platform = Platform(os.path.abspath(os.path.join(ROOT, arguments.binaries)), os.path.join(folder, "state"), free_base())
    try:
        first = platform.up()
        check("the platform starts", first.returncode == 0, first.stdout[-500:] + first.stderr[-500:])
        if first.returncode == 0:
            admin = platform.admin()
            faults(platform)
            demo(platform)
            latency(platform, admin)
            promtool(platform)
            scraped(platform)
            negotiated(platform)
            exemplified(platform)
            natively_counted(platform)
            contract(platform)
            names_exist(platform)
            graceful(platform, admin)
            logged(platform)
            killed(platform, admin)
            killed_whole(platform, admin)
            stopped(platform)
    except Exception as error:  # A fault of the platform must not hide what was found before it.
        check("the run came to its end", False, repr(error))
    finally:
        platform.down()
        if results["failed"]:
            for name in ("auth", "order", "activity", "lantern", "postgres", "broker"):
                path = os.path.join(platform.state, "log", f"{name}.log")
                if os.path.exists(path):
                    print(f"--- {name}.log", *open(path, encoding="utf-8", errors="replace").read().splitlines()[-15:], sep="\n")
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{results['passed']} passed, {results['failed']} failed", flush=True)
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
