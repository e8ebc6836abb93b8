"""The shapes the contract gives to things on the wire."""

from __future__ import annotations

import re
import uuid
import os
import time
from datetime import datetime

from client import Response
from suite import Failure, equal, expect

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ANY_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
TRACERESPONSE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
MICROSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)")
SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def unused_id() -> str:
    """A well-formed UUIDv7 that names nothing."""
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def must(response: Response, *statuses: int):
    """The JSON of a successful answer (None without body)."""
    if response.status not in statuses:
        raise Failure(f"saw {response}, expected status {either(statuses)}")
    return response.json() if response.body else None


def refused(response: Response, *statuses: int, code: str | None = None) -> dict:
    """The problem of an RFC 9457 answer, with every member that the contract asks for."""
    if response.status not in statuses:
        raise Failure(f"saw {response}, expected status {either(statuses)}")
    if response.media_type != "application/problem+json":
        raise Failure(f"saw content-type {response.header('content-type')!r} at {response}, expected application/problem+json")
    problem = response.json()
    expect(isinstance(problem, dict), response, "a JSON object")
    faults = []
    for member in ("type", "title", "detail", "instance", "code", "trace_id"):
        if not isinstance(problem.get(member), str) or not problem[member]:
            faults.append(f"{member} is {problem.get(member)!r}, not a non-empty string")
    if problem.get("status") != response.status or isinstance(problem.get("status"), bool):
        faults.append(f"member status is {problem.get('status')!r}, not {response.status}")
    if not SNAKE_CASE.fullmatch(str(problem.get("code"))):
        faults.append(f"code {problem.get('code')!r} is not snake_case")
    if not TRACE_ID.fullmatch(str(problem.get("trace_id"))):
        faults.append(f"trace_id {problem.get('trace_id')!r} is not 32 lower-case hex digits")
    elif response.trace_id and problem["trace_id"] != response.trace_id:
        faults.append(f"trace_id is {problem['trace_id']}, not the {response.trace_id} that was sent")
    if code and problem.get("code") != code:
        faults.append(f"code is {problem.get('code')!r}, not {code!r}")
    if response.status == 401 and not response.header("www-authenticate"):
        faults.append("no WWW-Authenticate at a 401")
    if faults:
        raise Failure(f"saw {response}: {'; '.join(faults)}; expected a whole problem")
    return problem


def refused_anyhow(response: Response) -> dict:
    """Any client error, as a whole problem."""
    return refused(response, *range(400, 429), 431)


def survived(response: Response) -> None:
    """Any answer but a server error; if it is a refusal with a body, a whole problem."""
    expect(response.status < 500, response, "no server error")
    if response.status >= 400:
        refused_anyhow(response)


def names_fields(problem: dict, *fields: str) -> None:
    """422: `errors` names every field, in whatever path notation (lines[0].quantity, /lines/0/quantity)."""
    errors = problem.get("errors")
    if not isinstance(errors, list) or not errors:
        raise Failure(f"saw errors = {errors!r}, expected a list of {{field, message}}")
    for error in errors:
        good = isinstance(error, dict) and isinstance(error.get("field"), str) and isinstance(error.get("message"), str)
        expect(good and error["message"], f"error {error!r}", "{field, message} with a message")
    named = [path(error["field"]) for error in errors]
    missing = [field for field in fields if not any(name[:len(path(field))] == path(field) for name in named)]
    expect(not missing, f"errors for {[error['field'] for error in errors]}", f"all faults at once, {', '.join(missing)} too")


def path(field: str) -> list[str]:
    return re.findall(r"[A-Za-z_]+|\d+", field)


def timestamp(what: str, value) -> datetime:
    expect(isinstance(value, str) and MICROSECONDS.fullmatch(value), f"{what} = {value!r}", "RFC 3339 in UTC with microseconds")
    return datetime.fromisoformat(value.replace("Z", "+00:00"))


def uuid7(what: str, value) -> str:
    expect(isinstance(value, str) and UUID7.fullmatch(value), f"{what} = {value!r}", "a UUIDv7")
    return value


def members(what: str, thing, *names: str) -> None:
    expect(isinstance(thing, dict), f"{what} = {thing!r}", "an object")
    missing = [name for name in names if name not in thing]
    expect(not missing, f"{what} with members {sorted(thing)}", f"also {', '.join(missing)}")


def money(what: str, value, amount: int, currency: str = "EUR") -> None:
    members(what, value, "amount", "currency")
    expect(type(value["amount"]) is int, f"{what}.amount = {value['amount']!r}", "an integer")
    equal(what, (value["amount"], value["currency"]), (amount, currency))


def user(value, email: str | None = None) -> dict:
    members("user", value, "id", "email", "name", "roles", "disabled", "created_at", "updated_at")
    uuid7("user.id", value["id"])
    timestamp("user.created_at", value["created_at"])
    timestamp("user.updated_at", value["updated_at"])
    if email:
        equal("user.email", value["email"], email)
    expect(not any("password" in key for key in value), f"members {sorted(value)}", "nothing of the password")
    return value


def product(value) -> dict:
    members("product", value, "id", "vendor_id", "name", "description", "category", "price", "stock", "created_at", "updated_at")
    uuid7("product.id", value["id"])
    timestamp("product.created_at", value["created_at"])
    timestamp("product.updated_at", value["updated_at"])
    expect(type(value["stock"]) is int and value["stock"] >= 0, f"stock = {value['stock']!r}", "an integer from 0")
    return value


def order(value) -> dict:
    members("order", value, "id", "customer_id", "status", "lines", "total", "expires_at", "created_at", "history")
    uuid7("order.id", value["id"])
    timestamp("order.created_at", value["created_at"])
    for line in value["lines"]:
        members("line", line, "product_id", "name", "quantity", "unit_price")
    for state in value["history"]:
        members("history item", state, "status", "time", "actor", "reason", "trace_id")
        timestamp("history time", state["time"])
    return value


def entry(value) -> dict:
    members("entry", value, "id", "event_id", "time", "recorded_at", "tenant", "service", "source", "epoch", "sequence", "action",
            "actor", "target", "outcome", "trace_id", "span_id", "data", "log_index", "sealed", "verified")
    members("entry.actor", value["actor"], "type", "id", "ip")
    members("entry.target", value["target"], "type", "id", "version")
    uuid7("entry.id", value["id"])
    timestamp("entry.time", value["time"])
    timestamp("entry.recorded_at", value["recorded_at"])
    return value


def listing(response: Response) -> tuple[list, str | None, str | None]:
    """The data and the two cursors of a list."""
    value = must(response, 200)
    members("list", value, "data", "page")
    expect(isinstance(value["data"], list), f"data = {value['data']!r}", "a list")
    members("page", value["page"], "next_cursor", "prev_cursor")
    for name in ("next_cursor", "prev_cursor"):
        cursor = value["page"][name]
        expect(cursor is None or isinstance(cursor, str) and cursor, f"{name} = {cursor!r}", "a non-empty string or null")
    return value["data"], value["page"]["next_cursor"], value["page"]["prev_cursor"]


def either(statuses) -> str:
    statuses = list(statuses)
    return " or ".join(map(str, statuses)) if len(statuses) < 6 else f"{statuses[0]}…{statuses[-1]}"
