"""Records written and read by kcat. Standard library only."""

import base64 as coding
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass

TOMBSTONE = object()


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def header(self, name):
        """The text of the last header of that name; `None` where there is none."""
        return next(
            (value.decode() for each, value in reversed(self.headers) if each == name and value is not None), None
        )


def as_bytes(text):
    return text.encode() if isinstance(text, str) else text


def base64(data):
    return coding.b64encode(data).decode()


def produce(broker, topic, partition, value, headers=(), key=None):
    """Writes one record; answers its offset. `TOMBSTONE` as value needs a key; a header without value is `None`."""
    command = ["kcat", "-P", "-b", broker, "-t", topic, "-p", str(partition), "-vvv"]
    # A producer may allow itself more than the default of a million bytes.
    command += ["-X", "topic.produce.offset.report=true", "-X", "message.max.bytes=4000000"]
    for name, text in headers:
        command += ["-H", as_bytes(name) if text is None else as_bytes(name) + b"=" + as_bytes(text)]
    with tempfile.NamedTemporaryFile() as file:
        if value is TOMBSTONE or value == b"":
            # kcat leaves empty files out. What follows a key may be empty, and is null where that is asked for.
            assert key is not None
            command += ["-K", "\t", *(["-Z"] if value is TOMBSTONE else [])]
            given = as_bytes(key) + b"\t\n"
        else:
            given = None
            file.write(value)
            file.flush()
            command += [*(["-k", as_bytes(key)] if key is not None else []), file.name]
        run = subprocess.run(
            command, input=given, stdin=subprocess.DEVNULL if given is None else None, capture_output=True, timeout=30
        )
    said = run.stderr.decode(errors="replace")
    delivered = re.findall(r"delivered to partition (\d+) \(offset (\d+)\)", said)
    if run.returncode != 0 or len(delivered) != 1 or int(delivered[0][0]) != partition:
        raise AssertionError(f"kcat did not write to {topic}: {run.returncode} {said[-300:]}")
    return int(delivered[0][1])


def consume(broker, topic):
    """Every record of a topic. kcat passes on what is not UTF-8, so nothing of it is lost."""
    command = ["kcat", "-C", "-b", broker, "-t", topic, "-o", "beginning", "-e", "-q", "-J"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-300:]

    def raw(text):
        return None if text is None else text.encode("utf-8", "surrogateescape")

    records = []
    for line in filter(None, run.stdout.split(b"\n")):
        row = json.loads(line.decode("utf-8", "surrogateescape"))
        flat = row.get("headers", [])
        headers = tuple((name, raw(value)) for name, value in zip(flat[::2], flat[1::2]))
        records.append(
            Record(row["topic"], row["partition"], row["offset"], raw(row["key"]), raw(row["payload"]), headers)
        )
    return records
