"""The end of a process, and that of an outage: what is queued then."""

import threading
import time

from deliveries import always, once
from fixture import Fixture
from receiver import Answer, Receiver


def at_the_end(*arguments):
    """What is queued when the load is over arrives."""

    def test(path):
        with Receiver() as receiver, Fixture(path, receiver.url, *arguments, "--queue", 8_192) as fixture:
            status, _ = fixture.ends(30)
            return fixture.faults(status, is_lossless=True) + once(receiver, fixture.counts["made"])

    return test


def terminated(path):
    """SIGTERM in the middle of a load: all that was made arrives."""
    arguments = ["--rate", 1_000, "--threads", 4, "--seconds", 60, "--queue", 8_192]
    with Receiver() as receiver, Fixture(path, receiver.url, *arguments) as fixture:
        fixture.until(10, lambda counts: counts["made"] >= 700)
        fixture.terminate()
        status, seconds = fixture.ends(10)
        found = fixture.faults(status, is_lossless=True) + once(receiver, fixture.counts["made"])
        return found + ([f"took {seconds:.1f} s"] if seconds > 2 else [])


def ends_beside(script, most):
    """How long the end takes where the receiver is of no use: what is queued has one attempt."""

    def test(path):
        with Receiver(script, is_open=script is not None) as receiver:
            with Fixture(path, receiver.url, "--count", 1_500, "--seconds", 60) as fixture:
                fixture.until(10, lambda counts: counts["made"] == 1_500)
                fixture.terminate()
                status, seconds = fixture.ends(10)
                return fixture.faults(status) + ([f"took {seconds:.1f} s"] if seconds > most else [])

    return test


def partly_refused(status):
    """At the end, batches that are refused do not take those with them that would be taken."""

    def test(path):
        with Receiver(lambda request, number: Answer(status if number % 10 == 9 else 200, delay=0.005)) as receiver:
            with Fixture(path, receiver.url, "--count", 2_000, "--batch", 10) as fixture:
                status_at_end, _ = fixture.ends(20)
                found, last = fixture.faults(status_at_end), fixture.counts
                refused = 10 * last["failures"]
                return found + ([f"{refused} were refused: {last}"] if last["dropped"] > refused else [])

    return test


def failed(script, most, is_lossless=False):
    """A service that fails cancels the group, which ends in order: not by force, because somebody takes long."""

    def test(path):
        with Receiver(script) as receiver, Fixture(path, receiver.url, "--count", 100, "--fail") as fixture:
            status, seconds = fixture.ends(20)
            found = fixture.faults(status, is_lossless, wanted=1) + (once(receiver, 100) if is_lossless else [])
            return found + ([f"took {seconds:.1f} s"] if seconds > most else [])

    return test


def recovered(outage):
    """It exports again by itself: `outage` is how requests are answered meanwhile, None where connections are refused."""

    def test(path):
        is_away = threading.Event()
        arguments = ["--rate", 500, "--batch", 100, "--delay-ms", 200, "--queue", 1_000, "--seconds", 120]
        limits = ["--timeout-ms", 1_000, "--export-timeout-ms", 3_000]
        with Receiver(lambda request, number: outage if is_away.is_set() else Answer()) as receiver:
            with Fixture(path, receiver.url, *arguments, *limits) as fixture:
                fixture.until(10, lambda counts: counts["exported"] >= 300)
                is_away.set()
                if not outage:
                    receiver.close()
                # The queue is full, and batches are given up.
                fixture.until(20, lambda counts: counts["dropped"] >= 500)
                before = fixture.counts["exported"]
                if not outage:
                    receiver.open()
                is_away.clear()
                found = []
                if not fixture.until(25, lambda counts: counts["exported"] >= before + 2_000):
                    found.append(f"no more came: {before} and then {fixture.counts}")
                dropped = fixture.counts["dropped"]
                fixture.until(20, lambda counts: counts["exported"] >= before + 3_000)
                if fixture.counts["dropped"] > dropped:
                    found.append(f"still drops: {dropped} and then {fixture.counts}")
                fixture.terminate()
                status, _ = fixture.ends(10)
                found += fixture.faults(status)
                taken = receiver.taken
                if len(taken) != len(set(taken)) or len(taken) != fixture.counts["exported"]:
                    found.append(f"{len(taken)} were taken, {len(set(taken))} of them different; {fixture.counts}")
                told = [fixture.log.count(text) for text in ("spans cannot be exported", "spans are exported again")]
                return found + ([f"the log says {fixture.log!r}"] if told != [1, 1] else [])

    return test


SCENARIOS = [
    ("the end sends what is queued", at_the_end("--count", 5_000)),
    ("the end sends what is queued, of many threads", at_the_end("--count", 5_000, "--threads", 8, "--gzip")),
    ("SIGTERM in a load loses nothing", terminated),
    ("an end without a receiver has a limit", ends_beside(None, 7)),
    ("an end beside a receiver that refuses is short", ends_beside(always(Answer(503)), 2)),
    ("an end beside a receiver that never answers has a limit", ends_beside(always(Answer(delay=60)), 7)),
    ("an end beside a receiver that refuses some with 400 sends the others", partly_refused(400)),
    ("an end beside a receiver that refuses some with 503 sends the others", partly_refused(503)),
    ("a failure has its spans exported", failed(None, 2, is_lossless=True)),
    ("a failure ends in order beside a receiver that refuses", failed(always(Answer(503)), 2)),
    ("a failure ends in order beside a receiver that never answers", failed(always(Answer(delay=60)), 7)),
    ("after an outage that refuses connections spans are exported again", recovered(None)),
    ("after an outage that answers 503 spans are exported again", recovered(Answer(503))),
    ("after an outage without answers spans are exported again", recovered(lambda connection: time.sleep(20))),
]
