"""What every service does alike: probes, unknown routes, wrong methods, trace headers, broken HTTP."""

from __future__ import annotations

import secrets

import shapes
from client import NoAnswer, Service, new_trace_id
from shapes import must, refused, survived
from suite import Failure, Skip, check, check_each, equal, expect, gather

SERVICES = ["auth", "order", "activity"]
UNUSED = "{unused}"


def of(world, name: str) -> Service:
    return getattr(world, name)


def sample(world, name: str, **more):
    """A plain successful request of each service."""
    if name == "auth":
        return world.auth.request("GET", "/.well-known/jwks.json", **more)
    if name == "order":
        return world.order.request("GET", "/v1/products", **more)
    return world.activity.request("GET", "/v1/timeline", token=world.customer.token, **more)


# Probes

@check_each("http {} answers /livez /readyz /startupz with 200 and JSON", SERVICES)
def probes(world, name):
    with gather() as all_of:
        for target in ("/livez", "/readyz", "/startupz"):
            with all_of.case(target):
                response = of(world, name).request("GET", target)
                value = must(response, 200)
                equal("content-type", response.media_type, "application/json")
                if target == "/readyz":
                    expect(isinstance(value, dict) and value, response, "a JSON object with every dependency")


# Unknown routes and wrong methods

@check_each("http {} answers an unknown route with a 404 problem", SERVICES)
def unknown_route(world, name):
    service = of(world, name)
    with gather() as all_of:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            for target in (f"/nope-{secrets.token_hex(6)}", f"/v1/nope-{secrets.token_hex(6)}/x", f"/v2/{secrets.token_hex(6)}"):
                with all_of.case(f"{method} {target}"):
                    refused(service.request(method, target, token=world.customer.token), 404)
        with all_of.case("without a token"):
            refused(service.request("GET", f"/nope-{secrets.token_hex(6)}"), 404)


# (service, path, a method no contract gives it, methods that Allow must name)
WRONG_METHODS = [
    ("auth", "/v1/users", "PATCH", ["POST"]),
    ("auth", "/v1/sessions", "PUT", ["POST"]),
    ("auth", "/.well-known/jwks.json", "POST", ["GET"]),
    ("auth", "/v1/users/me", "POST", ["GET"]),
    ("auth", "/v1/users/{unused}/disable", "GET", ["POST"]),
    ("auth", "/v1/users/{unused}/enable", "DELETE", ["POST"]),
    ("auth", "/v1/users/{unused}/roles", "DELETE", ["PUT"]),
    ("order", "/v1/products", "PUT", ["GET", "POST"]),
    ("order", "/v1/products/{unused}", "POST", ["GET"]),
    ("order", "/v1/orders", "PATCH", ["GET", "POST"]),
    ("order", "/v1/orders/{unused}", "DELETE", ["GET"]),
    ("order", "/v1/orders/{unused}/cancel", "GET", ["POST"]),
    ("activity", "/v1/timeline", "POST", ["GET"]),
    ("activity", "/v1/timeline/{unused}", "DELETE", ["GET"]),
    ("activity", "/v1/sources", "PUT", ["GET"]),
    *((name, target, "POST", ["GET"]) for name in SERVICES for target in ("/livez", "/readyz", "/startupz", "/metrics")),
]


@check_each("http {} is a 405 problem with Allow", WRONG_METHODS, lambda case: f"{case[2]} {case[0]}{case[1]}")
def wrong_method(world, case):
    name, target, method, allowed = case
    for each in (method, "PROPFIND"):
        response = of(world, name).request(each, target.replace(UNUSED, shapes.unused_id()), token=world.admin.token)
        refused(response, 405)
        allow = {word.strip() for value in response.all("allow") for word in value.split(",") if word.strip()}
        expect(set(allowed) <= allow and each not in allow, f"Allow: {', '.join(sorted(allow)) or '(none)'} at {response}",
               f"{', '.join(allowed)} in it and {each} not")


# Ids in paths

# (service, method, path, who, body)
ID_ROUTES = [
    ("auth", "POST", "/v1/users/{id}/disable", "admin", None),
    ("auth", "POST", "/v1/users/{id}/enable", "admin", None),
    ("auth", "PUT", "/v1/users/{id}/roles", "admin", {"roles": ["customer"]}),
    ("order", "GET", "/v1/products/{id}", None, None),
    ("order", "GET", "/v1/orders/{id}", "customer", None),
    ("order", "POST", "/v1/orders/{id}/cancel", "customer", None),
    ("activity", "GET", "/v1/timeline/{id}", "admin", None),
]
BAD_IDS = ["abc", "1", "-1", "0", "99999999999999999999", "00000000-0000-0000-0000-00000000000g", "{id}".replace("{", "%7B").replace("}", "%7D"),
           "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "%00", "abc%00def", "%ff", "%20", "%zz", "%",
           "..%2f..%2fetc%2fpasswd", "%27%20OR%201%3D1--", "%0d%0aX-Injected:%20yes", "%F0%9F%92%A1"]


def ask_by_id(world, case, id: str):
    name, method, target, who, body = case
    token = getattr(world, who).token if who else None
    more = {} if body is None else {"json": body}
    return of(world, name).request(method, target.replace("{id}", id), token=token, **more)


@check_each("http {} refuses an id that is no UUID", ID_ROUTES, lambda case: f"{case[1]} {case[0]}{case[2]}")
def bad_id(world, case):
    with gather() as all_of:
        for id in BAD_IDS:
            with all_of.case(id):
                response = ask_by_id(world, case, id)
                refused(response, 400, 404, 422)
                expect(response.header("x-injected") is None, response, "no header made from the path")
        with all_of.case("4000 letters"):
            survived(ask_by_id(world, case, "x" * 4000))
    world.alive(of(world, case[0]))


@check_each("http {} answers an unknown id with a 404 problem", ID_ROUTES, lambda case: f"{case[1]} {case[0]}{case[2]}")
def unknown_id(world, case):
    refused(ask_by_id(world, case, shapes.unused_id()), 404)


# Trace context

def answered_trace(response) -> str:
    value = response.header("traceresponse")
    found = shapes.TRACERESPONSE.fullmatch(value or "")
    expect(found, f"traceresponse: {value} at {response}", "version-traceid-spanid-flags")
    trace_id = found.group(1)
    expect(shapes.TRACE_ID.fullmatch(trace_id), f"traceresponse: {value}", "a trace id that is not all zero")
    return trace_id


@check_each("http {} answers traceresponse with the trace id that was sent", SERVICES)
def trace_kept(world, name):
    with gather() as all_of:
        for label, response in (("success", sample(world, name)), ("error", of(world, name).request("GET", "/v1/nope"))):
            with all_of.case(label):
                equal("trace id in traceresponse", answered_trace(response), response.trace_id)
        trace_id = new_trace_id()
        valid = {
            "not sampled": f"00-{trace_id}-{secrets.token_hex(8)}-00",
            "other flags": f"00-{trace_id}-{secrets.token_hex(8)}-03",
            "later version": f"cc-{trace_id}-{secrets.token_hex(8)}-01",
            "later version with more": f"cc-{trace_id}-{secrets.token_hex(8)}-01-what-the-future-brings",
            "white space around": f"  00-{trace_id}-{secrets.token_hex(8)}-01 ",
        }
        for label, value in valid.items():
            with all_of.case(label):
                response = sample(world, name, trace=None, headers=[("traceparent", value)])
                equal("status", response.status, 200)
                equal("trace id in traceresponse", answered_trace(response), trace_id)


def bad_traceparents(trace_id: str) -> dict[str, list[str]]:
    span_id = secrets.token_hex(7) + "ab"
    return {
        "missing": [],
        "empty": [""],
        "word": ["garbage"],
        "version ff": [f"ff-{trace_id}-{span_id}-01"],
        "one digit of version": [f"0-{trace_id}-{span_id}-01"],
        "zero trace id": [f"00-{'0' * 32}-{span_id}-01"],
        "zero span id": [f"00-{trace_id}-{'0' * 16}-01"],
        "upper case": [f"00-{trace_id[:-2].upper()}AB-{span_id}-01"],
        "upper-case span id": [f"00-{trace_id}-{span_id[:-2]}AB-01"],
        "not hexadecimal": [f"00-{trace_id[:-1]}g-{span_id}-01"],
        "short trace id": [f"00-{trace_id[1:]}-{span_id}-01"],
        "long trace id": [f"00-{trace_id}0-{span_id}-01"],
        "short span id": [f"00-{trace_id}-{span_id[1:]}-01"],
        "no flags": [f"00-{trace_id}-{span_id}"],
        "flags not hexadecimal": [f"00-{trace_id}-{span_id}-0x"],
        "version 00 with more": [f"00-{trace_id}-{span_id}-01-more"],
        "version 00 with a dot": [f"00-{trace_id}-{span_id}-01."],
        "later version run together": [f"cc-{trace_id}-{span_id}-01what"],
        "underscores": [f"00_{trace_id}_{span_id}_01"],
        "twice, the same trace": [f"00-{trace_id}-{span_id}-01", f"00-{trace_id}-{span_id}-00"],
        "very long": ["00-" + "a" * 4000],
        "bytes beyond ASCII": [f"00-{trace_id}-{span_id}-\xe9\xe9"],
    }


@check_each("http {} starts a new trace at a missing or malformed traceparent", SERVICES)
def trace_restarted(world, name):
    seen = set()
    with gather() as all_of:
        trace_id = new_trace_id()
        for label, values in bad_traceparents(trace_id).items():
            with all_of.case(label):
                response = sample(world, name, trace=None, headers=[("traceparent", value) for value in values])
                equal("status", response.status, 200)
                made = answered_trace(response)
                expect(made.lower() != trace_id.lower() and made not in seen, f"trace id {made} for traceparent {values}", "a new one")
                seen.add(made)
        with all_of.case("error"):
            response = of(world, name).request("GET", "/v1/nope", trace=None, headers=[("traceparent", "garbage")])
            equal("trace_id of the problem", refused(response, 404)["trace_id"], answered_trace(response))


@check_each("http {} takes odd tracestate and baggage without error", SERVICES)
def odd_baggage(world, name):
    odd = {
        "duplicate keys": [("tracestate", "foo=1,foo=2")],
        "odd keys": [("tracestate", "@foo=1,foo@=2,FOO=3,=4,foo")],
        "33 members": [("tracestate", ",".join(f"k{index}=v" for index in range(33)))],
        "long key": [("tracestate", "a" * 257 + "=1")],
        "empty": [("tracestate", ""), ("baggage", "")],
        "broken baggage": [("baggage", "=,;;;==,%zz=%ff,k=\xff\xfe")],
        "much baggage": [("baggage", ",".join(f"key{index}={'v' * 30}" for index in range(200)))],
        "baggage twice": [("baggage", "a=1"), ("baggage", "a=2")],
    }
    with gather() as all_of:
        for label, headers in odd.items():
            with all_of.case(label):
                response = sample(world, name, headers=headers)
                equal("status", response.status, 200)
                equal("trace id in traceresponse", answered_trace(response), response.trace_id)


# HTTP that is broken, or merely strange

def head(service: Service, request_line: str, *lines: str) -> bytes:
    return "\r\n".join([request_line, f"Host: {service.authority}", "Connection: close", *lines, "", ""]).encode("latin-1")


@check_each("http {} refuses or drops malformed HTTP and stays alive", SERVICES)
def malformed_http(world, name):
    service = of(world, name)
    post = "POST /v1/orders HTTP/1.1"
    broken = {
        "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + secrets.token_bytes(64) + b"\r\n\r\n",
        "zeros": bytes(400) + b"\r\n\r\n",
        "no version": b"GET /livez\r\n\r\n",
        "version 9.9": head(service, "GET /livez HTTP/9.9"),
        "space in the target": head(service, "GET /li vez HTTP/1.1"),
        "header without colon": head(service, "GET /livez HTTP/1.1", "broken header"),
        "space before the colon": head(service, "GET /livez HTTP/1.1", "X-Thing : 1"),
        "NUL in a header": head(service, "GET /livez HTTP/1.1", "X-Thing: a\0b"),
        "two lengths": head(service, post, "Content-Length: 2", "Content-Length: 3") + b"{}",
        "negative length": head(service, post, "Content-Length: -1") + b"{}",
        "overflowing length": head(service, post, "Content-Length: 99999999999999999999999") + b"{}",
        "length in words": head(service, post, "Content-Length: two") + b"{}",
        "bad chunk size": head(service, post, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
        "overflowing chunk size": head(service, post, "Transfer-Encoding: chunked") + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "header of 200 kB": head(service, "GET /livez HTTP/1.1", "X-Thing: " + "a" * 200_000),
        "10,000 headers": head(service, "GET /livez HTTP/1.1", *(f"X-{index}: 1" for index in range(10_000))),
        "target of 200 kB": head(service, "GET /" + "a" * 200_000 + " HTTP/1.1"),
    }
    with gather() as all_of:
        for label, payload in broken.items():
            with all_of.case(label):
                try:
                    response = service.exchange(payload, f"{label} to {name}", deadline=2)
                except NoAnswer:
                    continue  # dropping the connection is a fair answer to what is no HTTP
                expect(response.status < 500 or response.status in (501, 505), response, "no server error")
    world.alive(service)


@check_each("http {} never takes a body for a second request", SERVICES)
def smuggling(world, name):
    service = of(world, name)
    inner = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    both = head(service, "POST /v1/nope HTTP/1.1", f"Content-Length: {5 + len(inner)}", "Transfer-Encoding: chunked").replace(b"Connection: close", b"Connection: keep-alive")
    try:
        responses = service.pipeline(both + b"0\r\n\r\n" + inner, f"length and chunked to {name}", 2, deadline=3)
    except NoAnswer:
        world.alive(service)
        return
    raise Failure(f"saw two answers ({', '.join(str(each.status) for each in responses)}), expected Content-Length with Transfer-Encoding to be refused or the connection closed")


@check_each("http {} answers two requests in one packet in their order", SERVICES)
def pipelined(world, name):
    service, traces = of(world, name), [new_trace_id(), new_trace_id()]
    payload = b""
    for index, trace in enumerate(traces):
        lines = ["GET /v1/nope HTTP/1.1", f"Host: {service.authority}", f"traceparent: 00-{trace}-{secrets.token_hex(8)}-01"]
        payload += "\r\n".join([*lines, *(["Connection: close"] if index else []), "", ""]).encode()
    seen = [response.json().get("trace_id") for response in service.pipeline(payload, f"two GET {name}/v1/nope", 2)]
    equal("the trace ids in order", seen, traces)


@check_each("http {} outlives clients that leave in the middle", SERVICES)
def leavers(world, name):
    service = of(world, name)
    for payload in (b"", b"GE", b"GET /livez HT", head(service, "POST /v1/users HTTP/1.1", "Content-Type: application/json", "Content-Length: 100") + b'{"em',
                    head(service, "POST /v1/orders HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked") + b"5\r\n{\"l",
                    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50):
        service.send_and_close(payload)
    world.alive(service)


@check_each("http {} takes harmless strangeness like HEAD, OPTIONS, odd Accept, encodings, ranges", SERVICES)
def strange(world, name):
    service = of(world, name)
    with gather() as all_of:
        for label, more in {
            "odd Accept": {"headers": [("Accept", ";;q=,*/")]},
            "Accept with 1000 types": {"headers": [("Accept", ",".join(f"a/b{index}" for index in range(1000)))]},
            "odd Accept-Encoding": {"headers": [("Accept-Encoding", "gzip;q=nan, *;q=9, ,")]},
            "Range": {"headers": [("Range", "bytes=9-1")]},
            "If-None-Match": {"headers": [("If-None-Match", "W/\"")]},
            "Expect": {"headers": [("Expect", "the unexpected")]},
            "X-Forwarded-For": {"headers": [("X-Forwarded-For", "999.1.1.1, ::, \xff")]},
            "query without end": {"query": {"%": "&" * 500}},
        }.items():
            with all_of.case(label):
                survived(sample(world, name, **more))
        for method in ("HEAD", "OPTIONS", "TRACE"):
            with all_of.case(method):
                response = service.request(method, "/v1/products" if name == "order" else "/livez")
                expect(response.status < 500 or response.status == 501, response, "no server error")
    world.alive(service)


# At the end

def register_last() -> None:
    for name in SERVICES:
        check(f"http {name} answers /livez and /readyz 200 after everything", last=True)(lambda world, name=name: alive_at_last(world, name))
        check(f"http {name} answered nothing with a 5xx in this run", last=True)(lambda world, name=name: no_server_error(world, name))
    check("http 429 carries Retry-After, RateLimit-Policy and RateLimit", last=True)(throttling)


def alive_at_last(world, name):
    for target in ("/livez", "/readyz"):
        must(of(world, name).request("GET", target), 200)


def no_server_error(world, name):
    if not of(world, name).answers:
        raise Skip("it answered nothing at all")
    errors = [error for error in of(world, name).server_errors if "-> 501" not in error and "-> 505" not in error]
    expect(not errors, f"{len(errors)} answers of 5xx, the first {errors[:1]}", "none")


def throttling(world):
    seen = [response for service in world.services for response in service.throttled]
    if not seen:
        raise Skip("no 429 was seen in this run")
    refused(seen[0], 429)
    for header in ("retry-after", "ratelimit-policy", "ratelimit"):
        expect(seen[0].header(header), f"no {header} at {seen[0]}", "one")


register_last()
