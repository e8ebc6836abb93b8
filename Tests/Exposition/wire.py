"""Reads delimited `io.prometheus.client.MetricFamily` messages from their bytes (metrics.proto of the Prometheus client
model; protobuf.dev, "Encoding"), without generated code. Whatever is not as the model says is a `ValueError`."""

import struct

# By message: field number -> (name, type, whether there may be several).
MESSAGES = {
    "MetricFamily": {
        1: ("name", "string", False), 2: ("help", "string", False), 3: ("type", "varint", False),
        4: ("metric", "Metric", True), 5: ("unit", "string", False),
    },
    "Metric": {
        1: ("label", "LabelPair", True), 2: ("gauge", "Gauge", False), 3: ("counter", "Counter", False),
        6: ("timestamp_ms", "varint", False), 7: ("histogram", "Histogram", False),
    },
    "LabelPair": {1: ("name", "string", False), 2: ("value", "string", False)},
    "Gauge": {1: ("value", "double", False)},
    "Counter": {1: ("value", "double", False), 2: ("exemplar", "Exemplar", False), 3: ("created", "Timestamp", False)},
    "Histogram": {
        1: ("sample_count", "varint", False), 2: ("sample_sum", "double", False), 3: ("bucket", "Bucket", True),
        5: ("schema", "zigzag", False), 6: ("zero_threshold", "double", False), 7: ("zero_count", "varint", False),
        9: ("negative_span", "BucketSpan", True), 10: ("negative_delta", "zigzag", True),
        12: ("positive_span", "BucketSpan", True), 13: ("positive_delta", "zigzag", True),
        15: ("created", "Timestamp", False), 16: ("exemplars", "Exemplar", True),
    },
    "Bucket": {
        1: ("cumulative_count", "varint", False), 2: ("upper_bound", "double", False), 3: ("exemplar", "Exemplar", False),
    },
    "BucketSpan": {1: ("offset", "zigzag", False), 2: ("length", "varint", False)},
    "Exemplar": {1: ("label", "LabelPair", True), 2: ("value", "double", False), 3: ("timestamp", "Timestamp", False)},
    "Timestamp": {1: ("seconds", "varint", False), 2: ("nanos", "varint", False)},
}
TYPES = {0: "counter", 1: "gauge", 4: "histogram"}
WIRE_TYPES = {0: ("varint", "zigzag"), 1: ("double",), 2: tuple(MESSAGES) + ("string", "zigzag")}


def families(data):
    """Every message of a scrape, as dictionaries; a field that is not there is not in them, a repeated one is a list."""
    found, at = [], 0
    while at < len(data):
        length, at = varint(data, at)
        if at + length > len(data):
            raise ValueError(f"a family of {length} bytes, of which {len(data) - at} are there")
        found.append(message("MetricFamily", data[at:at + length]))
        at += length
    return found


def message(kind, data):
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag >> 3 not in MESSAGES[kind]:
            raise ValueError(f"field {tag >> 3} of {kind}, which the model does not have")
        name, type, is_repeated = MESSAGES[kind][tag >> 3]
        if type not in WIRE_TYPES.get(tag & 7, ()):
            raise ValueError(f"wire type {tag & 7} for {kind}.{name}")
        values, at = payload(type, tag & 7, data, at)
        if is_repeated:
            fields.setdefault(name, []).extend(values)
        elif name in fields:
            raise ValueError(f"{kind}.{name} twice")
        else:
            fields[name] = values[0]
    return fields


def payload(type, wire_type, data, at):
    """The values of one field, of which only a packed one has several, and the place behind it."""
    if wire_type == 0:
        value, at = varint(data, at)
        return [unzigzag(value) if type == "zigzag" else value], at
    if wire_type == 1:
        if at + 8 > len(data):
            raise ValueError("half a number")
        return list(struct.unpack_from("<d", data, at)), at + 8
    length, at = varint(data, at)
    if at + length > len(data):
        raise ValueError(f"{length} bytes of {type}, of which {len(data) - at} are there")
    part, at = data[at:at + length], at + length
    if type == "string":
        return [part.decode()], at
    if type != "zigzag":
        return [message(type, part)], at
    values, inner = [], 0
    while inner < len(part):
        value, inner = varint(part, inner)
        values.append(unzigzag(value))
    return values, at


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number without an end")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def unzigzag(value):
    return value >> 1 ^ -(value & 1)


def labels(pairs):
    return [(pair.get("name", ""), pair.get("value", "")) for pair in pairs]


def seconds(timestamp):
    return timestamp.get("seconds", 0) + timestamp.get("nanos", 0) / 1e9


def buckets(spans, deltas):
    """Counts of exponential buckets by index."""
    counts, index, count, rest = {}, 0, 0, list(deltas)
    for span in spans:
        index += span.get("offset", 0)
        for _ in range(span.get("length", 0)):
            if not rest:
                raise ValueError("spans of more buckets than there are deltas")
            count += rest.pop(0)
            if count < 0:
                raise ValueError(f"a count of {count} in bucket {index}")
            counts[index] = count
            index += 1
    if rest:
        raise ValueError("deltas of more buckets than the spans have")
    return counts
