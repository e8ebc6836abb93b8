#!/usr/bin/env python3
"""Checks a running platform against the public contract from outside, over HTTP (and with --kafka the records).

Prints `ok  NAME`, `FAIL NAME: what was seen, what was expected` or `SKIP NAME: why` for each check, and at last
`N passed, N failed, N skipped`. Exit status: 0 nothing failed, 1 something failed, 2 misused."""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import random
import sys
import threading
import time

import checks_activity
import checks_auth
import checks_http
import checks_input
import checks_kafka
import checks_metrics
import checks_order
import checks_tokens
from client import Service
from suite import CHECKS, Check, Failure, Skip
from world import World


def run(check: Check, world: World, seconds: float) -> tuple[str, str]:
    """Outcome and detail; a check that does not end in time is left behind in its thread."""
    outcome = ["FAIL", f"saw no end within {seconds:g} s, expected one"]

    def attempt():
        try:
            check.run(world)
            outcome[:] = ["ok", ""]
        except Failure as failure:
            outcome[:] = ["FAIL", str(failure)]
        except Skip as skip:
            outcome[:] = ["SKIP", str(skip)]
        except Exception as error:  # a shape nobody thought of is a fault of the answer, not the end of the run
            at = error.__traceback__
            while at.tb_next:
                at = at.tb_next
            place = f"{os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}"
            outcome[:] = ["FAIL", f"saw an answer that raised {type(error).__name__} ({error}) at {place}, expected the contract's shape"]

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    return tuple(outcome) if not thread.is_alive() else ("FAIL", f"saw no end within {seconds:g} s, expected one")


def one_line(text: str, most: int = 1600) -> str:
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode() for letter in text)
    return text if len(text) <= most else text[:most] + "…"


def chosen(only: list[str], shuffle: int | None) -> list[Check]:
    checks = [check for check in CHECKS if not only or any(fnmatch.fnmatch(check.name, pattern) or pattern in check.name for pattern in only)]
    if shuffle is not None:
        random.Random(shuffle).shuffle(checks)
    return sorted(checks, key=lambda check: check.last)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("auth", "order", "activity"):
        parser.add_argument(f"--{name}", required=True, metavar="URL", help=f"base URL of {name}")
    parser.add_argument("--admin-email", required=True, metavar="E")
    parser.add_argument("--admin-password", required=True, metavar="P")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="broker, to check the records too (needs kcat)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, the last one the summary")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only checks whose name contains TEXT or matches it as a glob; may be repeated")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="run in another order")
    parser.add_argument("--timeout", type=float, default=15, metavar="S", help="for one request (15)")
    parser.add_argument("--check-timeout", type=float, default=180, metavar="S", help="for one check (180)")
    parser.add_argument("--total-timeout", type=float, default=3000, metavar="S", help="for the whole run; checks not begun by then fail (3000)")
    parser.add_argument("--list", action="store_true", help="only print the names")
    options = parser.parse_args()
    try:
        options.services = [Service(name, getattr(options, name), options.timeout) for name in ("auth", "order", "activity")]
    except ValueError as error:
        parser.error(str(error))
    return options


def main() -> int:
    options = arguments()
    checks = chosen(options.only, options.shuffle)
    if not checks:
        print(f"no check matches {options.only}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(check.name for check in checks))
        return 0
    world = World(*options.services, options.admin_email, options.admin_password, options.kafka)
    counts = {"ok": 0, "FAIL": 0, "SKIP": 0}
    until = time.monotonic() + options.total_timeout
    for check in checks:
        start = time.monotonic()
        if start < until:
            outcome, detail = run(check, world, min(options.check_timeout, max(until - start, 1)))
        else:
            outcome, detail = "FAIL", f"saw the whole run take over {options.total_timeout:g} s, expected to come to this check"
        counts[outcome] += 1
        detail = one_line(detail)
        if options.json:
            print(json.dumps({"name": check.name, "outcome": outcome.lower(), "detail": detail, "seconds": round(time.monotonic() - start, 3)}), flush=True)
        else:
            print(f"{outcome:<3} {check.name}" + (f": {detail}" if detail else ""), flush=True)
    if options.json:
        print(json.dumps({"passed": counts["ok"], "failed": counts["FAIL"], "skipped": counts["SKIP"]}))
    else:
        print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main()
    except (KeyboardInterrupt, BrokenPipeError):
        status = 1
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    os._exit(status)  # a check that hangs in its thread must not hold the process
