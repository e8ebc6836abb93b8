"""Reads export requests from their bytes, and writes the answers to them (opentelemetry-proto: collector/trace/v1,
trace/v1, resource/v1, common/v1; protobuf.dev, "Encoding"), without generated code. Whatever is not as the model says is
a `ValueError`."""

import struct

# By message: field number -> (name, type, whether there may be several).
MESSAGES = {
    "ExportTraceServiceRequest": {1: ("resource_spans", "ResourceSpans", True)},
    "ResourceSpans": {
        1: ("resource", "Resource", False), 2: ("scope_spans", "ScopeSpans", True), 3: ("schema_url", "string", False),
    },
    "Resource": {1: ("attributes", "KeyValue", True), 2: ("dropped_attributes_count", "uint32", False)},
    "ScopeSpans": {
        1: ("scope", "InstrumentationScope", False), 2: ("spans", "Span", True), 3: ("schema_url", "string", False),
    },
    "InstrumentationScope": {
        1: ("name", "string", False), 2: ("version", "string", False), 3: ("attributes", "KeyValue", True),
        4: ("dropped_attributes_count", "uint32", False),
    },
    "Span": {
        1: ("trace_id", "bytes", False), 2: ("span_id", "bytes", False), 3: ("trace_state", "string", False),
        4: ("parent_span_id", "bytes", False), 5: ("name", "string", False), 6: ("kind", "enum", False),
        7: ("start_time_unix_nano", "fixed64", False), 8: ("end_time_unix_nano", "fixed64", False),
        9: ("attributes", "KeyValue", True), 10: ("dropped_attributes_count", "uint32", False),
        11: ("events", "Event", True), 12: ("dropped_events_count", "uint32", False),
        13: ("links", "Link", True), 14: ("dropped_links_count", "uint32", False),
        15: ("status", "Status", False), 16: ("flags", "fixed32", False),
    },
    "Event": {
        1: ("time_unix_nano", "fixed64", False), 2: ("name", "string", False), 3: ("attributes", "KeyValue", True),
        4: ("dropped_attributes_count", "uint32", False),
    },
    "Link": {
        1: ("trace_id", "bytes", False), 2: ("span_id", "bytes", False), 3: ("trace_state", "string", False),
        4: ("attributes", "KeyValue", True), 5: ("dropped_attributes_count", "uint32", False),
        6: ("flags", "fixed32", False),
    },
    "Status": {2: ("message", "string", False), 3: ("code", "enum", False)},
    "KeyValue": {1: ("key", "string", False), 2: ("value", "AnyValue", False)},
    # One of them.
    "AnyValue": {
        1: ("string_value", "string", False), 2: ("bool_value", "bool", False), 3: ("int_value", "int64", False),
        4: ("double_value", "double", False), 5: ("array_value", "ArrayValue", False),
        6: ("kvlist_value", "KeyValueList", False), 7: ("bytes_value", "bytes", False),
    },
    "ArrayValue": {1: ("values", "AnyValue", True)},
    "KeyValueList": {1: ("values", "KeyValue", True)},
}
WIRE_TYPES = {
    0: ("uint32", "enum", "bool", "int64"), 1: ("fixed64", "double"), 2: tuple(MESSAGES) + ("string", "bytes"),
    5: ("fixed32",),
}


def request(data):
    """An `ExportTraceServiceRequest`, as dictionaries; a field that is not there is not in them, a repeated one is a
    list. A double is its bits: not every one is equal to itself."""
    return message("ExportTraceServiceRequest", memoryview(data))


def message(kind, data):
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag >> 3 not in MESSAGES[kind]:
            raise ValueError(f"field {tag >> 3} of {kind}, which the model does not have")
        name, type, is_repeated = MESSAGES[kind][tag >> 3]
        if type not in WIRE_TYPES.get(tag & 7, ()):
            raise ValueError(f"wire type {tag & 7} for {kind}.{name}")
        value, at = payload(type, tag & 7, data, at)
        if is_repeated:
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise ValueError(f"{kind}.{name} twice")
        else:
            fields[name] = value
    if kind == "AnyValue" and len(fields) > 1:
        raise ValueError(f"a value that is {' and '.join(fields)}")
    return fields


def payload(type, wire_type, data, at):
    """The value of one field, and the place behind it."""
    if wire_type == 0:
        value, at = varint(data, at)
        if value >= {"uint32": 1 << 32, "enum": 1 << 31, "bool": 2}.get(type, 1 << 64):
            raise ValueError(f"{value} is no {type}")
        if type == "int64" and value >= 1 << 63:
            value -= 1 << 64
        return bool(value) if type == "bool" else value, at
    if wire_type in (1, 5):
        size = 8 if wire_type == 1 else 4
        if at + size > len(data):
            raise ValueError("half a number")
        return int.from_bytes(data[at:at + size], "little"), at + size
    length, at = varint(data, at)
    if at + length > len(data):
        raise ValueError(f"{length} bytes of {type}, of which {len(data) - at} are there")
    part, at = data[at:at + length], at + length
    if type == "string":
        return bytes(part).decode(), at
    return bytes(part) if type == "bytes" else message(type, part), at


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number without an end")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            if value >= 1 << 64:
                raise ValueError("a number of more than 64 bits")
            return value, at


def span_ids(data):
    """The ids of all spans of a request, without a look at the rest of them: fast enough for a load. Knows that a span
    begins with its ids."""
    found = []
    for group in parts(data, 0, len(data), 1):
        for scope in parts(data, *group, 2):
            for start, end in parts(data, *scope, 2):
                if data[start:start + 2] != b"\x0a\x10" or data[start + 18:start + 20] != b"\x12\x08" or end - start < 28:
                    raise ValueError(f"a span that does not begin with its ids: {bytes(data[start:start + 28])!r}")
                found.append(data[start + 20:start + 28])
    return found


def parts(data, at, end, wanted):
    """Where the messages of one field begin and end; all other fields of these messages have lengths, too."""
    while at < end:
        tag, at = varint(data, at)
        if tag & 7 != 2:
            raise ValueError(f"field {tag >> 3} of wire type {tag & 7}")
        length, at = varint(data, at)
        if at + length > end:
            raise ValueError(f"{length} bytes, of which {end - at} are there")
        if tag >> 3 == wanted:
            yield at, at + length
        at += length


def partial_success(rejected, text=""):
    """An `ExportTraceServiceResponse`: `rejected_spans` and `error_message` of its `partial_success`."""
    inner = b"\x08" + number(rejected) + b"\x12" + number(len(text.encode())) + text.encode()
    return b"\x0a" + number(len(inner)) + inner


def number(value):
    value &= (1 << 64) - 1
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def bits(value):
    """A double's."""
    return struct.unpack("<Q", struct.pack("<d", value))[0]
