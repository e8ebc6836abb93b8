"""CloudEvents' own SDK for Python, with both of its Kafka bindings: today's, and that of its versions 1.x."""

import os
import re
import sys

from local import ROOT

PACKAGES = os.path.join(ROOT, ".lantern", "python")
sys.path.insert(0, PACKAGES)

try:
    import cloudevents
    from cloudevents.core.bindings import kafka as binding
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent
    from cloudevents.v1 import kafka as old_binding
    from cloudevents.v1.http import CloudEvent as OldCloudEvent
except ImportError as error:
    print(f"{error}: Tests/RealClients/run installs what is missing", file=sys.stderr)
    sys.exit(2)

__all__ = [
    "CloudEvent",
    "OldCloudEvent",
    "decode",
    "decode_old",
    "to_binary",
    "to_structured",
    "to_structured_old",
    "to_binary_old",
]


def check_version():
    """Whether it is the version that was asked for."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt"), encoding="utf-8") as file:
        wanted = re.search(r"^cloudevents==(\S+)", file.read(), re.MULTILINE)[1]
    if cloudevents.__version__ != wanted:
        print(f"cloudevents is {cloudevents.__version__}, not {wanted}: run Tests/RealClients/run", file=sys.stderr)
        sys.exit(2)


def decode(record):
    """The event of a record that kcat has read."""
    message = binding.KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value)
    return binding.from_binary(message, JSONFormat())


def decode_old(record):
    return old_binding.from_binary(old_binding.KafkaMessage(dict(record.headers), record.key, record.value))


def parts(message):
    """Headers, key and value, for kcat."""
    return list(message.headers.items()), message.key, message.value


def to_binary(attributes, data):
    return parts(binding.to_binary(CloudEvent(dict(attributes), data), JSONFormat()))


def to_structured(attributes, data):
    return parts(binding.to_structured(CloudEvent(dict(attributes), data), JSONFormat()))


def to_binary_old(attributes, data):
    return parts(old_binding.to_binary(OldCloudEvent(dict(attributes), data)))


def to_structured_old(attributes, data):
    return parts(old_binding.to_structured(OldCloudEvent(dict(attributes), data)))
