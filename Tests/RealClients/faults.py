"""Each fault of a producer ends on the timeline or as a dead letter, and what is behind it in the partition arrives."""

import json
import os
import re
import signal
import uuid
from datetime import datetime, timezone

from cases import PLAIN, cases
from foreign import STRUCTURED, Stuck, attributes, headers
from local import check, eventually, fetch

PARTITIONS = 4


def one_by_one(producer):
    """Each case alone, with a good event behind it in the same partition."""
    for number, case in enumerate(cases()):
        partition = number % PARTITIONS
        place = producer.put(partition, case.value, case.headers, case.key)
        try:
            producer.passes(partition)
        except Stuck as error:
            check(f"{case.name}: the partition goes on", False, error)
            raise
        faults = judge(producer, case, place)
        what = f"put aside as {case.reason}" if case.reason else "on the timeline"
        check(f"{case.name}: {what}; the partition goes on", not faults, faults)


def ahead(producer):
    """The flag is a column of the table only."""
    shown = producer.platform.sql("SELECT action, ahead FROM entry WHERE action LIKE 'billing.%' AND ahead")
    check("a time ten years ahead is flagged, and no other", shown == "billing.case.ahead|t", shown)


def judge(producer, case, place, wait=3):
    """What is wrong with what became of a record."""
    action = re.sub(r"\.v\d+$", "", case.kind)

    def settled():
        return producer.platform.letters().get(place, []), producer.at(place, action)

    eventually(wait, lambda: any(settled()))
    letters, found = settled()
    if case.reason:
        reasons = [letter["reason"] for letter in letters]
        return (
            {}
            if reasons == [case.reason] and not found
            else {"letters": reasons, "wanted": case.reason, "entry": found}
        )
    if letters or not found:
        return {"letters": letters, "entry": found}
    entry, data = found
    wanted = {"service": "invoices", "action": action, "outcome": "unknown", "tenant": "default", **case.members}
    differ = {name: (entry[name], value) for name, value in wanted.items() if entry[name] != value}
    if data != case.data:
        differ["data"] = (data[:100], case.data[:100])
    return differ


def in_one_batch(producer):
    """All of them at once, while nobody reads: whatever takes a batch apart must lose nothing of it."""
    chosen = [case for case in cases("_batch") if len(case.value if isinstance(case.value, bytes) else b"") < 10_000]
    # What may be in the way of all others stands between them here.
    chosen.insert(len(chosen) // 2, chosen.pop())
    pid = producer.platform.pid("activity")
    placed, behind = [], []
    os.kill(pid, signal.SIGSTOP)
    try:
        for number, case in enumerate(chosen):
            placed.append((case, producer.put(1, case.value, case.headers, case.key)))
            action = f"billing.between.n{number}"
            behind.append((action, producer.put(1, PLAIN, headers(action + ".v1"))))
    finally:
        os.kill(pid, signal.SIGCONT)
    # The last one shows that all were taken.
    eventually(30, lambda: producer.at(behind[-1][1], behind[-1][0]))
    faults = {case.name: judge(producer, case, place, 0) for case, place in placed}
    faults = {name: seen for name, seen in faults.items() if seen}
    check(f"each of {len(placed)} faults in one batch ends as it should", not faults, f"{len(faults)} not: {faults}")
    lost = [action for action, place in behind if not producer.at(place, action)]
    check(f"each of {len(behind)} events between them is on the timeline", not lost, f"{len(lost)} are not: {lost}")


def required_only(producer):
    """Without a time of its own an event has that at which it was taken."""
    entry = producer.platform.entries(action="billing.case.required")[0]
    age = (datetime.now(timezone.utc) - datetime.fromisoformat(entry["time"])).total_seconds()
    check("an event without time has that at which it was taken", 0 <= age < 120, entry["time"])


def source(producer, name):
    rows = {row["source"]: row for row in producer.platform.get("/v1/sources")["data"]}
    return rows.get(name)


def counter(producer, name, labels):
    _, text = fetch("GET", f"{producer.platform.activity}/metrics")
    found = [
        line.rpartition(" ")[2]
        for line in text.decode().splitlines()
        if line.startswith(f"{name}{{") and labels in line
    ]
    return sum(float(value) for value in found)


def twice(producer):
    """The same event again, and another one under its id."""
    name, kind = "https://billing.example/duplicates", "billing.twice.sent.v1"
    action = "billing.twice.sent"
    for time in ("2026-01-31T23:59:59Z", None):
        given = headers(kind, source=name, id=str(uuid.uuid4()), time=time)
        first = producer.put(0, PLAIN, given)
        eventually(15, lambda: producer.at(first, action))
        again = [producer.put(partition, PLAIN, given) for partition in (0, 1)]
        passes = producer.passes(0) and producer.passes(1)
        seen = [producer.at(place, action) is not None for place in (first, *again)]
        letters = [producer.letter(place) for place in again]
        what = "with a time" if time else "without a time"
        check(
            f"an event {what} that comes three times is one entry, and no dead letter",
            passes and seen == [True, False, False] and letters == [None, None],
            (passes, seen, letters),
        )
    row = eventually(
        5, lambda: (source(producer, name) or {}).get("duplicates_dropped") == 4 and source(producer, name)
    )
    check(
        "its duplicates are counted by its source",
        row and row["events"] == 2 and row["epoch"] == 0,
        source(producer, name),
    )
    count = counter(producer, "lantern_duplicates_total", f'source="{name}"')
    check("and by lantern_duplicates_total", count == 4, count)

    kind, action = "billing.conflict.sent.v1", "billing.conflict.sent"
    given = headers(kind, id=str(uuid.uuid4()))
    first = producer.put(2, PLAIN, given)
    eventually(15, lambda: producer.at(first, action))
    other = producer.put(2, b'{"n":2}', given)
    passes = producer.passes(2)
    letter = producer.letter(other)
    kept = producer.at(first, action)
    check(
        "another event under an id that is taken is put aside as id_conflict, and the partition goes on",
        passes and letter and letter["reason"] == "id_conflict" and not producer.at(other, action),
        (passes, letter),
    )
    check("the one that came first stays as it was", kept and kept[1] == PLAIN, kept)
    again = producer.put(2, PLAIN, given)
    check(
        "and once more it is a duplicate still",
        producer.passes(2) and not producer.letter(again),
        producer.letter(again),
    )
    # The same source and id in the other mode is the same event.
    mode = attributes(kind, id=dict(given)["ce_id"])
    value = json.dumps({**mode, "datacontenttype": "application/json"}).encode()[:-1] + b',"data":' + PLAIN + b"}"
    again = producer.put(2, value, [("content-type", STRUCTURED)])
    check(
        "in structured mode it is a duplicate as well",
        producer.passes(2) and not producer.letter(again),
        producer.letter(again),
    )


def run(producer):
    one_by_one(producer)
    ahead(producer)
    required_only(producer)
    twice(producer)
    in_one_batch(producer)
