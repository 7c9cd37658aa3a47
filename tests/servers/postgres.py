#!/usr/bin/env python3
"""A PostgreSQL of a test's own: a new cluster in a temporary folder, on a free port of 127.0.0.1, gone afterwards.

As a module:

    with PostgresServer() as server:
        server.url                   # postgresql://slipway:...@127.0.0.1:PORT/slipway
        server.kill()                # as if the power went: no checkpoint
        server.start()               # on the same port, with the same data
        server.stop()                # orderly; the data stays
        server.create_database("x")  # -> its URL

As a program it sets SLIPWAY_TEST_POSTGRES to the URL, runs a command and ends with its exit code; 77 (a skipped test)
when no PostgreSQL is installed:

    tests/servers/postgres.py -- COMMAND [ARGUMENT...]

The command may write "kill", "stop", "start", "freeze" or "thaw" and a line feed to the descriptor named by
SLIPWAY_TEST_POSTGRES_CONTROL, and reads "done" from it when that has happened.

PostgreSQL refuses to run as root: then it runs as user postgres. Durability is off (fsync), so a kill of the server
keeps what it had been told to write, a loss of power would not. However this process ends, a guard that waits for its
end stops the server by its process id and deletes the folder.
"""
import glob
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as a program, too
from servers.command import Command, run_beside  # noqa: E402

LIMIT_S = 60.0
SKIPPED = 77
DATABASE = "slipway"
USER = "slipway"

# Waits for the end of its input, that is, of the process that started it; then stops what the pid file names.
GUARD = r"""
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = postgres ]; then
    kill -CONT "$pid"
    kill -QUIT "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
fi
rm -rf "$1"
"""


def programs():
    """Folder of initdb and postgres, the newest version; None when there is none."""
    found = [Path(p).parent for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    found.sort(key=lambda folder: int(re.search(r"/(\d+)/", str(folder))[1]))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PostgresServer:
    def __init__(self, settings=None):
        self.programs = programs()
        if not self.programs:
            raise FileNotFoundError("PostgreSQL is not installed; run: tools/setup.sh test")
        self.settings = {"fsync": "off", "full_page_writes": "off", "max_connections": "100", "shared_buffers": "16MB",
                         "lc_messages": "C", "logging_collector": "off", **(settings or {})}
        self.password = secrets.token_hex(12)
        self.port = None
        self.process = None
        self.log = []
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-postgres-"))
        self._guard = subprocess.Popen(["sh", "-c", GUARD, "sh", str(self.folder)], stdin=subprocess.PIPE,
                                       start_new_session=True)
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return self.url_of(DATABASE)

    def url_of(self, database):
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name):
        self._psql(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def _as_user(self, *command):
        """The command as a user that PostgreSQL accepts."""
        if os.geteuid() != 0:
            return [*map(str, command)]
        return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", *map(str, command)]

    def _run(self, *command, **options):
        done = subprocess.run(self._as_user(*command), cwd=self.folder, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=LIMIT_S, **options)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _psql(self, statement):
        self._run(self.programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement,
                  env={**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER,
                       "PGPASSWORD": self.password, "PGDATABASE": "postgres"})

    def _make(self):
        password = self.folder / "password"
        password.write_text(self.password + "\n", encoding="utf-8")
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            for path in (self.folder, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._run(self.programs / "initdb", "-D", self.folder / "data", "-U", USER, "-A", "scram-sha-256",
                  f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        for _ in range(5):  # somebody may take the port before the server does
            self.port = free_port()
            try:
                self.start()
                break
            except RuntimeError as failure:
                if "Address already in use" not in str(failure):
                    raise
        self.create_database(DATABASE)

    def start(self):
        """Returns when it accepts connections."""
        assert not self.process
        settings = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        command = self._as_user(self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h",
                                "127.0.0.1", "-p", self.port, *settings)
        self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, start_new_session=True)
        ready = threading.Event()
        self.log = []
        threading.Thread(target=self._read, args=(self.process, self.log, ready), daemon=True).start()
        if not ready.wait(LIMIT_S) or self.process.poll() is not None:
            self.process.kill()
            self._ended()
            raise RuntimeError("PostgreSQL does not start:\n" + "".join(self.log))

    @staticmethod
    def _read(process, log, ready):
        for line in process.stderr:
            log.append(line)
            if "ready to accept connections" in line:
                ready.set()
        ready.set()

    def _ended(self):
        self.process.wait(LIMIT_S)
        self.process = None
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self):
        """Orderly; ends the connections that are open."""
        self.process.send_signal(signal.SIGINT)
        self._ended()

    def kill(self):
        """Every process of it at once."""
        self.process.send_signal(signal.SIGQUIT)
        self._ended()

    def restart(self):
        self.stop()
        self.start()

    def _processes(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def freeze(self):
        """It goes on to exist but answers nothing."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in reversed(self._processes()):
            os.kill(pid, signal.SIGCONT)

    def close(self):
        if self.process:
            try:
                self.thaw()
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        self._guard.stdin.close()
        self._guard.wait(LIMIT_S)


def main():
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        sys.exit(f"usage: {sys.argv[0]} -- COMMAND [ARGUMENT...]")
    if not programs():
        print("skipped: PostgreSQL is not installed; run: tools/setup.sh test")
        sys.exit(SKIPPED)
    command_of_test = Command(command)
    with PostgresServer() as server:
        does = {"kill": server.kill, "stop": server.stop, "start": server.start, "freeze": server.freeze,
                "thaw": server.thaw}
        code = run_beside(command_of_test, does, {"SLIPWAY_TEST_POSTGRES": server.url}, "SLIPWAY_TEST_POSTGRES_CONTROL")
    sys.exit(code)


if __name__ == "__main__":
    main()
