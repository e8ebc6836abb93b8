"""Events by SQL: rows of order's outbox, appended as the library appends them, in transactions that also fail."""

import json
import os
import random
import threading
import time
import uuid

from psql import Away, Refused, Session

TABLE = "CREATE TABLE IF NOT EXISTS torture_aggregate (id uuid PRIMARY KEY, version bigint NOT NULL)"


def version7(dice: random.Random) -> str:
    """An id as the library makes them: time first."""
    milliseconds = time.time_ns() // 1_000_000
    bits = milliseconds << 80 | 7 << 76 | dice.getrandbits(12) << 64 | 2 << 62 | dice.getrandbits(62)
    return str(uuid.UUID(int=bits))


def flood(events: int) -> str:
    """A statement that appends many small events at once, of a thousand new aggregates in turn."""
    return f"""
        WITH aggregate AS MATERIALIZED (
          SELECT number, gen_random_uuid()::text AS key FROM generate_series(0, 999) AS number
        )
        INSERT INTO outbox (
          id, topic, key, type, subject, subject_version, content_type, data, tenant, actor_id, actor_type, outcome
        )
        SELECT gen_random_uuid(), 'order.events.v1', key, 'order.load.stepped.v1', 'load/' || key, n / 1000 + 1,
          'application/json', '{{}}', 'default', 'order', 'system', 'success'
        FROM generate_series(0, {events - 1}) AS n JOIN aggregate ON number = n % 1000
        ORDER BY n
    """


class Appends:
    """Several sessions that share aggregates, each transaction with the events of a few of them."""

    SESSIONS = 4
    AGGREGATES = 40
    ROLLED_BACK = 0.08

    def __init__(self, url: str, seed: str, rate: float):
        self.url, self.rate = url, rate
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.committed, self.rolled_back, self.unknown = 0, 0, 0
        self.refused: list[str] = []
        dice = random.Random(seed)
        self.aggregates = sorted(str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(self.AGGREGATES))
        self._prepare()
        self.threads = [
            threading.Thread(target=self._work, args=(random.Random(f"{seed}/{number}"),), daemon=True)
            for number in range(self.SESSIONS)
        ]

    def _prepare(self) -> None:
        session = Session(self.url, "torture-load")
        rows = ", ".join(f"('{aggregate}', 0)" for aggregate in self.aggregates)
        session.query(f"SET client_min_messages = warning; {TABLE}; INSERT INTO torture_aggregate VALUES {rows}")
        session.close()

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(timeout=90)

    def _work(self, dice: random.Random) -> None:
        session = None
        due = time.monotonic()
        while not self.stopping.is_set():
            statements, events = self._transaction(dice)
            commits = dice.random() >= self.ROLLED_BACK
            statements.append("COMMIT" if commits else "ROLLBACK")
            try:
                session = session or Session(self.url, "torture-load")
                session.query(";\n".join(statements))
                with self.lock:
                    self.committed += events if commits else 0
                    self.rolled_back += 0 if commits else events
            except (Away, Refused) as error:
                session = None
                with self.lock:
                    self.unknown += 1
                    if isinstance(error, Refused):
                        self.refused.append(str(error))
                self.stopping.wait(0.2)
            # Evenly, and without catching up at once on what an outage cost.
            due = max(due + events * self.SESSIONS / self.rate, time.monotonic() - 0.5)
            self.stopping.wait(max(0, due - time.monotonic()))
        if session:
            session.close()

    def _transaction(self, dice: random.Random) -> tuple[list[str], int]:
        # In one order, so that two sessions never wait for each other in a circle.
        chosen = sorted(dice.sample(self.aggregates, dice.choice((1, 1, 2, 3))))
        statements, events = ["BEGIN"], 0
        for aggregate in chosen:
            # Now and then more than the relay sends at once.
            count = dice.choice((1, 1, 2, 3, 5)) if dice.random() < 0.99 else dice.randrange(100, 300)
            statements.append(self._append(aggregate, count, dice))
            events += count
            if dice.random() < 0.1:
                # Later positions commit before this one.
                statements.append(f"SELECT pg_sleep({dice.uniform(0.001, 0.05):.3f})")
        return statements, events

    def _append(self, aggregate: str, count: int, dice: random.Random) -> str:
        """The aggregate is locked first, as a service does it: positions then have the order of commits."""
        ids = ", ".join(f"'{version7(dice)}'" for _ in range(count))
        data = json.dumps({"of": aggregate, "note": "ä✓'" + "x" * dice.choice((0, 40, 200, 1_000))}, ensure_ascii=False)
        trace = f"'00-{dice.getrandbits(128):032x}-{dice.getrandbits(64):016x}-01'" if dice.random() < 0.5 else "NULL"
        address = f"'192.0.2.{dice.randrange(1, 255)}'" if dice.random() < 0.5 else "NULL"
        quoted = data.replace("'", "''")
        return f"""
            WITH moved AS (
              UPDATE torture_aggregate SET version = version + {count} WHERE id = '{aggregate}'
              RETURNING version - {count} AS base
            )
            INSERT INTO outbox (
              id, topic, key, type, subject, subject_version, content_type, data, tenant,
              actor_id, actor_type, actor_ip, outcome, traceparent, tracestate, baggage
            )
            SELECT ids.id, 'order.events.v1', '{aggregate}', 'order.load.stepped.v1', 'load/{aggregate}', moved.base + ids.n,
              'application/json', convert_to('{quoted}', 'UTF8'), 'default', 'order', 'system', {address}, 'success',
              {trace}, NULL, NULL
            FROM moved, unnest(ARRAY[{ids}]::uuid[]) WITH ORDINALITY AS ids (id, n)
            ORDER BY ids.n
        """
