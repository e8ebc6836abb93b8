"""Lists of spans to make: the edges by hand, and by chance from a seed. Tests/SpanFixture/SpanDocument.swift says how
they are written."""

from dataclasses import dataclass, field

from wire import bits

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Case:
    name: str
    spans: list
    # Further ones of the fixture.
    arguments: list = field(default_factory=list)
    # Of the resource, behind the service's name.
    resource: list = field(default_factory=list)
    gzip: bool = False

    @property
    def options(self):
        pairs = [part for name, value in self.resource for part in ("--resource", f"{name}={value}")]
        return [*["--gzip"] * self.gzip, *pairs, *self.arguments]


# Text that has broken the encoders of others. No two of them are equal by Unicode's rules: a dictionary of Swift would
# hold one only.
TEXTS = [
    "", " ", "x", "GET /v1/orders/{id}", "\x00", "a\x00b", "\n", "\r\n", "\t", "\"", "\\", "\x7f", "\x80", "\x85",
    "\xa0", "\xff", "é", "a\u0301\u0302", "\u2028", "\ufeff", "\ufffd", "\uffff", "\ufffe", "\U0010ffff", "日本語", "🏮",
    "👩‍👩‍👧‍👦", "🇩🇪🇯🇵", "\u202eabc", "".join(map(chr, range(1, 32))), "</script>", "%s%n%x", "${jndi:ldap://x}",
    "' OR 1=1 --", "\x1b[2J", "NaN", "null", "0", "\x0a\x10\x12\x08",
]
# Around the places where a length takes another byte.
LENGTHS = [0, 1, 54, 55, 56, *range(119, 130), 255, 256, *range(16_370, 16_390), 70_000]
INT32 = [0, 1, -1, 127, 128, -128, 2 ** 31 - 1, -(2 ** 31)]
INT64 = [*INT32, 2 ** 31, -(2 ** 31) - 1, 2 ** 53 + 1, 2 ** 63 - 1, -(2 ** 63)]
DOUBLES = [
    f"{bits(each):016x}" for each in (
        0.0, -0.0, 1.0, -1.0, 0.1, 1e300, -1e300, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
        2.0 ** 53 + 2, float("inf"), float("-inf"),
    )
] + ["7ff8000000000000", "fff8000000000000", "7ff8dead0000beef"]
TIMES = [0, 1, 999, 10 ** 9, 1_700_000_000_123_456_789, 2 ** 53 + 1, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1]
LIMITS = ["attributes", "events", "links", "attributes_per_event", "attributes_per_link"]
KINDS = ["internal", "server", "client", "producer", "consumer"]
VALUES = {
    "int32": INT32, "int64": INT64, "double": DOUBLES, "bool": [True, False], "string": TEXTS, "described": TEXTS,
}


def span(name="work", **more):
    return {"name": name, "start": 1_700_000_000_000_000_000, "end": 1_700_000_000_000_000_001, **more}


def edges():
    every = [
        [f"{type} {number}", type, value] for type, values in VALUES.items() for number, value in enumerate(values)
    ]
    lists = [[f"{type}[]", f"{type}[]", values] for type, values in VALUES.items()]
    lists += [[f"{type}[] of none", f"{type}[]", []] for type in VALUES]
    lists += [[f"{type}[] of one", f"{type}[]", values[:1]] for type, values in VALUES.items()]
    wide = {"limits": {"attributes": 1_000, "attributes_per_event": 1_000, "attributes_per_link": 1_000}}
    many = [[f"key {number}", "int64", number] for number in range(300)]
    yield Case("a document without spans", [])
    yield Case("attributes of every type", [span(attributes=every + lists, **wide)])
    yield Case(
        "attributes of every type, of events and links",
        [span(), span(events=[{"name": "e", "time": 1, "attributes": every + lists}],
                      links=[{"span": 0, "attributes": every + lists}], **wide)],
    )
    yield Case("hostile names and keys", [
        span(text, attributes=[[text, "string", text]],
             events=[{"name": text, "time": 2, "attributes": [[text, "bool", True]]}],
             status={"code": "error", "message": text})
        for text in TEXTS
    ])
    yield Case("lengths around a byte more", [
        span("n" * length, attributes=[["k" * length, "string", "v" * length]]) for length in LENGTHS
    ] + [
        span(attributes=[["list", "bool[]", [True] * length], ["numbers", "int64[]", [-1] * length]])
        for length in LENGTHS
    ])
    yield Case("kinds", [span(kind=kind) for kind in KINDS])
    yield Case("times", [span(start=start, end=end) for start in TIMES for end in TIMES])
    yield Case("times of events", [span(events=[{"name": "e", "time": time} for time in TIMES])])
    yield Case("times that nobody says", [{"name": "now"}, {"name": "now", "parent": 0, "events": [{"name": "e"}]}])
    yield Case("statuses", [
        span(), span(status={"code": "ok"}), span(status={"code": "error"}),
        span(status={"code": "error", "message": ""}), span(status={"code": "error", "message": "no \x00 🏮"}),
    ])
    yield Case("a status of ok has no message", [span(status={"code": "ok", "message": "told"})])
    yield Case("parents", [
        span("root"), span(parent=0), span(parent=1), span(parent=0), span("other root"), span(parent=4, kind="client"),
        *[span(parent=index) for index in range(5, 40)],
    ])
    yield Case("remote parents", [
        span(parent={"traceparent": SAMPLED}), span(parent=0),
        span(parent={"traceparent": SAMPLED[:-2] + "03"}), span(parent=2),
        span(parent={"traceparent": SAMPLED, "tracestate": "a=1,b@c=2"}), span(parent=4), span(parent=5),
        span(parent={"traceparent": "01" + SAMPLED[2:] + "-what-comes-later"}),
        span(parent={"traceparent": SAMPLED[:-2] + "ff"}),
        span(parent={"traceparent": "00-" + "f" * 32 + "-" + "f" * 16 + "-01"}),
        span(parent={"traceparent": "00-" + "0" * 31 + "1-" + "0" * 15 + "1-01"}),
        span(links=[{"span": 4}, {"span": 2}]),
    ])
    yield Case("remote parents that are not sampled", [
        span(parent={"traceparent": SAMPLED[:-2] + "00"}), span(parent=0),
        span(parent={"traceparent": SAMPLED[:-2] + "02"}),
        span("root", links=[{"span": 0}, {"span": 2}]), span(parent=3),
    ])
    yield Case("malformed parents", [
        span(parent={"traceparent": each, "tracestate": "a=1"}) for each in (
            "", "00", SAMPLED + "-00", SAMPLED.upper(), "ff" + SAMPLED[2:], SAMPLED.replace("b7ad6b7169203331", "0" * 16),
            SAMPLED.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32), SAMPLED.replace("-", "_"), SAMPLED + " ",
        )
    ])
    yield Case("links", [
        span("a"), span("b", parent=0), span("c"),
        span(links=[{"span": 0}, {"span": 0}, {"span": 1, "attributes": [["k", "int32", 1]]}, {"span": 2}]),
    ])
    for limit in (0, 1, 2, 5):
        yield Case(f"at most {limit} of each", [
            span("first"),
            span(
                attributes=[*many[:7], ["key 0", "string", "again"], ["key 6", "bool", True]],
                events=[{"name": f"{number}", "time": number, "attributes": many[:number]} for number in range(7)],
                links=[{"span": 0, "attributes": many[:number]} for number in range(7)],
                limits={key: limit for key in LIMITS},
            ),
        ])
    yield Case("more than the limits that nobody set", [
        span("first"),
        span(attributes=many, events=[{"name": f"{number}", "time": number} for number in range(300)],
             links=[{"span": 0, "attributes": many}] * 300),
    ])
    for limit in (0, 1, 5):
        attributes = [[text[:9], "string", text] for text in ("", "a", "abcde", "abcdef", "éé日本語🏮x" * 50)] + [
            ["described", "described", "x" * 100], ["list", "string[]", ["abcdefgh", "", "é" * 10]],
            ["many", "described[]", ["abcdefgh"] * 3], ["number", "int64", 123_456_789],
            ["double", "double", DOUBLES[4]],
        ]
        yield Case(f"text of at most {limit} characters", [
            span(name="a name is no attribute", attributes=attributes, limits={"attribute_length": limit},
                 events=[{"name": "nor is that of an event", "time": 1, "attributes": attributes}],
                 links=[], status={"code": "error", "message": "nor is a status"}),
        ])
    # What a person sees as one character may be as long as whoever sends it likes.
    yield Case("text of at most 5 characters, of which one is long", [
        span(attributes=[["mark", "string", "e" + "\u0301" * 10_000], ["family", "string", "👩‍👩‍👧‍👦" * 10]],
             limits={"attribute_length": 5}),
    ])
    yield Case("a key twice", [
        span(attributes=[["k", "int64", 1], ["k", "string", "two"], ["l", "bool", False], ["k", "double", DOUBLES[2]]]),
    ])
    yield Case("several batches", [span(f"span {number}") for number in range(1_200)])
    yield Case(
        "several batches, compressed", [span(f"span {number}", attributes=every[:30]) for number in range(600)], gzip=True,
    )
    yield Case("batches of one", [span(f"span {number}") for number in range(20)], ["--batch", "1"])
    yield Case(
        "a resource of hostile text", [span()],
        resource=[(text.replace("\x00", "").replace("=", "") or "none", text.replace("\x00", "")) for text in TEXTS],
    )
    headers = ["authorization=Bearer a=b=c", "x-two=2", "x-none="]
    yield Case("headers", [span()], [part for header in headers for part in ("--header", header)])


# By chance

def by_chance(dice):
    spans = []
    for _ in range(dice.choice([1, 1, 2, 3, 5, 8, 13])):
        spans.append(any_span(dice, len(spans)))
    resource = [(f"r.{number}", dice.choice(TEXTS).replace("\x00", "")) for number in range(dice.choice([0, 0, 1, 4]))]
    batch = ["--batch", str(dice.choice([1, 2, 3, 512]))]
    return Case("by chance", spans, batch, resource, gzip=dice.random() < 0.3)


def any_span(dice, index):
    made = {"name": text(dice), "kind": dice.choice(KINDS), "start": time(dice), "end": time(dice)}
    if dice.random() < 0.5:
        made["end"] = min(made["start"] + dice.randrange(10 ** 9), 2 ** 64 - 1)
    if index and dice.random() < 0.6:
        made["parent"] = dice.randrange(index)
    elif dice.random() < 0.4:
        flags = dice.choice(["01", "01", "03", "00", "ff"])
        made["parent"] = {"traceparent": f"00-{dice.getrandbits(128) or 1:032x}-{dice.getrandbits(64) or 1:016x}-{flags}"}
        if dice.random() < 0.5:
            keys = dice.sample(range(1_000), dice.randint(1, 32))
            made["parent"]["tracestate"] = ",".join(f"k{key}=v{dice.randrange(10 ** 6)}" for key in keys)
    # Only of text that everybody counts alike.
    is_cut = dice.random() < 0.3
    if dice.random() < 0.5:
        made["limits"] = {name: dice.randrange(6) for name in dice.sample(LIMITS, dice.randint(1, 5))}
    if is_cut:
        made.setdefault("limits", {})["attribute_length"] = dice.choice([0, 1, 3, 20])
    made["attributes"] = attributes(dice, is_cut)
    made["events"] = [
        {"name": text(dice), "time": time(dice), "attributes": attributes(dice, is_cut)}
        for _ in range(dice.choice([0, 0, 1, 3, 8]))
    ]
    if index:
        made["links"] = [
            {"span": dice.randrange(index), "attributes": attributes(dice, is_cut)}
            for _ in range(dice.choice([0, 0, 1, 3, 8]))
        ]
    if dice.random() < 0.5:
        made["status"] = {"code": "error", "message": text(dice)} if dice.random() < 0.6 else {"code": "ok"}
    return made


def text(dice):
    if dice.random() < 0.1:
        return dice.choice("aé日🏮") * dice.choice(LENGTHS)
    return "".join(dice.choice(TEXTS) for _ in range(dice.choice([0, 1, 1, 2, 4])))


def time(dice):
    return dice.choice([dice.choice(TIMES), dice.getrandbits(64), 1_600_000_000_000_000_000 + dice.getrandbits(56)])


def attributes(dice, is_plain):
    found = []
    for _ in range(dice.choice([0, 1, 2, 5, 9])):
        # Few enough that some come twice.
        key = f"key {dice.randrange(12)}"
        type = dice.choice(list(VALUES))
        count = dice.choice([None, None, 0, 1, 3])
        values = [value(dice, type, is_plain) for _ in range(1 if count is None else count)]
        found.append([key, type, values[0]] if count is None else [key, type + "[]", values])
    return found


def value(dice, type, is_plain):
    if type in ("string", "described"):
        return "".join(dice.choice("abcé日🏮") for _ in range(dice.randrange(40))) if is_plain else text(dice)
    if type == "double" and dice.random() < 0.5:
        return f"{dice.getrandbits(64):016x}"
    if type == "int64" and dice.random() < 0.5:
        return dice.getrandbits(64) - 2 ** 63
    return dice.choice(VALUES[type])
