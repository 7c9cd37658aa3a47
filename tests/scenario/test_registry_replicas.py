"""Two servers on one PostgreSQL: what is changed on one is served by the other. Artifacts in a folder that both have, or in S3
with a folder of its own for each."""
import shutil
import sys
import threading
from pathlib import Path

import pytest

from helpers.client import tensor
from helpers.models import plus
from helpers.registry import Refused, Registry
from helpers.server import Server
from helpers.waiting import until

sys.path.append(str(Path(__file__).resolve().parents[1]))
from servers.postgres import PostgresServer, programs  # noqa: E402
from servers.s3 import S3Server, is_installed  # noqa: E402

pytestmark = pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed")
SETUPS = ["notify", "poll", "s3"]


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def s3():
    if not is_installed():
        pytest.skip("Swift is not installed")
    with S3Server() as server:
        yield server


@pytest.fixture
def database(postgres, request):
    """The URL of an empty one."""
    name = "".join(c if c.isalnum() else "_" for c in request.node.name.lower())[:60]
    return postgres.create_database(name)


class Replica:
    def __init__(self, server):
        self.server, self.registry, self.client = server, Registry(server.port), server.client()

    def answer(self, name, version=None):
        """What it makes of 1; None: not served."""
        done = self.client.infer(name, [tensor("x", [1], "FP32", [1])], version=version)
        return done.json()["outputs"][0]["data"][0] if done.status == 200 else None

    def until_answer(self, name, value, version=None):
        until(lambda: self.answer(name, version) == value, f"{name}/{version or 'live'} answers {value}")


@pytest.fixture
def start_replica(start_server, database, tmp_path, request):
    """start_replica(setup) -> Replica"""
    replicas = []

    def start(setup):
        args = ["--set", f"store.url={database}"]
        env = {}
        if setup == "s3":
            s3 = request.getfixturevalue("s3")
            env = {"SLIPWAY_ARTIFACTS_S3_ACCESS_KEY": s3.access_key, "SLIPWAY_ARTIFACTS_S3_SECRET_KEY": s3.secret_key}
            prefix = database.rsplit("/", 1)[1]
            args += ["--set", f"artifacts.url=s3://{s3.bucket}/{prefix}", "--set", f"artifacts.s3_endpoint={s3.endpoint}"]
        else:
            args += ["--data-dir", tmp_path / "shared"]
        if setup == "poll":
            args += ["--set", "store.notify=false", "--set", "store.poll=200ms"]
        replicas.append(Replica(start_server(args=args, env=env)))
        return replicas[-1]

    yield start
    for replica in replicas:
        replica.registry.close()


@pytest.fixture(params=SETUPS)
def pair(request, start_replica):
    return start_replica(request.param), start_replica(request.param)


def test_a_change_on_one_is_served_by_the_other(pair):
    a, b = pair
    assert a.registry.push("m", {"model.onnx": plus(10)})["version"] == 1
    assert b.registry.push("m", {"model.onnx": plus(20)})["version"] == 2
    assert a.answer("m") is None and b.answer("m") is None
    a.registry.promote("m", 1)
    b.until_answer("m", 11)
    b.registry.promote("m", 2)
    a.until_answer("m", 21)
    b.until_answer("m", 21)
    a.registry.alias("m", "challenger", 1)
    b.until_answer("m", 11, version="challenger")
    a.registry.alias("m", "challenger", 2)
    b.until_answer("m", 21, version="challenger")
    a.registry.call("DELETE", "/api/v1/models/m/aliases/challenger")
    b.until_answer("m", None, version="challenger")
    assert a.registry.rollback("m")["version"] == 1
    b.until_answer("m", 11)
    a.until_answer("m", 11)
    b.registry.delete_version("m", 2)
    with pytest.raises(Refused) as refusal:
        a.registry.promote("m", 2)
    assert refusal.value.status == 404
    a.registry.call("DELETE", "/api/v1/models/m?force=true")
    b.until_answer("m", None)
    a.until_answer("m", None)
    assert b.registry.models()["models"] == [] and b.registry.audit_verify()["ok"]


def test_files_pushed_to_one_are_given_out_by_the_other(pair):
    a, b = pair
    files = {"model.onnx": plus(1), "notes/large.bin": bytes(range(256)) * 20000}
    a.registry.push("m", files)
    for path, data in files.items():
        status, _, found = b.registry.request("GET", f"/api/v1/models/m/versions/1/files/{path}")
        assert status == 200 and found == data
    assert b.registry.push("m", files)["version"] == 2  # nothing is sent: the other has stored it
    assert b.registry.gc(days=0)["blobs"]["count"] == 0


def test_a_server_that_comes_later_serves_the_same(start_replica):
    a = start_replica("notify")
    for number in (1, 2):
        a.registry.push("m", {"model.onnx": plus(number)})
        a.registry.promote("m", number)
    b = start_replica("notify")
    assert b.answer("m") == 3, "it said that it was ready before it served what is live"
    b.registry.rollback("m")
    a.until_answer("m", 2)


def test_one_ends_and_the_other_goes_on(start_replica):
    a, b = start_replica("notify"), start_replica("notify")
    a.registry.push("m", {"model.onnx": plus(1)})
    a.registry.promote("m", 1)
    b.until_answer("m", 2)
    a.server.stop()
    assert b.answer("m") == 2
    b.registry.push("m", {"model.onnx": plus(2)})
    b.registry.promote("m", 2)
    b.until_answer("m", 3)


def test_both_change_the_same_at_once(start_replica):
    """Each promotion is done or refused as a whole, and both end with the same."""
    pair, outcomes = [start_replica("notify") for _ in range(2)], []
    for number in range(1, 5):
        pair[0].registry.push("m", {"model.onnx": plus(number)})

    def promote(replica, numbers):
        for number in numbers:
            try:
                outcomes.append(replica.registry.promote("m", number)["live"])
            except Refused as refusal:
                outcomes.append(refusal.status)

    threads = [threading.Thread(target=promote, args=(r, n)) for r, n in zip(pair, ([1, 2] * 5, [3, 4] * 5))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 20 and set(outcomes) <= {1, 2, 3, 4, 409}, outcomes
    live = pair[0].registry.model("m")["live"]
    history = [h["version"] for h in pair[0].registry.history("m")]
    assert history[0] == live and all(x != y for x, y in zip(history, history[1:]))
    for replica in pair:
        assert replica.registry.model("m")["aliases"] == {"champion": live}
        assert [v["version"] for v in replica.registry.versions("m")["versions"] if v["stage"] == "Production"] == [live]
        replica.until_answer("m", live + 1)
        assert replica.registry.audit_verify()["ok"]


def test_servers_that_start_at_once_on_an_empty_database(binary, database, tmp_path):
    servers, failures = [], []

    def start(number):
        folder = tmp_path / f"server{number}"
        folder.mkdir()
        try:
            servers.append(Server(binary, [], args=["--set", f"store.url={database}"], cwd=folder))
        except Exception as failure:  # noqa: BLE001 (told by the test)
            failures.append(failure)

    threads = [threading.Thread(target=start, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        assert not failures and len(servers) == 4, failures
        for number, server in enumerate(servers):
            with Registry(server.port) as registry:
                registry.call("POST", "/api/v1/models", {"name": f"m{number}"})
        with Registry(servers[0].port) as registry:
            assert len(registry.models()["models"]) == 4 and registry.audit_verify()["ok"]
    finally:
        for server in servers:
            server.stop()


# ---- backup and restore of PostgreSQL


@pytest.mark.skipif(not shutil.which("pg_dump"), reason="pg_dump is not installed")
def test_backup_and_restore(start_replica, start_server, run_slipway, postgres, database, tmp_path):
    a, backups = start_replica("notify"), tmp_path / "backups"
    for number in (1, 2):
        a.registry.push("m", {"model.onnx": plus(number)}, tags={"n": str(number)})
        a.registry.promote("m", number)
    source = ("--set", f"store.url={database}", "--data-dir", tmp_path / "shared")

    def run(code, *words):
        done = run_slipway(*words)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert postgres.password not in done.stdout + done.stderr, "a password is shown"
        return done.stdout + done.stderr

    run(0, "backup", backups, *source)
    a.registry.rollback("m")
    assert "copied     0 files" in run(0, "backup", backups, *source)
    first = [line.split()[0] for line in run(0, "backup", backups, "--list").splitlines()[1:]][0]
    assert "is whole" in run(0, "backup", backups, "--verify")
    empty = postgres.create_database("restored")
    target = ("--set", f"store.url={empty}", "--data-dir", tmp_path / "restored")
    assert "empty" in run(1, "restore", backups, *source)
    assert "postgresql" in run(1, "restore", backups, "--data-dir", tmp_path / "sqlite")
    time = f"{first[:4]}-{first[4:6]}-{first[6:11]}:{first[11:13]}:{first[13:]}"
    assert first in run(0, "restore", backups, "--at", time, *target)
    server = start_server(args=target)
    with server.client() as client, Registry(server.port) as registry:
        assert registry.model("m")["live"] == 2 and registry.audit_verify()["ok"]
        assert [v["tags"] for v in registry.versions("m")["versions"]] == [{"n": "2"}, {"n": "1"}]
        until(lambda: client.infer("m", [tensor("x", [1], "FP32", [1])]).status == 200, "it serves")
        assert registry.rollback("m")["version"] == 1
        assert registry.push("m", {"model.onnx": plus(3)})["version"] == 3
    assert "empty" in run(1, "restore", backups, *target)
    assert a.registry.model("m")["latest"] == 2, "the first database was changed"
