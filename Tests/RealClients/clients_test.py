#!/usr/bin/env python3
"""The platform in the hands of others: kcat as producer and consumer, and CloudEvents' own SDK for Python.

Prints a line for each check and at last `N passed, N failed`. Needs kcat, psql, and what requirements.txt names.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

import control
import faults
import foreign
import letters
import published
import sdk
from local import ROOT, Platform, check, results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", default=".build/debug")
    parser.add_argument("--keep", action="store_true", help="keep the state folder")
    arguments = parser.parse_args()
    sdk.check_version()
    for program in ("kcat", "psql"):
        if not shutil.which(program):
            print(f"{program} is missing: run scripts/install-packages", file=sys.stderr)
            return 2
    # What ends this process ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="lantern-clients-")
    # PostgreSQL runs as another user where we are root, and must reach its folder.
    os.chmod(folder, 0o755)
    platform = Platform(os.path.abspath(os.path.join(ROOT, arguments.binaries)), folder)
    try:
        with_platform(platform)
    except Exception as error:  # What is started must end.
        check("the run came to its end", False, repr(error))
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        ended = platform.stop()
        check("everything that was started has ended", ended, "by force only")
        if results["failed"]:
            show_logs(platform)
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"     {time.monotonic() - began:.0f} s", flush=True)
    print(f"{results['passed']} passed, {results['failed']} failed", flush=True)
    return 1 if results["failed"] else 0


def with_platform(platform):
    if not check("the platform starts", platform.start(), tail(platform.output)):
        return
    platform.log_in_admin()
    producer = foreign.Producer(platform)
    for part in (published, foreign, faults, control, letters):
        try:
            part.run(producer)
        except Exception as error:  # A fault of the platform must not hide what others find.
            traceback.print_exc(file=sys.stdout)
            check(f"{part.__name__} came to its end", False, repr(error))


def tail(path, lines=15):
    """The last lines that say more than what went well."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join([line[:600] for line in file if '"level":"info"' not in line][-lines:])


def show_logs(platform):
    for name in ("auth", "order", "activity", "lantern", "postgres", "broker"):
        path = os.path.join(platform.state, "log", f"{name}.log")
        if os.path.exists(path):
            print(f"--- {name}.log", tail(path), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
