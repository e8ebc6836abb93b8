"""Lists of metrics to record that an exposition may stumble over: by chance from a seed, and the edges by hand."""

import struct
from dataclasses import dataclass, field

from expectation import Family, escaped, expected, label_set

SCHEMES = ("allow-utf-8", "underscores", "dots", "values")


@dataclass
class Case:
    name: str
    document: dict
    utf8: bool = False
    # How names are written that are not classic; None: as for a scraper that says nothing of it.
    scheme: str | None = None
    # Whether only its parsing is held: what is shown of it is the registry's to decide.
    is_open: bool = False

    @property
    def arguments(self):
        return ["--utf8-names"] * self.utf8 + (["--escaping", self.scheme] if self.scheme else [])

    @property
    def is_quoted(self):
        return self.scheme == "allow-utf-8"


# By chance

NAMES = [
    "requests", "http.server.duration", "a:b", "_", "__", "total", "_total", "_seconds", "_bytes", "_ratio", "_bucket", "_sum",
    "_count", "_created", "_info", ".", "-", " ", "9", "0", "200", "é", "日本", "🏮", "\n", "\"", "\\", "{", "}", "=", ",", "#",
    "\t", "NaN", "U__", "µs", "\u202e", "x",
]
LABELS = [
    "", "path", "code", "http.method", "le-gal", "0", "9a", "a:b", "a.b", "a_b", "__x", "__name__", "le", "exported_le", "é",
    "日本", "🏮", "xé", "x日本", "x🏮", " ", "\"", "\n", "\\", "x\"", "x\n", "x\\", "quantile", "x" * 200,
]
VALUES = [
    "", " ", "/", "a", ";", "a;b", "\\", "\\\\", "\"", "\\\"", "\n", "\\n", "\n\n", "\r", "\r\n", "\t", "{}", "}", "},{", "=", ",",
    "\",\"", "a=\"b\"", " # {trace_id=\"x\"} 1 2", "# EOF", "\n# EOF\n", "# TYPE x counter", "".join(map(chr, range(1, 32))),
    "\x7f", "\x85", "\xa0", "\u2028", "\ufeff", "\ufffd", "\U0010ffff", "é", "e\u0301", "日本語", "🏮👩‍👩‍👧", "\u202eabc", "'", "`",
    "+Inf", "NaN", "%s%n", "x" * 5000, "🏮" * 300, "ends in \\",
]
HELPS = [
    "", " ", "Plain words.", "a\\b\nc \"d\"", "  leading", "trailing  ", "\\n", "ends in \\", "\n", "\r", "\t", "é 🏮 日本", "# EOF",
    "# TYPE x counter", "\\x", "x" * 3000,
]
BUCKETS = [
    [], [0], [1], [1, 2, 5], [5, 2, 1, 2], [-1, 0, 1], [-5.5], [0.1 + 0.2], [5e-324, 1e-300, 1e300], ["NaN", 1, "+Inf", "-Inf"],
    [0.001 * step for step in range(1, 90)], list(range(300)), [2 ** 53 - 1, 2 ** 53 + 2], [-0.0],
]
WHOLE = [0, 1, 2, 5, 100, 2 ** 31, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 1, 2 ** 54 + 1]
NUMBERS = [
    0, -0.0, 1, -1, 0.1, 1e15, 1e16, 1e17, 123456789.123, 1e300, -1e300, 1e-300, 5e-324, -5e-324, 2.2250738585072014e-308,
    1.7976931348623157e308, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 1, -(2 ** 53) - 1, "NaN", "+Inf", "-Inf",
]
FRACTIONS = [-3, 0.5, 0.1, 1e-300, 5e-324, -0.5, "NaN", "+Inf", "-Inf"]
# Labels that the scraper itself adds.
RESERVED = {"instance", "job"}


def by_chance(dice, utf8):
    """A document of a few families, each with a few sets of labels."""
    document = {"metrics": []}
    for number in range(dice.randint(1, 6)):
        kind = dice.choice(["counter", "gauge", "histogram", "timer", "info"])
        parts = [dice.choice(NAMES) for _ in range(dice.choice([0, 1, 1, 2, 2, 3, 5]))]
        common = {"kind": kind, "name": "".join(parts) if kind != "info" else f"build_{number}_info"}
        if dice.random() < 0.7:
            common["help"] = dice.choice(HELPS)
        if kind in ("histogram", "timer"):
            if dice.random() < 0.5:
                common["buckets"] = dice.choice(BUCKETS)
            if dice.random() < 0.5:
                common["native"] = True
        for _ in range(dice.choice([1, 1, 2, 5])):
            add(document, metric(dice, common), utf8)
    return document


def metric(dice, common):
    made = dict(common)
    made["labels"] = [[dice.choice(LABELS), dice.choice(VALUES)] for _ in range(dice.choice([0, 1, 1, 2, 4]))]
    kind = made["kind"]
    if kind == "info":
        return made
    made["values"] = [value(dice, kind) for _ in range(dice.choice([0, 1, 2, 6]))]
    # A duration below zero counts as none, so it is nothing to show as an example.
    is_negative = kind == "timer" and any(each < 0 for each in made["values"])
    if kind != "gauge" and not is_negative and dice.random() < 0.5:
        made["exemplar"] = {"trace_id": f"{dice.getrandbits(128):032x}", "span_id": f"{dice.getrandbits(64):016x}"}
    return made


def value(dice, kind):
    if kind == "timer":
        return dice.choice([*WHOLE, -1, -(2 ** 63), dice.randrange(10 ** 12), dice.randrange(10 ** 6)])
    if kind == "counter":
        return dice.choice([*WHOLE, *FRACTIONS, dice.randrange(10 ** 9), dice.random()])
    if kind == "histogram" and dice.random() < 0.6:
        return dice.choice([dice.random() * 10, dice.randrange(100), dice.expovariate(1)])
    return dice.choice([*NUMBERS, dice.random(), any_number(dice)])


def any_number(dice):
    """A number of any bits, that has digits."""
    while True:
        found = struct.unpack("<d", struct.pack("<Q", dice.getrandbits(64)))[0]
        if found - found == 0:
            return found


def add(document, made, utf8):
    """Adds a metric, unless it asks for what cannot be told: labels that are not the exposer's to give, one name for two
    kinds of recorders, or names that become one only when they are escaped."""
    try:
        families = expected({"metrics": [*document["metrics"], made]}, utf8)
    except ValueError:
        return
    schemes = SCHEMES if utf8 else [None]
    for family in families:
        for labels in family.series:
            names = {escaped(name, scheme, colon=False) for name, _ in labels for scheme in schemes}
            if names & RESERVED or any(name.startswith("__") for name in names):
                return
    if all(is_apart(families, scheme) for scheme in schemes):
        document["metrics"].append(made)


def is_apart(families, scheme):
    """Whether no two names or sets of labels become one by escaping."""
    claims = []
    for family in families:
        claims += Family(escaped(family.name, scheme, colon=True), family.kind).claims
        originals = {name for labels in family.series for name, _ in labels}
        names = {name: escaped(name, scheme, colon=False) for name in originals}
        sets = {label_set([(names[name], value) for name, value in labels]) for labels in family.series}
        if len(sets) < len(family.series) or len(set(names.values())) < len(originals):
            return False
    return len(set(claims)) == len(claims)


# By hand

def one(kind, name, *values, labels=(), **more):
    return {"kind": kind, "name": name, "labels": [list(pair) for pair in labels], "values": list(values), **more}


def edges():
    span = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
    cases = {
        "nothing is recorded": [],
        "recorders without values": [
            one(kind, f"{kind}.x", labels=[("a", "b")], native=True) for kind in ("counter", "gauge", "histogram", "timer")
        ],
        "a counter named only _total": [one("counter", "_total", 1), one("counter", ".total", 2)],
        "metrics whose samples clash are shown once": [
            one("counter", "x", 1), one("gauge", "x", 2), one("gauge", "x_total", 3), one("gauge", "x.created", 4),
            one("counter", "x_created", 5), one("histogram", "h", 1), one("gauge", "h_bucket", 2), one("gauge", "h.sum", 3),
            one("counter", "h", 4), one("gauge", "h_created", 5), one("gauge", "g_count", 6), one("timer", "g", 7),
        ],
        "labels that become one are joined": [
            one("gauge", "g", 1, labels=[("a.b", "2"), ("a-b", ""), ("a_b", "1"), ("", "x"), ("_", "é"), (".", "z"), ("9", ""), ("_9", "")]),
        ],
        "labels that have a meaning for Prometheus": [
            one("timer", "t", 1, labels=[("le", "x"), ("__address__", "y")]), one("gauge", "g", 1, labels=[("le", "x"), ("日本", "y")]),
            one("histogram", "h", 1, labels=[("le", "1"), ("exported_le", "2"), (" le", "3")], native=True, exemplar=span),
            one("gauge", "name", 1, labels=[("__name__", "x")]), one("counter", "named", 1, labels=[("--name--", "x")]),
            {"kind": "info", "name": "x_info", "labels": [["__name__", "x"], ["le", "y"]]},
        ],
        "one value in two ways of composing": [
            one("gauge", "g", 1, labels=[("a", "\u00e9")]), one("gauge", "g", 2, labels=[("a", "e\u0301")]),
        ],
        "histograms with bounds below zero": [one("histogram", "temperature_celsius", -3, -1, 0.5, buckets=[-2, 0, 2], help="")],
        "histograms whose sum is below zero": [one("histogram", "change", -3, 1)],
        "histograms whose sum is no number": [one("histogram", "change", "+Inf", "-Inf", "NaN")],
        "infinities in exponential buckets": [
            one("histogram", "n", "+Inf", "-Inf", 1.7976931348623157e308, 5e-324, -5, 5, 0.0009765625, -0.0009765625, native=True),
        ],
        "exponential buckets that are halved": [
            one("histogram", "n", *[2.0 ** (step / 3) for step in range(-900, 900)], native=True),
            one("histogram", "n", *[-1.5 ** step for step in range(80)], native=True),
            one("timer", "t", *[3 ** step for step in range(39)], native=True),
        ],
        "more bounds than exemplars are told apart by": [
            one("histogram", "wide", *range(-1, 302), buckets=list(range(300)), exemplar=span),
        ],
        "whole numbers beyond those of a Double": [
            one("counter", "big", 2 ** 53, 1, exemplar=span), one("counter", "mixed", 2 ** 53, 1, 0.5),
            one("timer", "big_seconds", 2 ** 62, 1),
        ],
        "more than one piece": [
            one("timer", "pieces_seconds", 10 ** 7 * step, labels=[("route", f"/{step}/" + "x" * 60), ("n", str(step))], help="Many.")
            for step in range(600)
        ],
    }
    made = [Case(name, {"metrics": metrics}) for name, metrics in cases.items()]
    beside = [{"kind": "info", "name": "x_info", "labels": [["a", "b"]]}, one("counter", "x", 1)]
    made.append(Case("an information metric and a counter of its name", {"metrics": beside}, is_open=True))
    names = [
        one("gauge", "temp\u00e9rature", 1, labels=[("a", "b")]), one("gauge", "tempe\u0301rature", 2, labels=[("a", "b")]),
    ]
    made.append(Case("one name in two ways of composing", {"metrics": names}, utf8=True, scheme="allow-utf-8"))
    units = [
        one("counter", "a.b_seconds_total", 1, help="x"), one("timer", "c_d_seconds", 1, help="x"),
        one("gauge", "e.bytes", 1, help=""),
    ]
    made += [Case(f"units of names, escaping {scheme}", {"metrics": units}, utf8=True, scheme=scheme) for scheme in SCHEMES]
    reserved = [one("gauge", "g", 1, labels=[("--name--", "x")]), one("gauge", "h", 1, labels=[("_name_", "x")])]
    made += [
        Case(f"labels that become __name__, escaping {scheme}", {"metrics": reserved}, utf8=True, scheme=scheme, is_open=True)
        for scheme in ("underscores", "dots")
    ]
    same = [
        one("gauge", "a.b", 1), one("gauge", "a_b", 2), one("counter", "c", 1, labels=[("x.y", "1")]),
        one("counter", "c", 1, labels=[("x_y", "1")]),
    ]
    made.append(Case("names that become one when they are escaped", {"metrics": same}, utf8=True, is_open=True))
    return made
