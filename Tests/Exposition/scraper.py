"""A Prometheus of a test's own: it scrapes what its configuration says, in a folder that goes with it."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Prometheus:
    def __init__(self, scrape_configs, scrape_interval="1s", features=("native-histograms",)):
        self.folder = tempfile.mkdtemp(prefix="lantern-prometheus-")
        self.log = os.path.join(self.folder, "log")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        configuration = os.path.join(self.folder, "prometheus.yml")
        with open(configuration, "w", encoding="utf-8") as file:
            # JSON is YAML.
            json.dump({"global": {"scrape_interval": scrape_interval}, "scrape_configs": scrape_configs}, file)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}", f"--enable-feature={','.join(features)}", "--log.level=warn",
                ],
                stdout=log, stderr=log,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, path, **parameters):
        """What an endpoint of the API answers; None while nobody does."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
                return json.loads(answer.read())["data"]
        except (OSError, ValueError):
            return None

    def query(self, expression):
        """The rows of an instant query."""
        return (self.get("/api/v1/query", query=expression) or {}).get("result", [])

    def targets(self):
        return (self.get("/api/v1/targets", state="active") or {}).get("activeTargets", [])

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()[-1000:]


class Pages:
    """Serves bodies by path, as a service does at `/metrics`."""

    def __init__(self, pages):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                content_type, body = pages[self.path]
                self.send_response(200)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(body)))
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    # Prometheus was ended in the middle of a scrape.
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            # All targets come at once.
            request_queue_size = 1024

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(seconds, attempt):
    """The first true answer within so many seconds, else the last one."""
    deadline = time.monotonic() + seconds
    while True:
        value = attempt()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.1)
