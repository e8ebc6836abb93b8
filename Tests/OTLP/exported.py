"""Documents of spans, exported and read back: value by value they must be what was made."""

import json
import tempfile
import time

import expectation
import wire
from fixture import Fixture
from receiver import Receiver


def complaints(path, case, messages):
    """What is wrong with a document as it arrives. `messages` are those that opentelemetry-proto generates, or None."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, Receiver() as receiver:
        # Characters that are not ASCII as they are: the fixture's reader of JSON is not what is tested.
        json.dump(case.spans, file, ensure_ascii=False)
        file.flush()
        began = time.time_ns()
        with Fixture(path, receiver.url, "--document", file.name, "--queue", 4_096, *case.options) as fixture:
            status, _ = fixture.ends(60)
            window = (began, time.time_ns())
            found = fixture.faults(status, is_lossless=True)
            if status != 0 or len(fixture.ids) != len(case.spans):
                return found + [f"{len(fixture.ids)} spans were made of {len(case.spans)}"]
            spans = []
            for request in receiver.requests:
                try:
                    found += outside(request, case)
                    seen = wire.request(request.body)
                    resource = [("service.name", "span-fixture"), *case.resource]
                    found += expectation.around(seen, resource)
                    own = expectation.received(seen)
                    spans += own
                    if request.ids != [bytes.fromhex(each["span_id"]) for each in own]:
                        found.append("the fast reader reads other ids")
                    if messages:
                        other = expectation.by_protobuf(messages, request.body)
                        found += expectation.around(other, resource)
                        found += expectation.differences("by protobuf", own, expectation.received(other))
                except (ValueError, KeyError, OSError, EOFError) as error:
                    found.append(f"a request that cannot be read: {error!r}")
            wanted = expectation.expected(case.spans, fixture.ids, window)
            found += expectation.differences("spans", wanted, spans)
            if not wanted and receiver.requests:
                found.append(f"{len(receiver.requests)} requests for nothing")
            return found


def outside(request, case):
    """What is wrong with a request around its body."""
    wanted = {
        "content-type": "application/x-protobuf", "content-encoding": "gzip" if case.gzip else None,
        "content-length": str(len(request.raw)),
    }
    options = case.arguments
    for at, option in enumerate(options):
        if option == "--header":
            name, _, value = options[at + 1].partition("=")
            wanted[name] = value
    seen = {name: request.header(name) for name in wanted}
    found = [f"headers {seen}, not {wanted}"] if seen != wanted else []
    if request.path != "/v1/traces":
        found.append(f"posted to {request.path}")
    if not (request.header("user-agent") or "").startswith("OTel-OTLP-Exporter-"):
        found.append(f"user-agent: {request.header('user-agent')}")
    if "--batch" in options:
        size, most = len(request.ids), int(options[options.index("--batch") + 1])
        found += [f"{size} spans in a batch of at most {most}"] if size > most else []
    return found
