"""How spans are put together: by count, by time, by bytes."""

import json
import tempfile

import wire
from deliveries import TEN, left, once, settled
from fixture import Fixture
from receiver import Answer, Receiver

# Of a request, before it is compressed.
MOST = 4 << 20


def by_count(path):
    """Full batches do not wait for the delay, and are no larger than they may be."""
    with Receiver() as receiver:
        arguments = ["--count", 1_000, "--batch", 100, "--seconds", 120, "--delay-ms", 60_000]
        with Fixture(path, receiver.url, *arguments) as fixture:
            fixture.until(20, settled(1_000))
            found = left(fixture, {"made": 1_000, "exported": 1_000, "dropped": 0, "failures": 0})
            sizes = [len(request.ids) for request in receiver.requests]
            return found + once(receiver, 1_000) + ([f"batches of {sizes}"] if max(sizes) > 100 else [])


def by_time(path):
    """Spans that are too few for a batch are sent when the delay is over."""
    with Receiver() as receiver:
        arguments = ["--rate", 50, "--seconds", 4, "--batch", 512, "--delay-ms", 500]
        with Fixture(path, receiver.url, *arguments) as fixture:
            status, _ = fixture.ends(20)
            found = fixture.faults(status, is_lossless=True) + once(receiver, fixture.counts["made"])
            waits = [request.wall - end / 1e9 for request in receiver.requests for end in ends(request)]
            found += [f"a span waited for {max(waits):.2f} s"] if max(waits) > 1.5 else []
            return found + ([] if 4 <= len(receiver.requests) <= 10 else [f"{len(receiver.requests)} requests in 4 s"])


def ends(request):
    """When the spans of a request ended."""
    return [
        span["end_time_unix_nano"] for group in wire.request(request.body)["resource_spans"]
        for scope in group["scope_spans"] for span in scope["spans"]
    ]


def in_full_batches(path):
    """Under a steady load requests are batches: those that come while one is sent wait for others."""
    with Receiver() as receiver:
        arguments = ["--rate", 2_000, "--seconds", 4, "--batch", 200, "--delay-ms", 5_000]
        with Fixture(path, receiver.url, *arguments) as fixture:
            status, _ = fixture.ends(20)
            sizes = [len(request.ids) for request in receiver.requests]
            found = fixture.faults(status, is_lossless=True) + once(receiver, fixture.counts["made"])
            if len(sizes) > sum(sizes) / 100:
                found.append(f"{len(sizes)} requests for {sum(sizes)} spans: {sizes[:12]}")
            return found


def spans_of(size, count):
    """A document of large spans."""
    file = tempfile.NamedTemporaryFile("w", suffix=".json")
    letters = (chr(97 + number % 26) for number in range(count))
    json.dump([{"name": "large", "attributes": [["text", "string", letter * size]]} for letter in letters], file)
    file.flush()
    return file


def large(size, count, *arguments):
    """Spans of so many bytes are split into requests of at most 4 MiB; one alone may be larger."""

    def test(path):
        with spans_of(size, count) as file, Receiver() as receiver:
            with Fixture(path, receiver.url, "--document", file.name, *arguments) as fixture:
                status, _ = fixture.ends(60)
                found = fixture.faults(status, is_lossless=True) + once(receiver, count)
                bodies = [(len(request.body), len(request.ids)) for request in receiver.requests]
                found += [f"{spans} spans in {length} bytes" for length, spans in bodies if length > MOST and spans > 1]
                # As few as there must be.
                least = -(-count // max(1, MOST // (size + 1_024)))
                return found + ([f"{len(bodies)} requests, where {least} do"] if len(bodies) > least + 1 else [])

    return test


def split_and_refused(path):
    """Of a batch in several requests, only what was not taken is sent again."""
    with spans_of(900_000, 10) as file:
        with Receiver(lambda request, number: Answer(503 if number == 1 else 200)) as receiver:
            arguments = ["--document", file.name, "--batch", 10, "--seconds", 120]
            with Fixture(path, receiver.url, *arguments) as fixture:
                fixture.until(20, settled(10))
                found = left(fixture, {"made": 10, "exported": 10, "dropped": 0, "failures": 1})
                taken = receiver.taken
                return found + ([] if len(taken) == len(set(taken)) == 10 else [f"{len(taken)} were taken of 10"])


def url_is_kept(path):
    wanted = "/v1/traces/x%20y?key=a%26b"
    with Receiver() as receiver, Fixture(path, receiver.url + "/x%20y?key=a%26b", "--count", 1) as fixture:
        status, _ = fixture.ends(20)
        seen = [request.path for request in receiver.requests]
        return fixture.faults(status, is_lossless=True) + ([] if seen == [wanted] else [f"posted to {seen}"])


def nowhere(url):
    """A URL that nobody can post to loses spans, and not the process."""

    def test(path):
        with Fixture(path, url, *TEN, "--timeout-ms", 500, "--export-timeout-ms", 1_000) as fixture:
            fixture.until(20, settled(10))
            return left(fixture, {"made": 10, "exported": 0, "dropped": 10})

    return test


def idle(path):
    """A process without spans sends none, and costs nothing, whatever its delay."""
    with Receiver() as receiver, Fixture(path, receiver.url, "--count", 0, "--seconds", 60, "--delay-ms", 0) as fixture:
        fixture.until(10, lambda counts: len(fixture.lines) > 1)
        before, lines = processor_seconds(fixture.process.pid), len(fixture.lines)
        fixture.until(10, lambda counts: len(fixture.lines) >= lines + 5)
        busy = processor_seconds(fixture.process.pid) - before
        found = left(fixture, {"made": 0, "exported": 0, "dropped": 0, "failures": 0})
        found += [f"{len(receiver.requests)} requests"] if receiver.requests else []
        return found + ([f"{busy:.2f} s of processor time in one second"] if busy > 0.3 else [])


def processor_seconds(pid):
    """User and system time of a process (proc(5), `stat`), which is told in hundredths."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


NOWHERE = [
    "", "nonsense", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://[::1]:70000/",
    "http://h.invalid/",
]

SCENARIOS = [
    ("full batches do not wait", by_count),
    ("few spans wait for the delay", by_time),
    ("a steady load is sent in batches", in_full_batches),
    ("spans of 300 kB are split", large(300_000, 40)),
    ("spans of 1.5 MB are split", large(1_500_000, 6)),
    ("spans of 3 MB are split", large(3_000_000, 3, "--gzip")),
    ("spans of 6 MB are sent one by one", large(6_000_000, 2)),
    ("of a batch that is split, only the rest is tried again", split_and_refused),
    ("the URL is used as it is", url_is_kept),
    *[(f"{url or 'no URL'} is nowhere to post to", nowhere(url)) for url in NOWHERE],
    ("without spans there is nothing to do", idle),
]
