"""The faults, and the deck that they are dealt from."""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import steps
from appends import flood
from console import eventually
from scene import Scene


@dataclass(frozen=True)
class Fault:
    name: str
    # Whether the brokers keep what they have taken, in its order: only then is the log in order for each aggregate.
    keeps: bool
    # Does it, and tells what was hit.
    run: Callable[[Scene, random.Random], str]


def at_step(step: str, victim: str) -> Callable[[Scene, random.Random], str]:
    """Catches a process at a step of the path; then it dies, or what it talks to."""

    def run(scene: Scene, dice: random.Random) -> str:
        part, hit, detail = scene.steps.catch(step, dice)
        try:
            if victim == "itself":
                scene.restart(dice, part)
                return f"{part.name}; hit: {hit} ({detail})"
            if victim == "broker":
                scene.stand.broker.kill()
                part.thaw()
                scene.restart_broker(dice)
                return f"{part.name} saw it; hit: {hit} ({detail})"
            # It wakes up to find its sessions gone.
            how = scene.restart_postgres(dice)
            return f"{how}, {part.name} saw it; hit: {hit} ({detail})"
        finally:
            part.thaw()

    return run


def both_activities(scene: Scene, dice: random.Random) -> str:
    scene.pause(dice, 0.3)
    scene.restart(dice, *scene.stand.activities)
    return ""


def both_orders(scene: Scene, dice: random.Random) -> str:
    scene.pause(dice, 0.3)
    scene.restart(dice, *scene.stand.orders)
    return ""


def any_moment(scene: Scene, dice: random.Random) -> str:
    """A leader, or one of two replicas, whatever it is doing."""
    find = dice.choice((scene.steps.relay, scene.steps.sealer, lambda: dice.choice(scene.stand.orders)))
    part = find() or scene.stand.activities[0]
    scene.restart(dice, part)
    return part.name


def auth(scene: Scene, dice: random.Random) -> str:
    scene.restart(dice, scene.stand.auth)
    return ""


def sessions_ended(scene: Scene, dice: random.Random) -> str:
    replicas = dice.choice((scene.stand.orders, scene.stand.activities))
    names = [part.name for part in replicas]
    count = eventually(5, lambda: scene.steps.terminate(names[0].split("-")[0], names))
    return f"{count} of {' and '.join(names)}"


def broker_frozen(scene: Scene, dice: random.Random) -> str:
    """It takes bytes and answers nothing; the relay dies meanwhile, after numbering what it cannot send."""
    length = dice.choice((2, scene.broker_away)) * dice.uniform(0.5, 1)
    end = time.monotonic() + length
    scene.stand.broker.freeze()
    try:
        time.sleep(length * dice.random())
        part = eventually(5, scene.steps.relay)
        if part is None:
            return f"for {length:.1f} s, nobody led"
        last, published, _ = scene.steps.head()
        scene.restart(dice, part)
        time.sleep(max(0, end - time.monotonic()))
        return f"for {length:.1f} s, {part.name} died with {last - published} sealed and not marked"
    finally:
        scene.stand.broker.thaw()


def broker_away(scene: Scene, dice: random.Random) -> str:
    """Dead for a while; others die meanwhile."""
    away = dice.uniform(0.6, 1) * scene.broker_away
    end = time.monotonic() + away
    scene.saw("acknowledged by a broker that died, on no timeline yet", scene.steps.unread())
    scene.stand.broker.kill()
    others = []
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, dice.uniform(1, 6)))
        if end - time.monotonic() > 1:
            part = dice.choice([*scene.stand.orders, *scene.stand.activities, None])
            if part is None:
                scene.restart_postgres(dice)
            else:
                scene.restart(dice, part)
            others.append(part.name if part else "postgres")
    scene.stand.start_broker()
    return f"for {away:.1f} s, in which {', '.join(others) or 'nobody'} died"


def broker_restarted(scene: Scene, dice: random.Random) -> str:
    scene.pause(dice, 0.5)
    scene.restart_broker(dice)
    return ""


def broker_loses_unread(scene: Scene, dice: random.Random) -> str:
    """Nobody reads while the relay goes on; then the broker forgets what it has acknowledged."""
    for part in scene.stand.activities:
        part.freeze()
    try:
        wanted = dice.randrange(30, 120)
        eventually(8, lambda: scene.steps.unread() >= wanted)
        lost = scene.steps.unread()
        scene.restart_broker(dice)
        return f"{lost} events that nobody had read"
    finally:
        for part in scene.stand.activities:
            part.thaw()


def broker_loses_flood(scene: Scene, dice: random.Random) -> str:
    """As before with very many, of which one replica has read a part: what is missing is in many pieces."""
    for part in scene.stand.activities:
        part.freeze()
    try:
        through = scene.steps.head()[1] + scene.flood
        scene.steps.order.once(flood(scene.flood))
        eventually(20 + scene.flood / 500, lambda: scene.steps.head()[1] >= through, pause=0.1)
        dice.choice(scene.stand.activities).thaw()
        scene.pause(dice)
        lost = scene.steps.unread()
        scene.restart_broker(dice)
        return f"{lost} events that nobody had read"
    finally:
        for part in scene.stand.activities:
            part.thaw()


def consumer_outlived(scene: Scene, dice: random.Random) -> str:
    """A consumer is frozen for longer than the group waits for it, with a transaction open or not; then it comes back."""
    part, hit, _ = scene.steps.catch(dice.choice((steps.OFFSET_MOVED, steps.INSERTED)), dice)
    since = os.path.getsize(part.log)
    time.sleep(dice.uniform(7.5, 9.5))
    part.thaw()
    told = ("partitions lost", "partitions revoked", "offsets were moved by another member")
    noticed = eventually(10, lambda: scene.said(part, since, *told))
    scene.saw("a consumer came back after its group went on without it")
    return f"{part.name}; frozen at: {hit}; {'it noticed' if noticed else 'it noticed nothing'}"


def relay_deposed(scene: Scene, dice: random.Random) -> str:
    return deposed(scene, dice, dice.choice((steps.SEALED, steps.PUBLISHED)), scene.steps.relay)


def sealer_deposed(scene: Scene, dice: random.Random) -> str:
    return deposed(scene, dice, steps.SEALING, scene.steps.sealer)


def deposed(scene: Scene, dice: random.Random, step: str, leader: Callable[[], object]) -> str:
    """A leader is frozen, its sessions end, another leads; then it comes back with what it held."""
    part, hit, detail = scene.steps.catch(step, dice)
    try:
        scene.steps.terminate(part.name.split("-")[0], [part.name])
        succeeded = eventually(10, lambda: leader() is scene.other(part))
        scene.pause(dice, 2.5)
    finally:
        part.thaw()
    if succeeded:
        scene.saw("a leader came back after another had led")
    return f"{part.name}; frozen at: {hit} ({detail}); {'another led meanwhile' if succeeded else 'nobody took over'}"


def postgres_frozen(scene: Scene, dice: random.Random) -> str:
    """The server answers nobody; a service dies meanwhile, and its sessions stay."""
    part = scene.steps.relay() or scene.stand.orders[0]
    victim = dice.choice((part, dice.choice(scene.stand.activities)))
    scene.stand.cluster.freeze()
    try:
        scene.pause(dice, 3)
        scene.restart(dice, victim)
        scene.pause(dice, 3)
    finally:
        scene.stand.cluster.thaw()
    return f"{victim.name} died meanwhile"


def duplicates(scene: Scene, dice: random.Random) -> str:
    """Records come twice, byte for byte, behind the first and in another order."""
    records = scene.steps.topic.newest(40)
    chosen = dice.sample(records, min(20, len(records)))
    sent = sum(scene.steps.topic.produce(record, record.partition) for record in chosen)
    scene.saw("duplicates injected", sent)
    return f"{sent} records"


def reordered(scene: Scene, dice: random.Random) -> str:
    """While nobody reads, records come once more, the newest first, in the partition before or behind their own."""
    for part in scene.stand.activities:
        part.kill()
    newest = eventually(8, lambda: scene.steps.topic.newest(25), pause=0.2)
    records = sorted(newest, key=lambda record: record.header("ce_sequence"), reverse=True)
    shift = dice.choice((1, 3))
    sent = sum(scene.steps.topic.produce(record, (record.partition + shift) % 4) for record in records)
    for part in scene.stand.activities:
        part.start()
    scene.saw("duplicates injected in another partition, the newest first", sent)
    return f"{sent} records"


KEPT = [
    *(Fault(f"kill -9 {step}", True, at_step(step, "itself")) for step in steps.WANTED),
    *(
        Fault(f"PostgreSQL ends {step}", True, at_step(step, "postgres"))
        for step in (steps.SEALED, steps.PUBLISHED, steps.OFFSET_MOVED, steps.INSERTED, steps.SEALING)
    ),
    Fault("kill -9 of both activities", True, both_activities),
    Fault("kill -9 of both orders", True, both_orders),
    Fault("kill -9 at any moment", True, any_moment),
    Fault("kill -9 of auth", True, auth),
    Fault("sessions ended", True, sessions_ended),
    Fault("broker frozen, relay dies", True, broker_frozen),
    Fault("consumer outlived by its group", True, consumer_outlived),
    Fault("relay deposed", True, relay_deposed),
    Fault("sealer deposed", True, sealer_deposed),
    Fault("PostgreSQL frozen", True, postgres_frozen),
    Fault("duplicates", True, duplicates),
]

LOST = [
    *(
        Fault(f"broker loses all {step}", False, at_step(step, "broker"))
        for step in (steps.SEALED, steps.PARTLY, steps.PUBLISHED, steps.INSERTED)
    ),
    Fault("broker restarted", False, broker_restarted),
    Fault("broker loses what nobody read", False, broker_loses_unread),
    Fault("broker loses a flood", False, broker_loses_flood),
    Fault("broker away", False, broker_away),
    Fault("duplicates in another partition", False, reordered),
]


def deck(dice: random.Random, keeps: bool) -> Iterator[Fault | None]:
    """Faults in the seed's order, without end; `None` when each has come once."""
    while True:
        cards = list(KEPT) if keeps else [*LOST, *dice.sample(KEPT, len(LOST))]
        dice.shuffle(cards)
        yield from cards
        yield None
