#!/usr/bin/env python3
"""A Redis of a test's own: in a temporary folder, on free ports of 127.0.0.1, gone afterwards.

As a module:

    with RedisServer("tls") as server:
        server.addresses             # rediss://127.0.0.1:PORT
        server.environment           # what the program below sets
        server.kill()                # what it held is lost
        server.start()               # on the same ports
        server.freeze()              # it takes connections but answers nothing

Modes: plain, password, user (an ACL user, the default one off), tls (server and client show certificates of a throwaway
authority, beside a password), cluster (three masters).

As a program it sets SLIPWAY_TEST_REDIS to the addresses, SLIPWAY_TEST_REDIS_MODE, and with TLS SLIPWAY_TEST_REDIS_CA,
_CERT and _KEY to files, runs a command and ends with its exit code; 77 (a skipped test) when no Redis is installed:

    tests/servers/redis.py [--mode MODE] -- COMMAND [ARGUMENT...]

The command may write "kill", "stop", "start", "freeze" or "thaw", and a line feed, to the descriptor named by
SLIPWAY_TEST_REDIS_CONTROL, and reads "done" from it when that has happened. Of a cluster, "kill 1" means one node. "ask
SLOT" leaves a slot half way between its owner and the next node, "moved SLOT" brings it there.

Debian's redis-tools carries the server as redis-check-rdb, which is what it is called as; so no service needs to be
installed. However this process ends, a guard that waits for its end stops the servers by their process ids and deletes the
folder.
"""
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as a program, too
from servers.command import Command, run_beside  # noqa: E402

LIMIT_S = 60.0
SKIPPED = 77
MODES = ("plain", "password", "user", "tls", "cluster")
MASTERS = 3
SLOTS = 16384

# Waits for the end of its input, that is, of the process that started it; then stops what the pid files name.
GUARD = r"""
read -r _
for file in "$1"/*/pid; do
    pid=$(cat "$file" 2>/dev/null)
    if [ -n "$pid" ] && grep -qF "$1" "/proc/$pid/cmdline" 2>/dev/null; then
        kill -KILL "$pid"
        while grep -qF "$1" "/proc/$pid/cmdline" 2>/dev/null; do sleep 0.05; done
    fi
done
rm -rf "$1"
"""

CONFIG = """
bind 127.0.0.1
protected-mode no
daemonize no
set-proc-title no
pidfile {folder}/pid
dir {folder}
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
repl-diskless-load disabled
"""

TLS_CONFIG = """
port 0
tls-port {port}
tls-cert-file {tls}/server.pem
tls-key-file {tls}/server.key
tls-ca-cert-file {tls}/ca.pem
tls-auth-clients yes
"""

CLUSTER_CONFIG = """
cluster-enabled yes
cluster-config-file {folder}/nodes.conf
cluster-node-timeout 2000
cluster-require-full-coverage no
cluster-port {bus}
"""


def find_program():
    """The server's program under whatever name; None when there is none."""
    for name in ("redis-server", "valkey-server", "redis-check-rdb", "redis-check-aof"):
        path = shutil.which(name)
        if path:
            return path
    return None


def is_installed():
    return find_program() is not None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=LIMIT_S, **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def make_certificates(folder):
    """ca.pem; server.pem for 127.0.0.1 and redis.test; client.pem; their keys."""
    folder.mkdir()
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    run(*new, "-subj", "/CN=throwaway authority", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    for name, extra in (("server", ("-addext", "subjectAltName=IP:127.0.0.1,DNS:redis.test")), ("client", ())):
        run(*new, "-subj", f"/CN={name}", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-addext",
            "basicConstraints=critical,CA:FALSE", *extra, "-keyout", folder / f"{name}.key", "-out",
            folder / f"{name}.pem")


class Node:
    """One process."""

    def __init__(self, folder, config):
        self.folder = folder
        self.config = config  # with the ports left open
        self.port = free_port()
        self.bus = free_port()
        self.process = None
        self.log = []
        folder.mkdir()

    def start(self):
        """Returns when it accepts connections."""
        assert not self.process
        path = self.folder / "redis.conf"
        path.write_text(self.config.format(folder=self.folder, port=self.port, bus=self.bus,
                                           tls=self.folder.parent / "tls"), encoding="utf-8")
        self.process = subprocess.Popen(["redis-server", str(path)], executable=find_program(), cwd=self.folder,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, start_new_session=True)
        ready = threading.Event()
        self.log = []
        threading.Thread(target=self._read, args=(self.process, self.log, ready), daemon=True).start()
        if not ready.wait(LIMIT_S) or self.process.poll() is not None:
            self.process.kill()
            self._ended()
            raise RuntimeError("Redis does not start:\n" + "".join(self.log))

    @staticmethod
    def _read(process, log, ready):
        for line in process.stdout:
            log.append(line)
            if "ready to accept connections" in line.lower():
                ready.set()
        process.wait()
        ready.set()

    def _ended(self):
        self.process.wait(LIMIT_S)
        self.process = None
        (self.folder / "pid").unlink(missing_ok=True)

    def stop(self):
        self.process.terminate()
        self._ended()

    def kill(self):
        self.process.kill()
        self._ended()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class RedisServer:
    def __init__(self, mode="plain"):
        if not is_installed():
            raise FileNotFoundError("Redis is not installed; run: tools/setup.sh test")
        assert mode in MODES
        self.mode = mode
        self.password = secrets.token_hex(12)
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-redis-"))
        self.nodes = []
        self._guard = subprocess.Popen(["sh", "-c", GUARD, "sh", str(self.folder)], stdin=subprocess.PIPE,
                                       start_new_session=True)
        try:
            if mode == "tls":
                make_certificates(self.folder / "tls")
            self._start_new()
            if mode == "cluster":
                self._join()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def addresses(self):
        user = {"plain": "", "user": f"slipway:{self.password}@"}.get(self.mode, f":{self.password}@")
        scheme = "rediss" if self.mode == "tls" else "redis"
        return ",".join(f"{scheme}://{user}127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def environment(self):
        found = {"SLIPWAY_TEST_REDIS": self.addresses, "SLIPWAY_TEST_REDIS_MODE": self.mode}
        if self.mode == "tls":
            found.update({f"SLIPWAY_TEST_REDIS_{name}": str(self.folder / "tls" / file) for name, file in
                          (("CA", "ca.pem"), ("CERT", "client.pem"), ("KEY", "client.key"))})
        return found

    def _config(self):
        text = CONFIG + (TLS_CONFIG if self.mode == "tls" else "port {port}\n")
        if self.mode in ("password", "tls", "cluster"):
            text += f"requirepass {self.password}\n"
        if self.mode == "user":  # what docs say the user needs, and nothing else
            text += f"user default off\nuser slipway on >{self.password} ~slipway:* +get +set +ping +select\n"
        if self.mode == "cluster":
            text += CLUSTER_CONFIG
        return text

    def _start_new(self):
        for number in range(MASTERS if self.mode == "cluster" else 1):
            node = Node(self.folder / str(number), self._config())
            self.nodes.append(node)
            for attempt in range(5):  # somebody may take a port before the server does
                try:
                    node.start()
                    break
                except RuntimeError as failure:
                    if attempt == 4 or "Address already in use" not in str(failure):
                        raise
                    node.port, node.bus = free_port(), free_port()

    # ---- the cluster

    def cli(self, node, *words):
        """redis-cli, for what is no matter of speed; of a server without TLS."""
        answer = run("redis-cli", "-h", "127.0.0.1", "-p", node.port, *words,
                     env={**os.environ, "REDISCLI_AUTH": self.password}).strip()
        if answer.startswith(("ERR", "(error)", "CLUSTERDOWN")):
            raise RuntimeError(f"{' '.join(map(str, words))}: {answer}")
        return answer

    def _join(self):
        for number, node in enumerate(self.nodes):
            first, last = (number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS - 1)
            self.cli(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            self.cli(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                self.cli(node, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus)
        end = time.monotonic() + LIMIT_S
        while not all(self._knows_all(node) for node in self.nodes):
            if time.monotonic() > end:
                raise RuntimeError("the nodes do not become a cluster")
            time.sleep(0.05)

    def _knows_all(self, node):
        info = dict(line.split(":", 1) for line in self.cli(node, "CLUSTER", "INFO").splitlines() if ":" in line)
        return (info["cluster_state"].strip() == "ok" and int(info["cluster_known_nodes"]) == MASTERS and
                int(info["cluster_slots_ok"]) == SLOTS)

    def _owner(self, slot):
        number = next(n for n in range(MASTERS) if slot < (n + 1) * SLOTS // MASTERS)
        owner, following = self.nodes[number], self.nodes[(number + 1) % MASTERS]
        return owner, self.cli(owner, "CLUSTER", "MYID"), following, self.cli(following, "CLUSTER", "MYID")

    def ask(self, slot):
        """Keys that the slot's owner does not have are asked for at the next node."""
        owner, owner_id, following, following_id = self._owner(int(slot))
        self.cli(following, "CLUSTER", "SETSLOT", slot, "IMPORTING", owner_id)
        self.cli(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", following_id)

    def moved(self, slot):
        owner, _, following, following_id = self._owner(int(slot))
        self.cli(following, "CLUSTER", "SETSLOT", slot, "NODE", following_id)
        self.cli(owner, "CLUSTER", "SETSLOT", slot, "NODE", following_id)

    # ---- what may happen to it; number: of a node, or all

    def _each(self, number):
        return self.nodes if number is None else [self.nodes[int(number)]]

    def start(self, number=None):
        for node in self._each(number):
            node.start()

    def stop(self, number=None):
        for node in self._each(number):
            node.stop()

    def kill(self, number=None):
        for node in self._each(number):
            node.kill()

    def freeze(self, number=None):
        for node in self._each(number):
            node.freeze()

    def thaw(self, number=None):
        for node in self._each(number):
            node.thaw()

    def close(self):
        for node in self.nodes:
            if node.process:
                node.kill()
        self._guard.stdin.close()
        self._guard.wait(LIMIT_S)


def main():
    command, mode = sys.argv[1:], "plain"
    if command[:1] == ["--mode"] and len(command) > 1:
        mode, command = command[1], command[2:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command or mode not in MODES:
        sys.exit(f"usage: {sys.argv[0]} [--mode {'|'.join(MODES)}] -- COMMAND [ARGUMENT...]")
    if not is_installed():
        print("skipped: Redis is not installed; run: tools/setup.sh test")
        sys.exit(SKIPPED)
    command_of_test = Command(command)
    with RedisServer(mode) as server:
        does = {"kill": server.kill, "stop": server.stop, "start": server.start, "freeze": server.freeze,
                "thaw": server.thaw, "ask": server.ask, "moved": server.moved}
        code = run_beside(command_of_test, does, server.environment, "SLIPWAY_TEST_REDIS_CONTROL")
    sys.exit(code)


if __name__ == "__main__":
    main()
