"""Reads a scrape with parsers that are not ours, and says where it is not what is expected."""

import math
import re
import subprocess

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

import wire
from expectation import ANY, CREATED, Native, Shown


# Text formats, by prometheus_client

def read_text(body, is_quoted):
    """Prometheus text. What prometheus_client calls a counter has no `_total`."""
    text = body.decode()
    metrics = text_families(spelled(text) if is_quoted else text)
    return read_families(metrics, lambda metric: metric.name + "_total" * (metric.type == "counter"), is_quoted)


def read_openmetrics(body, is_quoted):
    text = body.decode()
    return read_families(openmetrics_families(spelled(text) if is_quoted else text), lambda metric: metric.name, is_quoted)


def read_families(metrics, family_name, is_quoted):
    def name(read):
        return plain(read) if is_quoted else read

    found = {}
    for metric in metrics:
        key = name(family_name(metric))
        if key in found:
            raise ValueError(f"family {key} twice")
        one = found[key] = Shown(metric.type, metric.documentation, metric.unit)
        for sample in metric.samples:
            exemplar = sample.exemplar
            if exemplar:
                exemplar = (exemplar.value, exemplar.labels, float(exemplar.timestamp))
            labels = [(name(key), value) for key, value in sample.labels.items()]
            insert(one, metric.type, name(sample.name), labels, sample.value, exemplar)
    return found


def insert(one, kind, name, labels, value, exemplar=None):
    if len(dict(labels)) < len(labels):
        raise ValueError(f"a label of {name} twice: {labels}")
    if kind == "histogram" and name.endswith("_bucket"):
        labels = [(key, float(value) if key == "le" else value) for key, value in labels]
    key = (name, frozenset(labels))
    if key in one.samples:
        raise ValueError(f"sample {name} {labels} twice")
    one.samples[key] = (value, exemplar)


# Debian's prometheus_client knows classic names only. Quoted ones are spelled in classic characters before it reads them,
# and turned back afterwards: every character that is no letter, digit or _, and Z itself, becomes Z, its code, and Z.

QUOTED = r'"(?:[^"\\\n]|\\.)*"'
COMMENT = re.compile(rf"(# (?:HELP|TYPE|UNIT) )({QUOTED})( .*)")
SERIES = re.compile(rf"\{{({QUOTED})(?=[,}}])(,?)")
LABEL = re.compile(rf"({QUOTED}|[a-zA-Z_][a-zA-Z0-9_]*)=({QUOTED})(,?)")


def spelled(text):
    return "\n".join(spelled_line(line) for line in text.split("\n"))


def spelled_line(line):
    if comment := COMMENT.fullmatch(line):
        return comment[1] + spell(comment[2]) + comment[3]
    if line.startswith("#"):
        return line
    if series := SERIES.match(line):
        head, at = spell(series[1]) + "{", series.end()
    elif "{" in line and (brace := line.index("{")) < (line + " ").index(" "):
        head, at = line[:brace + 1], brace + 1
    else:
        return line
    while label := LABEL.match(line, at):
        head += (spell(label[1]) if label[1].startswith('"') else label[1]) + "=" + label[2] + label[3]
        at = label.end()
    return head + line[at:]


def spell(quoted):
    name = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], quoted[1:-1])
    return "".join(
        each if re.fullmatch("[a-zA-Y_]", each) or at and re.fullmatch("[0-9]", each) else f"Z{ord(each):x}Z"
        for at, each in enumerate(name)
    )


def plain(name):
    return re.sub("Z([0-9a-f]+)Z", lambda found: chr(int(found[1], 16)), name)


# Protobuf

def read_protobuf(body, _):
    found = {}
    for family in wire.families(body):
        name, kind = family["name"], wire.TYPES[family.get("type", 0)]
        if name in found:
            raise ValueError(f"family {name} twice")
        one = found[name] = Shown(kind, family.get("help"), family.get("unit", ""))
        if not family.get("metric"):
            raise ValueError(f"family {name} without metrics")
        for metric in family["metric"]:
            if metric.keys() - {"label"} != {kind}:
                raise ValueError(f"a {kind} {name} with {sorted(metric)}")
            read_metric(one, kind, name, wire.labels(metric.get("label", [])), metric[kind])
    return found


def read_metric(one, kind, name, labels, metric):
    if "created" in metric:
        base = name.removesuffix("_total") if kind == "counter" else name
        insert(one, kind, base + "_created", labels, wire.seconds(metric["created"]))
    if kind != "histogram":
        insert(one, kind, name, labels, metric.get("value", 0.0), exemplar(metric))
        return
    for bucket in metric.get("bucket", []):
        insert(one, kind, name + "_bucket", [*labels, ("le", bucket["upper_bound"])],
               bucket.get("cumulative_count", 0), exemplar(bucket))
    insert(one, kind, name + "_sum", labels, metric.get("sample_sum", 0.0))
    insert(one, kind, name + "_count", labels, metric.get("sample_count", 0))
    if "schema" in metric:
        sides = (
            wire.buckets(metric.get(f"{side}_span", []), metric.get(f"{side}_delta", [])) for side in ("positive", "negative")
        )
        native = Native(metric["schema"], metric.get("zero_threshold", 0.0), metric.get("zero_count", 0), *sides)
        insert(one, kind, name + " native", labels, native)


def exemplar(message):
    if "exemplar" not in message:
        return None
    found = message["exemplar"]
    return found.get("value", 0.0), dict(wire.labels(found.get("label", []))), wire.seconds(found["timestamp"])


# promtool

def promtool(body):
    """What `promtool check metrics` finds that is a fault of the format. What its linter says of names is none."""
    run = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60)
    said = run.stderr.decode(errors="replace").strip()
    # 3 is the linter's; a parser that gives up says so and exits with 1.
    return [] if run.returncode in (0, 3) and "error while linting" not in said else [said or f"exit {run.returncode}"]


# Comparison

READERS = {"text": read_text, "openmetrics": read_openmetrics, "protobuf": read_protobuf}


def read(form, body, is_quoted=False):
    """The families of a scrape. A `ValueError` says why it cannot be read."""
    try:
        return READERS[form](body, is_quoted)
    except (LookupError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def complaints(form, body, expected, window, is_quoted=False):
    """What a reader says against a scrape, and where what it read is not what is expected. `window` is when the scrape was
    made: times of creation and of exemplars lie in it."""
    try:
        seen = read(form, body, is_quoted)
    except ValueError as error:
        return [f"{form} cannot be read: {error}"]
    found = [f"no family {name}" for name in expected.keys() - seen.keys()]
    found += [f"a family {name}, which was not recorded" for name in seen.keys() - expected.keys()]
    for name in expected.keys() & seen.keys():
        found += family_complaints(form, name, expected[name], seen[name], window)
    return [f"{form}: {each}" for each in found]


def family_complaints(form, name, expected, seen, window):
    found = []
    if seen.kind != expected.kind:
        found.append(f"type {seen.kind} of {name}, not {expected.kind}")
    if expected.help is not ANY and (seen.help or "") != read_help(form, expected.help or ""):
        found.append(f"help {seen.help!r} of {name}, not {expected.help!r}")
    if form == "openmetrics" and seen.unit != expected.unit:
        found.append(f"unit {seen.unit!r} of {name}, not {expected.unit!r}")
    found += [f"no sample {words(key)}" for key in expected.samples.keys() - seen.samples.keys()]
    found += [f"a sample {words(key)}, which was not recorded" for key in seen.samples.keys() - expected.samples.keys()]
    for key in expected.samples.keys() & seen.samples.keys():
        (value, exemplar), (seen_value, seen_exemplar) = expected.samples[key], seen.samples[key]
        if not same(form, seen_value, value, window):
            found.append(f"{words(key)} is {seen_value!r}, not {'in time' if value is CREATED else repr(value)}")
        if not same_exemplar(form, seen_exemplar, exemplar, window):
            found.append(f"exemplar {seen_exemplar!r} of {words(key)}, not {exemplar!r}")
    return found


def read_help(form, help):
    """Prometheus text ignores blanks around the words of a line; prometheus_client takes all that Python calls space."""
    if form != "text":
        return help
    escaped = help.replace("\\", "\\\\").replace("\n", "\\n").strip()
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], escaped)


def words(key):
    name, labels = key
    text = f"{name}{dict(sorted(labels, key=str))}"
    return text if len(text) < 300 else text[:300] + "…"


def same(form, seen, expected, window):
    if expected is CREATED:
        return window[0] <= seen <= window[1]
    if isinstance(expected, Native):
        return seen == expected
    if form != "openmetrics":
        # These hold floating-point numbers only.
        expected = float(expected)
    return seen == expected or math.isnan(seen) and math.isnan(expected)


def same_exemplar(form, seen, expected, window):
    if seen is None or expected is None:
        return seen is expected
    value, trace, span = expected
    return (
        same(form, seen[0], value, window) and seen[1] == {"trace_id": trace, "span_id": span}
        and window[0] <= seen[2] <= window[1]
    )
