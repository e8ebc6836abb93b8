"""What the tests print and count."""

import time

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
    return "".join(f"\n     {each[:400]}" for each in complaints[:6]).encode("ascii", "backslashreplace").decode()


def eventually(seconds, attempt):
    """The first true answer within so many seconds, else the last one."""
    deadline = time.monotonic() + seconds
    while True:
        value = attempt()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.01)
