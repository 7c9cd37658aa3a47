"""PostgreSQL or S3 goes away while the server runs: serving goes on from memory, readiness tells, changes get 503, and
everything works again, without a restart, once it is back."""
import time

import pytest

from helpers.client import tensor
from helpers.registry import Refused, Registry
from servers.postgres import PostgresServer
from servers.s3 import S3Server

ROW = [tensor("features", [1, 45], "FP32", [0.5] * 45)]
LIMIT_S = 30.0


def until(condition, what):
    """Polls until the condition holds; the limit only ends a test that has failed."""
    deadline = time.monotonic() + LIMIT_S
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.05)
    return result


def degraded(client):
    answer = client.get("/health/ready")
    return answer.status, {d["part"]: d["reason"] for d in answer.json().get("degraded", [])}


def dependency_up(client, name):
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f'slipway_dependency_up{{dependency="{name}"}}'):
            return float(line.split()[-1])
    raise AssertionError(f"no slipway_dependency_up for {name}")


def serves(client, version):
    answer = client.infer("mlp", ROW)
    return answer.status == 200 and answer.headers["X-Model-Version"] == str(version)


@pytest.fixture
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def s3():
    with S3Server() as server:
        yield server


def two_versions(registry, test_models):
    data = (test_models / "mlp_45.onnx").read_bytes()
    for _ in range(2):
        registry.push("mlp", {"model.onnx": data})
    registry.promote("mlp", 1)
    return data


def test_postgresql_goes_and_comes_back(start_server, test_models, postgres):
    server = start_server(args=("--set", f"store.url={postgres.url}"))
    with server.client() as client, Registry(server.port) as registry:
        two_versions(registry, test_models)
        until(lambda: serves(client, 1), "version 1 is served")
        postgres.kill()
        for change in (lambda: registry.promote("mlp", 2), lambda: registry.alias("mlp", "challenger", 2),
                       lambda: registry.push("mlp", {"model.onnx": b"x"}), lambda: registry.rollback("mlp"),
                       lambda: registry.delete_version("mlp", 2), lambda: registry.gc()):
            with pytest.raises(Refused) as refusal:
                change()
            assert refusal.value.status == 503 and refusal.value.code == "unavailable", refusal.value
        assert serves(client, 1)
        until(lambda: "metadata store" in degraded(client)[1], "readiness tells")
        assert degraded(client)[0] == 200 and dependency_up(client, "store") == 0
        assert client.get("/health/live").status == 200
        postgres.start()
        until(lambda: not degraded(client)[1], "readiness recovers")
        assert dependency_up(client, "store") == 1
        registry.promote("mlp", 2)
        until(lambda: serves(client, 2), "version 2 is served")
        assert registry.audit_verify()["ok"]


def test_postgresql_away_at_start(start_server, test_models, postgres):
    first = start_server(args=("--set", f"store.url={postgres.url}"))
    with Registry(first.port) as registry:
        two_versions(registry, test_models)
    first.stop()
    postgres.kill()
    server = start_server(args=("--set", f"store.url={postgres.url}", "--data-dir", first.cwd / "slipway-data"),
                          wait_ready=False)
    with server.client() as client:
        status, parts = degraded(client)
        assert status == 503 and client.get("/health/live").status == 200
        postgres.start()
        until(lambda: degraded(client) == (200, {}), "ready once the database is there")
        until(lambda: serves(client, 1), "the live version is served")


def test_s3_goes_and_comes_back(start_server, test_models, s3):
    env = {"SLIPWAY_ARTIFACTS_S3_ACCESS_KEY": s3.access_key, "SLIPWAY_ARTIFACTS_S3_SECRET_KEY": s3.secret_key}
    server = start_server(args=("--set", f"artifacts.url=s3://{s3.bucket}/outage", "--set",
                                f"artifacts.s3_endpoint={s3.endpoint}"), env=env)
    with server.client() as client, Registry(server.port) as registry:
        two_versions(registry, test_models)
        until(lambda: serves(client, 1), "version 1 is served")
        s3.kill()
        with pytest.raises(Refused) as refusal:
            registry.push("mlp", {"model.onnx": (test_models / "mlp_45.onnx").read_bytes(), "new.txt": b"new"})
        assert refusal.value.status == 503, refusal.value
        assert serves(client, 1)
        until(lambda: "artifact store" in degraded(client)[1], "readiness tells")
        assert degraded(client)[0] == 200 and dependency_up(client, "artifacts") == 0
        s3.start()
        until(lambda: not degraded(client)[1], "readiness recovers")
        registry.known.clear()
        made = registry.push("mlp", {"model.onnx": (test_models / "mlp_45.onnx").read_bytes(), "new.txt": b"new"})
        assert made["version"] == 3
        registry.promote("mlp", 3)
        until(lambda: serves(client, 3), "version 3 is served")
