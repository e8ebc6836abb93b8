"""What a fault acts on."""

import random
import time
from dataclasses import dataclass, field

from parts import Part
from stand import Stand
from steps import Steps


@dataclass
class Scene:
    stand: Stand
    steps: Steps
    # Seconds that the broker is away or frozen, at most.
    broker_away: float
    # Events that are appended, and lost, at once.
    flood: int
    # Things that happen now and then, beside the steps of the path.
    seen: dict[str, int] = field(default_factory=dict)

    def saw(self, what: str, count: int = 1) -> None:
        if count:
            self.seen[what] = self.seen.get(what, 0) + count

    def restart(self, dice: random.Random, *parts: Part) -> None:
        """Kills parts at once, and starts them again a moment later."""
        for part in parts:
            part.kill()
        self.pause(dice)
        for part in parts:
            part.start()

    def restart_broker(self, dice: random.Random) -> None:
        self.saw("acknowledged by a broker that died, on no timeline yet", self.steps.unread())
        self.stand.broker.kill()
        self.pause(dice, 0.5)
        self.stand.start_broker()

    def restart_postgres(self, dice: random.Random) -> str:
        """Ends the server without a checkpoint; half of the time without a word to its processes."""
        if dice.random() < 0.5:
            self.stand.cluster.stop_immediately()
            how = "stopped immediately"
        else:
            self.stand.cluster.kill()
            how = "killed"
        self.pause(dice)
        if not self.stand.cluster.start():
            raise RuntimeError("PostgreSQL does not start again")
        return how

    def pause(self, dice: random.Random, longest: float = 1.2) -> None:
        time.sleep(dice.uniform(0, longest))

    def other(self, part: Part) -> Part:
        """The other replica of the same service."""
        replicas = self.stand.orders if part in self.stand.orders else self.stand.activities
        return next(each for each in replicas if each is not part)

    def said(self, part: Part, since: int, *words: str) -> bool:
        """Whether a part has logged one of these since its log had so many bytes."""
        with open(part.log, "rb") as log:
            log.seek(since)
            text = log.read().decode(errors="replace")
        return any(word in text for word in words)
