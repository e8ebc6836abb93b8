#!/usr/bin/env python3
"""The spans that are exported, read by a reader that is not ours, and the exporter beside receivers that refuse, stall,
babble and die: what is made must arrive as it is, or be counted, and whoever makes it must not wait.

Documents come by chance from a seed, and by hand. Prints a line for each check and at last `N passed, N failed`.
Standard library only; reads each request by `opentelemetry.proto` in addition, where that package is there. With
--benchmark it prints figures instead, for which the fixture should be a release build.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import adversity
import attempts
import batches
import benchmark
import documents
import endings
import exported
from checks import check, results, said

try:
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
except ImportError:
    messages = None


def cases(seed, rounds):
    """By hand, and as many by chance."""
    yield from documents.edges()
    for number in range(rounds):
        case = documents.by_chance(random.Random(f"{seed}/{number}"))
        case.name = f"round {number}"
        yield case


def attempt(work, *arguments):
    """The complaints that a piece of work answers; what it stumbles over is one more."""
    try:
        return work(*arguments)
    except Exception as error:  # It must not take the other checks with it.
        return [f"the test itself: {error!r}"]


def misuse(path):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        url = ["--url", "http://127.0.0.1:1/v1/traces"]
        for name, arguments, document in (
            ("no URL", ["--count", "1"], ""), ("an option that there is not", [*url, "--speed", "1"], ""),
            ("an option without its value", [*url, "--count"], ""), ("a count that is none", [*url, "--count", "-1"], ""),
            ("nothing to do", url, ""), ("a header without a value", [*url, "--count", "1", "--header", "x"], ""),
            ("a document and a count", [*url, "--document", file.name, "--count", "1"], "[]"),
            ("a document that is not there", [*url, "--document", "/none"], ""),
            ("a document that is no JSON", [*url, "--document", file.name], "["),
            ("a document that is no list", [*url, "--document", file.name], "{}"),
            ("a parent that comes later", [*url, "--document", file.name], '[{"name": "a", "parent": 0}]'),
            (
                "a type that there is not", [*url, "--document", file.name],
                '[{"name": "a", "attributes": [["k", "a\\nb", 1]]}]',
            ),
        ):
            file.seek(0)
            file.truncate()
            file.write(document)
            file.flush()
            run = subprocess.run([path, *arguments], capture_output=True, timeout=30)
            lines = run.stderr.decode(errors="replace").splitlines()
            is_told = run.returncode == 2 and len(lines) == 1 and not run.stdout
            check(f"{name} gives one line", is_told, (run.returncode, lines[:5], run.stdout[:200]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixture", default=".build/debug/span-fixture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", default="", help="a part of the names of the checks to make")
    parser.add_argument("--benchmark", action="store_true")
    arguments = parser.parse_args()
    if not os.access(arguments.fixture, os.X_OK):
        parser.error(f"{arguments.fixture} is not there: swift build --product span-fixture")
    path = os.path.abspath(arguments.fixture)
    if arguments.benchmark:
        return benchmark.run(path)
    print(f"     SEED={arguments.seed}", flush=True)
    print(f"     read by wire.py{' and opentelemetry.proto' if messages else '; no opentelemetry.proto'}", flush=True)
    if not arguments.only:
        misuse(path)

    def chosen(pairs):
        return [(name, work) for name, work in pairs if arguments.only in name]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        everything = chosen((case.name, case) for case in cases(arguments.seed, arguments.rounds))
        found = pool.map(lambda pair: attempt(exported.complaints, path, pair[1], messages), everything)
        for (name, case), wrong in zip(everything, found):
            check(name, not wrong, said(wrong))
            if wrong and len(text := str(case.spans)) < 2_000:
                print(f"     {text!a} {case.options}", flush=True)
    # Most of their time is waiting.
    with ThreadPoolExecutor(8) as pool:
        everything = chosen([*attempts.SCENARIOS, *batches.SCENARIOS, *endings.SCENARIOS])
        found = pool.map(lambda pair: attempt(pair[1], path), everything)
        for (name, _), wrong in zip(everything, found):
            check(name, not wrong, said(wrong))
    # One after the other: what they measure, others would disturb.
    adversity.run(path, random.Random(arguments.seed), chosen)
    print(f"{results['passed']} passed, {results['failed']} failed", flush=True)
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
