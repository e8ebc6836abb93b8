"""A producer that is none of the platform's: what it writes well is on the timeline."""

import itertools
import json
import secrets
import uuid
from datetime import datetime, timezone

import kcat
import sdk
from local import check, eventually

TOPIC = "billing.events.v1"
SOURCE = "https://billing.example/invoices"
STRUCTURED = "application/cloudevents+json"
# Valid, and such as no encoder writes it: whoever decodes and encodes it again gives itself away.
ODD = b'{ "b":1.50,\n\t"a":[1e2, "\\u00e4\\/\xc3\xa4", {}], "b" :-0 ,"data":{"data":"x"}, "":"}\\"]" }'
UNKNOWN = {"type": "unknown", "id": "unknown", "ip": None}


def attributes(kind, **changes):
    """The attributes of an event, by name; a change to `None` leaves one out."""
    usual = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": SOURCE,
        "type": kind,
        "time": "2026-01-31T23:59:59.000001Z",
        "subject": "invoice/7",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def headers(kind, content_type="application/json", **changes):
    """The same as headers of binary mode."""
    found = [("ce_" + name, value) for name, value in attributes(kind, **changes).items()]
    return found + ([("content-type", content_type)] if content_type else [])


def trace():
    """A trace id, a span id, and the `traceparent` of both."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return trace_id, span_id, f"00-{trace_id}-{span_id}-01"


class Stuck(Exception):
    """Nothing that comes behind can be told any more."""


class Producer:
    def __init__(self, platform):
        self.platform = platform
        self.numbers = itertools.count(1)

    def put(self, partition, value, given, key="invoice-7", topic=TOPIC):
        """Where the record stands."""
        return topic, partition, kcat.produce(self.platform.broker, topic, partition, value, given, key)

    def at(self, place, action):
        """The entry of a record, with its data; `None` where there is none."""
        for each in self.platform.entries(action=action):
            entry, data = self.platform.entry(each["id"])
            if (entry["kafka"]["topic"], entry["kafka"]["partition"], entry["kafka"]["offset"]) == place:
                return entry, data
        return None

    def letter(self, place):
        """The one dead letter of a record, or `None`."""
        found = self.platform.letters().get(place, [])
        return found[0] if len(found) == 1 else None

    def passes(self, partition, topic=TOPIC):
        """True once a good event behind everything that is in the partition has arrived, or `Stuck`."""
        action = f"billing.behind.n{next(self.numbers)}"
        place = self.put(partition, b'{"good":true}', headers(action + ".v1"), topic=topic)
        if eventually(15, lambda: self.at(place, action)) is None:
            raise Stuck(f"partition {partition} of {topic} does not go on to offset {place[2]}")
        return True

    def expect(self, name, place, kind, data, **members):
        """One check: the record is on the timeline, as it was sent."""
        action = kind.rpartition(".v")[0] or kind
        # The topic is new to the consumer when the first one comes: it looks for topics each ten seconds.
        eventually(20, lambda: self.at(place, action) or self.letter(place))
        found = self.at(place, action)
        if not found:
            return check(name, False, f"not on the timeline; dead letter: {self.letter(place)}")
        entry, seen = found
        wanted = {
            "service": "invoices",
            "action": action,
            "type": kind,
            "actor": UNKNOWN,
            "source": SOURCE,
            "outcome": "unknown",
            "tenant": "default",
            "epoch": None,
            "sequence": None,
            **members,
        }
        differ = {key: (entry[key], value) for key, value in wanted.items() if entry[key] != value}
        if seen != data:
            differ["data"] = (seen[:200], data[:200])
        return check(name, not differ, f"(seen, wanted): {differ}")


def as_shown(data):
    """How the timeline shows data that is no JSON."""
    return json.dumps(kcat.base64(data)).encode()


def by_hand(producer):
    """Records as somebody with nothing but kcat writes them."""
    members = {"target": {"type": "invoice", "id": "7", "version": None}, "time": "2026-01-31T23:59:59.000001Z"}
    trace_id, span_id, parent = trace()
    kind = "billing.invoice.issued.v1"
    # The trace of the event counts, not that of its transport.
    place = producer.put(0, ODD, headers(kind, traceparent=parent) + [("traceparent", trace()[2])])
    producer.expect(
        "an event of kcat in binary mode is on the timeline",
        place,
        kind,
        ODD,
        trace_id=trace_id,
        span_id=span_id,
        **members,
    )
    written = (
        ("in structured mode", STRUCTURED, "billing.invoice.sent.v1"),
        ("in structured mode with a character set", f"{STRUCTURED}; charset=UTF-8", "billing.invoice.read.v1"),
        ("in structured mode, its media type in capitals", "Application/CloudEvents+JSON", "billing.invoice.paid.v1"),
    )
    for name, content_type, kind in written:
        trace_id, span_id, parent = trace()
        text = json.dumps(attributes(kind, traceparent=parent, datacontenttype="application/json")).encode()
        # The data in the middle, with space around it.
        value = b'\n{ "data" :  ' + ODD + b" \t," + text[1:]
        place = producer.put(1, value, [("content-type", content_type)])
        producer.expect(
            f"an event of kcat {name} is on the timeline",
            place,
            kind,
            ODD,
            trace_id=trace_id,
            span_id=span_id,
            **members,
        )


def by_sdk(producer):
    """Records as CloudEvents' SDK makes them."""
    data = {"total": {"amount": 9800, "currency": "EUR"}, "note": "Grüße", "lines": [1, 2.5, None, True]}
    at = datetime(2026, 1, 31, 23, 59, 59, 1, tzinfo=timezone.utc)
    members = {"target": {"type": "invoice", "id": "7", "version": None}, "time": "2026-01-31T23:59:59.000001Z"}
    made = (
        (
            "in binary mode",
            sdk.to_binary,
            "billing.sdk.binary.v1",
            at,
            "application/json",
            data,
            json.dumps(data).encode(),
        ),
        (
            "in structured mode",
            sdk.to_structured,
            "billing.sdk.structured.v1",
            at,
            "application/json",
            data,
            json.dumps(data).encode(),
        ),
        (
            "in structured mode with bytes",
            sdk.to_structured,
            "billing.sdk.bytes.v1",
            at,
            "application/octet-stream",
            b"\x00\xff\x01",
            as_shown(b"\x00\xff\x01"),
        ),
        (
            "in structured mode with text",
            sdk.to_structured,
            "billing.sdk.text.v1",
            at,
            "text/plain",
            'Grüße, "du"\n',
            as_shown('Grüße, "du"\n'.encode()),
        ),
        (
            "in binary mode of its versions 1.x",
            sdk.to_binary_old,
            "billing.sdk.old_binary.v1",
            members["time"],
            "application/json",
            data,
            json.dumps(data).encode(),
        ),
        (
            "in structured mode of its versions 1.x, the media type set right",
            sdk.to_structured_old,
            "billing.sdk.old_structured.v1",
            members["time"],
            "application/json",
            data,
            json.dumps(data).encode(),
        ),
    )
    for name, make, kind, time, content_type, given, shown in made:
        trace_id, span_id, parent = trace()
        fields = attributes(kind, time=time, traceparent=parent, datacontenttype=content_type, partitionkey="invoice-7")
        found, key, value = make(fields, given)
        if make is sdk.to_structured_old:
            found = [("content-type", STRUCTURED)]
        place = producer.put(2, value, found, key)
        producer.expect(
            f"an event of the SDK {name} is on the timeline",
            place,
            kind,
            shown,
            trace_id=trace_id,
            span_id=span_id,
            **members,
        )
    # They give structured mode the data's media type, so nobody can tell it from data that is no event.
    fields = attributes("billing.sdk.old_wrong.v1", datacontenttype="application/json")
    found, key, value = sdk.to_structured_old(fields, data)
    place = producer.put(2, value, found, key)
    letter = eventually(10, lambda: producer.letter(place))
    check(
        "structured mode as the SDK's versions 1.x make it: put aside as not_a_cloudevent; the partition goes on",
        producer.passes(2) and letter and letter["reason"] == "not_a_cloudevent",
        letter,
    )


def run(producer):
    by_hand(producer)
    by_sdk(producer)
