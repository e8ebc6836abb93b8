"""Who may: tokens that are missing, broken, forged or foreign, and roles that do not suffice."""

from __future__ import annotations

import shapes
import tokens
from shapes import must, refused
from suite import check, check_each, equal, expect, gather

ORDER_BODY = {"lines": [{"product_id": "{unused}", "quantity": 1}]}
PRODUCT_BODY = {"name": "Contraband", "price": {"amount": 100, "currency": "EUR"}, "stock": 1}

# (service, method, path, body, needs more than customer)
PROTECTED = [
    ("auth", "GET", "/v1/users/me", None, False),
    ("auth", "POST", "/v1/users/{unused}/disable", None, True),
    ("auth", "POST", "/v1/users/{unused}/enable", None, True),
    ("auth", "PUT", "/v1/users/{unused}/roles", {"roles": ["admin"]}, True),
    ("order", "POST", "/v1/products", PRODUCT_BODY, True),
    ("order", "POST", "/v1/orders", ORDER_BODY, False),
    ("order", "GET", "/v1/orders", None, False),
    ("order", "GET", "/v1/orders/{unused}", None, False),
    ("order", "POST", "/v1/orders/{unused}/cancel", None, False),
    ("activity", "GET", "/v1/timeline", None, False),
    ("activity", "GET", "/v1/timeline/{unused}", None, False),
    ("activity", "GET", "/v1/sources", None, True),
]


def title(case) -> str:
    return f"{case[1]} {case[0]}{case[2]}"


def ask(world, case, **more):
    name, method, target, body, _ = case
    id = shapes.unused_id()
    if body is not None:
        if "lines" in body:
            body = {"lines": [{"product_id": id, "quantity": 1}]}
        more["json"] = body
    return getattr(world, name).request(method, target.replace("{unused}", id), **more)


def unauthenticated(response) -> None:
    refused(response, 401)
    challenge = response.header("www-authenticate") or ""
    expect(challenge.lower().startswith("bearer"), f"WWW-Authenticate: {challenge} at {response}", "a Bearer challenge")


@check_each("token missing at {} is 401 with WWW-Authenticate", PROTECTED, title)
def missing(world, case):
    with gather() as all_of:
        for label, headers in {
            "no header": [],
            "empty": [("Authorization", "")],
            "no token": [("Authorization", "Bearer")],
            "blank token": [("Authorization", "Bearer   ")],
            "other scheme": [("Authorization", "Basic YWRtaW46YWRtaW4=")],
            "token without scheme": [("Authorization", world.customer.token)],
            "in another header": [("X-Authorization", f"Bearer {world.customer.token}")],
        }.items():
            with all_of.case(label):
                unauthenticated(ask(world, case, headers=headers))
        with all_of.case("in the query"):
            unauthenticated(ask(world, (*case[:2], case[2] + "?access_token=" + world.customer.token, *case[3:])))


@check_each("token garbage, forged, alg none, HS256 with the public key, expired or foreign at {} is 401", PROTECTED, title)
def forged(world, case):
    keys = must(world.auth.request("GET", "/.well-known/jwks.json"), 200)
    with gather() as all_of:
        for label, token in tokens.forgeries(world.customer.token, keys).items():
            with all_of.case(label):
                unauthenticated(ask(world, case, token=token))
        with all_of.case("a refresh token"):
            unauthenticated(ask(world, case, token=world.customer.refresh_token))
        with all_of.case("bytes beyond ASCII"):
            unauthenticated(ask(world, case, token="\xff\xfe\xe9"))
    world.alive(getattr(world, case[0]))


@check_each("token huge or doubled does not harm {}", ["auth", "order", "activity"])
def huge(world, name):
    case = next(case for case in PROTECTED if case[0] == name)
    with gather() as all_of:
        for label, headers in {
            "16 kB": [("Authorization", "Bearer " + "a" * 16_000)],
            "40,000 dots": [("Authorization", "Bearer " + "." * 40_000)],
            "two headers": [("Authorization", "Bearer a.b.c"), ("Authorization", f"Bearer {world.customer.token}")],
        }.items():
            with all_of.case(label):
                response = ask(world, case, headers=headers)
                expect(400 <= response.status < 500, response, "a client error")
    world.alive(getattr(world, name))


@check_each("token is taken by {} whatever the case of the scheme", ["auth", "order", "activity"])
def scheme_case(world, name):
    target = {"auth": "/v1/users/me", "order": "/v1/orders", "activity": "/v1/timeline"}[name]
    for scheme in ("bearer", "BEARER"):
        must(getattr(world, name).request("GET", target, headers=[("Authorization", f"{scheme} {world.customer.token}")]), 200)


@check_each("role customer does not suffice for {}, 403", [case for case in PROTECTED if case[4]], title)
def forbidden(world, case):
    refused(ask(world, case, token=world.customer.token), 403)


@check("role auditor reads but neither administers nor sells")
def auditor(world):
    token = world.auditor.token
    must(world.activity.request("GET", "/v1/timeline", token=token), 200)
    must(world.activity.request("GET", "/v1/sources", token=token), 200)
    with gather() as all_of:
        for case in PROTECTED:
            if case[4] and case[0] != "activity":
                with all_of.case(title(case)):
                    refused(ask(world, case, token=token), 403)


@check("role vendor creates products of its own and does not administer")
def vendor(world):
    person = world.new_person("customer", "vendor")
    product = shapes.product(world.new_product(token=person.token))
    equal("vendor_id", product["vendor_id"], person.id)
    with gather() as all_of:
        for case in PROTECTED:
            if case[4] and case[0] != "order":
                with all_of.case(title(case)):
                    refused(ask(world, case, token=person.token), 403)
