"""The parts of the platform as processes that can be killed, frozen and started again, each alone."""

import os
import pwd
import signal
import subprocess
import time


class Part:
    """One process at a time. An end that nobody asked for is remembered: a service never ends by itself."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: str, user: str | None = None):
        self.name, self.command, self.environment, self.log, self.user = name, command, environment, log, user
        self.process: subprocess.Popen | None = None
        self.doomed = False
        self.frozen = False
        self.ended_by_itself: list[str] = []
        self.starts = 0

    def start(self) -> None:
        """Starts it, unless it runs."""
        if self.alive:
            return
        # The kernel ends it when the harness is gone, whatever ended that.
        wrapper = ["setpriv", "--pdeathsig", "KILL"]
        if self.user:
            entry = pwd.getpwnam(self.user)
            wrapper += ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, *self.command], env=self.environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        self.doomed, self.frozen = False, False
        self.starts += 1

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        if self.process is None:
            return False
        code = self.process.poll()
        if code is None:
            return True
        if not self.doomed:
            self.ended_by_itself.append(f"{self.name} ended with {code}")
        self.process = None
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Ends it and waits for the end; without a chance to say good-bye, unless another signal is given."""
        if not self.alive:
            return
        self.doomed = True
        self.process.send_signal(number)
        if self.frozen and number != signal.SIGKILL:
            self.process.send_signal(signal.SIGCONT)
        self.process.wait()
        self.process = None

    def freeze(self) -> None:
        """Stops it where it is. It keeps its connections and locks, and knows nothing of the time that passes."""
        if not self.alive or self.frozen:
            return
        self.frozen = True
        self.process.send_signal(signal.SIGSTOP)
        # The signal is taken by each thread; only then does nothing move.
        deadline = time.monotonic() + 2
        while _state(self.pid) not in "TZ" and time.monotonic() < deadline:
            time.sleep(0.001)

    def thaw(self) -> None:
        if self.alive and self.frozen:
            self.process.send_signal(signal.SIGCONT)
        self.frozen = False


def _state(pid: int) -> str:
    """The state letter of a process; Z where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def children(pid: int) -> list[int]:
    """The processes that have this one as parent."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(name))
        except OSError:
            continue
    return found
