"""/metrics: negotiation, syntax, and labels that stay bounded."""

from __future__ import annotations

import gzip
import re
import secrets
import zlib

import shapes
from client import Response
from checks_http import SERVICES, of, sample
from suite import Failure, check_each, equal, eventually, expect, gather

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: (-?\d+))?')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
TEXT = ("text/plain", "0.0.4")


def scrape(service, *headers) -> Response:
    response = service.request("GET", "/metrics", headers=headers)
    if response.status != 200:
        raise Failure(f"saw {response}, expected status 200")
    return response


def kind(response: Response) -> tuple[str, str | None]:
    parameters = dict(part.strip().lower().partition("=")[::2] for part in (response.header("content-type") or "").split(";")[1:])
    return response.media_type, parameters.get("version", "").strip('"') or None


def read(text: str) -> tuple[dict[str, str], list[tuple[str, dict[str, str], float]]]:
    """Types of the families, and the samples, of Prometheus text 0.0.4."""
    types, samples = {}, []
    expect(text.endswith("\n"), f"an end of {text[-30:]!r}", "a line feed at the end")
    for line in text.split("\n"):
        if line.startswith("# TYPE "):
            _, _, name, type = line.split(" ", 3)
            expect(name not in types, f"a second {line!r}", "one TYPE for each family")
            expect(type in ("counter", "gauge", "histogram", "summary", "untyped"), line, "a type of Prometheus")
            types[name] = type
        elif line and not line.startswith("#"):
            found = SAMPLE.fullmatch(line)
            expect(found, f"line {line[:200]!r}", "name{labels} value")
            samples.append((found[1], labels(found[2] or "", line), number(found[3], line)))
    return types, samples


def labels(text: str, line: str) -> dict[str, str]:
    found, at = {}, 0
    while at < len(text):
        label = LABEL.match(text, at)
        expect(label and label[1] not in found, f"labels of {line[:200]!r}", 'name="value", each once')
        found[label[1]], at = label[2], label.end()
    return found


def number(text: str, line: str) -> float:
    try:
        return float(text.replace("Inf", "inf"))
    except ValueError:
        raise Failure(f"saw value {text!r} in {line[:200]!r}, expected a number") from None


@check_each("metrics of {} are text/plain; version=0.0.4 by default", SERVICES)
def default_format(world, name):
    with gather() as all_of:
        for label, headers in {"no Accept": [], "any": [("Accept", "*/*")], "text": [("Accept", "text/plain;version=0.0.4")], "a browser": [("Accept", "text/html,*/*;q=0.1")]}.items():
            with all_of.case(label):
                response = scrape(of(world, name), *headers)
                equal("content-type and version", kind(response), TEXT)
                expect(response.header("content-encoding") in (None, "identity"), f"content-encoding {response.header('content-encoding')}", "none")


@check_each("metrics of {} may be OpenMetrics when that is accepted, and then end with # EOF", SERVICES)
def openmetrics(world, name):
    response = scrape(of(world, name), ("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"))
    if response.media_type == "application/openmetrics-text":
        equal("version", kind(response)[1], "1.0.0")
        expect(response.body.endswith(b"# EOF\n"), f"an end of {response.body[-30:]!r}", "# EOF")
    else:
        equal("content-type and version", kind(response), TEXT)


@check_each("metrics of {} are gzip when accepted, and only then", SERVICES)
def compressed(world, name):
    response = scrape(of(world, name), ("Accept-Encoding", "gzip"))
    equal("content-encoding", response.header("content-encoding"), "gzip")
    try:
        text = gzip.decompress(response.body).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise Failure(f"saw a body that is no gzip ({error}), expected gzip") from None
    read(text)
    for refusal in ("gzip;q=0", "identity"):
        encoding = scrape(of(world, name), ("Accept-Encoding", refusal)).header("content-encoding")
        expect(encoding in (None, "identity"), f"content-encoding {encoding} at Accept-Encoding: {refusal}", "none")


@check_each("metrics of {} parse, no series twice, histograms add up", SERVICES)
def syntax(world, name):
    sample(world, name)
    types, samples = read(scrape(of(world, name)).body.decode())
    series = [(sample_name, tuple(sorted(found.items()))) for sample_name, found, _ in samples]
    twice = {each for each in series if series.count(each) > 1} if len(series) < 3000 else set()
    expect(not twice and len(set(series)) == len(series), f"series twice: {sorted(twice)[:2]}", "each once")
    for family in (family for family, type in types.items() if type == "histogram"):
        buckets: dict[tuple, list[tuple[float, float]]] = {}
        for sample_name, found, value in samples:
            if sample_name == family + "_bucket":
                rest = tuple(sorted((key, each) for key, each in found.items() if key != "le"))
                buckets.setdefault(rest, []).append((number(found.get("le", "?"), sample_name), value))
        counts = {tuple(sorted(found.items())): value for sample_name, found, value in samples if sample_name == family + "_count"}
        equal(f"series of {family}_count", set(counts), set(buckets))
        for rest, steps in buckets.items():
            steps.sort()
            expect(all(low[1] <= high[1] for low, high in zip(steps, steps[1:])), f"{family}{dict(rest)} {steps}", "buckets that grow")
            equal(f"le=+Inf of {family}{dict(rest)}", steps[-1], (float("inf"), counts[rest]))


TEMPLATED = {"auth": ("POST", "/v1/users/{id}/disable"), "order": ("GET", "/v1/orders/{id}"), "activity": ("GET", "/v1/timeline/{id}")}


@check_each("metrics of {} name route templates and nothing from outside", SERVICES)
def bounded(world, name):
    service, unused, nonsense = of(world, name), shapes.unused_id(), f"nope-{secrets.token_hex(6)}"
    method, template = TEMPLATED[name]
    service.request(method, template.replace("{id}", unused), token=world.customer.token)
    service.request("GET", f"/{nonsense}/{unused}")
    service.request("PROPFIND", f"/{nonsense}")
    wanted = re.compile(re.sub(r"\\\{id\\\}", r"(\\{\\w+\\}|:\\w+)", re.escape(template)))

    def look():
        text = scrape(service).body.decode()
        types, samples = read(text)
        equal("type of http_server_request_duration_seconds", types.get("http_server_request_duration_seconds"), "histogram")
        mine = [found for sample_name, found, _ in samples if sample_name == "http_server_request_duration_seconds_count"]
        for found in mine:
            shapes.members(f"labels {found}", found, "http_request_method", "url_scheme", "http_response_status_code")
        routes = {found["http_route"] for found in mine if "http_route" in found}
        expect(any(wanted.fullmatch(route) for route in routes), f"http_route values {sorted(routes)}", f"a template like {template}")
        expect(not any(shapes.ANY_UUID.search(value) for _, found, _ in samples for value in found.values()), "a UUID in a label value", "none")
        expect(nonsense not in text, "a path that matched no route in the metrics", "no http_route there")
        methods = {found["http_request_method"] for found in mine}
        expect("PROPFIND" not in methods and "_OTHER" in methods, f"http_request_method values {sorted(methods)}", "_OTHER for PROPFIND")

    eventually(look, 5)


@check_each("metrics of {} say what the process is", SERVICES)
def identity(world, name):
    types, samples = read(scrape(of(world, name)).body.decode())
    present = {sample_name for sample_name, _, _ in samples}
    missing = {"target_info", "lantern_build_info", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"} - present
    expect(not missing, f"no {', '.join(sorted(missing))}", "all of the contract's process metrics")
