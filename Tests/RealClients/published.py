"""What the platform publishes, as kcat and the SDK read it."""

import json
import os
import re
import secrets
from datetime import datetime

import kcat
import sdk
from local import ROOT, call, check, eventually

UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TRACEPARENT = r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
FORMS = {
    "ce_specversion": r"1\.0",
    "ce_id": UUID7,
    "ce_source": r"/services/(auth|order)",
    "ce_type": r"(auth|order)\.[a-z_]+\.[a-z_]+\.v[1-9]\d*",
    "ce_time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    "ce_subject": r"[a-z_]+/\S+",
    "ce_dataschema": r"urn:lantern:event:\S+",
    "content-type": r"application/json",
    "ce_sourceepoch": r"[1-9]\d*",
    "ce_sequence": r"\d{20}",
    "ce_subjectversion": r"[1-9]\d*",
    "ce_partitionkey": r"\S+",
    "ce_tenant": r"default",
    "ce_actorid": r"\S+",
    "ce_actortype": r"user|client|system|unknown",
    "ce_actorip": r"[0-9a-f.:]+",
    "ce_outcome": r"success|failure|denied|unknown",
    "ce_traceparent": TRACEPARENT,
    "ce_tracestate": r"\S+",
    "traceparent": TRACEPARENT,
    "tracestate": r"\S+",
}
ALWAYS = set(FORMS) - {"ce_actorip", "ce_subjectversion", "ce_tracestate", "tracestate"}
HEAD = "lantern.source.head.v1"


def documented():
    """The headers of an event in the order of docs/wire.md."""
    with open(os.path.join(ROOT, "docs", "wire.md"), encoding="utf-8") as page:
        section = page.read().split("## The record of an event", 1)[1].split("\n#", 1)[0]
    cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def at(text):
    return datetime.fromisoformat(text)


def use(platform):
    """Acts of people; answers which events they make: topic, type and aggregate."""
    admin, trace = platform.admin_token, secrets.token_hex(16)
    email, password = platform.register()
    token, customer = platform.log_in(email, password)
    call("POST", f"{platform.auth}/v1/sessions", body={"email": email, "password": "not that"})
    body = {"name": "Lamp", "price": {"amount": 100, "currency": "EUR"}, "stock": 3}
    product = call("POST", f"{platform.order}/v1/products", admin, body)[1]["id"]
    carried = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "tracestate": "vendor=a1,other=b2"}
    lines = {"lines": [{"product_id": product, "quantity": 2}]}
    status, order = call("POST", f"{platform.order}/v1/orders", token, lines, carried)
    assert status == 201, order
    status, answer = call("POST", f"{platform.order}/v1/orders", token, lines)
    assert status == 409, answer
    status, answer = call("POST", f"{platform.order}/v1/orders/{order['id']}/cancel", token, {})
    assert status == 200, answer
    return (
        order["id"],
        trace,
        [
            ("auth.events.v1", "auth.user.registered.v1", customer),
            ("auth.events.v1", "auth.session.started.v1", None),
            ("auth.events.v1", "auth.session.refused.v1", None),
            ("order.events.v1", "order.product.created.v1", product),
            ("order.events.v1", "order.order.placed.v1", order["id"]),
            ("order.events.v1", "order.order.refused.v1", None),
            ("order.events.v1", "order.order.cancelled.v1", order["id"]),
        ],
    )


def faults(record, names):
    """What is wrong with the record of an event."""
    found = []
    shown = [name for name, _ in record.headers]
    if shown != [name for name in names if name in shown] or not ALWAYS <= set(shown):
        found.append(f"headers {shown}")
    for name, value in record.headers:
        if not re.fullmatch(FORMS.get(name, "(?!)"), (value or b"").decode(errors="replace")):
            found.append(f"{name}: {value}")
    if record.key is None or record.key.decode() != record.header("ce_partitionkey"):
        found.append(f"key {record.key}, ce_partitionkey {record.header('ce_partitionkey')}")
    if record.header("ce_dataschema") != f"urn:lantern:event:{record.header('ce_type')}":
        found.append(f"ce_dataschema {record.header('ce_dataschema')}")
    for name in ("traceparent", "tracestate"):
        if record.header(name) != record.header("ce_" + name):
            found.append(f"{name} is not ce_{name}")
    try:
        if not isinstance(json.loads(record.value), dict):
            found.append(f"data {record.value}")
    except (TypeError, ValueError):
        found.append(f"data {record.value}")
    return found


def disagreements(platform, record, entry):
    """Where the timeline differs from the record."""
    shown, data = platform.entry(entry["id"])
    trace = record.header("traceparent").split("-")
    version = record.header("ce_subjectversion")
    kind, _, name = record.header("ce_subject").partition("/")
    pairs = {
        "source": (shown["source"], record.header("ce_source")),
        "type": (shown["type"], record.header("ce_type")),
        "action": (shown["action"], record.header("ce_type").rpartition(".v")[0]),
        "service": (shown["service"], record.header("ce_source").rpartition("/")[2]),
        "time": (at(shown["time"]), at(record.header("ce_time"))),
        "epoch": (shown["epoch"], int(record.header("ce_sourceepoch"))),
        "sequence": (shown["sequence"], int(record.header("ce_sequence"))),
        "target": (shown["target"], {"type": kind, "id": name, "version": version and int(version)}),
        "actor": (shown["actor"], {key: record.header(f"ce_actor{key}") for key in ("type", "id", "ip")}),
        "outcome": (shown["outcome"], record.header("ce_outcome")),
        "trace": ([shown["trace_id"], shown["span_id"]], trace[1:3]),
        "kafka": (shown["kafka"], {"topic": record.topic, "partition": record.partition, "offset": record.offset}),
        "data": (data, record.value),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def misread(record):
    """Where the SDK reads something else than what the headers and the data say."""
    event, old = sdk.decode(record), sdk.decode_old(record)
    data = json.loads(record.value)
    pairs = {
        "data": (event.get_data(), data),
        "old data": (old.get_data(), data),
        "time": (event.get_time(), at(record.header("ce_time"))),
        "old time": (at(old["time"]), at(record.header("ce_time"))),
        "content type": (event.get_datacontenttype(), "application/json"),
        "old content type": (old["datacontenttype"], "application/json"),
        "partition key": (event.get_extension("partitionkey"), record.key.decode()),
    }
    for name in ("id", "source", "type", "subject", "specversion", "dataschema"):
        pairs[name] = (getattr(event, f"get_{name}")(), record.header(f"ce_{name}"))
        pairs[f"old {name}"] = (old[name], record.header(f"ce_{name}"))
    for name in ("sequence", "sourceepoch", "actorid", "outcome", "traceparent"):
        pairs[name] = (event.get_extension(name), record.header(f"ce_{name}"))
        pairs[f"old {name}"] = (old[name], record.header(f"ce_{name}"))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def run(producer):
    platform = producer.platform
    order, trace, wanted = use(platform)
    names = documented()
    check(
        "each header of docs/wire.md has a form here, and no other", set(names) == set(FORMS), set(names) ^ set(FORMS)
    )
    records = {}

    def missing():
        records.update({topic: kcat.consume(platform.broker, topic) for topic in ("auth.events.v1", "order.events.v1")})
        seen = {(each.topic, each.header("ce_type")) for each in sum(records.values(), [])}
        keyed = {
            (each.topic, each.header("ce_type"), each.key and each.key.decode()) for each in sum(records.values(), [])
        }
        return [each for each in wanted if (each if each[2] else each[:2]) not in (keyed if each[2] else seen)]

    check(
        "kcat reads an event of each act, its key the aggregate", eventually(15, lambda: not missing(), 0.2), missing()
    )
    seen = set()
    for topic, all_records in records.items():
        events = [each for each in all_records if each.header("ce_type") != HEAD]
        seen |= {name for each in events for name, _ in each.headers}
        wrong = {f"{each.partition}/{each.offset}": faults(each, names) for each in events if faults(each, names)}
        check(
            f"each of {len(events)} events of {topic} has the headers of docs/wire.md in form and order",
            not wrong,
            wrong,
        )
        numbers = {}
        for each in events:
            numbers.setdefault(each.header("ce_sourceepoch"), set()).add(
                (int(each.header("ce_sequence")), each.header("ce_id"))
            )
        gaps = {
            epoch: sorted(all_of)
            for epoch, all_of in numbers.items()
            if sorted(number for number, _ in all_of) != list(range(1, len(all_of) + 1))
        }
        check(f"the sequence of {topic} begins at 1 and has no gap", not gaps, gaps)
        places = {}
        for each in events:
            places.setdefault(each.key, set()).add(each.partition)
        check(f"each key of {topic} has one partition", all(len(each) == 1 for each in places.values()), places)
        heads(platform, topic)
        entries = {}

        def on_timeline():
            shown = platform.entries(service=topic.partition(".")[0])
            entries.update({entry["event_id"]: entry for entry in shown})
            return {each.header("ce_id") for each in events} <= set(entries)

        check(
            f"each event of {topic} is on the timeline",
            eventually(15, on_timeline),
            {each.header("ce_id") for each in events} - set(entries),
        )
        differ = {
            each.header("ce_id"): disagreements(platform, each, entries[each.header("ce_id")])
            for each in events
            if each.header("ce_id") in entries
        }
        differ = {key: value for key, value in differ.items() if value}
        check(f"the timeline says of each event of {topic} what kcat reads, data byte for byte", not differ, differ)
        differ = {each.header("ce_id"): misread(each) for each in events if misread(each)}
        check(f"the SDK decodes each event of {topic}, and agrees, in both its bindings", not differ, differ)
    check("each header of docs/wire.md was seen", seen == set(names), set(names) ^ seen)
    placed = [each for each in records["order.events.v1"] if each.header("ce_type") == "order.order.placed.v1"]
    check(
        "the order's record carries the trace of its request, and the trace state",
        len(placed) == 1
        and placed[0].key.decode() == order
        and placed[0].header("traceparent").split("-")[1] == trace
        and placed[0].header("tracestate") == "vendor=a1,other=b2",
        [each.headers for each in placed],
    )


def heads(platform, topic):
    """A head in each partition says how far the source is."""
    found = {}

    def complete():
        records = kcat.consume(platform.broker, topic)
        events = [int(each.header("ce_sequence")) for each in records if each.header("ce_type") != HEAD]
        found.clear()
        for each in records:
            if each.header("ce_type") == HEAD:
                found[each.partition] = (each.key, dict(each.headers), json.loads(each.value))
        return set(found) == {0, 1, 2, 3} and all(
            key is None
            and head["sequence"] == max(events)
            and head["partitions"] == 4
            and head["epoch"] == 1
            and head["source"] == headers["ce_source"].decode() == "/services/" + topic.partition(".")[0]
            and list(headers) == ["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"]
            for key, headers, head in found.values()
        )

    check(f"a head in each partition of {topic} names the newest number", eventually(10, complete, 0.2), found)
