"""What a scrape must show after the metrics of a document were recorded: the rules of names and labels as
`docs/metrics-guide.md` and the formats have them, and the arithmetic, written a second time and without the registry."""

import bisect
import math
import unicodedata
from dataclasses import dataclass, field

DEFAULT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
UNITS = ("seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams")
# Bounds that a histogram has at most.
MOST_BUCKETS = 256
# Exponential buckets that a scrape shows at most.
MOST_NATIVE_BUCKETS = 160
# What is only known to be there.
ANY = object()
CREATED = object()


# Names and labels

def is_classic(name, colon):
    return bool(name) and all(is_classic_character(each, at, colon) for at, each in enumerate(name))


def is_classic_character(each, at, colon):
    return each.isascii() and (each.isalpha() or each == "_" or each == ":" and colon or each.isdigit() and at > 0)


def cleaned(raw, colon):
    """A classic name: each byte that cannot be in one becomes `_`, and a digit in front gets one before it."""
    name = "".join(
        chr(byte) if is_classic_character(chr(byte), 1, colon) else "_" for byte in raw.encode()
    )
    return "_" + name if name[:1].isdigit() else name or "_"


def family_name(raw, kind, utf8):
    name = raw if utf8 and raw else cleaned(raw, colon=True)
    # `_total` alone would leave OpenMetrics, which takes the suffix off, without a name.
    return name if kind != "counter" or name.endswith("_total") and name != "_total" else name + "_total"


def label_name(raw, kind, utf8):
    """What has a meaning for Prometheus is `exported_`, as Prometheus itself says where names collide."""
    name = raw if utf8 and raw else cleaned(raw, colon=False)
    return "exported_" + name if name.startswith("__") or kind == "histogram" and name == "le" else name


def label_set(pairs):
    """Labels as a series has them: of names that became the same the values are joined, and empty values are none."""
    # As Swift orders text: by what it is when composed.
    order = sorted(pairs, key=lambda pair: [unicodedata.normalize("NFC", part) for part in pair])
    merged = []
    for name, value in order:
        if merged and merged[-1][0] == name:
            merged[-1] = (name, f"{merged[-1][1]};{value}")
        else:
            merged.append((name, value))
    return tuple((name, value) for name, value in merged if value)


def escaped(name, scheme, colon):
    """A name for a scraper that takes only classic ones (Prometheus documentation, "Escaping schemes")."""
    if scheme == "allow-utf-8":
        return name
    if scheme == "dots" and is_classic(name, colon):
        return name  # as Prometheus' own client library does
    if scheme == "dots":
        special = {"_": "__", ".": "_dot_"}
        return "".join(
            special.get(each) or (each if is_classic_character(each, at, colon) else "__") for at, each in enumerate(name)
        )
    if is_classic(name, colon) and not (scheme == "values" and name.startswith("U__")):
        return name
    if scheme == "values":
        return "U__" + "".join(
            "__" if each == "_" else each if is_classic_character(each, at, colon) else f"_{ord(each):x}_"
            for at, each in enumerate(name)
        )
    return "".join(each if is_classic_character(each, at, colon) else "_" for at, each in enumerate(name))


# What is recorded

@dataclass
class Native:
    """Exponential buckets, by index."""
    schema: int = 3
    zero_threshold: float = 0.0
    zero_count: int = 0
    positive: dict = field(default_factory=dict)
    negative: dict = field(default_factory=dict)

    # Where the eight buckets of schema 3 end between 1/2 and 1.
    ENDS = [2 ** (eighth / 8) / 2 for eighth in range(8)]

    def observe(self, value):
        if abs(value) <= self.zero_threshold:
            self.zero_count += 1
            return
        fraction, exponent = math.frexp(min(abs(value), math.nextafter(math.inf, 0)))
        # Infinity has the bucket behind that of the largest number (Prometheus documentation, "Native Histograms").
        index = (exponent - 1) * 8 + bisect.bisect_left(self.ENDS, fraction) + math.isinf(value)
        side = self.positive if value > 0 else self.negative
        side[index] = side.get(index, 0) + 1

    def shown(self):
        """With its resolution halved until there are few enough buckets."""
        shown = Native(self.schema, self.zero_threshold, self.zero_count, dict(self.positive), dict(self.negative))
        while len(shown.positive) + len(shown.negative) > MOST_NATIVE_BUCKETS and shown.schema > -4:
            shown.schema -= 1
            for side in ("positive", "negative"):
                halved = {}
                for index, count in getattr(shown, side).items():
                    halved[math.ceil(index / 2)] = halved.get(math.ceil(index / 2), 0) + count
                setattr(shown, side, halved)
        return shown


@dataclass
class Series:
    whole: int = 0
    # Increments by fractions; None where there is no recorder of them.
    fractions: float | None = None
    value: float = 0.0
    counts: list = field(default_factory=list)
    nanoseconds: int = 0
    sum: float = 0.0
    # By bucket; a counter has one only. Value, trace, span.
    exemplars: dict = field(default_factory=dict)
    native: Native | None = None

    def exemplify(self, bucket, value, exemplar):
        # Buckets from the 64th on share what says that there is one.
        taken = {min(each, 63) for each in self.exemplars}
        if exemplar and min(bucket, 63) not in taken:
            self.exemplars[bucket] = (value, exemplar["trace_id"], exemplar["span_id"])


@dataclass
class Family:
    name: str
    kind: str
    is_timer: bool = False
    is_info: bool = False
    help: object = None
    unit: str | None = None
    bounds: list = field(default_factory=list)
    is_native: bool = False
    series: dict = field(default_factory=dict)

    @property
    def claims(self):
        """Names of samples, which no other family may have."""
        if self.kind == "counter":
            base = self.name.removesuffix("_total")
            return [self.name, base, base + "_created"]
        return [self.name] + [self.name + end for end in ("_bucket", "_sum", "_count", "_created") if self.kind == "histogram"]

    def record(self, labels, metric):
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = Series(counts=[0] * (len(self.bounds) + 1))
            if self.is_native:
                series.native = Native(zero_threshold=2.0 ** (-30 if self.is_timer else -10))
        record = {"counter": self.count, "gauge": self.set, "histogram": self.observe}[self.kind]
        for value in metric.get("values", []):
            record(series, value, metric.get("exemplar"))

    def count(self, series, amount, exemplar):
        if number(amount).is_integer() and abs(number(amount)) < 2 ** 63:
            amount = int(amount)
            # A step back is left out.
            if amount <= 0:
                return
            series.whole += amount
        else:
            series.fractions = series.fractions or 0.0
            if not 0 < number(amount) < math.inf:
                return
            series.fractions += number(amount)
        series.exemplify(0, number(amount), exemplar)

    def set(self, series, value, _):
        series.value = number(value)

    def observe(self, series, value, exemplar):
        if self.is_timer:
            duration = max(0, value)
            bounds = [away(bound * 1_000_000_000) for bound in self.bounds]
            bucket = bisect.bisect_left(bounds, float(duration))
            series.nanoseconds += duration
            observed, exact = float(duration) * 1e-9, float(duration) / 1_000_000_000
        else:
            observed = exact = number(value)
            if math.isnan(exact):
                return
            bucket = bisect.bisect_left(self.bounds, exact)
            series.sum += exact
        series.counts[bucket] += 1
        if series.native:
            series.native.observe(observed)
        series.exemplify(bucket, exact, exemplar)


def number(value):
    return float(value)


def away(value):
    """Rounded, halves away from zero."""
    if math.isinf(value):
        return value
    below = math.floor(abs(value))
    return math.copysign(below + (abs(value) - below >= 0.5), value)


def usable(buckets):
    """Bounds as a declaration keeps them: finite, ascending, each once, and not too many."""
    return sorted({number(each) for each in buckets if math.isfinite(number(each))})[:MOST_BUCKETS]


def declaration(metric):
    """What a metric is declared with, or None."""
    if not {"help", "buckets", "native"} & metric.keys():
        return None
    return {
        "kind": {"timer": "histogram", "info": "gauge"}.get(metric["kind"], metric["kind"]),
        "help": metric.get("help", ""), "buckets": usable(metric.get("buckets", DEFAULT_BUCKETS)),
        "native": metric.get("native", False),
    }


def expected(document, utf8=False):
    """The families that a scrape shows, those of the registry itself among them. Writes into each metric of the document
    the name that it is declared under."""
    families, claimed, declared, infos = {}, {}, {}, {}

    def family(name, kind, is_timer):
        """The family of a name; None where it would clash with another one, and is not shown."""
        if name in families:
            return families[name] if families[name].kind == kind else None
        known = declared.get(name)
        made = Family(name, kind, is_timer, bounds=known["buckets"] if known else usable(DEFAULT_BUCKETS))
        if known and known["kind"] != kind or any(each in claimed for each in made.claims):
            return None
        if known:
            made.is_native = known["native"]
            describe(made, known)
        claimed.update(dict.fromkeys(made.claims, name))
        families[name] = made
        return made

    def describe(family, known):
        base = family.name.removesuffix("_total") if family.kind == "counter" else family.name
        family.help = known["help"]
        family.unit = next((unit for unit in UNITS if base.endswith("_" + unit)), None)

    for name in ("lantern_metrics_overflow_total", "lantern_metrics_collector_failures_total"):
        family(name, "counter", False).record((), {})
    for metric in document["metrics"]:
        kind = {"timer": "histogram", "info": "gauge"}.get(metric["kind"], metric["kind"])
        labels = label_set([(label_name(name, kind, utf8), value) for name, value in metric.get("labels", [])])
        name = metric["declared"] = metric["name"] if metric["kind"] == "info" else family_name(metric["name"], kind, utf8)
        if metric["kind"] == "info":
            info = infos.setdefault(name, Family(name, "gauge", is_info=True, help=metric.get("help", "")))
            info.series[labels] = Series(value=1.0)
            continue
        if known := declaration(metric):
            declared[name] = known
        found = family(name, kind, metric["kind"] == "timer")
        if found is None:
            continue
        if kind == "histogram" and found.is_timer != (metric["kind"] == "timer"):
            raise ValueError(f"{name} is both a timer and a recorder, which this model does not have")
        found.record(labels, metric)
    # Buckets come too late for a metric that is in use; words do not.
    for each in families.values():
        known = declared.get(each.name)
        if each.help is None and known and known["kind"] == each.kind:
            describe(each, known)
    own = Family("lantern_metrics_series", "gauge")
    own.series[()] = Series(value=float(sum(len(each.series) for each in families.values())))
    families[own.name] = own
    for each in families.values():
        if each.name.startswith("lantern_metrics_"):
            each.help = ANY
    return [*families.values(), *infos.values()]


# What a format shows of it

@dataclass
class Shown:
    """A family as a reader of one format sees it. Samples by name and labels: value and exemplar."""
    kind: str
    help: object = None
    unit: str = ""
    samples: dict = field(default_factory=dict)


def shown(families, form, scheme=None):
    """What a format shows: by the name of the family there, its type, help, unit and samples."""
    found = {}
    for family in families:
        name = escaped(family.name, scheme, colon=True)
        # OpenMetrics names a family without the suffix that its samples bear.
        base = name.removesuffix("_total") if family.kind == "counter" else name.removesuffix("_info") if family.is_info else name
        one = Shown(family.kind, family.help)
        if form == "openmetrics":
            one.kind = "info" if family.is_info else family.kind
            one.unit = family.unit if family.unit and base.endswith("_" + family.unit) else ""
        for labels, series in family.series.items():
            labels = label_set([(escaped(key, scheme, colon=False), value) for key, value in labels])
            add(one.samples, family, form, name, base, labels, series)
        found[base if form == "openmetrics" else name] = one
    return found


def add(samples, family, form, name, base, labels, series):
    has_exemplars, has_created = form != "text", form != "text"
    exemplars = series.exemplars if has_exemplars else {}
    if family.kind == "gauge":
        samples[name, frozenset(labels)] = (series.value, None)
        return
    if has_created:
        samples[base + "_created", frozenset(labels)] = (CREATED, None)
    if family.kind == "counter":
        total = series.whole if series.fractions is None else float(series.whole) + series.fractions
        samples[name, frozenset(labels)] = (total, exemplars.get(0))
        return
    total = 0
    for bucket, bound in enumerate([*family.bounds, math.inf]):
        total += series.counts[bucket]
        samples[name + "_bucket", frozenset([*labels, ("le", float(bound))])] = (total, exemplars.get(bucket))
    sum = float(series.nanoseconds) / 1_000_000_000 if family.is_timer else series.sum
    if form != "openmetrics" or may_show_sum(family.bounds, sum):
        samples[name + "_sum", frozenset(labels)] = (sum, None)
        samples[name + "_count", frozenset(labels)] = (total, None)
    if form == "protobuf" and series.native:
        samples[name + " native", frozenset(labels)] = (series.native.shown(), None)


def may_show_sum(bounds, sum):
    """OpenMetrics 1.0.0, "Histogram": a sum is a counter, so it is neither NaN nor negative, and with negative bounds there
    is none; "If and only if a Sum Value is present" there is a `_count`."""
    return not math.isnan(sum) and sum >= 0 and not any(bound < 0 for bound in bounds)
