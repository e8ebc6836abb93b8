"""What a check is: a named function that raises `Failure` (wrong) or `Skip` (cannot be seen here)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass


class Failure(Exception):
    """The contract is broken; the message says what was seen and what was expected."""

    slow = False  # it took a whole time-out to see


class Skip(Exception):
    """The check cannot be made here; the message says why."""


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable
    last: bool


CHECKS: list[Check] = []


def add(check: Check) -> None:
    if ": " in check.name or any(check.name == other.name for other in CHECKS):
        raise ValueError(f"a check's name is unique and has no colon, as the report ends it with one: {check.name}")
    CHECKS.append(check)


def check(name: str, last: bool = False):
    """Registers `function(world)` under `name`. `last` keeps it behind all others, in any order."""

    def register(function):
        add(Check(name, function, last))
        return function

    return register


def check_each(template: str, cases: Iterable, label: Callable = str):
    """Registers `function(world, case)` once for each case; `{}` in the template is the case's label."""

    def register(function):
        for case in cases:
            add(Check(template.format(label(case)), lambda world, case=case: function(world, case), False))
        return function

    return register


def expect(condition, seen, wanted) -> None:
    if not condition:
        raise Failure(f"saw {seen}, expected {wanted}")


def equal(what: str, seen, wanted) -> None:
    if seen != wanted:
        raise Failure(f"saw {what} = {seen!r}, expected {wanted!r}")


class Gathering:
    """Collects the failures of several cases, so that one line names all of them."""

    def __init__(self):
        self.faults: list[str] = []
        self.cases = 0
        self.slow = 0

    @contextmanager
    def case(self, label):
        self.cases += 1
        try:
            yield
        except Failure as failure:
            self.faults.append(f"[{label}] {failure}")
            self.slow += failure.slow
            if self.slow >= 3:
                raise GivenUp from None


class GivenUp(Exception):
    """Three cases ran into their time-outs: the others would only take as long."""


@contextmanager
def gather():
    gathering = Gathering()
    try:
        yield gathering
    except GivenUp:
        pass
    if gathering.faults:
        shown = " | ".join(gathering.faults[:6])
        rest = len(gathering.faults) - 6
        raise Failure(f"{len(gathering.faults)} of {gathering.cases} cases wrong: {shown}" + (f" | and {rest} more" if rest > 0 else ""))


def eventually(attempt: Callable, seconds: float = 10.0, pause: float = 0.1):
    """Repeats `attempt` until it raises no `Failure`; after the deadline the last failure stands."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except Failure as failure:
            if time.monotonic() >= deadline:
                raise Failure(f"{failure} (waited {seconds:g} s)") from None
        time.sleep(pause)
