"""The fixture's process, and the lines it writes."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from checks import eventually


class Fixture:
    def __init__(self, path, url, *arguments):
        self.complaints = tempfile.TemporaryFile()
        # A trap must end the process at once, rather than call the tool that shows its stack.
        environment = dict(os.environ, SWIFT_BACKTRACE="enable=no")
        self.process = subprocess.Popen(
            [path, "--url", url, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.complaints, env=environment,
        )
        # What it counted, line by line, and the ids of a document's spans by their index.
        self.lines, self.ids, self.garbage = [], {}, []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join(timeout=10)
        self.process.stdout.close()
        self.complaints.close()

    def read(self):
        for line in self.process.stdout:
            try:
                found = json.loads(line)
                if "span" in found:
                    self.ids[found["span"]] = (found["trace_id"], found["span_id"])
                else:
                    self.lines.append(found)
            except ValueError:
                self.garbage.append(line)

    @property
    def counts(self):
        """The last that is known."""
        return self.lines[-1] if self.lines else {"made": 0, "exported": 0, "dropped": 0, "failures": 0}

    def until(self, seconds, condition):
        """Whether the counts come to fulfil it within so many seconds."""
        return bool(eventually(seconds, lambda: condition(self.counts) or self.process.poll() is not None)) and bool(
            condition(self.counts)
        )

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ends(self, seconds):
        """How the process ended, and how long that took; None where it did not. All it wrote has been read then."""
        began = time.monotonic()
        try:
            status = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None, time.monotonic() - began
        seconds = time.monotonic() - began
        self.thread.join(timeout=10)
        return status, seconds

    @property
    def log(self):
        self.complaints.seek(0)
        return self.complaints.read().decode(errors="replace")

    def faults(self, status, is_lossless=False, wanted=0):
        """What is wrong with how it ended, and with what it counted."""
        last, found = self.counts, []
        if status != wanted or not last.get("finished"):
            found.append(f"ended with {status}; last line {last}; {self.log[-300:]}")
        if last["made"] != last["exported"] + last["dropped"]:
            found.append(f"made is not exported and dropped together: {last}")
        if is_lossless and last["dropped"]:
            found.append(f"dropped some: {last}")
        return found + [f"no JSON: {each!r}" for each in self.garbage]
