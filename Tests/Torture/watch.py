"""What the processes themselves must not do: end, or log that something is fatal."""

import re

from console import Console
from parts import Part
from stand import Stand

# Whatever dies around it, a service logs none of these, and PostgreSQL neither: statements wait in one order.
FATAL = re.compile(
    rb'"level":"critical"|Fatal error|Swift runtime failure|\*\*\* Signal|\*\*\* Program crashed|AddressSanitizer|PANIC:|deadlock detected'
)


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
        lines = [(part.name, line) for part in self.stand.parts for line in self._fatal(part)]
        self.console.check("nobody logged anything fatal", not lines, lines[:3])

    def _fatal(self, part: Part) -> list[str]:
        with open(part.log, "rb") as log:
            log.seek(self.read.get(part.name, 0))
            text = log.read()
        self.read[part.name] = self.read.get(part.name, 0) + len(text)
        return [line.decode(errors="replace")[:500] for line in text.splitlines() if FATAL.search(line)]
