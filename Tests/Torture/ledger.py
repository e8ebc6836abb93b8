"""What the sources committed and what the timeline holds, read once everything has come to rest."""

from dataclasses import dataclass

from psql import Database
from stand import SERVICES


@dataclass(frozen=True)
class Recorded:
    """A row of an outbox."""

    id: str
    epoch: int
    sequence: int
    type: str
    subject: str
    version: int


@dataclass(frozen=True)
class Entry:
    """An entry of the timeline with its leaf; the index is -1 where there is none."""

    id: str
    epoch: int
    sequence: int
    subject: str
    version: int
    log_index: int


@dataclass(frozen=True)
class Head:
    epoch: int
    last: int
    published: int


class Source:
    """One service's database."""

    def __init__(self, service: str, database: Database):
        self.service, self.database = service, database
        self.name = f"/services/{service}"

    def head(self) -> Head | None:
        row = self.database.row(f"SELECT epoch, last_sequence, published_through FROM outbox_head WHERE source = '{self.name}'")
        return Head(*map(int, row)) if row else None

    def unsealed(self) -> int:
        return int(self.database.value("SELECT count(*) FROM outbox WHERE sequence IS NULL"))

    def acknowledged(self) -> dict[int, int]:
        """What the source was told that it may forget, by epoch."""
        rows = self.database.rows(f"SELECT epoch, sequence FROM outbox_acknowledged WHERE source = '{self.name}'")
        return {int(epoch): int(sequence) for epoch, sequence in rows}

    def recorded(self) -> list[Recorded]:
        rows = self.database.rows(
            "SELECT id, coalesce(epoch, 0), coalesce(sequence, 0), type, subject, subject_version FROM outbox ORDER BY position"
        )
        return [Recorded(row[0], int(row[1]), int(row[2]), row[3], row[4], int(row[5])) for row in rows]

    def cancellations(self) -> dict[str, int]:
        """How often each order was cancelled."""
        rows = self.database.rows(
            """
            SELECT substr(subject, length('order/') + 1), count(*) FROM outbox
            WHERE type = 'order.order.cancelled.v1' GROUP BY subject
            """
        )
        return {order: int(count) for order, count in rows}

    def dead_letters(self) -> int:
        if self.service == "auth":
            return 0  # It consumes nothing.
        return int(self.database.value("SELECT count(*) FROM dead_letter"))


class Timeline:
    """Activity's database."""

    def __init__(self, database: Database):
        self.database = database

    def entries(self) -> dict[str, list[Entry]]:
        """By source, in the order of the log."""
        rows = self.database.rows(
            """
            SELECT e.source, e.event_id, e.epoch, e.sequence, e.target_type || '/' || e.target_id, e.target_version,
              coalesce(l.log_index, -1) AS log_index
            FROM entry e LEFT JOIN leaf l ON l.entry_id = e.id
            ORDER BY log_index
            """
        )
        found: dict[str, list[Entry]] = {}
        for source, event, epoch, sequence, subject, version, index in rows:
            entry = Entry(event, int(epoch), int(sequence), subject, int(version), int(index))
            found.setdefault(source, []).append(entry)
        return found

    def log_size(self) -> int:
        return int(self.database.value("SELECT log_size FROM sealer_head"))

    def leaves(self) -> tuple[int, int, int, int]:
        """How many, the lowest and the highest index, and how many have no entry."""
        row = self.database.row(
            """
            SELECT count(*), coalesce(min(log_index), 0), coalesce(max(log_index), -1),
              count(*) FILTER (WHERE NOT EXISTS (SELECT FROM entry e WHERE e.id = leaf.entry_id))
            FROM leaf
            """
        )
        count, lowest, highest, orphans = map(int, row)
        return count, lowest, highest, orphans

    def waiting(self) -> int:
        """What the sealer has not taken yet."""
        return int(self.database.value("SELECT count(*) FROM unsealed"))

    def open_gaps(self) -> int:
        return int(self.database.value("SELECT count(*) FROM source_gap WHERE healed_at IS NULL"))

    def completeness(self) -> dict[tuple[str, int], dict[str, str]]:
        """By source and epoch: what is announced, complete up to where, and missing."""
        rows = self.database.rows("SELECT source, epoch, announced, contiguous, missing, dead, duplicates FROM source_completeness")
        names = ("announced", "contiguous", "missing", "dead", "duplicates")
        return {(row[0], int(row[1])): dict(zip(names, row[2:])) for row in rows}


class Ledger:
    def __init__(self, stand):
        self.sources = [Source(service, stand.database(service, "torture-ledger")) for service in SERVICES]
        self.timeline = Timeline(stand.database("activity", "torture-ledger"))

    def behind(self) -> list[str]:
        """What is still under way, in words."""
        found = []
        if waiting := self.timeline.waiting():
            found.append(f"{waiting} rows wait for the sealer")
        completeness = self.timeline.completeness()
        for source in self.sources:
            head = source.head()
            if unsealed := source.unsealed():
                found.append(f"{unsealed} events of {source.service} have no number")
            if head is None or head.last == 0:
                continue
            known = completeness.get((source.name, head.epoch), {})
            state = {name: known.get(name, "") for name in ("announced", "contiguous", "missing")}
            expected = {"announced": str(head.last), "contiguous": str(head.last), "missing": "{}"}
            if head.published != head.last or state != expected:
                found.append(f"{source.service}: sealed {head.last}, published {head.published}, timeline {state}")
        # Noticing that a gap is healed is an event, which comes later than the rest.
        if gaps := self.timeline.open_gaps():
            found.append(f"{gaps} gaps are open")
        return found

    def heads(self) -> list[Head | None]:
        return [source.head() for source in self.sources]

    def close(self) -> None:
        for source in self.sources:
            source.database.close()
        self.timeline.database.close()
