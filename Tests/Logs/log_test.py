#!/usr/bin/env python3
"""The log of a process that is killed, that crashes, whose reader is slow or is gone: what was logged must be there.

The fixture logs a storm and keeps a ledger of what it has logged, which outlives it. Prints a line for each check and
at last `N passed, N failed`. Standard library only.
"""

import argparse
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

# Times in a ledger's part, as Tests/LogFixture writes them.
KEPT = 1_024
THREADS = 4
# More than a storm that is interrupted gets done.
ENDLESS = 1_000_000_000
RING = 64 * 1_024
TRAPS = (-signal.SIGILL, -signal.SIGTRAP)

results = {"passed": 0, "failed": 0}


def check(name, condition, seen=""):
    if condition:
        results["passed"] += 1
        print(f"ok  {name}", flush=True)
    else:
        results["failed"] += 1
        print(f"FAILED {name}: {seen}", flush=True)


def said(complaints):
    """A few of them, without characters that would do something to a terminal."""
    return "".join(f"\n     {each[:300]}" for each in complaints[:6]).encode("ascii", "backslashreplace").decode()


def eventually(seconds, attempt):
    """The first true answer within so many seconds, else the last one."""
    deadline = time.monotonic() + seconds
    while True:
        value = attempt()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.005)


class Storm:
    """A fixture that logs into a pipe, and a reader of that pipe."""

    def __init__(self, fixture, end, lines, *, overflow="block", form="json", hostile=False, pause=0, is_read=True,
                 is_blocking=True):
        self.directory = tempfile.TemporaryDirectory(prefix="lantern-log-")
        self.path = os.path.join(self.directory.name, "ledger")
        self.reading, writing = os.pipe()
        os.set_blocking(writing, is_blocking)
        command = [
            fixture, "storm", "--threads", str(THREADS), "--lines", str(lines), "--end", end, "--overflow", overflow,
            "--format", form, "--ledger", self.path, *["--hostile"] * hostile,
        ]
        # A trap must end the process at once, rather than call the tool that shows its stack.
        environment = dict(os.environ, SWIFT_BACKTRACE="enable=no")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE, env=environment
        )
        os.close(writing)
        self.pause, self.pieces, self.is_leaving = pause, [], False
        self.thread = threading.Thread(target=self.read, daemon=True)
        if is_read:
            self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.close()
        self.directory.cleanup()

    def read(self):
        """All there is: at full speed, or a ring's worth and then nothing for so many seconds."""
        while not self.is_leaving and (piece := os.read(self.reading, RING)):
            self.pieces.append(piece)
            if self.pause:
                time.sleep(self.pause)

    def close(self):
        """Lets go of the pipe."""
        if self.reading is not None:
            if self.thread.ident:
                self.is_leaving = True
                self.thread.join(timeout=30)
            os.close(self.reading)
            self.reading = None

    def begins(self, lines=1):
        """Waits until so many lines were logged."""

        def is_there():
            return sum(count for count, _ in self.ledger()) >= lines or self.process.poll() is not None

        return eventually(30, is_there)

    def ends(self, seconds):
        """How the process ended, None where it did not; all that was written has been read then."""
        try:
            status = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        if self.thread.ident:
            self.thread.join(timeout=30)
        return status

    @property
    def output(self):
        return b"".join(self.pieces)

    def complaint(self):
        """What the fixture itself said, and how it ended."""
        return f"ended with {self.process.poll()}: {self.process.stderr.read().decode(errors='replace')[-300:]}"

    def ledger(self):
        """For each thread, how many calls returned, and the nanoseconds at which the latest did, by their number."""
        try:
            with open(self.path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return []
        size = 8 * (1 + KEPT)
        parts = [content[at:at + size] for at in range(0, len(content), size)]
        found = []
        for part in parts:
            count, *times = struct.unpack(f"={1 + KEPT}Q", part)
            found.append((count, {number: times[number % KEPT] for number in range(max(0, count - KEPT), count)}))
        return found


class Lines:
    """What a reader has: for each thread the length of its lines by their number, and what is wrong with them."""

    def __init__(self, output, may_be_cut=False):
        self.threads, self.faults = {}, []
        *lines, rest = output.split(b"\n")
        if rest and not may_be_cut:
            self.faults.append(f"the last line has no end: {rest!r}")
        for line in lines:
            try:
                # Strict: no control characters in strings, and no name twice.
                record = json.loads(line.decode(), object_pairs_hook=unique)
                thread, number = record["thread"], record["sequence"]
                if record["level"] != "info" or record["service"] != "fixture":
                    self.faults.append(f"forged: {line!r}")
            except (ValueError, KeyError, TypeError) as error:
                self.faults.append(f"{error}: {line!r}")
                continue
            own = self.threads.setdefault(thread, [])
            # One after the other from 0, or a line is missing in the middle, or is there twice.
            following = own[-1][0] + 1 if own else 0
            if number != following:
                self.faults.append(f"thread {thread} has {number} where {following} was to be")
            own.append((number, len(line) + 1))

    def count(self, thread):
        return len(self.threads.get(thread, []))

    def size(self, number):
        """The bytes of a line that is not here: that of another one, with as many digits as it has."""
        for own in self.threads.values():
            known, size = own[-1]
            return size - len(str(known)) + len(str(number))
        return 200


def unique(pairs):
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a name twice")
    return record


def lost(ledger, lines):
    """Bytes that were logged and are not here, and how many milliseconds before the last call they begin."""
    size, age = 0, 0
    latest = max((times.get(count - 1, 0) for count, times in ledger), default=0)
    for thread, (count, times) in enumerate(ledger):
        missing = range(lines.count(thread), count)
        size += sum(lines.size(number) for number in missing)
        if missing:
            # What is older than all times that are kept is too old in any case.
            age = max(age, (latest - times[missing[0]]) / 1e6 if missing[0] in times else float("inf"))
    return size, age


def killed(fixture, dice, reader, pause):
    """kill -9 in the middle of a storm."""
    for number in range(10):
        moment = dice.uniform(0, 0.2)
        with Storm(fixture, "wait", ENDLESS, pause=pause) as storm:
            storm.begins()
            time.sleep(moment)
            storm.process.kill()
            status = storm.ends(10)
            ledger, lines = storm.ledger(), Lines(storm.output, may_be_cut=True)
            faults = lines.faults + ([] if status == -signal.SIGKILL and ledger else [storm.complaint()])
            faults += [
                f"thread {thread} wrote {lines.count(thread)} lines, and logged {count}"
                for thread, (count, _) in enumerate(ledger) if lines.count(thread) > count + 1
            ]
            size, milliseconds = lost(ledger, lines)
            # A line that is cut is lost, though a part of it has left the ring.
            if size > RING + 512 and milliseconds > 10:
                faults.append(f"lost {size} bytes, the oldest {milliseconds:.1f} ms before the end")
            check(
                f"kill -9 no. {number + 1}, after {moment * 1e3:.0f} ms, {reader}: {sum(count for count, _ in ledger)} "
                f"lines, lost {size} bytes of {milliseconds:.1f} ms",
                not faults, said(faults),
            )


def complete(storm, lines, count):
    """What is missing of so many lines of each thread."""
    found = list(lines.faults)
    found += [
        f"thread {thread} has {lines.count(thread)} of {count}"
        for thread in range(THREADS) if lines.count(thread) != count
    ]
    if [each for each, _ in storm.ledger()] != [count] * THREADS:
        found.append(f"the ledger has {[each for each, _ in storm.ledger()]}")
    return found


def ended(fixture):
    """Every other end: nothing is missing."""
    ends = {"return": (0,), "exit": (0,), "trap": TRAPS, "abort": (-signal.SIGABRT,), "sigterm": (-signal.SIGTERM,)}
    count = 10_000
    for reader, pause in (("a fast reader", 0), ("a slow reader", 0.005)):
        for end, statuses in ends.items():
            with Storm(fixture, end, count, pause=pause) as storm:
                status = storm.ends(60)
                found = complete(storm, Lines(storm.output), count)
                found += [] if status in statuses else [storm.complaint()]
                check(f"nothing that was logged is missing after {end}, {reader}", not found, said(found))


def terminated(fixture, dice):
    """SIGTERM from outside, while all threads log: what they had logged by then is there."""
    for number in range(3):
        with Storm(fixture, "wait", ENDLESS) as storm:
            storm.begins(1_000)
            time.sleep(dice.uniform(0, 0.1))
            before = storm.ledger()
            storm.process.terminate()
            status = storm.ends(10)
            lines = Lines(storm.output, may_be_cut=True)
            found = lines.faults + ([] if status == -signal.SIGTERM else [storm.complaint()])
            found += [
                f"thread {thread} has {lines.count(thread)} of {count}"
                for thread, (count, _) in enumerate(before) if lines.count(thread) < count
            ]
            check(f"SIGTERM in a storm, no. {number + 1}, loses nothing from before it", not found, said(found))


def stalled(fixture):
    """Nobody reads: the process does not wait for it, neither while it runs nor when it ends."""
    with Storm(fixture, "wait", ENDLESS, overflow="drop", is_read=False) as storm:
        # Far more than pipe and ring have room for.
        began = storm.begins(50_000)
        count = sum(each for each, _ in storm.ledger())
        check("a storm goes on though nobody reads it", began and count >= 50_000, f"{count}; {storm.process.poll()}")
        began = time.monotonic()
        storm.process.terminate()
        status = storm.ends(10)
        seconds = time.monotonic() - began
        is_ended = status == -signal.SIGTERM and seconds < 2
        check("and ends by SIGTERM within 2 seconds", is_ended, (status, f"{seconds:.1f} s"))
    for end in ("return", "exit"):
        with Storm(fixture, end, 10_000, overflow="drop", is_read=False) as storm:
            storm.begins(THREADS * 10_000)
            began = time.monotonic()
            status = storm.ends(10)
            seconds = time.monotonic() - began
            check(f"and ends by {end} within 3 seconds", status == 0 and seconds < 3, (status, f"{seconds:.1f} s"))


def gone(fixture):
    """The reader goes away in the middle."""
    for overflow in ("drop", "block"):
        with Storm(fixture, "exit", 20_000, overflow=overflow) as storm:
            storm.begins(100)
            storm.close()
            status = storm.ends(30)
            counts = [count for count, _ in storm.ledger()]
            check(
                f"a process whose reader is gone works on, overflow={overflow}",
                status == 0 and counts == [20_000] * THREADS, (status, counts),
            )


def stopped(fixture):
    """SIGSTOP ends a write in the middle of a line, and SIGCONT must go on there."""
    count = 10_000
    with Storm(fixture, "exit", count, pause=0.002) as storm:
        storm.begins()
        while storm.process.poll() is None:
            storm.process.send_signal(signal.SIGSTOP)
            storm.process.send_signal(signal.SIGCONT)
            time.sleep(0.001)
        status = storm.ends(60)
        found = complete(storm, Lines(storm.output), count) + ([] if status == 0 else [storm.complaint()])
        check("a process that is stopped and goes on writes whole lines", not found, said(found))


def not_blocking(fixture):
    """Standard output that takes a part of what it is given: whoever shares it may have made it so."""
    count = 10_000
    with Storm(fixture, "exit", count, pause=0.002, is_blocking=False) as storm:
        status = storm.ends(60)
        found = complete(storm, Lines(storm.output), count) + ([] if status == 0 else [storm.complaint()])
        check("a descriptor that does not block gets whole lines", not found, said(found))


def hostile(fixture):
    """Texts that forge lines, and such as are far too long."""
    count = 1_000
    with Storm(fixture, "exit", count, hostile=True) as storm:
        status = storm.ends(60)
        found = complete(storm, Lines(storm.output), count) + ([] if status == 0 else [storm.complaint()])
        check("each line of hostile metadata is one line of JSON", not found, said(found))
        found = steering(storm.output)
        check("and has nothing that a terminal obeys", not found, said(found))
    with Storm(fixture, "exit", count, hostile=True, form="pretty") as storm:
        status = storm.ends(60)
        lines = storm.output.splitlines()
        found = [] if len(lines) == THREADS * count else [f"{len(lines)} lines of {THREADS * count}"]
        found += [] if status == 0 else [storm.complaint()]
        found += [repr(line) for line in lines if b" INFO " not in line[:40] or b"sequence=" not in line]
        found += steering(storm.output)
        check("for people too each is one line that no terminal obeys", not found, said(found))


def steering(output):
    """Lines with control characters, or with separators that some readers take for the end of a line."""
    wrong = {*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029}
    lines = output.decode(errors="surrogateescape").split("\n")
    return [repr(line) for line in lines if wrong & {ord(each) for each in set(line)}]


def misuse(fixture):
    for name, arguments in (
        ("no command", []), ("an option that there is not", ["storm", "--speed", "1"]),
        ("an end that there is not", ["storm", "--end", "x"]), ("an option without its value", ["storm", "--lines"]),
    ):
        run = subprocess.run([fixture, *arguments], capture_output=True, timeout=30)
        lines = run.stderr.decode(errors="replace").splitlines()
        is_told = run.returncode == 2 and len(lines) == 1 and not run.stdout
        check(f"{name} gives one line", is_told, (run.returncode, lines[:5]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixture", default=".build/debug/log-fixture")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not os.access(arguments.fixture, os.X_OK):
        parser.error(f"{arguments.fixture} is not there: swift build --product log-fixture")
    fixture = os.path.abspath(arguments.fixture)
    dice = random.Random(arguments.seed)
    print(f"     SEED={arguments.seed}", flush=True)
    misuse(fixture)
    killed(fixture, dice, "a fast reader", 0)
    killed(fixture, dice, "a slow reader", 0.005)
    ended(fixture)
    terminated(fixture, dice)
    stalled(fixture)
    gone(fixture)
    stopped(fixture)
    not_blocking(fixture)
    hostile(fixture)
    print(f"{results['passed']} passed, {results['failed']} failed", flush=True)
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
