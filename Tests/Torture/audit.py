"""What must hold after a round: every committed event on the timeline exactly once, in order, without a gap."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable

from console import Console, eventually
from ledger import Entry, Ledger, Recorded, Source
from stand import Stand, call


class Audit:
    def __init__(self, stand: Stand, console: Console):
        self.stand, self.console = stand, console
        self.ledger = Ledger(stand)
        self.recorded: dict[str, list[Recorded]] = {}
        self.entries: dict[str, list[Entry]] = {}

    def settle(self, within: float) -> float:
        """Waits until nothing is under way; the seconds that it took."""
        began = time.monotonic()
        rests = eventually(within, lambda: not self.ledger.behind(), pause=0.25)
        took = time.monotonic() - began
        left = [] if rests else self.ledger.behind()
        self.console.check(f"the timeline is complete {took:.1f} s after the load", not left, "; ".join(left))
        return took

    def handled(self, orphaned: set[str], within: float, must: bool) -> None:
        """order heard of each user who was disabled, and cancelled what the user had, once.

        - must: Not where the broker lost data: what is sent again is what the timeline misses, not what others do.
        """

        def wrong() -> dict[str, int]:
            counts = next(source for source in self.ledger.sources if source.service == "order").cancellations()
            return {order: counts.get(order, 0) for order in orphaned if counts.get(order, 0) != 1}

        fits = eventually(within if must else 5, lambda: not wrong(), pause=0.25)
        left = {} if fits else wrong()
        if must:
            text = f"{len(orphaned)} orders of users who were disabled are cancelled, each once"
            self.console.check(text, not left, few(left.items()))
            return
        twice = {order: count for order, count in left.items() if count > 1}
        self.console.check("no order of a user who was disabled is cancelled twice", not twice, few(twice.items()))
        if left:
            self.console.note(
                f"{len(left)} of {len(orphaned)} orders of users who were disabled are not cancelled: the broker lost what told of it"
            )

    def run(self, first_index: int, in_order: bool) -> None:
        """All checks of the databases.

        - first_index: of the log, when the round began.
        - in_order: Whether log indexes must follow the order of each aggregate.
        """
        self._read()
        self._once()
        self._leaves()
        self._numbers()
        self._versions()
        self._log_order(first_index, in_order)
        self._completeness()
        letters = {source.service: source.dead_letters() for source in self.ledger.sources}
        self.console.check("nothing was put aside as a dead letter", not any(letters.values()), letters)

    def counts(self) -> Counter[str]:
        """What there is after all rounds so far."""
        return Counter(
            {
                "events": sum(map(len, self.recorded.values())),
                "duplicates": sum(int(state["duplicates"]) for state in self.ledger.timeline.completeness().values()),
                "gaps": sum(row.type == "activity.gap.detected.v1" for row in self.recorded["activity"]),
            }
        )

    def _read(self) -> None:
        # What is appended between two reads would look lost: what activity tells of gaps are events too.
        for _ in range(20):
            heads = self.ledger.heads()
            self.recorded = {source.service: source.recorded() for source in self.ledger.sources}
            entries = self.ledger.timeline.entries()
            self.entries = {source.service: entries.get(source.name, []) for source in self.ledger.sources}
            if heads == self.ledger.heads():
                break

    def _once(self) -> None:
        missing, twice, unknown = [], [], []
        for service, rows in self.recorded.items():
            counts = Counter(entry.id for entry in self.entries[service])
            missing += [row for row in rows if row.id not in counts]
            twice += [(service, event, count) for event, count in counts.items() if count > 1]
            unknown += [(service, event) for event in counts.keys() - {row.id for row in rows}]
        sizes = ", ".join(f"{len(rows)} of {service}" for service, rows in self.recorded.items())
        self.console.check(f"every committed event is on the timeline: {sizes}", not missing, few(missing))
        self.console.check("no event is on the timeline twice", not twice, few(twice))
        self.console.check("nothing is on the timeline that was not committed", not unknown, few(unknown))

    def _leaves(self) -> None:
        count, lowest, highest, orphans = self.ledger.timeline.leaves()
        size = self.ledger.timeline.log_size()
        unlogged = [entry for found in self.entries.values() for entry in found if entry.log_index < 0]
        self.console.check("every entry has one leaf", not unlogged and orphans == 0, (few(unlogged), orphans))
        self.console.check(
            f"log indexes run from 0 to {size - 1} without a hole", (count, lowest, highest) == (size, 0, size - 1),
            f"{count} leaves from {lowest} to {highest}, the log's size is {size}",
        )

    def _numbers(self) -> None:
        """Sequences are 1, 2, 3 … in each epoch, up to the head; entries bear them."""
        holes, other = [], []
        for source in self.ledger.sources:
            rows = self.recorded[source.service]
            by_epoch: dict[int, list[int]] = defaultdict(list)
            for row in rows:
                by_epoch[row.epoch].append(row.sequence)
            for epoch, numbers in by_epoch.items():
                if sorted(numbers) != list(range(1, len(numbers) + 1)):
                    holes.append((source.service, epoch, few(set(range(1, len(numbers) + 1)) ^ set(numbers))))
            head = source.head()
            if head and (head.last, head.published) != (len(by_epoch[head.epoch]),) * 2:
                holes.append((source.service, head, len(by_epoch[head.epoch])))
            known = {row.id: (row.epoch, row.sequence, row.subject, row.version) for row in rows}
            other += [
                (entry, known[entry.id]) for entry in self.entries[source.service]
                if known.get(entry.id, ()) not in ((), (entry.epoch, entry.sequence, entry.subject, entry.version))
            ]
        self.console.check("each source has numbered its events 1, 2, 3 … up to its head", not holes, holes[:5])
        self.console.check("every entry bears the numbers of its source", not other, other[:3])

    def _versions(self) -> None:
        """The order of the numbers is the order of each aggregate's versions, in outbox and timeline alike."""
        wrong, aggregates = [], 0
        for place in (self.recorded, self.entries):
            for service, events in place.items():
                for subject, each in by_subject(sorted(events, key=lambda event: (event.epoch, event.sequence))).items():
                    found = [event.version for event in each]
                    # Only the load's own aggregates have an event for each version.
                    expected = list(range(1, len(found) + 1)) if subject.startswith("load/") else sorted(set(found))
                    aggregates += 1
                    if found != expected:
                        wrong.append((service, subject, found[:20]))
        self.console.check(f"numbers follow the versions of each of {aggregates // 2} aggregates", not wrong, wrong[:3])

    def _log_order(self, first_index: int, in_order: bool) -> None:
        late = []
        for service, entries in self.entries.items():
            fresh = sorted((entry for entry in entries if entry.log_index >= first_index), key=lambda entry: entry.log_index)
            for subject, each in by_subject(fresh).items():
                numbers = [(entry.epoch, entry.sequence) for entry in each]
                if numbers != sorted(numbers):
                    late.append((service, subject, [(entry.log_index, entry.sequence) for entry in each][:20]))
        if in_order:
            self.console.check("log indexes follow the order of each aggregate", not late, late[:3])
        else:
            # What was lost with the broker is sent again later than what came after it.
            self.console.note(
                f"{len(late)} aggregates are out of order in the log, which is no fault where the broker lost or reordered data"
            )

    def _completeness(self) -> None:
        """The timeline knows that it has everything, shows it, and has told no source to forget more than that."""
        completeness = self.ledger.timeline.completeness()
        wrong, early = [], []
        for source in self.ledger.sources:
            if head := source.head():
                known = completeness.get((source.name, head.epoch), {})
                expected = {"announced": str(head.last), "contiguous": str(head.last), "missing": "{}", "dead": "{}"}
                if {name: known.get(name) for name in expected} != expected:
                    wrong.append((source.service, head, known))
            for epoch, sequence in source.acknowledged().items():
                held = int(completeness.get((source.name, epoch), {}).get("contiguous", "0"))
                if sequence > held:
                    early.append((source.service, epoch, sequence, held))
        self.console.check("the timeline knows that nothing is missing up to each head", not wrong, wrong)
        self.console.check("no source was told to forget what is not held", not early, early)
        for part in self.stand.activities:
            self._shown(part.name)

    def _shown(self, replica: str) -> None:
        admin = self.stand.admin()

        def wrong() -> object:
            status, answer = call("GET", f"{self.stand.urls[replica]}/v1/sources", admin)
            rows = answer["data"] if status == 200 else []
            incomplete = [row for row in rows if row["gaps"] or row["head_contiguous"] != row.get("head_announced")]
            missing = {source.name for source in self.ledger.sources} - {row["source"] for row in rows}
            return incomplete or missing or (status != 200 and (status, answer))

        fits = eventually(10, lambda: not wrong(), pause=0.2)
        self.console.check(f"{replica} shows all sources without gaps, up to their heads", fits, "" if fits else wrong())

    def promised(self, placed: set[str], cancelled: set[str], registered: set[str]) -> None:
        """What was answered with yes is recorded."""
        known = {service: {(row.type, row.subject) for row in rows} for service, rows in self.recorded.items()}
        promises = (
            ("order", "order.order.placed.v1", "order", placed),
            ("order", "order.order.cancelled.v1", "order", cancelled),
            ("auth", "auth.user.registered.v1", "user", registered),
        )
        lost = [
            (kind, key) for service, kind, target, keys in promises for key in keys
            if (kind, f"{target}/{key}") not in known[service]
        ]
        self.console.check(
            f"{len(placed)} orders, {len(cancelled)} cancellations and {len(registered)} users that were answered with yes are events",
            not lost, few(lost),
        )


def by_subject(events: Iterable) -> dict[str, list]:
    aggregates: dict[str, list] = defaultdict(list)
    for event in events:
        aggregates[event.subject].append(event)
    return aggregates


def few(values: Iterable) -> str:
    """How many, and the first of them."""
    values = list(values)
    return f"{len(values)}, among them {values[:5]}"
