"""Events by HTTP: orders placed and cancelled at whichever replica lives, and users who register."""

import random
import threading
import uuid

from stand import Stand, call


class Requests:
    """Requests of several threads until stopped; remembers what was answered, for that is promised."""

    THREADS = 3

    def __init__(self, stand: Stand, seed: str):
        self.stand = stand
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.placed: set[str] = set()
        self.cancelled: set[str] = set()
        self.registered: set[str] = set()
        self.unanswered = 0
        self.faults: list[object] = []
        self.urls = [stand.urls[part.name] for part in stand.orders]
        admin = stand.admin()
        self.products = [self._product(admin, number) for number in range(3)]
        self.tokens = [self._customer(random.Random(f"{seed}/{number}")) for number in range(self.THREADS)]
        self.threads = [
            threading.Thread(target=self._order, args=(random.Random(f"{seed}/{number}"), token), daemon=True)
            for number, token in enumerate(self.tokens)
        ] + [threading.Thread(target=self._register, args=(random.Random(f"{seed}/users"),), daemon=True)]

    def _product(self, admin: str | None, number: int) -> str:
        body = {"name": f"Lamp {number}", "price": {"amount": 100 + number, "currency": "EUR"}, "stock": 1_000_000}
        status, answer = call("POST", f"{self.urls[0]}/v1/products", admin, body)
        if status != 201:
            raise RuntimeError(f"no product: {status} {answer}")
        return answer["id"]

    def _customer(self, dice: random.Random) -> str:
        email, password = f"t-{uuid.uuid4()}@example.com", f"long enough {dice.getrandbits(64):x}"
        status, answer = call(
            "POST", f"{self.stand.auth_url}/v1/users", body={"email": email, "password": password, "name": "T"}
        )
        if status != 201:
            raise RuntimeError(f"no customer: {status} {answer}")
        return self.stand.log_in(email, password) or ""

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(timeout=60)

    def _order(self, dice: random.Random, token: str) -> None:
        mine: list[str] = []
        while not self.stopping.is_set():
            url = dice.choice(self.urls)
            if mine and dice.random() < 0.35:
                self._cancel(url, token, mine.pop(dice.randrange(len(mine))))
            else:
                lines = [
                    {"product_id": product, "quantity": dice.randrange(1, 4)}
                    for product in dice.sample(self.products, dice.randrange(1, 4))
                ]
                status, answer = call("POST", f"{url}/v1/orders", token, {"lines": lines}, timeout=10)
                if self._note(status, answer, 201, self.placed):
                    mine.append(answer["id"])
            self.stopping.wait(dice.uniform(0, 0.05))

    def _cancel(self, url: str, token: str, order: str) -> None:
        status, answer = call("POST", f"{url}/v1/orders/{order}/cancel", token, timeout=10)
        # An answer that was lost may have been a yes; it is not asked twice.
        self._note(status, answer, 200, self.cancelled)

    def _register(self, dice: random.Random) -> None:
        while not self.stopping.is_set():
            body = {"email": f"r-{uuid.uuid4()}@example.com", "password": f"long enough {dice.getrandbits(64):x}", "name": "R"}
            status, answer = call("POST", f"{self.stand.auth_url}/v1/users", body=body, timeout=10)
            self._note(status, answer, 201, self.registered)
            self.stopping.wait(dice.uniform(0.2, 0.8))

    def _note(self, status: int, answer: object, expected: int, into: set[str]) -> bool:
        with self.lock:
            if status == expected:
                into.add(answer["id"])
            elif status in (0, 503):
                self.unanswered += 1
            else:
                self.faults.append((status, answer))
        if status != expected:
            self.stopping.wait(0.05)
        return status == expected
