"""A PostgreSQL of the harness's own, which writes to disk what it says it wrote."""

import glob
import os
import pwd
import shutil
import signal
import subprocess

from console import eventually
from parts import Part, children
from psql import Away, Session


def tool(name: str) -> str:
    """A program of PostgreSQL: on the PATH, or where Debian hides it."""
    folders = sorted(glob.glob("/usr/lib/postgresql/[0-9]*/bin"), key=lambda path: int(path.split("/")[-2]), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "/usr/bin:/bin")]))
    if not found:
        raise SystemExit(f"{name} is not installed: apt-get install postgresql-15")
    return found


class Cluster:
    def __init__(self, folder: str, port: int, password: str, log: str):
        self.folder, self.port, self.password = folder, port, password
        # PostgreSQL refuses to run as root.
        user = next((name for name in ("postgres", "nobody") if _exists(name)), None) if os.geteuid() == 0 else None
        self.environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        self._initialize(user, log)
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200",
            "logging_collector": "off", "timezone": "UTC", "log_line_prefix": "%m [%p] %a ",
            # The defaults, on which all of it rests.
            "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.part = Part(
            "postgres", [tool("postgres"), "-D", folder, "-p", str(port), *options], self.environment, log, user
        )

    def _initialize(self, user: str | None, log: str) -> None:
        os.mkdir(self.folder, 0o700)
        file = f"{self.folder}.password"
        with open(file, "w", encoding="utf-8") as password:
            password.write(self.password)
        ids = {}
        if user:
            entry = pwd.getpwnam(user)
            for path in (self.folder, file):
                os.chown(path, entry.pw_uid, entry.pw_gid)
            ids = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        with open(log, "ab") as output:
            subprocess.run(
                [
                    tool("initdb"), "--pgdata", self.folder, "--username", "lantern", "--pwfile", file,
                    "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions",
                ],
                env=self.environment, cwd="/", stdout=output, stderr=output, check=True, **ids,
            )
        os.unlink(file)

    def url(self, database: str, name: str | None = None) -> str:
        """The connection URI, which gives the sessions a name where one is asked for."""
        suffix = f"?application_name={name}" if name else ""
        return f"postgresql://lantern:{self.password}@127.0.0.1:{self.port}/{database}{suffix}"

    def start(self, within: float = 60) -> bool:
        """Starts the server and waits until it answers; recovery after a crash takes a moment."""

        def answers() -> bool:
            # Until the last sessions of a server that was killed have gone, a new one ends at once.
            self.part.doomed = True
            self.part.start()
            try:
                session = Session(self.url("postgres"), "torture-probe")
                session.query("SELECT 1")
                session.close()
                return True
            except Away:
                return False

        answered = eventually(within, answers, pause=0.2)
        self.part.doomed = False
        return answered

    def stop_immediately(self) -> None:
        """What `pg_ctl stop -m immediate` does: no checkpoint; the next start recovers from the log."""
        self.part.kill(signal.SIGQUIT)

    def kill(self) -> None:
        """kill -9 of the server and of all its processes at once."""
        if self.part.alive:
            self.part.doomed = True
            self._signal(signal.SIGKILL)
            self.part.kill()

    def freeze(self) -> None:
        """Nobody is answered, and nobody is told."""
        if self.part.alive:
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.part.alive:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """To the server and all its processes; the server first, so that it starts no more of them."""
        for pid in (self.part.pid, *children(self.part.pid)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


def _exists(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False
