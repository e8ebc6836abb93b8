"""What a run prints, and what it counts."""

import threading
import time


class Console:
    """One line for each fault and each check, in the style of the other tests."""

    def __init__(self):
        self.passed, self.failed = 0, 0
        self.began = time.monotonic()
        self.lock = threading.Lock()

    def check(self, name: str, condition: object, seen: object = "") -> bool:
        if condition:
            self.passed += 1
            self.line(f"ok  {name}")
        else:
            self.failed += 1
            self.line(f"FAIL {name}: {str(seen)[:600]}")
        return bool(condition)

    def note(self, text: str) -> None:
        """Something that happened, with the time since the start."""
        self.line(f"     {time.monotonic() - self.began:6.1f} s  {text}")

    def line(self, text: str = "") -> None:
        with self.lock:
            print(text, flush=True)

    def table(self, header: list[str], rows: list[list[object]]) -> None:
        cells = [header] + [[str(cell) for cell in row] for row in rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
        for row in cells:
            self.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def eventually(seconds: float, attempt, pause: float = 0.05):
    """The first true answer within so many seconds, else the last one."""
    deadline = time.monotonic() + seconds
    while True:
        value = attempt()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(pause)
