"""The steps of the path, and how a process is caught at one: it is looked for by SQL, frozen, and looked at in peace."""

import random
import time
from collections import Counter

from parts import Part
from psql import Away, Refused
from records import Topic
from stand import Stand

BEFORE_SEAL = "before seal"
SEALED = "sealed, not published"
PARTLY = "partly published"
PUBLISHED = "published, not marked"
OFFSET_MOVED = "offset moved, nothing inserted"
INSERTED = "inserted, not committed"
SEALING = "log index given, not committed"
ELSEWHERE = "between these"

RELAY_STEPS = (BEFORE_SEAL, SEALED, PARTLY, PUBLISHED)
ACTIVITY_STEPS = (OFFSET_MOVED, INSERTED, SEALING)
STEPS = RELAY_STEPS + ACTIVITY_STEPS
# Part of a batch is in the topic too shortly to be met for certain.
WANTED = tuple(step for step in STEPS if step != PARTLY)

# What the last statement of an open transaction of activity tells of where it is.
STATEMENTS = (
    (OFFSET_MOVED, ("UPDATE consumer_offset",)),
    (SEALING, ("FROM sealer_head", "UPDATE sealer_head", "DELETE FROM unsealed", "INTO leaf", "INTO source_")),
    (INSERTED, ("INTO event_key", "JOIN event_key", "INTO entry", "INTO unsealed", "COPY ")),
)

# Events that a relay sends at once.
BATCH = 500


class Steps:
    """Where the relay of order and the replicas of activity are. For one thread."""

    def __init__(self, stand: Stand):
        self.stand = stand
        self.order = stand.database("order", "torture-steps")
        self.activity = stand.database("activity", "torture-steps")
        self.topic = Topic(stand.bootstrap, "order.events.v1")
        self.hits: Counter[str] = Counter()

    def leader(self, lock: str, database=None) -> Part | None:
        """The replica that holds an advisory lock: its sessions bear its name."""
        found = (database or self.order).row(
            f"""
            SELECT a.application_name FROM pg_locks l
            JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
            WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
              AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('{lock}', 0)
            """
        )
        return self.stand.part(found[0]) if found else None

    def relay(self) -> Part | None:
        return self.leader("lantern-relay:/services/order")

    def sealer(self) -> Part | None:
        return self.leader("lantern-sealer", self.activity)

    def head(self) -> tuple[int, int, int]:
        """Last number given, last marked as published, and how many rows have none."""
        found = self.order.row(
            """
            SELECT last_sequence, published_through, (SELECT count(*) FROM outbox WHERE sequence IS NULL)
            FROM outbox_head WHERE source = '/services/order'
            """
        )
        last, published, unsealed = map(int, found) if found else (0, 0, 0)
        return last, published, unsealed

    def relay_step(self) -> tuple[str, str]:
        """Where the frozen leader is, by what database and topic hold, and the numbers that tell."""
        before = None
        # What is under way between processes still arrives.
        while before != (before := self.head()):
            time.sleep(0.02)
        last, published, unsealed = before
        numbers = f"published {published}, sealed {last}, unsealed {unsealed}"
        if last == published:
            return (BEFORE_SEAL if unsealed else ELSEWHERE), numbers
        batch = set(range(published + 1, min(last, published + BATCH) + 1))
        sent = len(batch & self.topic.sequences())
        step = SEALED if sent == 0 else PUBLISHED if sent == len(batch) else PARTLY
        return step, f"{numbers}, {sent} of {len(batch)} in the topic"

    def activity_steps(self, part: Part | None = None) -> dict[str, set[str]]:
        """The open transactions of replicas of activity, by replica."""
        rows = self.activity.rows(
            """
            SELECT application_name, regexp_replace(query, '\\s+', ' ', 'g') FROM pg_stat_activity
            WHERE datname = 'activity' AND application_name LIKE 'activity-%' AND xact_start IS NOT NULL
              AND state IN ('active', 'idle in transaction')
            """
        )
        steps: dict[str, set[str]] = {}
        for name, query in rows:
            step = next((step for step, words in STATEMENTS if any(word in query for word in words)), None)
            if step and part in (None, self.stand.part(name)):
                steps.setdefault(name, set()).add(step)
        return steps

    def catch(self, wanted: str, dice: random.Random) -> tuple[Part, str, str]:
        """A frozen process that is at the wanted step, or where it was when time was up; with what shows it."""
        # A group that lost a member needs its session timeout before anybody reads again.
        deadline = time.monotonic() + (6 if wanted in RELAY_STEPS else 25)
        attempt = self._catch_relay if wanted in RELAY_STEPS else self._catch_activity
        while True:
            caught = attempt(wanted, dice, deadline)
            if caught and (caught[1] == wanted or time.monotonic() > deadline):
                self.hits[caught[1]] += 1
                return caught
            if caught:
                caught[0].thaw()
            if time.monotonic() > deadline + 30:
                raise TimeoutError(f"nobody leads: {wanted} cannot be reached")
            # Not in step with what it looks for.
            time.sleep(dice.uniform(0, 0.02))

    def _catch_relay(self, wanted: str, dice: random.Random, deadline: float) -> tuple[Part, str, str] | None:
        part = self.relay()
        if part is None or not part.alive:
            time.sleep(0.05)
            return None
        while time.monotonic() < deadline:
            last, published, unsealed = self.head()
            if (unsealed > 0 and last == published) if wanted == BEFORE_SEAL else last > published:
                break
        if wanted in (PARTLY, PUBLISHED):
            # What follows the sealing is not seen in the database.
            time.sleep(dice.uniform(0, 0.015))
        part.freeze()
        if self.relay() is not part:
            part.thaw()
            return None
        return part, *self.relay_step()

    def _catch_activity(self, wanted: str, dice: random.Random, deadline: float) -> tuple[Part, str, str] | None:
        name = None
        while time.monotonic() < deadline:
            name = next((name for name, steps in self.activity_steps().items() if wanted in steps), None)
            if name:
                break
        part = self.stand.part(name) if name else next((part for part in self.stand.activities if part.alive), None)
        if part is None:
            return None
        part.freeze()
        time.sleep(0.03)
        steps = self.activity_steps(part).get(part.name, set())
        step = wanted if wanted in steps else min(steps, default=ELSEWHERE)
        return part, step, part.name

    def unread(self) -> int:
        """Events that the brokers have acknowledged and the timeline does not hold."""
        published = self.head()[1]
        held = self.activity.value(
            "SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM source_state, unnest(held) AS r WHERE source = '/services/order'"
        )
        return max(0, published - int(held))

    def terminate(self, database: str, names: list[str]) -> int:
        """Ends the sessions of replicas, as an administrator may at any time."""
        try:
            quoted = ", ".join(f"'{name}'" for name in names)
            return len(
                self.order.once(
                    f"""
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = '{database}' AND application_name IN ({quoted})
                    """
                )
            )
        except (Away, Refused):
            return 0

    def close(self) -> None:
        self.order.close()
        self.activity.close()
