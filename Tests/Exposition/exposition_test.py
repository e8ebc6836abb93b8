#!/usr/bin/python3
"""The exposition, read by parsers that are not ours: prometheus_client, promtool, Prometheus, and a reader of protobuf's
wire format. Value by value it must be what was recorded.

Documents come by chance from a seed, and by hand. Prints a line for each and at last `N passed, N failed`. Needs Debian's
python3-prometheus-client, so it runs with /usr/bin/python3.
"""

import argparse
import copy
import gzip
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import documents
import readers
from documents import Case
from expectation import expected, shown
from scraped import scraped

FORMS = ("text", "openmetrics", "protobuf")
results = {"passed": 0, "failed": 0}


def check(name, condition, seen=""):
    if condition:
        results["passed"] += 1
        print(f"ok  {name}", flush=True)
    else:
        results["failed"] += 1
        print(f"FAIL {name}: {seen}", flush=True)


def said(complaints):
    """A few of them, without characters that would do something to a terminal."""
    return "".join(f"\n     {each[:600]}" for each in complaints[:8]).encode("ascii", "backslashreplace").decode()


class Fixture:
    def __init__(self, path):
        self.path = os.path.abspath(path)
        # The last scrape of a case in a format.
        self.scrapes = {}

    def run(self, document, *arguments):
        # Characters that are not ASCII as they are: the fixture's reader of JSON is not what is tested.
        text = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
        return subprocess.run([self.path, *arguments], input=text, capture_output=True, timeout=60)

    def scrape(self, case, form, *arguments):
        run = self.run(case.document, form, *case.arguments, *arguments)
        if run.returncode != 0:
            raise ValueError(f"{form}: the fixture ends with {run.returncode}: {run.stderr.decode(errors='replace')[-500:]}")
        self.scrapes[case.name, form] = gzip.decompress(run.stdout) if "--gzip" in arguments else run.stdout
        return self.scrapes[case.name, form]


def complaints(fixture, case, form):
    """What is wrong with the scrape of a document in one format."""
    try:
        families = expected(case.document, case.utf8)
        began = time.time()
        body = fixture.scrape(case, form, *["--gzip"] * (form == "protobuf"))
        window = (began - 0.01, time.time() + 0.01)
        found = []
        if case.is_open:
            readers.read(form, body, case.is_quoted)
        else:
            found = readers.complaints(form, body, shown(families, form, case.scheme), window, case.is_quoted)
        if form == "text":
            # Debian's promtool knows classic names only.
            found += [] if case.is_quoted else [f"promtool: {each}" for each in readers.promtool(body)]
            found += [] if fixture.scrape(case, form, "--gzip") == body else ["gzip holds another text"]
        return found
    except (ValueError, OSError, EOFError, subprocess.TimeoutExpired) as error:
        return [f"{form}: {error}"]


def cases(seed, rounds):
    """By hand, and as many by chance; every fourth with names that are not classic."""
    for number in range(rounds):
        dice = random.Random(f"{seed}/{number}")
        utf8 = number % 4 == 3
        scheme = dice.choice([None, *documents.SCHEMES]) if utf8 else None
        name = f"round {number}" + f", UTF-8 names, escaping {scheme}" * utf8
        yield Case(name, documents.by_chance(dice, utf8), utf8, scheme)
    yield from documents.edges()


def smaller(document):
    """Documents that have a little less."""
    metrics = document["metrics"]
    size = len(metrics)
    while size := size // 2:
        for at in range(0, len(metrics), size):
            yield {"metrics": metrics[:at] + metrics[at + size:]}
    if len(metrics) == 1:
        yield {"metrics": []}
    for at, metric in enumerate(metrics):
        for key in ("labels", "values", "buckets"):
            for place in range(len(metric.get(key, []))):
                less = copy.deepcopy(document)
                del less["metrics"][at][key][place]
                yield less
        for key in sorted(metric.keys() - {"kind", "name", "declared"}):
            less = copy.deepcopy(document)
            del less["metrics"][at][key]
            yield less


def smallest(fixture, case, form, seconds=6):
    """The case with as little as still fails, as far as there is time."""
    deadline = time.monotonic() + seconds
    is_done = False
    while not is_done and time.monotonic() < deadline:
        is_done = True
        for document in smaller(case.document):
            less = Case(case.name, document, case.utf8, case.scheme, case.is_open)
            if complaints(fixture, less, form):
                case, is_done = less, False
                break
            if time.monotonic() > deadline:
                break
    return case


def misuse(fixture):
    for name, document, arguments in (
        ("a document that is no JSON", b"{", ["text"]),
        ("a document without metrics", {}, ["text"]),
        ("a kind that there is not", {"metrics": [{"kind": "summary", "name": "a"}]}, ["text"]),
        ("a value that is no number", {"metrics": [{"kind": "gauge", "name": "a", "values": ["many\nlines"]}]}, ["text"]),
        ("half a nanosecond", {"metrics": [{"kind": "timer", "name": "a", "values": [0.5]}]}, ["text"]),
        ("a label without a value", {"metrics": [{"kind": "gauge", "name": "a", "labels": [["b"]]}]}, ["text"]),
        ("a format that there is not", {"metrics": []}, ["xml"]),
    ):
        run = fixture.run(document, *arguments)
        lines = run.stderr.decode(errors="replace").splitlines()
        check(f"{name} gives one line", run.returncode == 2 and len(lines) == 1 and not run.stdout, (run.returncode, lines[:5]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixture", default=".build/debug/exposition-fixture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=24)
    arguments = parser.parse_args()
    if not os.access(arguments.fixture, os.X_OK):
        parser.error(f"{arguments.fixture} is not there: swift build --product exposition-fixture")
    fixture = Fixture(arguments.fixture)
    print(f"     SEED={arguments.seed}", flush=True)
    misuse(fixture)

    everything = list(cases(arguments.seed, arguments.rounds))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda case: {form: complaints(fixture, case, form) for form in FORMS}, everything)
        failed = []
        for case, by_form in zip(everything, found):
            wrong = [each for form in FORMS for each in by_form[form]]
            check(case.name, not wrong, said(wrong))
            failed += [(case, form) for form in FORMS if by_form[form]]

    # What was wrong already is not shown a second time.
    names = {case.name for case, _ in failed}
    sound = [case for case in everything if case.name not in names]
    for form, wrong in scraped(sound, fixture.scrapes, FORMS).items():
        check(f"Prometheus stores what was recorded, from {form}", not wrong, said(wrong))

    if failed:
        case, form = min(failed, key=lambda each: len(json.dumps(each[0].document)))
        case = smallest(fixture, case, form)
        print(f"     smallest document that fails, with {' '.join([form, *case.arguments])}; SEED={arguments.seed}:")
        print(f"     {json.dumps(case.document)[:4000]}{said(complaints(fixture, case, form))}", flush=True)
    print(f"{results['passed']} passed, {results['failed']} failed", flush=True)
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
