"""order: catalogue, orders, stock, races, idempotency."""

from __future__ import annotations

import secrets
from datetime import timedelta

import shapes
from client import new_trace_id
from shapes import listing, must, names_fields, refused, refused_anyhow
from suite import Skip, check, check_each, equal, eventually, expect, gather
from world import BAD_CURSORS, BAD_LIMITS, at_once, goes_back, walk


# Catalogue

@check("order admin creates a product and anyone reads it")
def product(world):
    made = shapes.product(world.new_product(stock=7, amount=1999, description="Warm light", category="lamps"))
    equal("vendor_id", made["vendor_id"], world.admin.id)
    equal("stock, description, category", (made["stock"], made["description"], made["category"]), (7, "Warm light", "lamps"))
    shapes.money("price", made["price"], 1999)
    seen = shapes.product(must(world.order.request("GET", f"/v1/products/{made['id']}"), 200))
    equal("the product read back", seen, made)


@check("order products are found by q and by category, and by both")
def search(world):
    word, category = f"zephyr{secrets.token_hex(5)}", f"cat-{secrets.token_hex(5)}"
    both = world.new_product(name=f"Lamp {word}", category=category)
    other = world.new_product(category=category)
    with gather() as all_of:
        for query, wanted in (({"q": word}, {both["id"]}), ({"category": category}, {both["id"], other["id"]}),
                              ({"q": word, "category": category}, {both["id"]}), ({"q": word, "category": "elsewhere"}, set())):
            with all_of.case(query):
                data, _, _ = listing(world.order.request("GET", "/v1/products", query=query))
                equal("ids", {each["id"] for each in data}, wanted)
        for odd in ("%", "_", "'", '"', "\\", "a & | ! ( )", "é☃", "\0", "x" * 3000, ":*", "   "):
            with all_of.case(f"q={odd[:20]!r}"):
                shapes.survived(world.order.request("GET", "/v1/products", query={"q": odd}))


@check("order products are walked by cursor without repeats while others are added")
def product_walk(world):
    category = f"cat-{secrets.token_hex(5)}"
    known = {world.new_product(category=category)["id"] for _ in range(11)}

    def fetch(cursor):
        return world.order.request("GET", "/v1/products", query={"category": category, "limit": 3, **({"cursor": cursor} if cursor else {})})

    goes_back(fetch)
    seen = {each["id"] for each in walk(fetch, 3, between=lambda: world.new_product(category=category))}
    expect(known <= seen, f"{len(known & seen)} of {len(known)} products in the walk", "all that were there at its start")


# Orders

@check("order is placed, read, listed, cancelled, and its stock comes back")
def happy(world):
    buyer, one, two = world.new_customer(), world.new_product(stock=10, amount=1250), world.new_product(stock=5, amount=333)
    trace_id = new_trace_id()
    placed = shapes.order(must(world.place(buyer.token, (one, 3), (two, 1), trace=trace_id), 201))
    equal("status", placed["status"], "reserved")
    equal("customer_id", placed["customer_id"], buyer.id)
    lines = {line["product_id"]: line for line in placed["lines"]}
    equal("products", set(lines), {one["id"], two["id"]})
    for thing, quantity, amount in ((one, 3, 1250), (two, 1, 333)):
        line = lines[thing["id"]]
        equal("name and quantity", (line["name"], line["quantity"]), (thing["name"], quantity))
        shapes.money("unit_price", line["unit_price"], amount)
    shapes.money("total", placed["total"], 3 * 1250 + 333)
    lasting = shapes.timestamp("expires_at", placed["expires_at"]) - shapes.timestamp("created_at", placed["created_at"])
    expect(lasting > timedelta(0), f"expires_at {lasting} after created_at", "a reservation that lasts")
    equal("states", [state["status"] for state in placed["history"]], ["reserved"])
    happened(placed["history"][0], buyer.id, trace_id)
    equal("stock", (world.stock(one), world.stock(two)), (7, 4))

    equal("the order read back", must(world.order.request("GET", f"/v1/orders/{placed['id']}", token=buyer.token), 200), placed)
    data, _, _ = listing(world.order.request("GET", "/v1/orders", token=buyer.token))
    equal("ids listed", [each["id"] for each in data], [placed["id"]])

    trace_id = new_trace_id()
    must(world.cancel(buyer.token, placed["id"], trace=trace_id), 200, 202, 204)
    cancelled = shapes.order(must(world.order.request("GET", f"/v1/orders/{placed['id']}", token=buyer.token), 200))
    equal("status", cancelled["status"], "cancelled")
    equal("states", [state["status"] for state in cancelled["history"]], ["reserved", "cancelled"])
    happened(cancelled["history"][1], buyer.id, trace_id)
    eventually(lambda: equal("stock", (world.stock(one), world.stock(two)), (10, 5)), 5)


def happened(state: dict, actor: str, trace_id: str) -> None:
    equal("trace_id in history", state["trace_id"], trace_id)
    expect(actor in str(state["actor"]), f"actor {state['actor']!r} in history", f"the user {actor}")


@check("order cancelled a second time gives stock back once")
def cancel_twice(world):
    thing = world.new_product(stock=3)
    placed = must(world.place(world.customer.token, (thing, 2)), 201)
    must(world.cancel(world.customer.token, placed["id"]), 200, 202, 204)
    again = world.cancel(world.customer.token, placed["id"])
    refused(again, 409) if again.status >= 400 else must(again, 200, 202, 204)
    eventually(lambda: equal("stock", world.stock(thing), 3), 5)


@check("order cancelled by eight at once gives stock back once")
def cancel_race(world):
    thing, person = world.new_product(stock=3), world.customer
    placed = must(world.place(person.token, (thing, 2)), 201)
    statuses = sorted(response.status for response in at_once(8, lambda _: world.cancel(person.token, placed["id"])))
    expect(statuses[0] in (200, 202, 204) and set(statuses) <= {200, 202, 204, 409}, f"statuses {statuses}", "success and 409 only")
    eventually(lambda: equal("stock", world.stock(thing), 3), 5)
    history = must(world.order.request("GET", f"/v1/orders/{placed['id']}", token=person.token), 200)["history"]
    equal("states", [state["status"] for state in history], ["reserved", "cancelled"])


@check("order beyond the stock is a 409 out_of_stock that names the lines, and reserves nothing")
def out_of_stock(world):
    plenty, scarce = world.new_product(stock=10), world.new_product(stock=2)
    response = world.place(world.customer.token, (plenty, 1), (scarce, 3))
    problem = refused(response, 409, code="out_of_stock")
    fields = [shapes.path(error.get("field", "")) for error in problem.get("errors", []) if isinstance(error, dict)]
    expect(scarce["id"] in response.body.decode() or ["lines", "1"] in [field[:2] for field in fields], response, f"the line named: lines[1] or {scarce['id']}")
    equal("stock", (world.stock(plenty), world.stock(scarce)), (10, 2))


@check("order of one product in two lines cannot exceed the stock")
def split_lines(world):
    thing = world.new_product(stock=5)
    refused(world.place(world.customer.token, (thing, 3), (thing, 3)), 409, 422)
    equal("stock", world.stock(thing), 5)


@check("order of nothing, of no product, or of a product that does not exist is refused")
def bad_lines(world):
    def place(lines):
        return world.order.request("POST", "/v1/orders", token=world.customer.token, json={"lines": lines})

    names_fields(refused(place([]), 422), "lines")
    names_fields(refused(place([{"product_id": "lamp", "quantity": 1}, {"quantity": 0}]), 422), "lines[0].product_id", "lines[1].product_id", "lines[1].quantity")
    refused(place([{"product_id": shapes.unused_id(), "quantity": 1}]), 404, 409, 422)


@check("order whose total overflows is refused")
def overflow(world):
    body = {"name": "Diamond", "price": {"amount": 2**62, "currency": "EUR"}, "stock": 100}
    response = world.order.request("POST", "/v1/products", token=world.admin.token, json=body)
    if response.status != 201:
        refused(response, 400, 422)
        return
    thing = response.json()
    refused_anyhow(world.place(world.customer.token, (thing, 4)))
    equal("stock", world.stock(thing), 100)


@check("order over two currencies is refused")
def two_currencies(world):
    body = {"name": "Lamp", "price": {"amount": 100, "currency": "USD"}, "stock": 5}
    response = world.order.request("POST", "/v1/products", token=world.admin.token, json=body)
    if response.status != 201:
        raise Skip("products in USD are refused here")
    refused_anyhow(world.place(world.customer.token, (response.json(), 1), (world.new_product(), 1)))


@check("order of another customer is neither read, cancelled nor listed")
def others(world):
    placed = must(world.place(world.customer.token, (world.new_product(), 1)), 201)
    for stranger in (world.stranger, world.auditor):
        refused(world.order.request("GET", f"/v1/orders/{placed['id']}", token=stranger.token), 403, 404)
        refused(world.cancel(stranger.token, placed["id"]), 403, 404)
    response = world.order.request("GET", "/v1/orders", token=world.stranger.token)
    expect(placed["id"] not in response.body.decode(), response, "no order of another")
    equal("status", must(world.order.request("GET", f"/v1/orders/{placed['id']}", token=world.customer.token), 200)["status"], "reserved")


@check("order is read and cancelled by the admin")
def by_admin(world):
    placed = must(world.place(world.customer.token, (world.new_product(), 1)), 201)
    equal("id", must(world.order.request("GET", f"/v1/orders/{placed['id']}", token=world.admin.token), 200)["id"], placed["id"])
    must(world.cancel(world.admin.token, placed["id"]), 200, 202, 204)
    last = must(world.order.request("GET", f"/v1/orders/{placed['id']}", token=world.customer.token), 200)["history"][-1]
    equal("last state", last["status"], "cancelled")
    expect(world.admin.id in str(last["actor"]), f"actor {last['actor']!r}", "the admin")


@check("order list is walked by cursor without repeats while others are placed, and back")
def order_walk(world):
    buyer, thing = world.new_customer(), world.new_product(stock=1000)
    known = {must(world.place(buyer.token, (thing, 1)), 201)["id"] for _ in range(11)}

    def fetch(cursor):
        return world.order.request("GET", "/v1/orders", token=buyer.token, query={"limit": 3, **({"cursor": cursor} if cursor else {})})

    goes_back(fetch)
    data = walk(fetch, 3, between=lambda: must(world.place(buyer.token, (thing, 1)), 201))
    expect(known <= {each["id"] for each in data}, "orders missing in the walk", "all that were there at its start")
    equal("customers", {each["customer_id"] for each in data}, {buyer.id})


@check_each("order list {} refuses absurd limits and cursors", ["/v1/products", "/v1/orders"])
def bad_paging(world, target):
    with gather() as all_of:
        for limit in BAD_LIMITS:
            with all_of.case(f"limit={limit}"):
                refused(world.order.request("GET", target, token=world.customer.token, query={"limit": limit}), 400, 422)
        for label, cursor in BAD_CURSORS.items():
            with all_of.case(f"cursor {label}"):
                refused(world.order.request("GET", target, token=world.customer.token, query={"cursor": cursor}), 400, 422)
        for raw in ("limit=%zz", "limit=1&limit=2", "cursor=%ff%fe", "limit=%00"):
            with all_of.case(raw):
                shapes.survived(world.order.request("GET", f"{target}?{raw}", token=world.customer.token))
        for limit in (1, 200):
            with all_of.case(f"limit={limit} is fine"):
                listing(world.order.request("GET", target, token=world.customer.token, query={"limit": limit}))
    world.alive(world.order)


# Races

@check("order race of 20 for the last 5 pieces ends with exactly 5 placed and 15 out of stock")
def race(world):
    thing, token = world.new_product(stock=5), world.customer.token
    responses = at_once(20, lambda _: world.place(token, (thing, 1)))
    equal("statuses", sorted(response.status for response in responses), [201] * 5 + [409] * 15)
    for response in responses:
        if response.status == 409:
            refused(response, 409, code="out_of_stock")
    equal("orders", len({response.json()["id"] for response in responses if response.status == 201}), 5)
    equal("stock", world.stock(thing), 0)


@check("order race over two products in opposite order ends without deadlock and with the right stock")
def crossed(world):
    one, two, token = world.new_product(stock=12), world.new_product(stock=12), world.customer.token
    responses = at_once(20, lambda index: world.place(token, *((one, 1), (two, 1))[::1 if index % 2 else -1]))
    equal("statuses", sorted(response.status for response in responses), [201] * 12 + [409] * 8)
    equal("stock", (world.stock(one), world.stock(two)), (0, 0))


# Idempotency-Key

def key() -> list[tuple[str, str]]:
    return [("Idempotency-Key", secrets.token_hex(12))]


@check("order Idempotency-Key on POST /v1/orders gives same body same answer, other body 422")
def idempotent_order(world):
    thing, headers, token = world.new_product(stock=10), key(), world.customer.token
    first = must(world.place(token, (thing, 2), headers=headers), 201)
    equal("the second answer", must(world.place(token, (thing, 2), headers=headers), 201), first)
    refused(world.place(token, (thing, 3), headers=headers), 422)
    equal("stock", world.stock(thing), 8)
    other = must(world.place(world.stranger.token, (thing, 2), headers=headers), 201)
    expect(other["id"] != first["id"], "one customer's order given to another", "keys apart for each subject")


@check("order Idempotency-Key on POST /v1/products gives same body same answer, other body 422")
def idempotent_product(world):
    headers, token = key(), world.admin.token
    body = {"name": f"Lamp {secrets.token_hex(5)}", "category": f"cat-{secrets.token_hex(5)}", "price": {"amount": 5, "currency": "EUR"}, "stock": 1}

    def create(**change):
        return world.order.request("POST", "/v1/products", token=token, json={**body, **change}, headers=headers)

    first = must(create(), 201)
    equal("the second answer", must(create(), 201), first)
    refused(create(stock=2), 422)
    data, _, _ = listing(world.order.request("GET", "/v1/products", query={"category": body["category"]}))
    equal("products made", [each["id"] for each in data], [first["id"]])


@check("order Idempotency-Key of one route is another on the next")
def key_per_route(world):
    seller, headers = world.new_person("customer", "vendor"), key()
    body = {"name": "Lamp", "price": {"amount": 5, "currency": "EUR"}, "stock": 5}
    thing = must(world.order.request("POST", "/v1/products", token=seller.token, json=body, headers=headers), 201)
    must(world.place(seller.token, (thing, 1), headers=headers), 201)


@check("order Idempotency-Key sent by eight at once makes exactly one order")
def idempotent_race(world):
    buyer, thing, headers = world.new_customer(), world.new_product(stock=20), key()
    responses = at_once(8, lambda _: world.place(buyer.token, (thing, 1), headers=headers))
    made = {response.json()["id"] for response in responses if response.status == 201}
    statuses = sorted(response.status for response in responses)
    expect(len(made) == 1 and set(statuses) <= {201, 409}, f"statuses {statuses}, {len(made)} ids", "one order, the others 409 or the same 201")
    for response in responses:
        if response.status == 409:
            refused(response, 409)
    data, _, _ = listing(world.order.request("GET", "/v1/orders", token=buyer.token))
    equal("orders made", [each["id"] for each in data], list(made))
    equal("stock", world.stock(thing), 19)
    equal("the answer afterwards", must(world.place(buyer.token, (thing, 1), headers=headers), 201)["id"], made.pop())


@check("order Idempotency-Key that is odd causes no server error")
def odd_keys(world):
    thing = world.new_product(stock=100)
    with gather() as all_of:
        for label, value in {"empty": "", "5000 characters": "k" * 5000, "quotes": "\"';--", "bytes beyond ASCII": "\xff\xe9", "commas": "a,b"}.items():
            with all_of.case(label):
                shapes.survived(world.place(world.customer.token, (thing, 1), headers=[("Idempotency-Key", value)]))
        with all_of.case("two headers"):
            shapes.survived(world.place(world.customer.token, (thing, 1), headers=key() + key()))
    world.alive(world.order)
