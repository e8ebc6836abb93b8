"""The platform under test, and the people and things that the checks need in it. What is shared is made on
first use, so that the checks run in any order."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import shapes
from client import AUTO, Response, Service
from shapes import must
from suite import Failure, equal, expect


@dataclass
class Person:
    id: str
    email: str
    password: str
    token: str
    refresh_token: str
    since: float


class World:
    def __init__(self, auth: Service, order: Service, activity: Service, admin_email: str, admin_password: str, kafka: str | None):
        self.auth, self.order, self.activity, self.kafka = auth, order, activity, kafka
        self.services = [auth, order, activity]
        self.admin_login = (admin_email, admin_password)
        self.made: dict[str, tuple[object, Failure | None]] = {}
        self.lock = threading.RLock()

    def once(self, name: str, make: Callable):
        """What `make` gives, made once in the run; a failure stands as well, so that it costs its time once."""
        with self.lock:
            if name not in self.made:
                try:
                    self.made[name] = (make(), None)
                except Failure as failure:
                    self.made[name] = (None, failure)
            value, failure = self.made[name]
            if failure:
                raise Failure(f"{name} could not be prepared: {failure}")
            return value

    # People

    @property
    def admin(self) -> Person:
        return self.fresh("the admin", lambda: self.log_in(*self.admin_login))

    @property
    def customer(self) -> Person:
        return self.fresh("a customer", self.new_customer)

    @property
    def stranger(self) -> Person:
        return self.fresh("another customer", self.new_customer)

    @property
    def auditor(self) -> Person:
        return self.fresh("an auditor", lambda: self.new_person("auditor"))

    def fresh(self, name: str, make: Callable[[], Person]) -> Person:
        """A shared person whose token (15 minutes) is not about to end."""
        with self.lock:
            person = self.once(name, make)
            if time.monotonic() - person.since > 600:
                person = self.log_in(person.email, person.password)
                self.made[name] = (person, None)
            return person

    def new_customer(self) -> Person:
        email, password = new_email(), new_password()
        must(self.register(email, password), 201)
        return self.log_in(email, password)

    def new_person(self, *roles: str) -> Person:
        """A person with the given roles, who logged in after the admin gave them."""
        email, password = new_email(), new_password()
        user = must(self.register(email, password), 201)
        self.give_roles(user["id"], *roles)
        return self.log_in(email, password)

    def register(self, email: str, password: str, trace=AUTO, **more) -> Response:
        return self.auth.request("POST", "/v1/users", json={"email": email, "password": password, "name": "Contract Check", **more}, trace=trace)

    def give_roles(self, user_id: str, *roles: str) -> None:
        must(self.auth.request("PUT", f"/v1/users/{user_id}/roles", token=self.admin.token, json={"roles": list(roles)}), 200, 204)

    def log_in(self, email: str, password: str, trace=AUTO) -> Person:
        session = must(self.auth.request("POST", "/v1/sessions", json={"email": email, "password": password}, trace=trace), 201)
        shapes.members("session", session, "access_token", "refresh_token")
        me = must(self.auth.request("GET", "/v1/users/me", token=session["access_token"]), 200)
        return Person(me["id"], email, password, session["access_token"], session["refresh_token"], time.monotonic())

    # Things

    def new_product(self, stock: int = 10, amount: int = 1250, currency: str = "EUR", token: str | None = None, **more) -> dict:
        body = {"name": f"Lamp {secrets.token_hex(6)}", "price": {"amount": amount, "currency": currency}, "stock": stock, **more}
        return must(self.order.request("POST", "/v1/products", token=token or self.admin.token, json=body), 201)

    def stock(self, product: dict) -> int:
        return must(self.order.request("GET", f"/v1/products/{product['id']}"), 200)["stock"]

    def place(self, token: str, *lines: tuple[dict, int], trace=AUTO, headers=()) -> Response:
        body = {"lines": [{"product_id": product["id"], "quantity": quantity} for product, quantity in lines]}
        return self.order.request("POST", "/v1/orders", token=token, json=body, trace=trace, headers=headers)

    def cancel(self, token: str, order_id: str, trace=AUTO) -> Response:
        return self.order.request("POST", f"/v1/orders/{order_id}/cancel", token=token, trace=trace)

    def timeline(self, token: str, **filters) -> list[dict]:
        """One page; `since` and `until` are the filters `from` and `to`."""
        names = {"since": "from", "until": "to"}
        query = {names.get(name, name): value for name, value in filters.items()}
        return shapes.listing(self.activity.request("GET", "/v1/timeline", query=query, token=token))[0]

    def alive(self, *services: Service) -> None:
        for service in services or self.services:
            response = service.request("GET", "/livez")
            expect(response.status == 200, f"{response} afterwards", "/livez 200")


def new_email() -> str:
    return f"contract-{secrets.token_hex(8)}@example.com"


def new_password() -> str:
    return f"lantern {secrets.token_hex(10)} shines"


def at_once(count: int, act: Callable[[int], object]) -> list:
    """Runs `act(0…count-1)` in threads that start together; failures are raised."""
    gate = threading.Barrier(count)

    def run(index: int):
        gate.wait(timeout=10)
        return act(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def walk(fetch: Callable[[str | None], Response], limit: int, between: Callable[[], None] = lambda: None, most: int = 100) -> list[dict]:
    """Follows `next_cursor` to the end."""
    items: list[dict] = []
    cursor = None
    for _ in range(most):
        data, cursor, _ = shapes.listing(fetch(cursor))
        expect(len(data) <= limit, f"a page of {len(data)}", f"at most {limit}")
        items += data
        if cursor is None:
            ids = [item["id"] for item in items]
            repeats = sorted({item for item in ids if ids.count(item) > 1})
            expect(not repeats, f"{len(repeats)} ids twice in a walk of {len(ids)} (first {repeats[:1]})", "every id once")
            return items
        between()
    raise Failure(f"saw next_cursor after {most} pages of {limit} ({len(items)} items), expected an end")


def goes_back(fetch: Callable[[str | None], Response]) -> None:
    """prev_cursor of the second page leads to the first."""
    first, forward, _ = shapes.listing(fetch(None))
    expect(forward is not None, "no next_cursor on the first page", "one")
    second, _, back = shapes.listing(fetch(forward))
    expect(back is not None, "no prev_cursor on the second page", "one")
    equal("the ids behind prev_cursor", [item["id"] for item in shapes.listing(fetch(back))[0]], [item["id"] for item in first])
    expect(second and not {item["id"] for item in first} & {item["id"] for item in second}, "the second page repeats the first", "other items")


BAD_CURSORS = {
    "garbage": "garbage", "base64 of nothing": "AAAA", "json": '{"id":1}', "quote": "' OR 1=1 --", "nul": "\0", "long": "A" * 3000,
    "unicode": "é☃", "number": "-1",
}
BAD_LIMITS = ["0", "201", "-1", "abc", "1.5", "1e3", "99999999999999999999", "0x10", "9223372036854775808"]
