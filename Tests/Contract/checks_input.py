"""Bodies that no route may choke on: the same bad inputs at every route that takes a body."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from client import NoAnswer, Response, Service
from shapes import names_fields, refused, refused_anyhow, survived, unused_id
from suite import Failure, check_each, expect, gather
from world import new_email, new_password


@dataclass(frozen=True)
class Route:
    service: str
    method: str
    path: str
    who: str | None
    required: tuple[str, ...]
    text: tuple[str, ...]  # paths of string members
    wrong_types: dict
    wrongly_typed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.service}{self.path}"

    def valid(self, world) -> dict:
        match self.path:
            case "/v1/users": return {"email": new_email(), "password": new_password(), "name": "Contract Check"}
            case "/v1/sessions": return {"email": world.customer.email, "password": world.customer.password}
            case "/v1/users/{id}/roles": return {"roles": ["customer"]}
            case "/v1/products": return {"name": "Lamp", "description": "d", "category": "c", "price": {"amount": 100, "currency": "EUR"}, "stock": 1}
            case _: return {"lines": [{"product_id": unused_id(), "quantity": 1}]}

    def on(self, world) -> Service:
        return getattr(world, self.service)

    def send(self, world, **more) -> Response:
        target = self.path.replace("{id}", world.stranger.id) if "{id}" in self.path else self.path
        token = getattr(world, self.who).token if self.who else None
        return self.on(world).request(self.method, target, token=token, **more)


ROUTES = [
    Route("auth", "POST", "/v1/users", None, ("email", "password", "name"), ("email", "name"),
          {"email": 1, "password": [], "name": {}}, ("email", "password", "name")),
    Route("auth", "POST", "/v1/sessions", None, ("email", "password"), ("email",),
          {"email": True, "password": 12}, ("email", "password")),
    Route("auth", "PUT", "/v1/users/{id}/roles", "admin", ("roles",), ("roles.0",),
          {"roles": "admin"}, ("roles",)),
    Route("order", "POST", "/v1/products", "admin", ("name", "price", "stock"), ("name", "description", "category", "price.currency"),
          {"name": 1, "description": {}, "category": [], "price": {"amount": "1", "currency": 978}, "stock": "many"},
          ("name", "description", "category", "price.amount", "price.currency", "stock")),
    Route("order", "POST", "/v1/orders", "customer", ("lines",), ("lines.0.product_id",),
          {"lines": [{"product_id": 1, "quantity": "two"}, {"product_id": "x", "quantity": []}]},
          ("lines[0].product_id", "lines[0].quantity", "lines[1].product_id", "lines[1].quantity")),
]
TEN_MEGABYTES = 10 * 1024 * 1024


def replaced(body: dict, path: str, value):
    """A copy of the body with the member at the path replaced."""
    copy = json.loads(json.dumps(body))
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    at = copy
    for step in way:
        at = at[step]
    at[last] = value
    return copy


@check_each("input {} - malformed JSON is a 400 problem with the position", ROUTES)
def malformed(world, route):
    good = json.dumps(route.valid(world))
    with gather() as all_of:
        for label, body in {
            "open brace": "{", "cut short": good[:-1], "cut in a string": good[:6], "trailing comma": good[:-1] + ",}", "trailing word": good + " x",
            "two values": good + good, "single quotes": good.replace('"', "'"), "words": "this is no JSON", "comment": "/* */" + good,
            "bare NaN": good[:-1] + ', "x": NaN}', "control character in a string": good[:-1] + ', "x": "\n"}', "bad escape": good[:-1] + ', "x": "\\q"}',
            "NUL after it": good + "\0", "leading zero": good[:-1] + ', "x": 012}', "hexadecimal": good[:-1] + ', "x": 0x1F}',
        }.items():
            with all_of.case(label):
                problem = refused(route.send(world, body=body), 400)
                expect(re.search(r"\d", problem["detail"]), f"detail {problem['detail']!r}", "a position in it")
        with all_of.case("no bytes at all"):
            refused(route.send(world, body=""), 400, 422)
    world.alive(route.on(world))


@check_each("input {} - missing members are a 422 problem that names all", ROUTES)
def missing(world, route):
    names_fields(refused(route.send(world, json={}), 422), *route.required)
    nulls = {name: None for name in route.required}
    names_fields(refused(route.send(world, json=nulls), 422), *route.required)


@check_each("input {} - wrong types are a 422 problem that names all", ROUTES)
def wrong_types(world, route):
    names_fields(refused(route.send(world, json=route.wrong_types), 422), *route.wrongly_typed)
    if len(route.required) > 1:
        absent = route.required[-1]
        mixed = {name: value for name, value in route.wrong_types.items() if name != absent}
        names_fields(refused(route.send(world, json=mixed), 422), absent, *(name for name in route.wrongly_typed if name != absent))


@check_each("input {} - a body that is no object is refused", ROUTES)
def no_object(world, route):
    with gather() as all_of:
        for body in ("[]", '"text"', "1", "true", "null", "[{}]"):
            with all_of.case(body):
                refused(route.send(world, body=body), 400, 422)


@check_each("input {} - another media type is a 415 problem", ROUTES)
def media_type(world, route):
    body = json.dumps(route.valid(world))
    with gather() as all_of:
        for type in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/json", "application/jsonx"):
            with all_of.case(type):
                refused(route.send(world, body=body, content_type=type), 415)
        for type in (";;;", "json", "*/*", "application/json; charset=\"", "a" * 5000):
            with all_of.case(type[:40]):
                survived(route.send(world, body=body, content_type=type))
        with all_of.case("application/json; charset=utf-8 is fine"):
            response = route.send(world, json={}, content_type="Application/JSON; charset=utf-8")
            expect(response.status == 422, response, "422 for {} and not 415")


@check_each("input {} - a body of 10 MB is a 413 problem", ROUTES)
def oversized(world, route):
    body = json.dumps({**route.valid(world), "padding": "a" * TEN_MEGABYTES})
    with gather() as all_of:
        for label, chunked in (("Content-Length", False), ("chunked", True)):
            with all_of.case(label):
                refused(patiently(lambda: route.send(world, body=body, chunked=chunked)), 413)
    world.alive(route.on(world))


def patiently(send) -> Response:
    """A server that answers 413 and closes may reset the connection before the answer was read: try thrice."""
    for attempt in range(3):
        try:
            return send()
        except NoAnswer as failure:
            last = failure
    raise last


@check_each("input {} - invalid UTF-8 is a 400 problem", ROUTES)
def invalid_utf8(world, route):
    with gather() as all_of:
        for label, raw in {"lone ff": b"\xff", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\x80", "cut sequence": b"\xe2\x82", "beyond Unicode": b"\xf4\x90\x80\x80", "lone continuation": b"\x80"}.items():
            with all_of.case(label):
                body = json.dumps(replaced(route.valid(world), route.text[0], "a@@b.example")).encode().replace(b"@@", raw + b"@")
                refused(route.send(world, body=body), 400)
        with all_of.case("UTF-16"):
            refused(route.send(world, body=json.dumps(route.valid(world)).encode("utf-16")), 400)
    world.alive(route.on(world))


@check_each("input {} - deep nesting is refused and harms nothing", ROUTES)
def nested(world, route):
    first, depth = route.required[0], 100_000
    with gather() as all_of:
        for label, body in {
            "open arrays": "[" * depth,
            "closed arrays": "[" * depth + "]" * depth,
            "open objects": '{"a":' * depth,
            "closed objects": '{"a":' * depth + "1" + "}" * depth,
            "arrays in a member": f'{{"{first}":' + "[" * depth + "]" * depth + "}",
            "arrays in an unknown member": '{"unknown":' + "[" * depth + "]" * depth + "}",
            "512 arrays": "[" * 512 + "]" * 512,
        }.items():
            with all_of.case(label):
                refused(route.send(world, body=body), 400, 413, 422)
    world.alive(route.on(world))


@check_each("input {} - NUL in a string is refused", ROUTES)
def nul(world, route):
    with gather() as all_of:
        for path in route.text:
            for text in ("a\0b@example.com", "\0"):
                with all_of.case(f"{path} {text!r}"):
                    refused_anyhow(route.send(world, json=replaced(route.valid(world), path, text)))
    world.alive(route.on(world))


@check_each("input {} - odd strings cause no server error", ROUTES)
def odd_strings(world, route):
    with gather() as all_of:
        for path in route.text:
            for label, text in {
                "lone surrogate": "\\ud800", "swapped surrogates": "\\udc00\\ud800", "empty": "", "blank": "   ", "line feeds": "\\n\\r\\n", "ESC": "\\u001b[31m",
                "right to left": "\\u202egnp", "emoji": "💡" * 100, "SQL": "'; DROP TABLE orders; --", "percent": "%s%n%x", "template": "{{7*7}}${jndi:ldap://127.0.0.1:9/a}",
                "100 kB": "x" * 100_000, "not a character": "\\uffff\\ufffe",
            }.items():
                with all_of.case(f"{path} {label}"):
                    valid = json.dumps(replaced(route.valid(world), path, "@@"))
                    survived(route.send(world, body=valid.replace("@@", text)))
    world.alive(route.on(world))


@check_each("input {} - odd but legal JSON and encodings cause no server error", ROUTES)
def odd_json(world, route):
    valid = json.dumps(route.valid(world))
    with gather() as all_of:
        for label, body in {
            "byte order mark": "\ufeff" + valid, "white space around": f"\n\t {valid} \r\n", "unknown member": valid[:-1] + ', "unknown": 1e400}',
            "member twice": valid[:-1] + f', "{route.required[0]}": null}}', "prototype": valid[:-1] + ', "__proto__": {"admin": true}}', "empty key": valid[:-1] + ', "": 0}',
            "20,000 members": valid[:-1] + "".join(f', "k{index}": 0' for index in range(20_000)) + "}", "number of 50,000 digits": valid[:-1] + ', "n": ' + "9" * 50_000 + "}",
        }.items():
            with all_of.case(label):
                survived(route.send(world, body=body))
        for encoding in ("gzip", "br", "nonsense"):
            with all_of.case(f"Content-Encoding: {encoding} that it is not"):
                survived(route.send(world, body=valid, headers=[("Content-Encoding", encoding)]))
    world.alive(route.on(world))


# Routes that need no body must not mind one.
BODILESS = [("auth", "/v1/users/{id}/disable", "admin"), ("auth", "/v1/users/{id}/enable", "admin"), ("order", "/v1/orders/{id}/cancel", "customer")]


@check_each("input POST {} - a body it does not need causes no server error", BODILESS, lambda case: case[0] + case[1])
def bodiless(world, case):
    name, path, who = case
    service, token = getattr(world, name), getattr(world, who).token
    with gather() as all_of:
        for label, body in {"broken": b"{", "invalid UTF-8": b"\xff", "nested": b"[" * 100_000, "10 MB": b"a" * TEN_MEGABYTES, "NUL": b'{"reason":"\\u0000"}'}.items():
            with all_of.case(label):
                response = patiently(lambda: service.request("POST", path.replace("{id}", unused_id()), token=token, body=body))
                refused_anyhow(response)
    world.alive(service)


# Numbers

BAD_NUMBERS = ["-1", "-9223372036854775808", "1e400", "-1e400", "9223372036854775808", "18446744073709551616", "1.5", '"1"', "true", "null", "[]", "1e-3", "9" * 400]
NUMBERS = [
    ("POST order/v1/products", "price.amount", '{"name":"Lamp","price":{"amount":@,"currency":"EUR"},"stock":1}', "admin", BAD_NUMBERS),
    ("POST order/v1/products", "stock", '{"name":"Lamp","price":{"amount":100,"currency":"EUR"},"stock":@}', "admin", BAD_NUMBERS),
    ("POST order/v1/orders", "lines[0].quantity", '{"lines":[{"product_id":"PRODUCT","quantity":@}]}', "customer", ["0", *BAD_NUMBERS]),
]


@check_each("input {} - numbers that are negative, overflow, or are no integers are refused", NUMBERS, lambda case: f"{case[0]} {case[1]}")
def numbers(world, case):
    route, field, template, who, bad = case
    product = world.once("a product for numbers", lambda: world.new_product(stock=1000))
    before = world.stock(product)
    with gather() as all_of:
        for value in bad:
            with all_of.case(value[:30]):
                body = template.replace("PRODUCT", product["id"]).replace("@", value)
                problem = refused(world.order.request("POST", route.removeprefix("POST order"), token=getattr(world, who).token, body=body), 400, 422)
                if problem["status"] == 422:
                    names_fields(problem, field)
        with all_of.case("9223372036854775807"):
            body = template.replace("PRODUCT", product["id"]).replace("@", "9223372036854775807")
            response = world.order.request("POST", route.removeprefix("POST order"), token=getattr(world, who).token, body=body)
            survived(response)
            expect(response.status != 201 or "quantity" not in field, response, "no order of that many")
    if world.stock(product) != before:
        raise Failure(f"saw stock {world.stock(product)} after refused orders, expected {before}")
    world.alive(world.order)


@check_each("input POST order/v1/products - currency {} is refused", ["XXXX", "E", "", "€€€", "12A", "EURO "], repr)
def currency(world, code):
    body = {"name": "Lamp", "price": {"amount": 100, "currency": code}, "stock": 1}
    names_fields(refused(world.order.request("POST", "/v1/products", token=world.admin.token, json=body), 422), "price.currency")
