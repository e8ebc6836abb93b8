"""What a receiver must read of a document's spans, and how that differs from what it has read."""

import re

from wire import bits

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]
LIMITS = {"attributes": 128, "events": 128, "links": 128, "attributes_per_event": 128, "attributes_per_link": 128}
# W3C Trace Context, level 2. What a version that is not known appends comes after another dash.
TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


class Some:
    """So many of these, whichever: a dictionary's order is chance."""

    def __init__(self, choices, count):
        self.choices, self.count = choices, count

    def __repr__(self):
        return f"{self.count} of {self.choices}"


class Between:
    """A time that nobody says: it must be that of the run."""

    def __init__(self, window):
        self.window = window

    def __repr__(self):
        return f"a time in {self.window}"


def expected(document, ids, window):
    """The spans, in order. `ids` are those that the fixture told, by index."""
    contexts, found = [], []
    for index, span in enumerate(document):
        trace, own = ids[index]
        parent = remote = None
        if isinstance(span.get("parent"), int):
            parent = contexts[span["parent"]]
        elif "parent" in span:
            parent = remote = parsed(span["parent"])
        flags = 3 if parent is None else parent["flags"]
        state = "" if parent is None else parent["state"]
        if parent is not None and parent["trace"] != trace:
            raise ValueError(f"span {index} is of the trace {trace}, and its parent of {parent['trace']}")
        contexts.append({"trace": trace, "span": own, "flags": flags, "state": state})
        # What is not sampled is not exported.
        if not flags & 1:
            continue
        limits = {**LIMITS, "attribute_length": None, **span.get("limits", {})}
        length = limits["attribute_length"]
        attributes, dropped = kept(span.get("attributes", []), limits["attributes"], length)
        events, links = span.get("events", []), span.get("links", [])
        start, end = span.get("start"), span.get("end")
        found.append({
            "trace_id": trace, "span_id": own, "trace_state": state, "parent_span_id": parent["span"] if parent else "",
            "name": span["name"], "kind": span.get("kind", "internal"),
            "start": Between(window) if start is None else start,
            # No span ends before it begins; and 0 is the end of one that is open.
            "end": Between(window) if end is None else max(start, end, 1),
            "attributes": attributes, "dropped_attributes": dropped,
            "events": [
                {"time": each.get("time", Between(window)), "name": each["name"],
                 **some(each.get("attributes", []), limits["attributes_per_event"], length)}
                for each in events[:limits["events"]]
            ],
            "dropped_events": max(0, len(events) - limits["events"]),
            "links": [
                {**link(contexts[each["span"]]),
                 **some(each.get("attributes", []), limits["attributes_per_link"], length)}
                for each in links[:limits["links"]]
            ],
            "dropped_links": max(0, len(links) - limits["links"]),
            "status": status(span.get("status")),
            # Bit 8 says that bit 9 is meant, bit 9 that the parent is remote (trace.proto, SpanFlags).
            "flags": flags | (0 if parent is None else 0x300 if remote else 0x100),
        })
    return found


def parsed(headers):
    """The parent that headers name, None where they are malformed. Keeps the flags that level 2 knows."""
    match = TRACEPARENT.fullmatch(headers["traceparent"])
    if not match or match["version"] == "00" and match["more"]:
        return None
    if not int(match["trace"], 16) or not int(match["span"], 16):
        return None
    return {
        "trace": match["trace"], "span": match["span"], "flags": int(match["flags"], 16) & 3,
        "state": headers.get("tracestate", ""),
    }


def link(context):
    return {
        "trace_id": context["trace"], "span_id": context["span"], "trace_state": context["state"],
        "flags": context["flags"] | 0x100,
    }


def status(given):
    """Code and message: only an error has one (Trace API, "Set Status")."""
    if given is None:
        return (0, "")
    return (1, "") if given["code"] == "ok" else (2, given.get("message", ""))


def kept(attributes, limit, length):
    """Those that a span keeps which are set one after the other, and how many others there were."""
    found, dropped = {}, 0
    for key, type, given in attributes:
        if key in found or len(found) < limit:
            found[key] = value(type, given, length)
        else:
            dropped += 1
    return found, dropped


def some(attributes, limit, length):
    """Those of an event or a link, which are set at once."""
    found = {key: value(type, given, length) for key, type, given in attributes}
    dropped = max(0, len(found) - limit)
    return {"attributes": Some(found, limit) if dropped else found, "dropped_attributes": dropped}


def value(type, given, length):
    if type.endswith("[]"):
        return ("array", [value(type[:-2], each, length) for each in given])
    if type in ("int32", "int64"):
        return ("int", given)
    if type == "double":
        return ("double", int(given, 16))
    return ("bool", given) if type == "bool" else ("string", given if length is None else given[:length])


def received(request):
    """The spans of a request as `wire.request` reads it, in the same form."""
    return [
        {
            "trace_id": span.get("trace_id", b"").hex(), "span_id": span.get("span_id", b"").hex(),
            "trace_state": span.get("trace_state", ""), "parent_span_id": span.get("parent_span_id", b"").hex(),
            "name": span.get("name", ""), "kind": kind(span.get("kind", 0)), "start": span.get("start_time_unix_nano", 0),
            "end": span.get("end_time_unix_nano", 0), "attributes": pairs(span.get("attributes", [])),
            "dropped_attributes": span.get("dropped_attributes_count", 0),
            "events": [
                {"time": each.get("time_unix_nano", 0), "name": each.get("name", ""),
                 "attributes": pairs(each.get("attributes", [])),
                 "dropped_attributes": each.get("dropped_attributes_count", 0)}
                for each in span.get("events", [])
            ],
            "dropped_events": span.get("dropped_events_count", 0),
            "links": [
                {"trace_id": each.get("trace_id", b"").hex(), "span_id": each.get("span_id", b"").hex(),
                 "trace_state": each.get("trace_state", ""), "flags": each.get("flags", 0),
                 "attributes": pairs(each.get("attributes", [])),
                 "dropped_attributes": each.get("dropped_attributes_count", 0)}
                for each in span.get("links", [])
            ],
            "dropped_links": span.get("dropped_links_count", 0),
            "status": (span.get("status", {}).get("code", 0), span.get("status", {}).get("message", "")),
            "flags": span.get("flags", 0),
        }
        for group in request.get("resource_spans", []) for scope in group.get("scope_spans", [])
        for span in scope.get("spans", [])
    ]


def kind(number):
    return KINDS[number] if number < len(KINDS) else str(number)


def pairs(attributes):
    found = {}
    for each in attributes:
        key = each.get("key", "")
        if key in found:
            raise ValueError(f"the attribute {key!r} twice")
        found[key] = any_value(each.get("value", {}))
    return found


def any_value(fields):
    for name, content in fields.items():
        if name == "array_value":
            return ("array", [any_value(each) for each in content.get("values", [])])
        return (name.removesuffix("_value"), content)
    return ("nothing", None)


def around(request, resource):
    """What is wrong with all that is not a span."""
    found = []
    groups = request.get("resource_spans", [])
    scopes = [scope for group in groups for scope in group.get("scope_spans", [])]
    if len(groups) != 1 or len(scopes) != 1:
        return [f"{len(groups)} resources and {len(scopes)} scopes"]
    attributes = groups[0]["resource"].get("attributes", [])
    seen = [(each.get("key", ""), any_value(each.get("value", {}))) for each in attributes]
    wanted = [(name, ("string", text)) for name, text in resource]
    found += differences("resource", wanted, seen)
    found += differences("scope", "lantern", scopes[0].get("scope", {}).get("name"))
    found += differences("schema of the resource", SCHEMA, groups[0].get("schema_url"))
    return found + differences("schema of the scope", SCHEMA, scopes[0].get("schema_url"))


def differences(place, wanted, seen):
    """Where they are not the same, and how."""
    if isinstance(wanted, Between):
        first, last = wanted.window
        return [] if isinstance(seen, int) and first <= seen <= last else [f"{place} is {seen}, not {wanted}"]
    if isinstance(wanted, Some):
        alike = {key: each for key, each in seen.items() if wanted.choices.get(key) == each}
        return [] if len(seen) == len(alike) == wanted.count else [f"{place} is {short(seen)}, not {short(wanted)}"]
    if isinstance(wanted, dict) and isinstance(seen, dict):
        found = [f"{place}.{key} is missing" for key in wanted.keys() - seen.keys()]
        found += [f"{place}.{key} is not asked for: {short(seen[key])}" for key in seen.keys() - wanted.keys()]
        both = wanted.keys() & seen.keys()
        return found + [each for key in both for each in differences(f"{place}.{key}", wanted[key], seen[key])]
    if isinstance(wanted, list) and isinstance(seen, list):
        found = [f"{place} has {len(seen)}, not {len(wanted)}"] if len(wanted) != len(seen) else []
        both = enumerate(zip(wanted, seen))
        return found + [each for at, (one, other) in both for each in differences(f"{place}[{at}]", one, other)]
    return [] if wanted == seen else [f"{place} is {short(seen)}, not {short(wanted)}"]


def short(value):
    text = repr(value)
    return text if len(text) < 160 else f"{text[:120]}… ({len(text)} characters)"


def by_protobuf(messages, body):
    """A request as `wire.request` would read it, by way of the generated messages of opentelemetry-proto."""

    def plain(message):
        fields = {}
        for descriptor, content in message.ListFields():
            is_message = descriptor.message_type is not None
            # Which one it is was another method in older versions.
            is_repeated = getattr(descriptor, "is_repeated", None)
            if callable(is_repeated):
                is_repeated = is_repeated()
            if is_repeated is None:
                is_repeated = descriptor.label == descriptor.LABEL_REPEATED
            if is_repeated:
                fields[descriptor.name] = [plain(each) if is_message else each for each in content]
            else:
                fields[descriptor.name] = plain(content) if is_message else content
        if "double_value" in fields:
            fields["double_value"] = bits(fields["double_value"])
        return fields

    return plain(messages.ExportTraceServiceRequest.FromString(body))
