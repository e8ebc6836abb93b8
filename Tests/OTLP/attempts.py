"""What is sent again and what is not, and when; and what an answer says of the spans."""

import time

import wire
from deliveries import TEN, always, first_then_well, left, once, sending, settled
from fixture import Fixture
from receiver import Answer, Receiver


def sent_again(status):
    def test(path):
        with Receiver(first_then_well(Answer(status))) as receiver, Fixture(path, receiver.url, *TEN) as fixture:
            fixture.until(20, settled(10))
            found = left(fixture, {"made": 10, "exported": 10, "dropped": 0, "failures": 1})
            if len(receiver.requests) != 2:
                return found + [f"{len(receiver.requests)} requests"]
            first, second = receiver.requests
            found += [] if sorted(first.ids) == sorted(second.ids) else ["the second request has other spans"]
            pause = second.time - first.time
            # Half of a second at least, one at most; the rest is for a busy machine.
            return found + ([] if 0.5 <= pause < 3 else [f"a pause of {pause:.2f} s"])

    return test


def not_sent_again(status):
    def test(path):
        with Receiver() as other, Receiver(always(Answer(status, [("location", other.url)], b"no"))) as receiver:
            secret = ["--header", "authorization=Bearer secret-of-the-test"]
            with Fixture(path, receiver.url, *TEN, *secret) as fixture:
                fixture.until(20, settled(10))
                # What was counted as dropped is nowhere any more that it could be sent from.
                found = left(fixture, {"made": 10, "exported": 0, "dropped": 10, "failures": 1})
                found += [f"{len(receiver.requests)} requests"] if len(receiver.requests) != 1 else []
                found += ["posted to where the answer points"] if other.requests else []
                log = fixture.log
                found += [f"the log names the secret: {log}"] if "secret-of-the-test" in log else []
                return found + ([] if log.count("spans cannot be exported") == 1 else [f"the log says {log!r}"])

    return test


def refused_first(path):
    with Receiver(is_open=False) as receiver, Fixture(path, receiver.url, *TEN) as fixture:
        fixture.until(5, lambda counts: counts["made"] == 10)
        time.sleep(2)
        found = [] if fixture.counts["dropped"] == 0 else [f"dropped: {fixture.counts}"]
        receiver.open()
        fixture.until(30, settled(10))
        return found + left(fixture, {"made": 10, "exported": 10, "dropped": 0}) + once(receiver, 10)


def closed_first(path):
    """Who closes without an answer should be sent the same request again (OTLP/HTTP, "All Other Responses")."""
    with Receiver(first_then_well(sending(b""))) as receiver, Fixture(path, receiver.url, *TEN) as fixture:
        fixture.until(20, settled(10))
        found = left(fixture, {"made": 10, "exported": 10, "dropped": 0, "failures": 1})
        requests = receiver.requests
        if len(requests) != 2 or sorted(requests[0].ids) != sorted(requests[1].ids):
            found.append(f"{len(requests)} requests, or other spans")
        return found


def without_keeping_alive(path):
    """A connection that ends after each answer, without a word of it: a request that meets its end is sent again."""
    with Receiver(always(sending(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))) as receiver:
        with Fixture(path, receiver.url, "--count", 200, "--batch", 20, "--seconds", 120) as fixture:
            fixture.until(30, settled(200))
            return left(fixture, {"made": 200, "exported": 200, "dropped": 0}) + once(receiver, 200)


# The one that is sent nowadays, and those that must be read all the same (RFC 9110, section 5.6.7).
DATE, RFC_850, ASCTIME = "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"


def kept_to(seconds, *arguments, form=None):
    """`Retry-After` is neither cut short nor stretched."""

    def test(path):
        moments = []

        def script(request, number):
            if number:
                return Answer()
            moment = time.time() + seconds
            # A date has no fractions.
            moments.append(int(moment) + 1 if form else moment)
            text = time.strftime(form, time.gmtime(moments[0])) if form else str(seconds)
            return Answer(503, [("Retry-After", text)])

        with Receiver(script) as receiver, Fixture(path, receiver.url, *TEN, *arguments) as fixture:
            fixture.until(seconds + 20, settled(10))
            found = left(fixture, {"made": 10, "exported": 10, "dropped": 0, "failures": 1})
            if len(receiver.requests) != 2:
                return found + [f"{len(receiver.requests)} requests"]
            late = receiver.requests[1].wall - moments[0]
            return found + ([] if -0.01 <= late < 2.5 else [f"{late:.2f} s after the time that was asked for"])

    return test


def left_alone(path):
    """Who asks for two minutes of peace has them, from the batches that follow, too."""
    with Receiver(always(Answer(503, [("Retry-After", "120")]))) as receiver:
        with Fixture(path, receiver.url, "--rate", 500, "--seconds", 60, "--batch", 10) as fixture:
            fixture.until(10, lambda counts: counts["made"] >= 1_000)
            fixture.terminate()
            status, _ = fixture.ends(10)
            # The first, and what the end may try.
            requests = len(receiver.requests)
            return fixture.faults(status) + ([f"{requests} requests within 2 s"] if requests > 3 else [])


def given_up(path):
    """A batch that nobody takes is dropped when its time is over, and not before."""
    with Receiver(always(Answer(503))) as receiver:
        with Fixture(path, receiver.url, *TEN, "--export-timeout-ms", 4_000) as fixture:
            fixture.until(20, settled(10))
            found = left(fixture, {"made": 10, "exported": 0, "dropped": 10})
            times = [request.time for request in receiver.requests]
            pauses = [later - earlier for earlier, later in zip(times, times[1:])]
            # After 0.5…1 s and then 1…2 s; a third pause of 2…4 s fits at times.
            if not 2 <= len(pauses) <= 3 or pauses[0] < 0.5 or pauses[1] < 1:
                found.append(f"pauses of {pauses}")
            return found + ([] if times[-1] - times[0] <= 4.5 else [f"tried for {times[-1] - times[0]:.1f} s"])


def late(path):
    """Slow, but within the time limit: nothing is sent twice."""
    with Receiver(always(Answer(delay=1.5))) as receiver:
        arguments = ["--count", 30, "--batch", 10, "--seconds", 120, "--timeout-ms", 4_000]
        with Fixture(path, receiver.url, *arguments) as fixture:
            fixture.until(30, settled(30))
            found = left(fixture, {"made": 30, "exported": 30, "dropped": 0, "failures": 0})
            return found + once(receiver, 30)


def too_late(path):
    """An answer that does not come in time is none."""
    with Receiver(first_then_well(Answer(delay=6))) as receiver:
        with Fixture(path, receiver.url, *TEN, "--timeout-ms", 1_000) as fixture:
            fixture.until(30, settled(10))
            found = left(fixture, {"made": 10, "exported": 10, "dropped": 0, "failures": 1})
            times = [request.time for request in receiver.requests]
            is_right = len(times) == 2 and 1.4 < times[1] - times[0] < 5
            return found + ([] if is_right else [f"requests at {[each - times[0] for each in times]}"])


def partly(rejected, counted):
    """A partial success: what was rejected is dropped, and not sent again."""

    def test(path):
        body = wire.partial_success(rejected, "some \x00 🏮")
        answer = Answer(200, [("content-type", "application/x-protobuf")], body)
        with Receiver(always(answer)) as receiver, Fixture(path, receiver.url, *TEN) as fixture:
            fixture.until(20, settled(10))
            found = left(fixture, {"made": 10, "exported": 10 - counted, "dropped": counted, "failures": 0})
            return found + once(receiver, 10)

    return test


def answered(answer):
    """A 2xx has taken the spans, whatever it says."""

    def test(path):
        with Receiver(always(answer)) as receiver, Fixture(path, receiver.url, *TEN) as fixture:
            fixture.until(20, settled(10))
            return left(fixture, {"made": 10, "exported": 10, "dropped": 0, "failures": 0}) + once(receiver, 10)

    return test


def never_ends(connection):
    """200, and then a body without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1000\r\n" + b"x" * 4_096 + b"\r\n")


AFTER_100 = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
JSON = Answer(200, [("content-type", "application/json")], b'{"partialSuccess":{}}')

SCENARIOS = [
    *[(f"{status} is tried again", sent_again(status)) for status in (429, 502, 503, 504)],
    *[
        (f"{status} is not tried again", not_sent_again(status))
        for status in (300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 413, 415, 500, 501, 505)
    ],
    ("a receiver that comes up later is sent what waits", refused_first),
    ("a connection that closes without an answer is tried again", closed_first),
    ("a receiver that keeps no connection takes all spans", without_keeping_alive),
    ("Retry-After in seconds is kept to", kept_to(2)),
    ("Retry-After as a date is kept to", kept_to(3, form=DATE)),
    ("Retry-After as a date of RFC 850 is kept to", kept_to(3, form=RFC_850)),
    ("Retry-After as a date of asctime is kept to", kept_to(3, form=ASCTIME)),
    ("Retry-After of 0 is a pause of our own", kept_to(0)),
    ("Retry-After is kept to beyond the time of a batch", kept_to(3, "--export-timeout-ms", 1_500)),
    ("a receiver that asks for two minutes is left alone", left_alone),
    ("a batch is given up when its time is over", given_up),
    ("a receiver that answers late is sent each span once", late),
    ("a receiver that answers too late is tried again", too_late),
    ("rejected spans are dropped, and not sent again", partly(3, 3)),
    ("all spans may be rejected", partly(10, 10)),
    ("no more spans are rejected than were sent", partly(1_000_000, 10)),
    ("fewer than none are rejected", partly(-5, 0)),
    ("a warning without rejected spans is a success", partly(0, 0)),
    ("204 has taken the spans", answered(Answer(204, [("content-length", "0")]))),
    ("202 has taken the spans", answered(Answer(202, [], b"accepted"))),
    ("200 with JSON has taken the spans", answered(JSON)),
    ("200 with bytes of no meaning has taken the spans", answered(Answer(200, [], b"\xff\x00\x81" * 100))),
    ("200 after 100 has taken the spans", answered(sending(AFTER_100))),
    ("200 with a body until the end has taken the spans", answered(sending(b"HTTP/1.1 200 OK\r\n\r\nwell"))),
    ("200 with a long body has taken the spans", answered(Answer(200, [], b"x" * 200_000))),
    ("200 with a body without an end has taken the spans", answered(never_ends)),
    (
        "200 with half of its body has taken the spans",
        answered(sending(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")),
    ),
]
