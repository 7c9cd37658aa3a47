"""kill -9 at random moments while the registry changes: nothing acknowledged is lost, nothing is half done.

    make check-fault              12 kills
    KILLS=500 make check-fault    as many as the acceptance asks for
    KILL_SEED=7                   another sequence of random choices

Each worker owns one model and knows what it must look like: after every acknowledged change exactly so, after a change that
was under way when the server died either as before or as after it. Another thread runs gc with no grace at all. After each
kill the server is started again on the same data folder and everything is compared, down to the bytes of each file.
"""
import hashlib
import http.client
import os
import random
import signal
import statistics
import threading
import time

import pytest

from helpers.registry import Refused, Registry, quote
from helpers.server import Server

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("KILL_SEED", "1"))
WORKERS = 3
# A promotion may be refused while another change of the model is under way, a rollback when nothing is below.
BROKEN = (OSError, http.client.HTTPException)


class State:
    """What a model must look like."""

    def __init__(self):
        self.versions = {}  # number -> {path: sha256}; live ones, not deleted
        self.deleted = set()
        self.stack = []     # live versions, oldest first

    def copy(self):
        other = State()
        other.versions, other.deleted, other.stack = dict(self.versions), set(self.deleted), list(self.stack)
        return other

    @property
    def live(self):
        return self.stack[-1] if self.stack else None

    @property
    def latest(self):
        return max([0, *self.versions, *self.deleted])


class Worker:
    """Changes one model at random, and remembers what was acknowledged."""

    def __init__(self, name, model_bytes, seed):
        self.name, self.model_bytes, self.random = name, model_bytes, random.Random(seed)
        self.state = State()
        self.pending = None  # what the state becomes if the change under way was done
        self.changes = 0
        self.overtaken = 0  # pushes that gc came in between

    def files(self, number):
        note = f"{self.name} {number} {self.random.random()}".encode() * self.random.randrange(1, 20000)
        return {"model.onnx": self.model_bytes, "note.txt": note}

    def push(self, registry):
        files, after = self.files(self.state.latest + 1), self.state.copy()
        after.versions[after.latest + 1] = {p: hashlib.sha256(d).hexdigest() for p, d in files.items()}
        self.pending = after
        while True:
            registry.known.clear()  # gc may have taken what no version uses
            try:
                return registry.push(self.name, files)
            except Refused as refusal:  # gc, which has hardly any grace here, came between upload and version: again
                if refusal.code not in ("conflict", "digest_mismatch", "not_found"):
                    raise
                self.overtaken += 1

    def promote(self, registry):
        number, after = self.random.choice(list(self.state.versions)), self.state.copy()
        if number != after.live:
            after.stack.append(number)
        self.pending = after
        registry.promote(self.name, number)

    def rollback(self, registry):
        after = self.state.copy()
        after.stack.pop()
        self.pending = after
        registry.rollback(self.name)

    def delete(self, registry):
        free = [n for n in self.state.versions if n not in self.state.stack]
        number, after = self.random.choice(free), self.state.copy()
        del after.versions[number]
        after.deleted.add(number)
        self.pending = after
        registry.delete_version(self.name, number)

    def choose(self):
        s, actions = self.state, [self.push]
        if s.versions:
            actions += [self.promote] * 2
        if len(s.stack) > 1:
            actions += [self.rollback]
        if len([n for n in s.versions if n not in s.stack]) > 3:
            actions += [self.delete]
        return self.random.choice(actions)

    def run(self, port, failures):
        """Until the server goes away."""
        try:
            with Registry(port, timeout_s=30, actor=self.name) as registry:
                while True:
                    self.choose()(registry)
                    self.state, self.pending = self.pending, None
                    self.changes += 1
        except BROKEN:
            pass  # the kill; self.pending tells what was under way
        except Refused as refusal:
            failures.append(refusal)

    def settle(self, registry):
        """Compares with the server after a restart and learns whether the change under way was done."""
        candidates = [s for s in (self.state, self.pending) if s is not None]
        try:
            shown = registry.model(self.name)
            versions = registry.versions(self.name, limit=1000)["versions"]
        except Refused as refusal:
            assert refusal.status == 404 and not self.state.versions, refusal
            self.pending = None
            return
        numbers = {v["version"] for v in versions}
        fitting = [s for s in candidates if set(s.versions) == numbers and s.live == shown["live"]]
        assert fitting, (f"{self.name}: the server shows versions {sorted(numbers)}, live {shown['live']}; acknowledged were "
                         + " or ".join(f"{sorted(s.versions)}, live {s.live}" for s in candidates))
        self.state, self.pending = fitting[0], None
        live = [v["version"] for v in versions if v["live"]]
        production = [v["version"] for v in versions if v["stage"] == "Production"]
        expected = [self.state.live] if self.state.live else []
        assert live == production == expected, f"{self.name}: live {live}, Production {production}, expected {expected}"
        assert shown["aliases"] == ({"champion": self.state.live} if self.state.live else {}), shown
        for number, files in self.state.versions.items():
            listed = {f["path"]: f["sha256"] for f in registry.files(self.name, number)}
            assert listed == files, f"{self.name}/{number}"

    def check_bytes(self, registry):
        number = self.random.choice(list(self.state.versions)) if self.state.versions else None
        for path, digest in (self.state.versions[number].items() if number else ()):
            status, _, data = registry.request("GET", f"/api/v1/models/{self.name}/versions/{number}/files/{quote(path)}")
            assert status == 200 and hashlib.sha256(data).hexdigest() == digest, f"{self.name}/{number}/{path}: {status}"


def collect_garbage(port, failures):
    try:
        with Registry(port, timeout_s=30, actor="gc") as registry:
            while True:
                registry.gc(days=0)
    except BROKEN:
        pass
    except Refused as refusal:
        failures.append(refusal)


def start(binary, folder):
    begin = time.monotonic()
    server = Server(binary, [], args=["--data-dir", folder, "--set", "registry.gc_grace=1s"], cwd=folder.parent, wait_ready=True)
    return server, time.monotonic() - begin


def run_until_killed(server, workers, chance):
    """Lets the workers run for a random while, then kill -9."""
    failures = []
    threads = [threading.Thread(target=w.run, args=(server.port, failures)) for w in workers]
    threads.append(threading.Thread(target=collect_garbage, args=(server.port, failures)))
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0.005, 0.6))  # the random moment is the point of the test
    server.signal(signal.SIGKILL)
    server.wait_exit()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not failures, failures[0]


@pytest.mark.slow
def test_kill_at_random_moments(binary, test_models, tmp_path):
    folder, chance = tmp_path / "data", random.Random(SEED)
    model_bytes = (test_models / "mlp_45.onnx").read_bytes()
    workers = [Worker(f"model-{i}", model_bytes, SEED * 100 + i) for i in range(WORKERS)]
    starts, under_way = [], 0
    for kill in range(KILLS):
        server, took = start(binary, folder)
        starts.append(took)
        with Registry(server.port) as registry:
            for worker in workers:
                under_way += worker.pending is not None
                worker.settle(registry)
                worker.check_bytes(registry)
            verified = registry.audit_verify()
            assert verified["ok"], verified
        run_until_killed(server, workers, chance)
    server, took = start(binary, folder)
    with server:
        with Registry(server.port) as registry:
            for worker in workers:
                worker.settle(registry)
                worker.check_bytes(registry)
            assert registry.audit_verify()["ok"]
    changes, overtaken = sum(w.changes for w in workers), sum(w.overtaken for w in workers)
    print(f"\n{KILLS} kills, {under_way} changes under way when killed, {changes} acknowledged changes, none lost ({overtaken} pushes "
          f"were sent again since gc took their files first); start until ready: median {statistics.median(starts):.3f} s, slowest {max(starts):.3f} s")
    assert changes > KILLS
