"""The records themselves, read with kcat: only with --kafka, and if kcat is here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass

import shapes
from client import new_trace_id
from shapes import must
from suite import Failure, Skip, check, equal, eventually, expect
from world import new_email, new_password

TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Record:
    headers: tuple[tuple[str, str], ...]
    key: str
    value: str

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each == name), None)


def read(world, topic: str) -> list[Record]:
    """Every record of the topic, or a skip where it cannot be read at all."""
    if not world.kafka:
        raise Skip("no --kafka was given")
    kcat = shutil.which("kcat")
    if not kcat:
        raise Skip("kcat is not on PATH")
    command = [kcat, "-C", "-b", world.kafka, "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%h\t%k\t%s\n"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        raise Failure(f"saw no end of {topic} at {world.kafka} within 20 s, expected kcat to read it") from None
    if done.returncode:
        raise Failure(f"saw kcat fail at {topic}: {done.stderr.decode(errors='replace').strip()[-300:]}, expected it to read the topic")
    records = []
    for line in done.stdout.decode("utf-8", "replace").split("\n"):
        parts = line.split("\t", 2)
        if len(parts) == 3:
            headers = tuple((name, value) for name, _, value in (each.partition("=") for each in re.split(r",(?=[A-Za-z_-]+=)", parts[0])))
            records.append(Record(headers, parts[1], parts[2]))
    return records


def record_of(world, topic: str, type: str, key: str) -> Record:
    def look():
        found = {record for record in read(world, topic) if record.key == key and record.header("ce_type") == type}
        expect(len(found) == 1, f"{len(found)} different records {type} with key {key} on {topic}", "one (re-sent ones are identical)")
        return found.pop()

    return eventually(look, 15, pause=0.5)


def available(world) -> None:
    if not world.kafka or not shutil.which("kcat"):
        read(world, "order.events.v1")


@check("kafka record of a placed order is a CloudEvent in binary mode with the request's trace")
def placed(world):
    available(world)
    trace_id = new_trace_id()
    order = must(world.place(world.customer.token, (world.new_product(), 1), trace=trace_id), 201)
    record = record_of(world, "order.events.v1", "order.order.placed.v1", order["id"])
    for name, wanted in {"ce_specversion": "1.0", "ce_type": "order.order.placed.v1", "ce_subject": f"order/{order['id']}", "ce_subjectversion": "1",
                         "ce_partitionkey": order["id"], "ce_tenant": "default", "ce_actorid": world.customer.id, "ce_outcome": "success"}.items():
        equal(name, record.header(name), wanted)
    expect(str(record.header("ce_source")).endswith("/services/order"), f"ce_source {record.header('ce_source')!r}", "/services/order")
    expect(re.fullmatch(r"\d{20}", str(record.header("ce_sequence"))), f"ce_sequence {record.header('ce_sequence')!r}", "20 digits")
    expect(record.header("ce_sourceepoch"), "no ce_sourceepoch", "one")
    shapes.uuid7("ce_id", record.header("ce_id"))
    expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", str(record.header("ce_time"))), f"ce_time {record.header('ce_time')!r}", "RFC 3339")
    expect(str(record.header("content-type")).startswith("application/json"), f"content-type {record.header('content-type')!r}", "application/json")
    equal("ce_traceparent", record.header("ce_traceparent"), record.header("traceparent"))
    found = TRACEPARENT.fullmatch(str(record.header("traceparent")))
    expect(found and found[1] == trace_id, f"traceparent {record.header('traceparent')!r}", f"the trace {trace_id} of the request")
    try:
        expect(isinstance(json.loads(record.value), dict), f"data {record.value[:200]!r}", "a JSON object")
    except ValueError:
        raise Failure(f"saw data {record.value[:200]!r}, expected JSON") from None


@check("kafka record and timeline entry agree on id, sequence, epoch and span")
def agrees(world):
    available(world)
    order = must(world.place(world.customer.token, (world.new_product(), 1)), 201)
    record = record_of(world, "order.events.v1", "order.order.placed.v1", order["id"])

    def look():
        entries = world.timeline(world.admin.token, target=order["id"], action="order.order.placed")
        expect(len(entries) == 1, f"{len(entries)} entries", "one")
        return entries[0]

    entry = eventually(look)
    equal("event_id", entry["event_id"], record.header("ce_id"))
    equal("sequence", int(entry["sequence"]), int(record.header("ce_sequence") or -1))
    equal("epoch", str(entry["epoch"]), str(record.header("ce_sourceepoch")))
    equal("span_id", entry["span_id"], str(record.header("traceparent")).split("-")[2:3][0])


@check("kafka sequences of order are unique and without gaps")
def sequences(world):
    available(world)
    must(world.place(world.customer.token, (world.new_product(), 1)), 201)

    def look():
        numbered: dict[tuple[str, int], set] = {}
        for record in read(world, "order.events.v1"):
            if record.header("ce_sequence") and record.header("ce_sourceepoch"):
                numbered.setdefault((record.header("ce_sourceepoch"), int(record.header("ce_sequence"))), set()).add(record)
        doubled = [number for number, records in numbered.items() if len(records) > 1]
        expect(not doubled, f"different records with the same number {doubled[:3]}", "one for each, re-sent ones identical")
        expect(numbered, "no numbered record", "some")
        epoch = max((epoch for epoch, _ in numbered), key=lambda epoch: (len(epoch), epoch))
        held = sorted(number for each, number in numbered if each == epoch)[-100:]  # the broker may have dropped older ones
        gaps = sorted(set(range(held[0], held[-1] + 1)) - set(held))
        expect(not gaps, f"numbers {gaps[:5]} missing in {held[0]}…{held[-1]}", "none")

    eventually(look, 10, pause=0.5)


@check("kafka record of a registration does not hold the password")
def no_password(world):
    available(world)
    email, password = new_email(), new_password()
    user = must(world.register(email, password), 201)
    must(world.auth.request("POST", "/v1/sessions", json={"email": email, "password": password + "!"}), 401, 201)
    record_of(world, "auth.events.v1", "auth.user.registered.v1", user["id"])
    for record in read(world, "auth.events.v1"):
        expect(password not in record.value and all(password not in value for _, value in record.headers), f"the password in {record.header('ce_type')}", "it nowhere")
