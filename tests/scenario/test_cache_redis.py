"""Replicas that share results through a real Redis, and what a client sees when that is away, stuck or a stranger."""
import sys
import threading
from pathlib import Path

import pytest

from helpers import models
from helpers.registry import eventually

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from servers.redis import RedisServer, is_installed  # noqa: E402

pytestmark = pytest.mark.skipif(not is_installed(), reason="no Redis")
MANY = 20


@pytest.fixture
def plus(tmp_path):
    folder = tmp_path / "plus"
    folder.mkdir()
    for path, data in models.bundle(1, extra="cache: {enable: true}\n").items():
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture(params=["plain"])
def redis(request):
    with RedisServer(request.param) as server:
        yield server


def settings(redis, **more):
    found = dict({"redis": redis.addresses, "redis_timeout": "2s", "redis_retry": "20ms"}, **more)
    e = redis.environment
    for key, name in (("ca", "CA"), ("cert", "CERT"), ("key", "KEY")):
        if f"SLIPWAY_TEST_REDIS_{name}" in e:
            found[f"redis_tls_{key}"] = e[f"SLIPWAY_TEST_REDIS_{name}"]
    return [word for key, value in found.items() for word in ("--set", f"cache.{key}={value}")]


def ask(client, number):
    answer = client.post("/v1/models/plus:predict", {"instances": [number]})
    assert answer.status == 200 and answer.json() == {"predictions": [number + 1]}, answer
    return answer.headers["X-Cache"]


def state(client):
    return client.get("/api/v1/cache").json()["redis"]


def connected(client):
    eventually(lambda: state(client)["up"], "Redis is used")


@pytest.mark.parametrize("redis", ["plain", "password", "user", "tls", "cluster"], indirect=True)
def test_the_second_replica_has_what_the_first_answered(start_server, plus, redis):
    one, two = start_server(plus, args=settings(redis)), start_server(plus, args=settings(redis))
    with one.client() as first, two.client() as second:
        connected(first)
        connected(second)
        assert [ask(first, n) for n in range(MANY)] == ["miss"] * MANY
        eventually(lambda: state(first)["written"] == MANY, "all are written")
        assert [ask(second, n) for n in range(MANY)] == ["hit"] * MANY
        assert [ask(second, n) for n in range(MANY)] == ["hit"] * MANY  # from its own memory
        found = state(second)
        assert found["hits"] == MANY and found["cluster"] == (redis.environment["SLIPWAY_TEST_REDIS_MODE"] == "cluster")
        stats = second.get("/v2/models/plus/stats").json()["model_stats"][0]
        assert stats["execution_count"] == 0 and stats["inference_stats"]["cache_hit"]["count"] == 2 * MANY
    password = getattr(redis, "password", None)
    assert not password or password not in str(one.lines + two.lines)


def test_a_purge_reaches_the_other_replica(start_server, plus, redis):
    one, two = start_server(plus, args=settings(redis)), start_server(plus, args=settings(redis))
    with one.client() as first, two.client() as second:
        connected(first)
        connected(second)
        assert ask(first, 1) == "miss"
        eventually(lambda: state(first)["written"] == 1, "it is written")
        assert ask(second, 1) == "hit"
        assert first.request("DELETE", "/api/v1/cache/plus").json() == {"entries": 1}
        eventually(lambda: second.get("/api/v1/cache").json()["memory"]["entries"] == 0, "the other has heard of it")
        assert ask(second, 1) == "miss"
        eventually(lambda: state(second)["written"] == 1, "it is written anew")
        assert ask(first, 1) == "hit"


def test_other_files_share_nothing(start_server, plus, redis):
    one = start_server(plus, args=settings(redis))
    with one.client() as first:
        connected(first)
        assert ask(first, 1) == "miss"
        eventually(lambda: state(first)["written"] == 1, "it is written")
    (plus / "bundle.yaml").write_bytes((plus / "bundle.yaml").read_bytes() + b"# another pipeline, perhaps\n")
    two = start_server(plus, args=settings(redis))
    with two.client() as second:
        connected(second)
        assert ask(second, 1) == "miss"
        assert state(second)["hits"] == 0


def test_away_from_the_start_and_back(start_server, plus, redis):
    redis.stop()
    server = start_server(plus, args=settings(redis))
    with server.client() as client:
        assert [ask(client, n) for n in (1, 1)] == ["miss", "hit"]
        health = client.get("/health").json()
        assert health["status"] == "ok"
        assert [d["part"] for d in health["degraded"]] == ["result cache"] and health["degraded"][0]["reason"]
        assert client.get("/health/ready").status == 200
        redis.start()
        connected(client)
        assert "degraded" not in client.get("/health").json()
        assert ask(client, 2) == "miss"
        eventually(lambda: state(client)["written"] == 1, "it is written")


def test_stuck_costs_one_time_out(start_server, plus, redis):
    server = start_server(plus, args=settings(redis, redis_timeout="100ms", redis_retry="10m", redis_retry_max="10m"))
    with server.client() as client:
        connected(client)
        redis.freeze()
        threads = [threading.Thread(target=one_request, args=(server, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [ask(client, n) for n in range(100, 120)] == ["miss"] * 20  # nobody waits any more
        found = state(client)
        assert not found["up"] and 1 <= found["timeouts"] <= 8 and found["refused"] >= 20
        redis.thaw()


def one_request(server, number):
    with server.client() as client:
        assert ask(client, number) == "miss"


def test_killed_under_load(start_server, plus, redis):
    server = start_server(plus, args=settings(redis))
    with server.client() as client:
        connected(client)
        failures = []

        def run(thread):
            try:
                with server.client() as own:
                    for n in range(200):
                        ask(own, 1000 * thread + n)
            except AssertionError as failure:
                failures.append(failure)
        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            redis.kill()
            redis.start()
        for thread in threads:
            thread.join()
        assert not failures
        connected(client)


def test_wrong_password_is_said_and_never_shown(start_server, plus):
    with RedisServer("password") as redis:
        wrong = "redis://:not-the-password@" + redis.addresses.rsplit("@", 1)[1]
        server = start_server(plus, args=["--set", f"cache.redis={wrong}"])
        with server.client() as client:
            assert ask(client, 1) == "miss"
            reason = eventually(lambda: "password" in (said := client.get("/health").json()["degraded"][0]["reason"]) and said,
                                "the reason says so")
            assert "not-the-password" not in reason
            assert "not-the-password" not in client.get("/api/v1/cache").text
        assert "not-the-password" not in str(server.lines)


@pytest.mark.parametrize("key,value,said", [
    ("redis", "no port:x", "cache.redis"),
    ("redis", "http://127.0.0.1", "cache.redis"),
    ("redis_timeout", "0", "cache.redis_timeout"),
    ("redis_tls_ca", "/nowhere", "/nowhere"),
])
def test_bad_settings_are_refused_by_name(run_slipway, plus, key, value, said):
    more = ["--set", "cache.redis=rediss://127.0.0.1:1"] if key.startswith("redis_tls") else []
    done = run_slipway("serve", plus, "--port", "0", *more, "--set", f"cache.{key}={value}")
    assert done.returncode == 2 and said in done.stderr, done.stderr
