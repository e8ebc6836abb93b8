"""auth: registration, log-in, tokens, key set, administration."""

from __future__ import annotations

import secrets
import statistics
import time

import shapes
import tokens
from client import Response
from shapes import must, names_fields, refused
from suite import Failure, Skip, check, equal, expect, gather
from world import at_once, new_email, new_password


# Registration

@check("auth registration answers 201 with the whole user, customer whatever the body claims")
def registration(world):
    email = new_email()
    claims = {"roles": ["admin", "vendor"], "role": "admin", "disabled": True, "id": shapes.unused_id(), "is_admin": True}
    user = shapes.user(must(world.register(email, new_password(), **claims), 201), email)
    equal("name", user["name"], "Contract Check")
    equal("roles", user["roles"], ["customer"])
    equal("disabled", user["disabled"], False)
    expect(user["id"] != claims["id"], f"id {user['id']}", "an id of the service's own")


@check("auth registration of a taken email is a 409 problem")
def registration_twice(world):
    refused(world.register(world.customer.email, new_password()), 409)


@check("auth registration of one email by eight at once makes exactly one user")
def registration_race(world):
    email = new_email()
    statuses = sorted(response.status for response in at_once(8, lambda _: world.register(email, new_password())))
    equal("statuses", statuses, [201] + [409] * 7)


@check("auth registration refuses bad emails and weak passwords, naming the field")
def registration_rules(world):
    def register(email, password):
        return world.auth.request("POST", "/v1/users", json={"email": email, "password": password, "name": "N"})

    with gather() as all_of:
        for email in ("", "plain", "@example.com", "a@", "a b@example.com", "a@b@example.com"):
            with all_of.case(f"email {email!r}"):
                names_fields(refused(register(email, new_password()), 422), "email")
        for password in ("", "short", "elevenchars"):
            with all_of.case(f"password {password!r}"):
                names_fields(refused(register(new_email(), password), 422), "password")
        with all_of.case("both at once"):
            names_fields(refused(register("plain", "short"), 422), "email", "password")
        with all_of.case("common passwords"):
            common = ("123456789012", "password1234", "passwordpassword", "qwertyuiopas", "qwerty123456", "iloveyou1234", "administrator", "1q2w3e4r5t6y")
            refusals = [password for password in common if register(new_email(), password).status == 422]
            expect(refusals, f"all of {', '.join(common)} taken", "the common ones refused")


@check("auth takes passwords of any script and length, and no prefix of them logs in")
def passwords(world):
    for password in ("контракт-проверка-💡-ключ", " leading and trailing ", "x" * 200 + secrets.token_hex(8)):
        email = new_email()
        must(world.register(email, password), 201)
        must(log_in(world, email, password), 201)
        refused(log_in(world, email, password[:-1]), 401)


def log_in(world, email: str, password: str, **more) -> Response:
    return world.auth.request("POST", "/v1/sessions", json={"email": email, "password": password}, **more)


# Log-in and tokens

@check("auth log-in answers 201 with access_token, token_type Bearer, expires_in 900, refresh_token")
def session(world):
    value = must(log_in(world, world.customer.email, world.customer.password), 201)
    shapes.members("session", value, "access_token", "token_type", "expires_in", "refresh_token")
    equal("token_type", value["token_type"], "Bearer")
    equal("expires_in", value["expires_in"], 900)
    expect(isinstance(value["refresh_token"], str) and len(value["refresh_token"]) >= 43, f"refresh_token of {len(str(value['refresh_token']))} characters", "256 bits (43 in base64url) at least")


@check("auth access token is at+jwt, ES256, with a kid of the key set and every claim")
def access_token(world):
    before = time.time()
    person = world.new_customer()
    head, claims, signature = tokens.take_apart(person.token)
    equal("typ", str(head.get("typ")).lower(), "at+jwt")
    equal("alg", head.get("alg"), "ES256")
    equal("bytes of signature", len(signature), 64)
    expect(head.get("kid") in {key["kid"] for key in key_set(world)["keys"]}, f"kid {head.get('kid')!r}", "one of the key set")
    shapes.members("claims", claims, "iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "roles", "sid")
    equal("sub", claims["sub"], person.id)
    equal("roles", claims["roles"], ["customer"])
    for name in ("iss", "jti", "client_id", "sid"):
        expect(isinstance(claims[name], str) and claims[name], f"{name} = {claims[name]!r}", "a non-empty string")
    expect(isinstance(claims["scope"], str), f"scope = {claims['scope']!r}", "a string")
    expect(claims["aud"] and isinstance(claims["aud"], (str, list)), f"aud = {claims['aud']!r}", "a string or a list of them")
    for name in ("exp", "iat"):
        expect(type(claims[name]) is int, f"{name} = {claims[name]!r}", "an integer")
    equal("exp - iat", claims["exp"] - claims["iat"], 900)
    expect(before - 60 <= claims["iat"] <= time.time() + 60, f"iat = {claims['iat']}", f"about {int(before)}")


@check("auth access tokens of two log-ins differ in jti and sid")
def token_ids(world):
    claims = [tokens.take_apart(must(log_in(world, world.customer.email, world.customer.password), 201)["access_token"])[1] for _ in range(2)]
    for name in ("jti", "sid"):
        expect(claims[0][name] != claims[1][name], f"the same {name} twice", "one for each log-in")


@check("auth access token's signature verifies with the published key")
def token_signature(world):
    token = world.customer.token
    kid = tokens.take_apart(token)[0].get("kid")
    key = next((key for key in key_set(world)["keys"] if key["kid"] == kid), None)
    expect(key, f"no key {kid!r}", "it in the key set")
    expect(tokens.signature_is_good(token, key), "a signature that does not verify", "one that does")


def key_set(world) -> dict:
    value = must(world.auth.request("GET", "/.well-known/jwks.json"), 200)
    shapes.members("key set", value, "keys")
    return value


@check("auth key set has public P-256 keys only, and cache headers")
def keys(world):
    response = world.auth.request("GET", "/.well-known/jwks.json")
    expect(response.media_type in ("application/json", "application/jwk-set+json"), f"content-type {response.header('content-type')!r}", "application/json or application/jwk-set+json")
    expect("max-age" in (response.header("cache-control") or ""), f"cache-control {response.header('cache-control')!r}", "a max-age")
    value = must(response, 200)["keys"]
    expect(value, "no key", "one at least")
    for key in value:
        shapes.members("key", key, "kty", "kid", "alg")
        private = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & set(key)
        expect(not private, f"members {sorted(private)} in the key set", "public members only")
    usable = [key for key in value if key["alg"] == "ES256"]
    expect(usable, f"algs {[key['alg'] for key in value]}", "ES256 among them")
    for key in usable:
        equal("kty, crv, use", (key["kty"], key.get("crv"), key.get("use", "sig")), ("EC", "P-256", "sig"))
        equal("bytes of x and y", (len(tokens.unb64(key["x"])), len(tokens.unb64(key["y"]))), (32, 32))
    equal("distinct kids", len({key["kid"] for key in value}), len(value))


# Log-in refused

@check("auth log-in answers the same for an unknown user and a wrong password")
def same_refusal(world):
    unknown = log_in(world, new_email(), world.customer.password)
    wrong = log_in(world, world.customer.email, new_password())
    bodies = []
    for response in (unknown, wrong):
        problem = refused(response, 401)
        bodies.append(response.body.replace(problem["instance"].encode(), b"I").replace(problem["trace_id"].encode(), b"T"))
    equal("body (trace_id and instance aside)", bodies[0], bodies[1])
    differing = {name for name, _ in unknown.headers + wrong.headers} - {"date", "Date", "content-length", "Content-Length"}
    for name in differing:
        if name.lower() not in ("traceresponse", "ratelimit", "retry-after", "date"):
            equal(f"header {name}", unknown.all(name), wrong.all(name))


@check("auth log-in takes the same time for an unknown user and a wrong password")
def same_time(world):
    times: dict[str, list[float]] = {"unknown user": [], "wrong password": []}
    for _ in range(7):
        for label, email in (("unknown user", new_email()), ("wrong password", world.customer.email)):
            start = time.monotonic()
            response = log_in(world, email, new_password(), patient=False)
            if response.status == 429:
                raise Skip("the rate limit answers before times can be compared")
            times[label].append(time.monotonic() - start)
    low, high = sorted(statistics.median(each) for each in times.values())
    expect(high < 2 * low or high - low < 0.005, ", ".join(f"{label} {statistics.median(each) * 1000:.0f} ms" for label, each in times.items()), "medians of about the same")


# The user, and administration

@check("auth /v1/users/me is the user who registered")
def me(world):
    email, password = new_email(), new_password()
    user = must(world.register(email, password), 201)
    token = must(log_in(world, email, password), 201)["access_token"]
    seen = shapes.user(must(world.auth.request("GET", "/v1/users/me", token=token), 200), email)
    for name in ("id", "name", "roles", "disabled", "created_at"):
        equal(name, seen[name], user[name])


@check("auth admin's roles are in the admin's token and profile")
def admin(world):
    expect("admin" in tokens.take_apart(world.admin.token)[1]["roles"], "an admin's token without the role", "it there")
    expect("admin" in must(world.auth.request("GET", "/v1/users/me", token=world.admin.token), 200)["roles"], "an admin's profile without the role", "it there")


@check("auth disabling keeps a user from logging in, enabling lets the user in again")
def disabling(world):
    person = world.new_customer()
    for _ in range(2):
        administer(world, person.id, "disable", 200, 204, 409)
    refused(log_in(world, person.email, person.password), 401, 403)
    administer(world, person.id, "enable", 200, 204)
    must(log_in(world, person.email, person.password), 201)


def administer(world, id: str, act: str, *statuses: int):
    response = world.auth.request("POST", f"/v1/users/{id}/{act}", token=world.admin.token)
    return refused(response, 409) if response.status == 409 and 409 in statuses else must(response, *statuses)


@check("auth roles that the admin gave are in the next token, and those taken are not")
def roles(world):
    person = world.new_customer()
    for given in (["customer", "vendor"], ["auditor"], ["customer"]):
        world.give_roles(person.id, *given)
        again = world.log_in(person.email, person.password)
        equal("roles in the token", sorted(tokens.take_apart(again.token)[1]["roles"]), sorted(given))
        equal("roles in the profile", sorted(must(world.auth.request("GET", "/v1/users/me", token=again.token), 200)["roles"]), sorted(given))


@check("auth refuses roles that do not exist, and then changes none")
def unknown_roles(world):
    person = world.new_customer()
    with gather() as all_of:
        for given in (["emperor"], ["vendor", "emperor"], ["ADMIN"], [""], [1], [None], [["admin"]]):
            with all_of.case(given):
                response = world.auth.request("PUT", f"/v1/users/{person.id}/roles", token=world.admin.token, json={"roles": given})
                names_fields(refused(response, 422), "roles")
        seen = must(world.auth.request("GET", "/v1/users/me", token=person.token), 200)["roles"]
        if seen != ["customer"]:
            raise Failure(f"saw roles {seen} after refused changes, expected ['customer']")
