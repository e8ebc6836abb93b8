"""activity: what was done is on the timeline, found by every filter, seen only by whom it concerns."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import shapes
from client import new_trace_id
from shapes import listing, must, refused
from suite import Failure, check, check_each, equal, eventually, expect, gather
from world import BAD_CURSORS, BAD_LIMITS, Person, World, goes_back, new_email, new_password, walk


@dataclass
class Story:
    """A customer who placed an order and cancelled it, and the two entries of that."""

    buyer: Person
    order: dict
    traces: tuple[str, str]
    placed: dict
    cancelled: dict


def story(world: World) -> Story:
    return world.once("a placed and cancelled order on the timeline", lambda: tell(world))


def tell(world: World) -> Story:
    buyer, thing, traces = world.new_customer(), world.new_product(), (new_trace_id(), new_trace_id())
    order = must(world.place(buyer.token, (thing, 2), trace=traces[0]), 201)
    must(world.cancel(buyer.token, order["id"], trace=traces[1]), 200, 202, 204)
    placed = the_entry(world, action="order.order.placed", target=order["id"])
    cancelled = the_entry(world, action="order.order.cancelled", target=order["id"])
    return Story(buyer, order, traces, placed, cancelled)


def the_entry(world: World, seconds: float = 10, **filters) -> dict:
    """The one entry behind the filters, waited for."""

    def look():
        data = world.timeline(world.admin.token, **filters)
        expect(len(data) == 1, f"{len(data)} entries for {filters}", "exactly one")
        return data[0]

    return eventually(look, seconds)


# What is on it

@check("activity order and cancellation appear within 10 s, each exactly once")
def appears(world):
    tell(world)


@check("activity entry of an order has every member, its trace, actor, target and outcome")
def entry_of_order(world):
    told = story(world)
    for action, trace_id, entry in (("order.order.placed", told.traces[0], told.placed), ("order.order.cancelled", told.traces[1], told.cancelled)):
        shapes.entry(entry)
        equal("action", entry["action"], action)
        equal("trace_id", entry["trace_id"], trace_id)
        equal("actor.id", entry["actor"]["id"], told.buyer.id)
        equal("target", (entry["target"]["type"], entry["target"]["id"]), ("order", told.order["id"]))
        equal("service, source", (entry["service"], entry["source"].rpartition("/services/")[2]), ("order", "order"))
        equal("outcome, tenant", (entry["outcome"], entry["tenant"]), ("success", "default"))
        expect(shapes.SPAN_ID.fullmatch(str(entry["span_id"])), f"span_id {entry['span_id']!r}", "16 hex digits")
        shapes.uuid7("event_id", entry["event_id"])
        expect(int(entry["sequence"]) > 0, f"sequence {entry['sequence']!r}", "a number from 1")
    versions = int(told.placed["target"]["version"]), int(told.cancelled["target"]["version"])
    equal("versions of the order", versions, (1, 2))
    expect(int(told.placed["sequence"]) < int(told.cancelled["sequence"]), f"sequences {told.placed['sequence']}, {told.cancelled['sequence']}", "growing")


# `sealed` turns true with the first signed checkpoint; until the log signs them it must be false, never missing.
@check("activity entry gets a log index within 10 s and says whether it is sealed")
def sealed(world):
    told = story(world)

    def look():
        entry = must(world.activity.request("GET", f"/v1/timeline/{told.placed['id']}", token=world.admin.token), 200)
        expect(isinstance(entry["sealed"], bool) and int(entry["log_index"]) >= 0, f"sealed {entry['sealed']!r}, log_index {entry['log_index']!r}", "a boolean and a number")

    eventually(look)


@check("activity entry by id has its whole event and Kafka coordinates, for its actor too")
def entry_by_id(world):
    told = story(world)
    for who in (world.admin, told.buyer, world.auditor):
        entry = shapes.entry(must(world.activity.request("GET", f"/v1/timeline/{told.placed['id']}", token=who.token), 200))
        equal("id, event_id, action", (entry["id"], entry["event_id"], entry["action"]), (told.placed["id"], told.placed["event_id"], "order.order.placed"))
    names = {name.lower().rpartition("_")[2] for name in all_names(entry)}
    expect({"topic", "partition", "offset"} <= names, f"members {sorted(all_names(entry))}", "Kafka topic, partition and offset")


def all_names(value) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(all_names, value.values()))
    return set().union(*map(all_names, value)) if isinstance(value, list) else set()


@check("activity a refused order is on the timeline, and not as a success")
def refused_order(world):
    trace_id = new_trace_id()
    refused(world.place(world.customer.token, (world.new_product(stock=1), 2), trace=trace_id), 409)
    entry = the_entry(world, action="order.order.refused", trace_id=trace_id)
    equal("actor.id", entry["actor"]["id"], world.customer.id)
    expect(entry["outcome"] in ("failure", "denied"), f"outcome {entry['outcome']!r}", "failure or denied")


@check("activity registration, log-in and a refused log-in are on the timeline, without the password")
def auth_events(world):
    email, password, traces = new_email(), new_password(), [new_trace_id() for _ in range(3)]
    user = must(world.register(email, password, trace=traces[0]), 201)
    world.log_in(email, password, trace=traces[1])
    refused(world.auth.request("POST", "/v1/sessions", json={"email": email, "password": password + "!"}, trace=traces[2]), 401)
    entries = [the_entry(world, action=action, trace_id=trace_id) for action, trace_id in zip(("auth.user.registered", "auth.session.started", "auth.session.refused"), traces)]
    equal("target of the registration", (entries[0]["target"]["type"], entries[0]["target"]["id"]), ("user", user["id"]))
    equal("actor of the log-in", entries[1]["actor"]["id"], user["id"])
    equal("service", {entry["service"] for entry in entries}, {"auth"})
    equal("outcomes of what worked", [entry["outcome"] for entry in entries[:2]], ["success", "success"])
    expect(entries[2]["outcome"] in ("failure", "denied"), f"outcome {entries[2]['outcome']!r} of a refused log-in", "failure or denied")
    for entry in entries:
        whole = world.activity.request("GET", f"/v1/timeline/{entry['id']}", token=world.admin.token)
        expect(password not in whole.body.decode(), f"the password in {entry['action']}", "it nowhere")


@check("activity what an admin did to a user has the admin as actor and the user as target")
def admin_events(world):
    person, admin = world.new_customer(), world.admin
    acts = {"auth.user.disabled": ("POST", "disable", {}), "auth.user.enabled": ("POST", "enable", {}), "auth.user.roles_changed": ("PUT", "roles", {"json": {"roles": ["customer", "vendor"]}})}
    for action, (method, path, more) in acts.items():
        must(world.auth.request(method, f"/v1/users/{person.id}/{path}", token=admin.token, **more), 200, 204)
        entry = the_entry(world, action=action, target=person.id)
        equal("actor.id", entry["actor"]["id"], admin.id)
    thing = world.new_product()
    equal("actor.id of the product", the_entry(world, action="order.product.created", target=thing["id"])["actor"]["id"], admin.id)


# Who sees what

@check("activity customer sees only own acts, whatever is asked")
def own_acts(world):
    told, stranger = story(world), world.stranger
    mine = world.timeline(told.buyer.token, limit=200)
    expect({told.placed["id"], told.cancelled["id"]} <= {entry["id"] for entry in mine}, "own acts missing in the own timeline", "them there")
    equal("actors", {entry["actor"]["id"] for entry in mine}, {told.buyer.id})
    with gather() as all_of:
        for query in ({}, {"actor": told.buyer.id}, {"target": told.order["id"]}, {"trace_id": told.traces[0]}, {"action": "order.*"}, {"service": "order", "order": "log"}):
            with all_of.case(query):
                response = world.activity.request("GET", "/v1/timeline", query={**query, "limit": "200"}, token=stranger.token)
                if response.status == 403:
                    refused(response, 403)
                    continue
                data, _, _ = listing(response)
                expect({entry["actor"]["id"] for entry in data} <= {stranger.id}, f"acts of {sorted({entry['actor']['id'] for entry in data})[:3]}", "own acts only")
        with all_of.case("by id"):
            refused(world.activity.request("GET", f"/v1/timeline/{told.placed['id']}", token=stranger.token), 403, 404)


@check("activity auditor sees the acts of all")
def auditor_sees(world):
    told = story(world)
    equal("ids", {entry["id"] for entry in world.timeline(world.auditor.token, target=told.order["id"])}, {told.placed["id"], told.cancelled["id"]})


# Filters

def filters(told: Story) -> dict[str, tuple[dict, object]]:
    """Each filter with what every entry behind it must satisfy; all of them match the placed order."""
    return {
        "actor": ({"actor": told.buyer.id}, lambda entry: entry["actor"]["id"] == told.buyer.id),
        "action": ({"action": "order.order.placed"}, lambda entry: entry["action"] == "order.order.placed"),
        "action order.*": ({"action": "order.*"}, lambda entry: entry["action"].startswith("order.")),
        "action order.order.*": ({"action": "order.order.*"}, lambda entry: entry["action"].startswith("order.order.")),
        "service": ({"service": "order"}, lambda entry: entry["service"] == "order"),
        "target_type": ({"target_type": "order"}, lambda entry: entry["target"]["type"] == "order"),
        "target": ({"target": told.order["id"]}, lambda entry: entry["target"]["id"] == told.order["id"]),
        "outcome": ({"outcome": "success"}, lambda entry: entry["outcome"] == "success"),
        "trace_id": ({"trace_id": told.traces[0]}, lambda entry: entry["trace_id"] == told.traces[0]),
        "from": ({"since": told.placed["time"]}, lambda entry: moment(entry) >= moment(told.placed)),
        "to": ({"until": shifted(told.placed, seconds=1)}, lambda entry: moment(entry) <= moment(told.placed) + timedelta(seconds=1)),
    }


FILTERS = ["actor", "action", "action order.*", "action order.order.*", "service", "target_type", "target", "outcome", "trace_id", "from", "to"]


def moment(entry: dict) -> datetime:
    return shapes.timestamp("time", entry["time"])


def shifted(entry: dict, **by) -> str:
    return (moment(entry) + timedelta(**by)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@check_each("activity filter {} gives matching entries only, and the one looked for", FILTERS)
def one_filter(world, name):
    told = story(world)
    query, fits = filters(told)[name]
    for more in ({}, {"order": "asc"}, {"order": "log"}):
        strangers = [entry for entry in world.timeline(world.admin.token, limit=200, **query, **more) if not fits(entry)]
        expect(not strangers, f"{len(strangers)} entries that do not match {query}, the first {strangers[:1]}"[:400], "none")
    narrowed = world.timeline(world.admin.token, **{**query, **({} if name == "target" else {"target": told.order["id"]})})
    expect(told.placed["id"] in {entry["id"] for entry in narrowed}, f"the placed order not behind {query}", "it there")


@check("activity filters all at once give exactly the entry")
def all_filters(world):
    told = story(world)
    query = {"actor": told.buyer.id, "action": "order.*", "service": "order", "target_type": "order", "target": told.order["id"], "outcome": "success",
             "trace_id": told.traces[0], "since": shifted(told.placed, seconds=-1), "until": shifted(told.placed, seconds=1)}
    entries = [entry for entry in world.timeline(world.admin.token, **query) if entry["action"] == "order.order.placed"]
    equal("ids", [entry["id"] for entry in entries], [told.placed["id"]])


@check("activity filters that contradict each other or match nothing give an empty list")
def empty(world):
    told = story(world)
    with gather() as all_of:
        for query in ({"trace_id": new_trace_id()}, {"target": shapes.unused_id()}, {"actor": shapes.unused_id()}, {"service": "nope"}, {"action": "nope.*"}, {"action": "order.order.plac"},
                      {"target": told.order["id"], "service": "auth"}, {"target": told.order["id"], "action": "auth.*"}, {"target": told.order["id"], "target_type": "user"},
                      {"target": told.order["id"], "outcome": "failure"}, {"target": told.order["id"], "actor": world.stranger.id},
                      {"target": told.order["id"], "until": shifted(told.placed, seconds=-1)}, {"target": told.order["id"], "since": shifted(told.cancelled, seconds=1)}):
            with all_of.case(query):
                equal("ids", [entry["id"] for entry in world.timeline(world.admin.token, **query)], [])


@check("activity from and to cut out a part of time, in any offset")
def time_window(world):
    told = story(world)
    zone = (moment(told.placed) - timedelta(milliseconds=1)).replace(tzinfo=None) + timedelta(hours=2)
    with gather() as all_of:
        for label, query in {"microseconds": {"since": shifted(told.placed, microseconds=-1), "until": shifted(told.placed, microseconds=1)},
                             "other offset": {"since": zone.isoformat(timespec="microseconds") + "+02:00", "until": shifted(told.placed, microseconds=1)}}.items():
            with all_of.case(label):
                entries = world.timeline(world.admin.token, target=told.order["id"], **query)
                equal("ids", [entry["id"] for entry in entries], [told.placed["id"]])
        with all_of.case("without fraction"):
            whole = moment(told.placed).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
            expect(told.placed["id"] in {entry["id"] for entry in world.timeline(world.admin.token, target=told.order["id"], since=whole)}, "the entry missing", "it there")
        with all_of.case("the far future"):
            equal("entries", world.timeline(world.admin.token, since="9999-12-31T23:59:59Z"), [])


MALFORMED = ["from=yesterday", "from=2024-13-45T00:00:00Z", "to=2024-02-30T00:00:00Z", "from=1700000000", "to=2024-01-01", "from=99999-01-01T00:00:00Z", "to=%00", "from=2024-01-01T25:00:00Z",
             "trace_id=xyz", "trace_id=" + "0" * 31, "trace_id=" + "g" * 32, "trace_id=%00", "order=sideways", "order=DESC%3B", "outcome=maybe",
             "action=a%00b", "service=%00", "actor=%00", "target=%00", "target_type=%00",
             *(f"limit={limit}" for limit in BAD_LIMITS)]


@check("activity malformed filters and limits are 400 or 422 problems")
def malformed(world):
    with gather() as all_of:
        for query in MALFORMED:
            with all_of.case(query):
                refused(world.activity.request("GET", f"/v1/timeline?{query}", token=world.admin.token), 400, 422)
    world.alive(world.activity)


@check("activity odd filters cause no server error")
def odd_filters(world):
    with gather() as all_of:
        for query in ("actor=%ff%fe", "action=*", "action=.*", "action=**", "action=or*er", "action=" + "a." * 2000, "action=%25", "action=order._rder.%25", "service='--", "target=" + "x" * 4000,
                      "actor=", "from=", "limit=", "order=", "outcome=", "cursor=", "action=a&action=b", "limit=1&limit=2", "%zz=%zz", "&&&===", "from=2030-01-01T00:00:00Z&to=2020-01-01T00:00:00Z",
                      "from=0000-01-01T00:00:00Z", "from=0001-01-01T00:00:00Z", "to=9999-12-31T23:59:59.999999999Z", "from=2024-01-01T23:59:60Z", "trace_id=" + "A" * 32, "q=%27%26%7C%21%28", "unknown=1"):
            with all_of.case(query[:40]):
                shapes.survived(world.activity.request("GET", f"/v1/timeline?{query}", token=world.admin.token))
    world.alive(world.activity)


# Paging

HISTORY = 55


def history(world: World) -> tuple[Person, dict, set[str]]:
    return world.once("a customer with 55 orders on the timeline", lambda: make_history(world))


def make_history(world: World) -> tuple[Person, dict, set[str]]:
    buyer, thing = world.new_customer(), world.new_product(stock=100_000)
    orders = {must(world.place(buyer.token, (thing, 1)), 201)["id"] for _ in range(HISTORY)}

    def look():
        seen = {entry["target"]["id"] for entry in world.timeline(world.admin.token, actor=buyer.id, action="order.order.placed", limit=200)}
        expect(orders <= seen, f"{len(orders & seen)} of {len(orders)} orders on the timeline", "all")

    eventually(look, 20)
    return buyer, thing, orders


@check("activity pages hold 50 entries unless asked otherwise")
def default_limit(world):
    buyer, _, _ = history(world)
    for query, wanted in (({}, 50), ({"limit": 1}, 1), ({"limit": 7}, 7)):
        data, cursor, _ = listing(world.activity.request("GET", "/v1/timeline", token=world.admin.token, query={"actor": buyer.id, **query}))
        equal(f"entries at {query}", len(data), wanted)
        expect(cursor, "next_cursor null with more to come", "a cursor")


def pages(world, token: str, limit: int, **query):
    return lambda cursor: world.activity.request("GET", "/v1/timeline", token=token, query={**query, "limit": limit, **({"cursor": cursor} if cursor else {})})


@check_each("activity walk by cursor in order={} gives all once, in order, while more is inserted", ["desc", "asc", "log"])
def walks(world, order):
    buyer, thing, orders = history(world)
    stop, failures = threading.Event(), []

    def insert():
        for _ in range(60):
            if stop.is_set():
                return
            try:
                must(world.place(buyer.token, (thing, 1)), 201)
            except Failure as failure:
                failures.append(failure)
                return

    inserting = threading.Thread(target=insert, daemon=True)
    inserting.start()
    try:
        entries = walk(pages(world, world.admin.token, 8, actor=buyer.id, action="order.order.placed", order=order), 8)
    finally:
        stop.set()
        inserting.join(30)
    expect(not failures, f"an order that failed meanwhile: {failures[:1]}", "none")
    missing = orders - {entry["target"]["id"] for entry in entries}
    expect(not missing, f"{len(missing)} of {len(orders)} entries missing in the walk", "all that were there at its start")
    keys = [int(entry["log_index"]) if order == "log" else moment(entry) for entry in entries]
    wanted = sorted(keys, reverse=order == "desc")
    expect(keys == wanted, f"a walk that is not in order={order}", "it sorted")


@check_each("activity prev_cursor leads back in order={}", ["desc", "asc", "log"])
def back(world, order):
    buyer, _, _ = history(world)
    goes_back(pages(world, world.admin.token, 8, actor=buyer.id, order=order))


@check("activity cursors that are broken, tampered or of other filters are refused and leak nothing")
def cursors(world):
    buyer, _, _ = history(world)
    fetch = pages(world, world.admin.token, 8, actor=buyer.id)
    _, cursor, _ = listing(fetch(None))
    with gather() as all_of:
        for label, bad in BAD_CURSORS.items():
            with all_of.case(label):
                refused(fetch(bad), 400, 422)
        with all_of.case("other filters"):
            refused(pages(world, world.admin.token, 8, service="auth")(cursor), 400, 422)
        for at in range(0, len(cursor), max(1, len(cursor) // 12)):
            with all_of.case(f"tampered at {at}"):
                shapes.survived(fetch(cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1:]))
        with all_of.case("the admin's cursor in a customer's hand"):
            response = pages(world, world.stranger.token, 8, actor=buyer.id)(cursor)
            if response.status == 200:
                actors = {entry["actor"]["id"] for entry in listing(response)[0]}
                expect(actors <= {world.stranger.id}, f"acts of {actors}", "own acts only")
            else:
                refused(response, 400, 403, 422)
    world.alive(world.activity)


# Sources

@check("activity sources are known, auth and order, and without gaps")
def sources(world):
    story(world)
    for who in (world.admin, world.auditor):
        def look():
            value = must(world.activity.request("GET", "/v1/sources", token=who.token), 200)
            rows = value.get("data") if isinstance(value, dict) else value
            expect(isinstance(rows, list) and all(isinstance(row, dict) for row in rows), f"sources {str(value)[:200]}", "a list of objects in data")
            found = {str(row.get("source", row.get("name", ""))).rpartition("/")[2]: row for row in rows}
            expect({"auth", "order"} <= set(found), f"sources {sorted(found)}", "auth and order among them")
            for name in ("auth", "order"):
                gaps = found[name].get("gaps")
                expect(gaps in (0, []) and gaps is not False, f"gaps = {gaps!r} of {found[name]}", "0")

        eventually(look)
