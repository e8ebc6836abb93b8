"""Nobody speaks for another source: neither by control records nor by events that are put aside."""

import json

import kcat
from foreign import SOURCE, STRUCTURED, TOPIC, attributes, headers
from local import call, check, eventually

HEAD = "lantern.source.head.v1"
ORDER = "/services/order"


def sources(producer):
    """What is known of auth and order, which do nothing meanwhile."""
    rows = producer.platform.get("/v1/sources")["data"]
    return {row["source"]: row for row in rows if row["source"] in ("/services/auth", ORDER)}


def head(source=ORDER, **changes):
    return json.dumps({"source": source, "epoch": 1, "sequence": 1_000_000, "partitions": 4, **changes}).encode()


def has_no_effect(producer, name, make, reason=None):
    """Writes to each partition what `make` says: what is known of the sources stays, and no entry comes of it."""
    before = sources(producer)
    places = []
    for partition in range(4):
        places += [producer.put(partition, value, given, key=None, topic=topic) for topic, value, given in make()]
    topics = {topic for topic, _, _ in places}
    passes = all(producer.passes(partition, topic) for topic in topics for partition in range(4))
    after = sources(producer)
    changed = {key: (before[key], after.get(key)) for key in before if before[key] != after.get(key)}
    check(f"{name}: no effect on what is known of the sources", passes and not changed, (passes, changed))
    letters = [letter and letter["reason"] for letter in map(producer.letter, places)]
    check(f"{name}: {'put aside as ' + reason if reason else 'no dead letter'}", set(letters) == {reason}, letters)
    sql = " OR ".join(
        f"(topic, partition, record_offset) = ('{topic}', {number}, {offset})" for topic, number, offset in places
    )
    shown = producer.platform.sql(f"SELECT type, topic, partition, record_offset FROM entry WHERE {sql}")
    check(f"{name}: no entry", not shown, shown)


def control(kind=HEAD, source=SOURCE, topic=TOPIC, value=None):
    return topic, head() if value is None else value, headers(kind, source=source)


def structured(kind, source=SOURCE):
    value = json.dumps({**attributes(kind, source=source), "data": json.loads(head())}).encode()
    return TOPIC, value, [("content-type", STRUCTURED)]


def run(producer):
    senseless = (b"{", b"[]", head(sequence=-1), head(epoch=0), head(sequence=2**63), head(partitions="4"))
    for name, make in (
        ("a head for order from a foreign source", lambda: [control()]),
        ("a head for order by the name of order, in another's topic", lambda: [control(source=ORDER)]),
        ("a head for order from a foreign source, in order's topic", lambda: [control(topic="order.events.v1")]),
        ("heads that make no sense", lambda: [control(source=ORDER, value=value) for value in senseless]),
        ("a control record that nobody knows", lambda: [control("lantern.billing.paid.v1"), control("lantern.")]),
        ("a head for order from a foreign source in structured mode", lambda: [structured(HEAD)]),
        ("a control record that nobody knows in structured mode", lambda: [structured("lantern.billing.paid.v1")]),
    ):
        has_no_effect(producer, name, make)
    newest = sources(producer)[ORDER]["head_announced"]
    for name, epoch, sequence in (
        ("an event for order with a number to come", 1, newest + 5),
        ("an event for order in an epoch to come", 999, 7),
    ):
        numbers = {"sourceepoch": str(epoch), "sequence": f"{sequence:020}"}
        has_no_effect(
            producer,
            f"{name}, in another's topic",
            lambda: [(TOPIC, b"{}", headers("order.order.placed.v1", source=ORDER, **numbers))],
            "source_mismatch",
        )
    own_event(producer)


def own_event(producer):
    """After all of that, order goes on as before."""
    body = {"name": "Lamp", "price": {"amount": 100, "currency": "EUR"}, "stock": 3}
    status, product = call("POST", f"{producer.platform.order}/v1/products", producer.platform.admin_token, body)
    assert status == 201, product

    def shown():
        return [
            row
            for row in kcat.consume(producer.platform.broker, "order.events.v1")
            if row.key == product["id"].encode()
        ]

    entry = eventually(15, lambda: producer.platform.entries(target=product["id"]))
    record = eventually(5, shown)

    def is_complete():
        row = sources(producer)[ORDER]
        return row["gaps"] == 0 and row.get("head_announced") == row["head_contiguous"]

    complete = eventually(15, is_complete)
    check(
        "order's next event is on the timeline, and order is complete",
        len(entry) == len(record) == 1 and complete and entry[0]["epoch"] == 1,
        (entry, sources(producer)),
    )
