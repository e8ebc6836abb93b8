"""A load beside receivers that are away, silent, mad or slow: whoever makes spans must not wait, memory must not grow,
each span must be counted, and the process must end when it is told to."""

import time
from collections import Counter

from checks import check, said
from deliveries import always, sending
from fixture import Fixture
from receiver import Answer, Receiver

RATE = 20_000
LOAD = ["--rate", RATE, "--threads", 4, "--seconds", 120]
# What a line says of each 200 ms.
LINES = 25
# More than a call waits beside a good receiver, on a machine that is busy.
WAIT = 1_000_000
GROWTH = 64 * 1_024


def endless(status):
    """An answer whose body has no end, as fast as it is read."""

    def answer(connection):
        connection.sendall(b"HTTP/1.1 %d X\r\ntransfer-encoding: chunked\r\n\r\n" % status)
        piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        while True:
            connection.sendall(piece)

    return answer


def endless_head(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x-more: " + b"x" * 8_192 + b"\r\n")


def dripping(connection):
    """An answer that comes, a byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
    while True:
        time.sleep(0.02)
        connection.sendall(b"x")


def cases(dice):
    """Name, what the receiver is, further arguments, and whether any answer says that spans were taken."""
    short = ["--timeout-ms", 500, "--export-timeout-ms", 2_000]

    def garbage(request, number):
        return sending(dice.randbytes(dice.choice([1, 100, 100_000])))

    def meaningless(request, number):
        return Answer(200, [], dice.randbytes(dice.choice([1, 2, 16, 100, 5_000])))

    def closing(request, number):
        return sending([
            b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\nhalf", b"HTTP/1.1 503 No\r\nretry-after: ",
        ][number % 6])

    silent = {"script": always(lambda connection: time.sleep(60))}
    yield "refuses connections", {"is_open": False}, [], False
    yield "refuses connections, short limits", {"is_open": False}, short, False
    yield "accepts and never answers", silent, [], False
    yield "accepts and never answers, short limits", silent, short, False
    yield "accepts and never reads", {"ignores": True}, ["--batch", 2_000], False
    yield "accepts and never reads, short limits", {"ignores": True}, ["--batch", 2_000, *short], False
    yield "answers garbage", {"script": garbage}, short, False
    yield "answers with a body without an end", {"script": always(endless(200))}, short, True
    yield "refuses with a body without an end", {"script": always(endless(503))}, short, False
    yield "answers with a head without an end", {"script": always(endless_head)}, short, False
    yield "answers with a body that drips", {"script": always(dripping)}, short, True
    yield "answers 200 with bytes of no meaning", {"script": meaningless}, [], True
    yield "closes in the middle", {"script": closing}, short, True
    yield "answers 400", {"script": always(Answer(400))}, [], False
    yield "answers 503", {"script": always(Answer(503))}, short, False
    yield "takes half a second", {"script": always(Answer(delay=0.5))}, [], True


class Run:
    """What a load beside a receiver came to."""

    def __init__(self, path, receiver, arguments):
        with Fixture(path, receiver.url, *LOAD, *arguments) as fixture:
            fixture.until(20, lambda counts: len(fixture.lines) > LINES)
            fixture.terminate()
            self.status, self.seconds = fixture.ends(15)
            self.faults = fixture.faults(self.status)
            self.last = fixture.counts
            lines = fixture.lines or [{"longest_call_us": 0, "rss_kib": 0}]
            self.longest = max(line["longest_call_us"] for line in lines)
            self.growth = max(line["rss_kib"] for line in lines) - lines[0]["rss_kib"]
            if fixture.log.count("\n") > 50:
                self.faults.append(f"{fixture.log.count(chr(10))} lines of log: {fixture.log[:300]}")
        self.received = Counter(receiver.ids)

    @property
    def figures(self):
        return (
            f"{self.last['made']} made, {self.last['exported']} exported, {self.last['dropped']} dropped, longest call "
            f"{self.longest} µs, {self.growth / 1_024:.0f} MiB more, {self.seconds:.1f} s to end"
        )


def run(path, dice, chosen):
    everything = chosen((name, (name, *rest)) for name, *rest in cases(dice))
    if not everything:
        return
    with Receiver() as receiver:
        good = Run(path, receiver, [])
    found = good.faults + ended(good)
    # Each that was exported is there, once.
    if len(good.received) != good.last["exported"] or max(good.received.values(), default=0) > 1:
        found.append(f"{len(good.received)} came, {good.last['exported']} were exported")
    if good.last["exported"] < good.last["made"] / 2:
        found.append("most were dropped")
    check(f"a load beside a good receiver: {good.figures}", not found, said(found))
    for _, (name, receiving, arguments, is_taken) in everything:
        with Receiver(**receiving) as receiver:
            load = Run(path, receiver, arguments)
            found = load.faults + ended(load)
            if load.longest > good.longest + WAIT:
                found.append(f"a call took {load.longest} µs, and beside a good receiver {good.longest} µs")
            if load.last["made"] < good.last["made"] * 0.7:
                found.append(f"{load.last['made']} were made, and beside a good receiver {good.last['made']}")
            # Without a 2xx nothing was taken for sure. With one, what counts as exported must have come; what came may
            # count as dropped all the same, where the answer could not be read, or came too late.
            most = len(load.received) if is_taken else 0
            if load.last["exported"] > most:
                found.append(f"{load.last['exported']} count as exported, and {most} can have been")
            check(f"a load beside a receiver that {name}: {load.figures}", not found, said(found))


def ended(load):
    found = [] if load.seconds < 7 else [f"took {load.seconds:.1f} s to end"]
    return found + ([] if load.growth < GROWTH else [f"grew by {load.growth / 1_024:.0f} MiB"])
