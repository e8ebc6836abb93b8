"""The dead letters: on their topic as they were sent, tried again, discarded."""

import re
import secrets

import kcat
from foreign import TOPIC, headers
from local import call, check, eventually, fetch

LETTERS = "activity.dead-letters.v1"
OWN = ("id", "reason", "error", "consumer", "time", "topic", "partition", "offset")


def copies(producer):
    """The records of the topic, by the id of the letter."""
    found = {}
    for record in kcat.consume(producer.platform.broker, LETTERS):
        found.setdefault(record.header("lantern_dead_letter_id"), []).append(record)
    return found


def differences(letter, record, original):
    """Where a copy is not what it should be."""
    own = [("lantern_dead_letter_" + name, None) for name in OWN]
    tail = record.headers[-len(own) :]
    values = {name.removeprefix("lantern_dead_letter_"): (value or b"").decode() for name, value in tail}
    pairs = {
        "key": (record.key, original.key),
        "value": (record.value, original.value),
        "headers": (record.headers[: -len(own)], original.headers),
        "names": ([name for name, _ in tail], [name for name, _ in own]),
        "said": (
            values,
            {**{name: str(letter[name]) for name in OWN if name != "time"}, "time": letter["recorded_at"]},
        ),
    }
    return {name: str(pair)[:300] for name, pair in pairs.items() if pair[0] != pair[1]}


def published(producer, when):
    """Every letter is on the topic; `when` tells one time from another."""
    letters = {letter["id"]: letter for found in producer.platform.letters().values() for letter in found}
    seen = (
        eventually(10, lambda: (lambda found: found if set(letters) <= set(found) else None)(copies(producer)), 0.3)
        or {}
    )
    check(
        f"{when}, each of {len(letters)} dead letters is on {LETTERS}, once, and nothing else",
        {key: len(found) for key, found in seen.items()} == {key: 1 for key in letters},
        (set(letters) ^ set(seen), [key for key, found in seen.items() if len(found) > 1]),
    )
    originals = {
        (each.topic, each.partition, each.offset): each for each in kcat.consume(producer.platform.broker, TOPIC)
    }
    wrong = {}
    for key, found in seen.items():
        letter = letters.get(key)
        if letter:
            differ = differences(letter, found[0], originals[(letter["topic"], letter["partition"], letter["offset"])])
            wrong.update({key: differ} if differ else {})
    check(
        f"{when}, each has the key, value and headers of its record, and behind them what is known of its failure",
        not wrong,
        wrong,
    )


def counted(producer):
    """The metric counts what the interface lists."""
    rows = [letter["reason"] for found in producer.platform.letters().values() for letter in found]
    _, text = fetch("GET", f"{producer.platform.activity}/metrics")
    shown = dict(re.findall(r'^lantern_dead_letters_total\{reason="(\w+)"\} (\d+)', text.decode(), re.MULTILINE))
    differ = {
        reason: (count, rows.count(reason)) for reason, count in shown.items() if int(count) != rows.count(reason)
    }
    check(
        "lantern_dead_letters_total counts them by reason",
        shown and not differ and set(rows) <= set(shown),
        (differ, rows),
    )


def replayed(producer):
    """One whose cause persists fails again, and stays the one that it is."""
    place = producer.put(3, b'{"n":1}', headers("order.order.placed.v1", source="/services/order"))
    letter = eventually(10, lambda: producer.letter(place))
    path = f"/v1/dead-letters/{letter['id']}"
    shown = producer.platform.get(path)
    check(
        "a dead letter is shown with its record",
        shown["value"] == '{"n":1}'
        and shown["key"] == "invoice-7"
        and {"name": "ce_source", "value": "/services/order"} in shown["headers"],
        shown,
    )
    wanted = {"outcome": "failed", "dry_run": True, "reason": "source_mismatch", "released": 0}
    status, answer = producer.platform.post(f"{path}/replay", {"dry_run": True})
    check("a dry run says that it would fail", status == 200 and answer.items() >= wanted.items(), (status, answer))
    check("and counts as no try", producer.platform.get(path)["replays"] == 0, producer.platform.get(path))
    status, answer = producer.platform.post(f"{path}/replay")
    wanted["dry_run"] = False
    check("a replay says that it failed, and why", status == 200 and answer.items() >= wanted.items(), (status, answer))
    after = producer.platform.get(path)
    check("the letter waits on, with one try counted", (after["state"], after["replays"]) == ("new", 1), after)
    statuses = [producer.platform.post(f"{path}/replay")[0] for _ in range(10)]
    check("after ten tries there is none left", statuses == [200] * 9 + [409], statuses)
    found = producer.platform.letters()
    check("none of them makes a second letter", [each["id"] for each in found[place]] == [letter["id"]], found[place])
    check("and nothing of it is on the timeline", not producer.at(place, "order.order.placed"), "it is")
    return letter["id"]


def discarded(producer, letter_id):
    """One that is discarded is settled, and the timeline says by whom."""
    path, note = f"/v1/dead-letters/{letter_id}", f"not ours {secrets.token_hex(4)}"
    email, password = producer.platform.register()
    customer, _ = producer.platform.log_in(email, password)
    status, answer = call("POST", f"{producer.platform.activity}{path}/discard", customer, {"note": note})
    check("a customer may not discard", status == 403, (status, answer))
    status, answer = producer.platform.post(f"{path}/discard", {"note": note})
    seen = {name: answer.get(name) for name in ("state", "settled_by", "note")} if isinstance(answer, dict) else answer
    check(
        "discard settles",
        (status, seen) == (200, {"state": "discarded", "settled_by": producer.platform.admin_id, "note": note}),
        (status, answer),
    )
    statuses = [producer.platform.post(f"{path}/{verb}")[0] for verb in ("discard", "replay")]
    check("what is settled can neither be discarded nor replayed", statuses == [409, 409], statuses)
    waiting = producer.platform.get("/v1/dead-letters?limit=200&state=new")["data"]
    check("it is no longer among those that wait", letter_id not in {each["id"] for each in waiting}, "it is")
    entries = eventually(
        15, lambda: producer.platform.entries(action="activity.dead_letter.discarded", target=letter_id)
    )
    shown = [{name: each[name] for name in ("service", "source", "type", "outcome")} for each in entries]
    check(
        "the timeline tells of it",
        shown
        == [
            {
                "service": "activity",
                "source": "/services/activity",
                "type": "activity.dead_letter.discarded.v1",
                "outcome": "success",
            }
        ]
        and (entries[0]["actor"]["type"], entries[0]["actor"]["id"]) == ("user", producer.platform.admin_id)
        and entries[0]["target"]["type"] == "dead_letter",
        entries,
    )
    data = entries[0]["data"] if entries else {}
    check(
        "with where the record stands and why it was put aside",
        (data.get("dead_letter_id"), data.get("reason"), data.get("topic")) == (letter_id, "source_mismatch", TOPIC),
        data,
    )


def too_large(producer):
    """A letter that does not fit into a record must not keep the next ones from the topic."""
    producer.put(0, b"x" * 1_200_000, [("x", "1")])
    place = producer.put(0, b"small", [("x", "2")])
    letter = eventually(10, lambda: producer.letter(place))
    check("behind a record of 1.2 MB that is put aside, another is", letter is not None, producer.platform.letters())
    check(
        "its copy is on the topic",
        letter and eventually(10, lambda: letter["id"] in copies(producer), 0.3),
        "the copy of the letter before it is larger than the producer sends, and nothing behind it is sent either",
    )


def accounted(producer):
    """Every record of the topic is an entry, a dead letter, control, or one of the duplicates that were counted."""
    sql = f"SELECT partition || ' ' || record_offset FROM entry WHERE topic = '{TOPIC}'"
    entries = {tuple(map(int, line.split())) for line in producer.platform.sql(sql).splitlines()}
    letters = {place[1:] for place in producer.platform.letters() if place[0] == TOPIC}
    rows = producer.platform.get("/v1/sources")["data"]
    duplicates = sum(row["duplicates_dropped"] for row in rows if not row["source"].startswith("/services/"))
    records = kcat.consume(producer.platform.broker, TOPIC)
    gone = [
        f"{each.partition}/{each.offset} {each.headers[:4]}"
        for each in records
        if (each.partition, each.offset) not in entries | letters
        and not any(name == "ce_type" and value.startswith(b"lantern.") for name, value in each.headers if value)
        and b'"lantern.' not in (each.value or b"")[:400]
    ]
    check(
        f"of {len(records)} records of {TOPIC}, {len(entries)} are entries, {len(letters)} dead letters, "
        f"{duplicates} duplicates, the rest control",
        len(gone) == duplicates and not entries & letters,
        f"{len(gone)} are neither: {gone[:20]}",
    )


def run(producer):
    published(producer, "at first")
    letter_id = replayed(producer)
    discarded(producer, letter_id)
    published(producer, "after one was tried again and discarded")
    counted(producer)
    too_large(producer)
    accounted(producer)
