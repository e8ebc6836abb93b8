"""Records of a topic by kcat: what is there, and the same bytes once more."""

import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    key: str
    value: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")


class Topic:
    def __init__(self, bootstrap: str, name: str):
        self.bootstrap, self.name = bootstrap, name

    def _newest(self, count: int, form: list[str]) -> list[str]:
        """So many records before the end of each partition."""
        try:
            run = subprocess.run(
                [
                    "kcat", "-C", "-q", "-b", self.bootstrap, "-t", self.name, "-X", "fetch.wait.max.ms=10",
                    "-o", f"-{count}", "-e", *form,
                ],
                capture_output=True, text=True, timeout=10,
            )
        except subprocess.TimeoutExpired:
            return []
        return run.stdout.splitlines()

    def sequences(self, count: int = 600) -> set[int]:
        """The numbers of the newest events."""
        found = (re.search(r"ce_sequence=(\d+)", line) for line in self._newest(count, ["-f", "%h\n"]))
        return {int(match[1]) for match in found if match}

    def newest(self, count: int) -> list[Record]:
        """The newest events; heads and what else has no key are left out: they speak of their own partition."""
        records = []
        for line in self._newest(count, ["-J"]):
            fields = json.loads(line)
            names = fields.get("headers") or []
            if fields["key"] is not None:
                headers = tuple(zip(names[::2], names[1::2]))
                records.append(Record(fields["partition"], fields["offset"], fields["key"], fields["payload"], headers))
        return records

    def produce(self, record: Record, partition: int) -> bool:
        """Writes a record as it was, to the end of a partition."""
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as value:
            value.write(record.value)
            value.flush()
            headers = [word for name, text in record.headers for word in ("-H", f"{name}={text}")]
            try:
                run = subprocess.run(
                    [
                        "kcat", "-P", "-q", "-b", self.bootstrap, "-t", self.name, "-p", str(partition), "-k", record.key,
                        *headers, value.name,
                    ],
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=10, env=dict(os.environ, LC_ALL="C.UTF-8"),
                )
            except subprocess.TimeoutExpired:
                return False
        return run.returncode == 0
