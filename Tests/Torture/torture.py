#!/usr/bin/env python3
"""Kills order, activity, relay, broker and PostgreSQL under load, at every step of the path, and looks at what is left.

Afterwards every committed event is on the timeline exactly once, in order for each aggregate, without a gap. Prints a line
for each fault and each check, a table of the rounds, and at last `N passed, N failed`. Standard library only.
"""

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator

import faults
import steps
from appends import Appends
from audit import Audit
from console import Console
from orders import Requests
from psql import Away, Refused
from scene import Scene
from stand import Stand
from watch import Watch

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Torture:
    def __init__(self, arguments: argparse.Namespace, console: Console, stand: Stand):
        self.arguments, self.console, self.stand = arguments, console, stand
        self.seed = arguments.seed
        self.steps = steps.Steps(stand)
        self.scene = Scene(stand, self.steps, arguments.broker_away, arguments.flood)
        self.audit = Audit(stand, console)
        self.watch = Watch(stand, console)
        self.rows: list[list[object]] = []
        self.all_hits: Counter[str] = Counter()
        self.before: Counter[str] = Counter()

    def run(self) -> None:
        for number in range(1, self.arguments.rounds + 1):
            # In turn: the log is in order for each aggregate only as long as the broker keeps what it has.
            keeps = number % 2 == 1
            self.round(number, keeps)

    def round(self, number: int, keeps: bool) -> None:
        console, passed, failed = self.console, self.console.passed, self.console.failed
        console.line(f"--- round {number}: {'the broker keeps its data' if keeps else 'the broker may lose its data'}")
        self.steps.hits.clear()
        self.scene.seen.clear()
        first_index = self.audit.ledger.timeline.log_size()
        seed = f"{self.seed}/{number}"
        requests = Requests(self.stand, f"{seed}/requests")
        rate = self.arguments.events / self.arguments.seconds
        appends = Appends(self.stand.cluster.url("order"), f"{seed}/appends", rate)
        requests.start()
        appends.start()
        try:
            struck = self.strike(seed, faults.deck(random.Random(f"{seed}/deck"), keeps), appends)
        finally:
            # Both are told before either is waited for.
            requests.stopping.set()
            appends.stopping.set()
        requests.join()
        appends.join()
        console.note(
            f"{struck} faults; by SQL {appends.committed} events committed, {appends.rolled_back} rolled back, "
            f"{appends.unknown} transactions cut off"
        )
        console.check("the database took every statement of the load", not appends.refused, appends.refused[:3])
        missing = self.stand.revive()
        console.check("everything is ready again", not missing, missing)
        self.audit.handled(requests.orphaned, self.arguments.deadline, must=keeps)
        took = self.audit.settle(self.arguments.deadline)
        self.audit.run(first_index, in_order=keeps)
        self.audit.promised(requests.placed, requests.cancelled, requests.registered)
        console.check(
            f"whoever was not served was told 503 or nothing ({requests.unanswered} times)", not requests.faults,
            requests.faults[:3],
        )
        self.watch.run()
        counts = self.audit.counts()
        fresh = counts - self.before
        self.before = counts
        enough = fresh["events"] >= self.arguments.events
        console.check(f"the round had {fresh['events']} events", enough, f"{self.arguments.events} were asked for")
        self.summarize()
        self.rows.append(
            [
                number, "kept" if keeps else "lost", struck, sum(self.steps.hits[step] for step in steps.STEPS),
                fresh["events"], fresh["duplicates"], fresh["gaps"], f"{took:.1f} s", console.passed - passed,
                console.failed - failed,
            ]
        )
        self.all_hits += self.steps.hits

    def strike(self, seed: str, deck: Iterator[faults.Fault | None], appends: Appends) -> int:
        """Deals faults until all of a deck have come, the time is over and there were events enough."""
        began, struck, whole = time.monotonic(), 0, False
        while True:
            time.sleep(random.Random(f"{seed}/{struck}/pause").uniform(0.1, 1.0))
            elapsed = time.monotonic() - began
            enough = appends.committed >= self.arguments.events or elapsed > 10 * self.arguments.seconds
            if whole and elapsed > self.arguments.seconds and enough:
                return struck
            fault = next(deck)
            if fault is None:
                whole = True
                continue
            # A generator for each: what one draws must not move what the next does.
            told = fault.run(self.scene, random.Random(f"{seed}/{struck}"))
            struck += 1
            self.console.note(f"{fault.name}{': ' if told else ''}{told}")

    def summarize(self) -> None:
        hits = ", ".join(f"{step}: {self.steps.hits[step]}" for step in (*steps.STEPS, steps.ELSEWHERE))
        self.console.line(f"     steps that were hit   {hits}")
        for what, count in sorted(self.scene.seen.items()):
            self.console.line(f"     {what}   {count}")

    def covered(self) -> None:
        """A run that met no process between publishing and marking has not shown what it is for."""
        unmet = [step for step in steps.WANTED if not self.all_hits[step]]
        self.console.check("something died at every step of the path", not unmet, unmet)

    def table(self) -> None:
        self.console.table(
            ["round", "data", "faults", "at a step", "events", "duplicates", "gaps", "complete after", "passed", "failed"],
            self.rows,
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", default=".build/debug")
    parser.add_argument("--rounds", type=int, default=2, help="the broker keeps its data in every other one")
    parser.add_argument("--events", type=int, default=2_000, help="events of a round, at least")
    parser.add_argument("--seconds", type=float, default=20, help="load of a round, at least; it lasts until every fault has come")
    parser.add_argument("--seed", type=int, default=None, help="replays the faults of another run")
    parser.add_argument("--broker-away", type=float, default=12, help="seconds that the broker is away or frozen, at most")
    parser.add_argument("--flood", type=int, default=5_000, help="events that a broker takes and loses at once")
    parser.add_argument("--deadline", type=float, default=120, help="seconds until the timeline must be complete")
    parser.add_argument("--keep", action="store_true", help="keep the logs, also where nothing failed")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(1 << 32)
    return arguments


def run(arguments: argparse.Namespace, console: Console, stand: Stand) -> Torture | None:
    """All rounds. A fault of the platform must not hide what was found before it."""
    missing = stand.start()
    if not console.check("the platform starts", not missing, missing):
        return None
    torture = Torture(arguments, console, stand)
    try:
        torture.run()
        torture.covered()
    except (Away, Refused, OSError, RuntimeError, TimeoutError) as error:
        console.check("the run came to its end", False, repr(error))
        console.line(traceback.format_exc())
    return torture


def main() -> int:
    arguments = parse()
    console = Console()
    console.line(f"SEED={arguments.seed}")
    # Plain ends, in which everything that was started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stand = Stand(os.path.join(ROOT, arguments.binaries))
    try:
        torture = run(arguments, console, stand)
    except KeyboardInterrupt:
        console.line("interrupted")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stand.end()
        keep = arguments.keep or console.failed > 0
        stand.remove(keep_logs=keep)
        if keep:
            console.line(f"logs are in {stand.logs}")
    if torture:
        torture.table()
    console.line(f"{console.passed} passed, {console.failed} failed")
    return 1 if console.failed else 0


if __name__ == "__main__":
    sys.exit(main())
