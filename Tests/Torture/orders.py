"""Events by HTTP: orders placed and cancelled at whichever replica lives, users who register and are disabled."""

import random
import threading
import time
import uuid

from stand import Stand, call


class User:
    """Someone with a token, which is renewed before it expires."""

    RENEWAL = 600

    def __init__(self, stand: Stand, email: str, password: str):
        self.stand, self.email, self.password = stand, email, password
        self.value, self.taken = "", -1e9

    @property
    def token(self) -> str:
        if time.monotonic() - self.taken > self.RENEWAL:
            if value := self.stand.log_in(self.email, self.password):
                self.value, self.taken = value, time.monotonic()
        return self.value


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
        # Orders of users who were disabled afterwards: order is to cancel each, once.
        self.orphaned: set[str] = set()
        self.unanswered = 0
        self.faults: list[object] = []
        self.urls = [stand.urls[part.name] for part in stand.orders]
        self.admin = User(stand, stand.admin_email, stand.admin_password)
        self.products = [self._product(number) for number in range(3)]
        customers = [self._customer() for _ in range(self.THREADS)]
        work = [(self._order, customer) for customer in customers] + [(self._register, None)]
        self.threads = [
            threading.Thread(target=target, args=(random.Random(f"{seed}/{number}"), user), daemon=True)
            for number, (target, user) in enumerate(work)
        ]

    def _product(self, number: int) -> str:
        body = {"name": f"Lamp {number}", "price": {"amount": 100 + number, "currency": "EUR"}, "stock": 1_000_000}
        status, answer = call("POST", f"{self.urls[0]}/v1/products", self.admin.token, body)
        if status != 201:
            raise RuntimeError(f"no product: {status} {answer}")
        return answer["id"]

    def _customer(self) -> User:
        user = self._new_user()
        if self._registered(user) is None or not user.token:
            raise RuntimeError(f"no customer: {self.faults or 'auth does not answer'}")
        return user

    def _new_user(self) -> User:
        return User(self.stand, f"t-{uuid.uuid4()}@example.com", f"long enough {uuid.uuid4()}")

    def _registered(self, user: User) -> str | None:
        """Registers a user; the id."""
        body = {"email": user.email, "password": user.password, "name": "T"}
        return self._ask("POST", f"{self.stand.auth_url}/v1/users", None, body, 201, self.registered)

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(timeout=60)

    def _order(self, dice: random.Random, user: User) -> None:
        mine: list[str] = []
        while not self.stopping.is_set():
            if mine and dice.random() < 0.35:
                # An answer that was lost may have been a yes; it is not asked twice.
                url = f"{dice.choice(self.urls)}/v1/orders/{mine.pop(dice.randrange(len(mine)))}/cancel"
                self._ask("POST", url, user, None, 200, self.cancelled)
            elif order := self._place(dice, user):
                mine.append(order)
            self.stopping.wait(dice.uniform(0, 0.05))

    def _place(self, dice: random.Random, user: User) -> str | None:
        chosen = dice.sample(self.products, dice.randrange(1, 4))
        lines = [{"product_id": product, "quantity": dice.randrange(1, 4)} for product in chosen]
        return self._ask("POST", f"{dice.choice(self.urls)}/v1/orders", user, {"lines": lines}, 201, self.placed)

    def _register(self, dice: random.Random, _: None) -> None:
        while not self.stopping.is_set():
            user = self._new_user()
            key = self._registered(user)
            if key and dice.random() < 0.4 and user.token:
                orders = [self._place(dice, user) for _ in range(2)]
                # By the admin, whose yes is a promise: the event is committed.
                if self._ask("POST", f"{self.stand.auth_url}/v1/users/{key}/disable", self.admin, None, 200, set()):
                    self.orphaned |= {order for order in orders if order}
            self.stopping.wait(dice.uniform(0.2, 0.8))

    def _ask(self, method: str, url: str, user: User | None, body: object, expected: int, into: set[str]) -> str | None:
        """The id in the answer, which is remembered; `None` where there was another one, or none."""
        status, answer = call(method, url, user.token if user else None, body, timeout=10)
        with self.lock:
            if status == expected and isinstance(answer, dict):
                into.add(answer["id"])
                return answer["id"]
            if status in (0, 503):
                self.unanswered += 1
            else:
                self.faults.append((status, answer))
        self.stopping.wait(0.05)
        return None
