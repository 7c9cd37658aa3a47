"""The result cache as docs/cache.md promises it, on the real runtime: what is a hit and what never is, what an operator
can see, purge and configure. (Races are decided in tests/unit/api; Redis has a file of its own.)"""
import concurrent.futures
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from helpers import models
from helpers.client import tensor
from helpers.registry import Registry, eventually

ROOT = Path(__file__).resolve().parents[2]
CACHED = "cache: {enable: true}\n"


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture
def plus(tmp_path):
    """A bundle "plus" that adds 1 and keeps its results."""
    return write(tmp_path / "plus", models.bundle(1, extra=CACHED))


@pytest.fixture
def pictures(digits, tmp_path):
    """The starter bundle with a cache."""
    folder = Path(shutil.copytree(digits, tmp_path / "digits"))
    with open(folder / "bundle.yaml", "a", encoding="utf-8") as f:
        f.write("cache: { enable: true, ttl: 10m }\n")
    return folder


def ask(client, *numbers, model="plus", **options):
    """(X-Cache, numbers of the answer)"""
    answer = client.post(f"/v1/models/{model}:predict", {"instances": list(numbers)}, **options)
    assert answer.status == 200, answer
    return answer.headers.get("X-Cache"), answer.json()["predictions"]


def runs(client, model="plus"):
    return client.get(f"/v2/models/{model}/stats").json()["model_stats"][0]["execution_count"]


def metric(client, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None


# ---- what is a hit

def test_off_by_default(client):
    picture = (ROOT / "models/digits/samples/held-out-0.png").read_bytes()
    for _ in range(2):
        answer = client.request("POST", "/v1/models/digits:predict", body=picture, headers={"Content-Type": "image/png"})
        assert answer.status == 200 and "X-Cache" not in answer.headers
    assert client.get("/api/v1/cache").json()["models"] == []
    assert client.get("/api/v1/cache").json()["memory"]["entries"] == 0
    assert "response_cache" not in client.get("/v2/models/digits/config").json()


def test_every_protocol_finds_the_same_result(start_server, plus):
    server = start_server(plus)
    with server.client() as client:
        assert client.get("/v2/models/plus/config").json()["response_cache"] == {"enable": True}
        assert ask(client, 1, 2) == ("miss", [2, 3])
        assert ask(client, 1.0, 2) == ("hit", [2, 3])
        columns = client.post("/v1/models/plus:predict", {"inputs": {"x": [1, 2]}})
        assert columns.headers["X-Cache"] == "hit" and columns.json() == {"outputs": [2, 3]}
        answer = client.infer("plus", [tensor("x", [2], "FP32", [1, 2])], id="mine")
        assert answer.headers["X-Cache"] == "hit"
        assert answer.json()["id"] == "mine" and answer.json()["outputs"][0]["data"] == [2, 3]
        head = (b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}],'
                b'"parameters":{"binary_data_output":true}}')
        binary = client.request("POST", "/v2/models/plus/versions/1/infer", body=head + struct.pack("<2f", 1, 2),
                                headers={"Inference-Header-Content-Length": str(len(head))})
        assert binary.headers["X-Cache"] == "hit"
        assert struct.unpack("<2f", binary.body[int(binary.headers["Inference-Header-Content-Length"]):]) == (2, 3)
        assert ask(client, 2, 1) == ("miss", [3, 2])
        assert ask(client, 1) == ("miss", [2])
        assert runs(client) == 3


def test_a_picture_is_its_bytes(start_server, pictures):
    server = start_server(pictures)
    samples = [(pictures / "samples" / f"held-out-{i}.png").read_bytes() for i in range(3)]
    with server.client() as client:
        def see(picture):
            answer = client.request("POST", "/v1/models/digits:predict", body=picture,
                                    headers={"Content-Type": "image/png"})
            assert answer.status == 200
            return answer.headers["X-Cache"], answer.body
        first = [see(picture) for picture in samples]
        again = [see(picture) for picture in samples]
        assert [x for x, _ in first] == ["miss"] * 3 and [x for x, _ in again] == ["hit"] * 3
        assert [body for _, body in first] == [body for _, body in again]


def test_what_clients_may_want(start_server, plus):
    server = start_server(plus)
    with server.client() as client:
        def with_control(value, number=5):
            x_cache, predictions = ask(client, number, headers={"Cache-Control": value})
            assert predictions == [number + 1]
            return x_cache
        assert with_control("no-store") == "bypass"
        assert ask(client, 5)[0] == "miss"
        assert with_control("max-age=60") == "hit"
        assert with_control("no-cache") == with_control("max-age=0") == with_control("Private, NO-CACHE") == "bypass"
        assert with_control("no-cache", number=6) == "bypass" and ask(client, 6)[0] == "hit"


def test_errors_are_not_kept(start_server, plus):
    server = start_server(plus)
    with server.client() as client:
        for _ in range(2):
            bad = client.post("/v1/models/plus:predict", {"instances": ["one"]})
            assert bad.status == 400 and "X-Cache" not in bad.headers
            huge = client.post("/v1/models/plus:predict", {"instances": [[1, 2]]})
            assert huge.status == 400 and "X-Cache" not in huge.headers
        assert client.get("/api/v1/cache").json()["memory"]["entries"] == 0


def test_everyone_gets_their_own_answer(start_server, plus):
    """Many clients, few inputs, a cache that is too small for them, purges meanwhile."""
    server = start_server(plus, args=["--set", "cache.memory=64KiB", "--set", "cache.entries=20"])

    def some(seed):
        pick = random.Random(seed)
        seen = set()
        with server.client() as client:
            for i in range(150):
                numbers = [pick.randrange(40)] * pick.choice((1, 1, 2, 3))
                x_cache, predictions = ask(client, *numbers)
                assert predictions == [n + 1 for n in numbers]
                seen.add(x_cache)
                if i % 50 == 49:
                    assert client.request("DELETE", f"/api/v1/cache{pick.choice(('', '/plus'))}").status == 200
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set.union(*pool.map(some, range(8))) == {"hit", "miss"}
    with server.client() as client:
        memory = client.get("/api/v1/cache").json()["memory"]
        assert memory["entries"] <= 20 and memory["bytes"] <= memory["bytes_max"] == 64 << 10
        assert memory["evicted"] > 0


# ---- what never is

def test_a_restart_forgets(start_server, plus):
    for _ in range(2):
        server = start_server(plus)
        with server.client() as client:
            assert ask(client, 1) == ("miss", [2]) and ask(client, 1) == ("hit", [2])
        server.stop()


def test_other_files_under_the_same_version(start_server, plus):
    server = start_server(plus)
    with server.client() as client:
        def load():
            assert client.post("/v2/repository/models/plus/load", {}).status == 200
        assert ask(client, 1) == ("miss", [2]) and ask(client, 1) == ("hit", [2])
        load()
        assert ask(client, 1) == ("hit", [2])  # nothing changed
        (plus / "model.onnx").write_bytes(models.plus(10))
        assert ask(client, 1) == ("hit", [2])  # the file is not served yet
        load()
        assert ask(client, 1) == ("miss", [11])
        (plus / "bundle.yaml").write_text(f"model: model.onnx\n{CACHED}description: changed\n")
        load()
        assert ask(client, 1) == ("miss", [11])
        (plus / "bundle.yaml").write_text("model: model.onnx\n")
        load()
        assert ask(client, 1) == (None, [11])


def test_versions_of_the_registry(start_server):
    server = start_server()
    with server.client() as client, Registry(server.port, client=client) as registry:
        for number in (1, 2):
            registry.push("m", models.bundle(number, extra=CACHED))

        def serves(version):
            answer = client.post("/v1/models/m:predict", {"instances": [0]}, headers={"Cache-Control": "no-store"})
            return answer.status == 200 and answer.headers["X-Model-Version"] == str(version)
        registry.promote("m", 1)
        eventually(lambda: serves(1))
        assert ask(client, 1, model="m") == ("miss", [2]) and ask(client, 1, model="m") == ("hit", [2])
        registry.promote("m", 2)
        eventually(lambda: serves(2))
        assert ask(client, 1, model="m") == ("miss", [3]) and ask(client, 1, model="m") == ("hit", [3])
        registry.rollback("m")
        eventually(lambda: serves(1))
        assert ask(client, 1, model="m") == ("hit", [2])
        registry.alias("m", "candidate", 2)
        path = "/v2/models/m/versions/candidate/infer"
        eventually(lambda: client.post(path, {"inputs": [tensor("x", [1], "FP32", [1])]}).status == 200)
        answer = client.post(path, {"inputs": [tensor("x", [1], "FP32", [1])]})
        assert answer.headers["X-Cache"] == "hit" and answer.json()["outputs"][0]["data"] == [3]


# ---- for the operator

def test_what_is_shown_and_purged(start_server, plus, tmp_path):
    other = write(tmp_path / "other", models.bundle(5, extra=CACHED))
    server = start_server(plus, other)
    with server.client() as client:
        for number in (1, 2, 1, 1):
            ask(client, number)
        ask(client, 1, model="other")
        shown = client.get("/api/v1/cache").json()
        rows = {row["name"]: row for row in shown["models"]}
        assert rows["plus"] == {"name": "plus", "version": "1", "hits": 2, "misses": 2, "hit_rate": 0.5}
        assert shown["memory"]["entries"] == 3 and shown["redis"] is None and shown["waiting"] == 0
        labels = 'model="plus",version="1",result='
        assert metric(client, f'slipway_cache_requests_total{{{labels}"hit"}}') == 2
        assert metric(client, f'slipway_cache_requests_total{{{labels}"miss"}}') == 2
        assert metric(client, "slipway_cache_entries") == 3
        assert 0 < metric(client, "slipway_cache_bytes") == shown["memory"]["bytes"]
        inference = client.get("/v2/models/plus/stats").json()["model_stats"][0]["inference_stats"]
        assert inference["cache_hit"]["count"] == inference["cache_miss"]["count"] == 2
        assert inference["success"]["count"] == 4

        assert client.request("DELETE", "/api/v1/cache/plus").json() == {"entries": 2}
        assert ask(client, 1)[0] == "miss" and ask(client, 1, model="other")[0] == "hit"
        assert client.request("DELETE", "/api/v1/cache").json() == {"entries": 2}
        assert ask(client, 1)[0] == "miss" and ask(client, 1, model="other")[0] == "miss"
        assert client.request("DELETE", "/api/v1/cache/nobody").status == 404
    purged = server.wait_log("results purged")
    assert purged["model"] == "plus" and purged["entries"] == 2 and purged["request_id"]


def test_one_off_inputs_do_not_push_out_what_is_wanted_often(start_server, plus):
    server = start_server(plus, args=["--set", "cache.entries=100"])
    with server.client() as client:
        for _ in range(4):
            wanted = [ask(client, number)[0] for number in range(50)]
        assert wanted == ["hit"] * 50
        for number in range(1000, 2000):
            ask(client, number)
        assert [ask(client, number)[0] for number in range(50)].count("hit") >= 45
        assert client.get("/api/v1/cache").json()["memory"]["entries"] <= 100


def test_switched_off(start_server, plus):
    server = start_server(plus, args=["--set", "cache.memory=0"])
    with server.client() as client:
        assert [ask(client, 1) for _ in range(2)] == [(None, [2])] * 2
        answers = [client.get("/api/v1/cache"), client.request("DELETE", "/api/v1/cache"),
                   client.request("DELETE", "/api/v1/cache/plus")]
        for answer in answers:
            assert answer.status == 503 and "switched off (cache.memory is 0" in answer.text
        assert "slipway_cache_entries" not in re.sub(r"^#.*$", "", client.get("/metrics").text, flags=re.MULTILINE)


def test_large_results_are_answered_and_not_kept(start_server, plus):
    server = start_server(plus, args=["--set", "cache.max_result=4KiB"])
    many = np.arange(2000, dtype=np.float32).tolist()
    with server.client() as client:
        assert ask(client, *many) == ask(client, *many) == ("miss", [n + 1 for n in many])
        assert ask(client, *many[:500])[0] == "miss" and ask(client, *many[:500])[0] == "hit"


# ---- settings that are none

@pytest.mark.parametrize("setting, says", [
    ("cache.memory=-1", "cache.memory"),
    ("cache.memory=much", "cache.memory"),
    ("cache.memory=2TiB", "cache.memory"),
    ("cache.memory=1000", "cache.memory: 1000 bytes are too few"),
    ("cache.entries=-1", "cache.entries"),
    ("cache.entries=1.5", "cache.entries"),
    ("cache.max_result=0", "cache.max_result"),
    ("cache.max_result=1GiB", "cache.max_result"),
    ("cache.redis_timeout=0s", "cache.redis_timeout"),
    ("cache.redis_timeout=1h", "cache.redis_timeout"),
    ("cache.redis_database=-1", "cache.redis_database"),
    ("cache.redis=127.0.0.1:99999", "cache.redis"),
    ("cache.ttl=5", "cache.ttl"),
])
def test_settings_that_are_none(run_slipway, setting, says):
    done = run_slipway("serve", "--port", "0", "--set", setting)
    assert done.returncode == 2 and says in done.stderr, done.stderr


@pytest.mark.parametrize("yaml, says", [
    ("cache: yes", "cache"),
    ("cache: {enable: maybe}", "cache.enable"),
    ("cache: {enable: true, ttl: soon}", 'cache.ttl: "soon" is no duration from 1s to 720h, such as 10m'),
    ("cache: {enable: true, ttl: 999ms}", "cache.ttl"),
    ("cache: {enable: true, ttl: 721h}", "cache.ttl"),
    ("cache: {enable: true, ttl: 0}", "cache.ttl"),
    ("cache: {ttl: -5s}", "cache.ttl"),
    ("cache: {enable: true, size: 5}", "cache.size: no such key"),
    ("cache: [true]", "cache"),
])
def test_bundles_that_are_none(run_slipway, tmp_path, yaml, says):
    folder = write(tmp_path / "m", models.bundle(1, extra=yaml + "\n"))
    done = run_slipway("validate", folder)
    assert done.returncode == 1 and says in done.stdout + done.stderr, done.stdout + done.stderr


# ---- the guide

def test_examples_of_the_guide(start_server, pictures, run_slipway, tmp_path):
    """Every curl line of docs/cache.md, as it stands there but for the port; its bundle.yaml and slipway.yaml."""
    text = (ROOT / "docs" / "cache.md").read_text(encoding="utf-8")
    line, = re.findall(r"^    (cache: .*)$", text, re.MULTILINE)
    shutil.copy(ROOT / "models/digits/bundle.yaml", pictures / "bundle.yaml")
    with open(pictures / "bundle.yaml", "a", encoding="utf-8") as f:
        f.write(line + "\n")
    server = start_server(pictures)
    commands = re.findall(r"^    (curl (?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert len(commands) == 4

    def paste(command):
        script = command.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True,
                              timeout=60, check=True)
        return done.stdout.strip()
    assert paste(commands[0]) == "X-Cache: miss" and paste(commands[0]) == "X-Cache: hit"
    assert '"name":"digits","version":"1","hits":1,"misses":1' in paste(commands[1])
    assert paste(commands[2]) == '{"entries":1}' and paste(commands[3]) == '{"entries":0}'

    block = re.search(r"^    # slipway\.yaml\n((?:    .*\n)+)", text, re.MULTILINE)[1]
    file = tmp_path / "slipway.yaml"
    file.write_text(re.sub(r"^    ", "", block, flags=re.MULTILINE))
    checked = run_slipway("config", "check", file)
    assert checked.returncode == 0, checked.stderr
