"""What a producer can get wrong, or do in a way that nobody expects, and what has to become of it."""

import json
import os
import uuid
from dataclasses import dataclass, field

from foreign import SOURCE, STRUCTURED, as_shown, attributes, headers
from kcat import TOMBSTONE

PLAIN = b'{"n":1}'
TARGET = {"type": "invoice", "id": "7", "version": None}


@dataclass
class Case:
    name: str
    kind: str
    headers: list
    value: object = PLAIN
    key: object = "invoice-7"
    # The reason of the dead letter, where it must become one.
    reason: str | None = None
    # Otherwise the data of the entry as it is shown, and what else is special about it.
    data: bytes | None = None
    members: dict = field(default_factory=dict)


def cases(suffix=""):
    """Each with ids and types of its own; the suffix makes the types others."""
    found = []

    def kind(name):
        return f"billing.case.{name}{suffix}.v1"

    def entry(name, slug, value=PLAIN, shown=None, key="invoice-7", given=None, members=None, type=None, **changes):
        each = type or kind(slug)
        found.append(
            Case(
                name,
                each,
                headers(each, **changes) if given is None else given(each),
                value,
                key,
                data=value if shown is None else shown,
                members=members or {},
            )
        )

    def letter(name, slug, reason, value=PLAIN, key="invoice-7", given=None, **changes):
        each = kind(slug)
        found.append(Case(name, each, headers(each, **changes) if given is None else given(each), value, key, reason))

    def structured(content_type=STRUCTURED):
        """The only header beside a value that is made by `body`."""
        return lambda _: [("content-type", content_type)]

    def body(slug, **changes):
        return json.dumps({**attributes(kind(slug)), **changes}).encode()

    entry(
        "only the required attributes",
        "required",
        content_type=None,
        time=None,
        subject=None,
        members={"target": None, "trace_id": None, "span_id": None},
    )
    entry(
        "a type that nobody knows, without a version",
        "",
        type=f"com.acme.Thing-Happened{suffix}",
        members={"target": TARGET},
    )
    entry("900 kB of data", "large", json.dumps({"text": "x" * (900_000 - 12)}).encode())
    for name, slug, value, content_type in (
        ("text as data", "text", b"no JSON, \xc3\xa4\n", "text/plain"),
        ("data that is no JSON, without content type", "untyped", b"no JSON", None),
        ("data that is no JSON and says it is", "lying", b"{no JSON}", "application/json"),
        ("JSON with a comma too many", "comma", b'{"n":1,}', "application/json"),
        ("data that is not UTF-8", "latin", b'{"n":"\xe4\xff\xfe"}', "application/json"),
        ("a string of half a surrogate", "surrogate", b'{"n":"\\ud800"}', "application/json"),
        ("bytes of all kinds", "bytes", bytes(range(256)), "application/octet-stream"),
        ("data 400,000 arrays deep", "deep", b"[" * 400_000 + b"]" * 400_000, "application/json"),
    ):
        entry(name, slug, value, as_shown(value), content_type=content_type)
    entry("data of no bytes", "empty", b"", b"null")
    entry("a tombstone, which is an event without data", "tombstone", TOMBSTONE, b"null")
    entry("a record without key", "keyless", key=None)
    entry("a key of 10,000 bytes", "long_key", key=key_of(10_000))
    entry(
        "1,000 headers more", "headers", given=lambda each: headers(each) + [(f"x-{n}", str(n)) for n in range(1_000)]
    )
    entry("a header of 100 kB", "header", given=lambda each: [("x-note", "y" * 100_000), *headers(each)])
    entry(
        "headers that are there twice, of which the last counts",
        "doubled",
        given=lambda each: [("ce_type", "billing.other.v1"), ("ce_id", "one"), ("ce_subject", "x/y"), *headers(each)],
        members={"target": TARGET},
    )
    long_source = f"{SOURCE}/x{'ä' * 495}"
    entry(
        "attributes of 1,024 bytes each",
        "longest",
        id=f"{uuid.uuid4()}{'ä' * 494}",
        source=long_source,
        subject="s" * 1_024,
        members={
            "target": {"type": "", "id": "s" * 1_024, "version": None},
            "source": long_source,
            "service": long_source.rpartition("/")[2],
        },
    )
    entry("a time ten years ahead", "ahead", time="2036-11-30T00:00:00Z")
    entry(
        "a time in nanoseconds and with an offset",
        "offset",
        time="2026-01-31T23:59:59.123456000+02:00",
        members={"time": "2026-01-31T21:59:59.123456Z"},
    )
    entry("a traceparent that is none", "trace", traceparent="00-nonsense", members={"trace_id": None, "span_id": None})
    entry("an outcome that is none", "outcome", outcome="splendid")
    entry(
        "an actor that is named",
        "actor",
        actorid="bookkeeper",
        actortype="user",
        actorip="2001:db8::1",
        outcome="denied",
        members={"actor": {"type": "user", "id": "bookkeeper", "ip": "2001:db8::1"}, "outcome": "denied"},
    )
    entry(
        "structured mode with data_base64",
        "base64",
        body("base64", data_base64="AP8B"),
        as_shown(b"\x00\xff\x01"),
        given=structured(),
    )
    entry(
        "structured mode with JSON in data_base64",
        "base64_json",
        body("base64_json", data_base64="eyJuIjoxLjB9", datacontenttype="application/json"),
        b'{"n":1.0}',
        given=structured(),
    )
    entry(
        "structured mode with an escaped name, a number and a truth",
        "escaped",
        body("escaped", subjectversion=3, new=True)[:-1] + b', "d\\u0061ta": {"n" :1.0} }',
        b'{"n" :1.0}',
        given=structured(),
        members={"target": {**TARGET, "version": 3}},
    )
    entry("structured mode without data", "dataless", body("dataless"), b"null", given=structured())

    for name, slug, reason, changes in (
        ("a subject that is not UTF-8", "subject", "invalid_attribute", {"subject": b"invoice/\xff\xfe"}),
        ("a subject of 100 kB", "long_subject", "invalid_attribute", {"subject": "s" * 100_000}),
        ("a subject of 1,025 bytes", "subject_1025", "invalid_attribute", {"subject": "s" * 1_025}),
        ("specversion 0.3", "version_03", "unsupported_version", {"specversion": "0.3"}),
        ("specversion 2.0", "version_20", "unsupported_version", {"specversion": "2.0"}),
        ("no specversion", "versionless", "not_a_cloudevent", {"specversion": None}),
        ("an empty id", "empty_id", "invalid_attribute", {"id": ""}),
        ("no id", "no_id", "invalid_attribute", {"id": None}),
        ("no source", "no_source", "invalid_attribute", {"source": None}),
        ("no type", "no_type", "invalid_attribute", {"type": None}),
        ("a time that is none", "time", "invalid_attribute", {"time": "yesterday"}),
        ("a 30th of February", "february", "invalid_attribute", {"time": "2026-02-30T10:00:00Z"}),
        ("a time without offset", "zoneless", "invalid_attribute", {"time": "2026-01-31T23:59:59"}),
        ("a negative sequence", "negative", "invalid_attribute", {"sequence": "-1"}),
        ("a sequence that is no whole number", "fraction", "invalid_attribute", {"sequence": "1.5"}),
        ("a sequence beyond 64 bits", "beyond", "invalid_attribute", {"sequence": "9" * 20}),
        ("the source of another service", "mismatch", "source_mismatch", {"source": "/services/order"}),
        (
            "another service's source behind a host",
            "mismatch_host",
            "source_mismatch",
            {"source": "https://x.example/services/order"},
        ),
    ):
        letter(name, slug, reason, **changes)
    letter("no headers at all", "bare", "not_a_cloudevent", b"\x00\xff\r\n", given=lambda _: [])
    letter("a tombstone without headers", "bare_tombstone", "not_a_cloudevent", TOMBSTONE, given=lambda _: [])
    letter(
        "no headers, no bytes, and a key that is not UTF-8",
        "bare_empty",
        "not_a_cloudevent",
        b"",
        b"\xff\xfe",
        given=lambda _: [],
    )
    letter(
        "headers without values, and one twice",
        "valueless",
        "not_a_cloudevent",
        key=None,
        given=lambda _: [("ce_specversion", None), ("x", "1"), ("x", b"\xff"), ("y", "")],
    )
    for name, slug, reason, value in (
        ("broken JSON", "broken", "not_a_cloudevent", body("broken")[:-1]),
        ("a comma too many", "json_comma", "not_a_cloudevent", body("json_comma")[:-1] + b",}"),
        ("an array", "array", "not_a_cloudevent", b"[" + body("array") + b"]"),
        (
            "no specversion",
            "json_version",
            "not_a_cloudevent",
            body("json_version").replace(b"specversion", b"version"),
        ),
        ("UTF-16", "utf16", "not_a_cloudevent", body("utf16", data={"n": 1}).decode().encode("utf-16")),
        ("base64 that is none", "bad_base64", "invalid_attribute", body("bad_base64", data_base64="*")),
        ("data twice", "both", "invalid_attribute", body("both", data_base64="AA==", data=1)),
        ("a NUL in its subject", "nul", "invalid_attribute", body("nul", subject="a/\0")),
        ("an object for its id", "object_id", "invalid_attribute", body("object_id", id={"a": 1})),
    ):
        letter(f"structured mode with {name}", slug, reason, value, given=structured())
    letter(
        "structured mode of a format that nobody reads",
        "avro",
        "not_a_cloudevent",
        body("avro"),
        given=structured("application/cloudevents+avro"),
    )
    letter(
        "a batch of events",
        "batch",
        "not_a_cloudevent",
        b"[" + body("batch") + b"]",
        given=structured("application/cloudevents-batch+json"),
    )
    # The last, for what cannot be put aside may be in the way of all others.
    letter(
        "a key of 10,000 bytes, and no event",
        "bare_long_key",
        "not_a_cloudevent",
        key=key_of(10_000),
        given=lambda _: [],
    )
    return found


def key_of(size):
    """Bytes that no index can make smaller; without NUL, tab and line end, which an argument cannot hold."""
    return os.urandom(size).translate(bytes(each if each not in b"\0\t\n" else 0x61 for each in range(256)))
