"""What a load costs, and whether it arrives: figures of the fixture beside a receiver in a process of its own, so that
Python's lock holds up neither."""

import multiprocessing
import resource
import socket
import time

import wire
from fixture import Fixture
from receiver import Receiver

QUEUE = 16_384


def run(path):
    print("     spans/s: made; all others: of the whole run, with 5 attributes a span", flush=True)
    for rate, threads, more in (
        (5_000, 4, []), (20_000, 4, []), (50_000, 1, []), (50_000, 4, []), (50_000, 4, ["--gzip"]),
        (50_000, 4, ["--batch", 2_048]), (0, 2, []),
    ):
        measure(path, rate, threads, more)
    return 0


def measure(path, rate, threads, more):
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=[theirs], daemon=True)
    receiver.start()
    port = ours.recv()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    arguments = ["--rate", rate, "--threads", threads, "--seconds", 5, "--queue", QUEUE, *more]
    with Fixture(path, f"http://127.0.0.1:{port}/v1/traces", *arguments) as fixture:
        status, _ = fixture.ends(60)
        seconds = time.monotonic() - began
        lines, last = fixture.lines, fixture.counts
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours.send("done")
    requests, size, spans, different = ours.recv()
    receiver.join()
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lost = last["made"] - different
    longest = max(line["longest_call_us"] for line in lines)
    memory = max(line["rss_kib"] for line in lines) / 1_024
    print(
        f"rate {rate or 'without limit'}, {threads} threads, queue {QUEUE} {' '.join(map(str, more))}\n"
        f"     made {last['made']} ({last['made'] / 5:.0f}/s), exported {last['exported']}, dropped {last['dropped']}, "
        f"received {different}{f' ({spans - different} twice)' if spans != different else ''}, lost {lost}\n"
        f"     {requests} requests, {spans / max(1, requests):.0f} spans and {size / max(1, requests):.0f} bytes each, "
        f"{size / max(1, spans):.0f} bytes a span\n"
        f"     longest call {longest} µs, memory {memory:.0f} MiB, {processor / seconds:.2f} processors, "
        f"{processor / max(1, last['made']) * 1e6:.1f} µs a span, "
        f"end in {last.get('shutdown_ms')} ms, status {status}",
        flush=True,
    )


def receive(pipe):
    """Takes all there is, and looks at it when the load is over."""
    bodies = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pipe.send(listening.getsockname()[1])
        listening.settimeout(0.1)
        while not pipe.poll():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection, connection.makefile("rb", 1 << 20) as stream:
                while request := Receiver.read(stream):
                    bodies.append(request)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        pipe.recv()
    ids = [bytes(each) for request in bodies for each in wire.span_ids(request.body)]
    pipe.send((len(bodies), sum(len(request.raw) for request in bodies), len(ids), len(set(ids))))
