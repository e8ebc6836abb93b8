"""What the processes themselves must not do: end, or log that something is fatal."""

import re

from console import Console
from parts import Part
from stand import Stand

# Whatever dies around it, a service logs none of these, and PostgreSQL neither.
FATAL = re.compile(
    rb'"level":"critical"|Fatal error|Swift runtime failure|\*\*\* Signal|\*\*\* Program crashed|AddressSanitizer|PANIC:'
)
# Everybody locks in one order, also after somebody died. Not so in order: what it does for several users whose events came
# together is one transaction, and those who order at the same time know nothing of it. PostgreSQL ends one of the two; what
# that cost whom is seen by the other checks, and how often it was is told.
DEADLOCK = re.compile(rb"(?:activity|auth)-\d .*deadlock detected")
ORDER_DEADLOCK = re.compile(rb"order-\d .*deadlock detected")


class Watch:
    def __init__(self, stand: Stand, console: Console):
        self.stand, self.console = stand, console
        self.read: dict[str, int] = {}

    def run(self) -> None:
        """Looks at what happened since the last time."""
        ended = []
        for part in self.stand.parts:
            if not part.alive:
                ended.append(f"{part.name} does not run")
            ended += part.ended_by_itself
            part.ended_by_itself = []
        self.console.check("no process ended by itself", not ended, ended)
        logged = [(part.name, line) for part in self.stand.parts for line in self._fresh(part)]
        for text, pattern in (("nobody logged anything fatal", FATAL), ("no statements of auth or activity waited in a circle", DEADLOCK)):
            lines = [f"{name}: {line.decode(errors='replace')[:400]}" for name, line in logged if pattern.search(line)]
            self.console.check(text, not lines, f"{len(lines)}, among them {lines[:3]}")
        if count := sum(1 for _, line in logged if ORDER_DEADLOCK.search(line)):
            self.console.note(f"{count} deadlocks in order")

    def _fresh(self, part: Part) -> list[bytes]:
        """Lines that were logged since the last look."""
        with open(part.log, "rb") as log:
            log.seek(self.read.get(part.name, 0))
            text = log.read()
        self.read[part.name] = self.read.get(part.name, 0) + len(text)
        return text.splitlines()
