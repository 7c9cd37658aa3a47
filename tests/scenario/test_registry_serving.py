"""Serving from the registry: what is live and what has a name is served, changes arrive without a failed request, here
and in other servers on the same data; version policies, the memory limit, restarts."""
import threading

import pytest

from helpers.client import tensor
from helpers.models import bundle, plus
from helpers.registry import Refused, Registry, disk, eventually

ONE = [tensor("x", [1], "FP32", [1])]


def push(registry, model_name, *numbers, **fields):
    """Versions of plus(number); the answer to 1 then tells the version that gave it."""
    return [registry.push(model_name, {"model.onnx": plus(n), **fields.get("more", {})})["version"] for n in numbers]


def served(client, model, version=None):
    """The version that answers, as its answer and its header tell; None: none does."""
    answer = client.infer(model, ONE, version=version)
    if answer.status != 200:
        assert answer.status in (404, 503), repr(answer)
        return None
    by_answer = answer.json()["outputs"][0]["data"][0] - 1
    assert answer.headers["X-Model-Version"] == str(int(by_answer)) == answer.json()["model_version"], repr(answer)
    return int(by_answer)


def states(client, model):
    index = client.post("/v2/repository/index", {}).json()
    return {int(row["version"]): row["state"] for row in index if row["name"] == model and "version" in row}


def ready(client, model):
    return sorted(v for v, state in states(client, model).items() if state == "READY")


def until_served(client, model, wanted, version=None):
    eventually(lambda: served(client, model, version) == wanted, f"{model}/{version} as {wanted}")


# ---- what is served


def test_what_nobody_promoted_is_not_served(shared_server, registry, model_name):
    push(registry, model_name, 1)
    with shared_server.client() as client:
        assert served(client, model_name) is None and served(client, model_name, 1) is None


def test_live_version_and_aliases(shared_server, registry, model_name):
    push(registry, model_name, 1, 2, 3)
    registry.promote(model_name, 2)
    registry.alias(model_name, "challenger", 3)
    with shared_server.client() as client:
        until_served(client, model_name, 2)
        until_served(client, model_name, 3, "challenger")
        assert [served(client, model_name, v) for v in ("champion", "2", "3", "1", "nobody")] == [2, 2, 3, None, None]
        predicted = client.post(f"/v1/models/{model_name}:predict", {"instances": [1]})
        assert predicted.status == 200 and predicted.headers["X-Model-Version"] == "2", repr(predicted)


def test_stage_production_is_served_without_champion(shared_server, registry, model_name):
    push(registry, model_name, 1, 2)
    registry.stage(model_name, "Production", 1)
    with shared_server.client() as client:
        until_served(client, model_name, 1)
        registry.stage(model_name, "Production", 2)
        until_served(client, model_name, 2)
        assert served(client, model_name, 1) == 1, "it is in Production too"


def test_an_alias_that_moves_and_goes(shared_server, registry, model_name):
    push(registry, model_name, 1, 2)
    registry.alias(model_name, "mine", 1)
    with shared_server.client() as client:
        until_served(client, model_name, 1, "mine")
        registry.alias(model_name, "mine", 2)
        until_served(client, model_name, 2, "mine")
        registry.delete_alias(model_name, "mine")
        until_served(client, model_name, None, "mine")


def test_promotion_and_rollback_arrive(shared_server, registry, model_name):
    push(registry, model_name, 1, 2, 3)
    with shared_server.client() as client:
        for version in (1, 2, 3):
            registry.promote(model_name, version)
            until_served(client, model_name, version)
        for version in (2, 1):
            registry.rollback(model_name)
            until_served(client, model_name, version)


def test_a_deleted_model_is_served_no_more(shared_server, registry, model_name):
    push(registry, model_name, 1)
    registry.promote(model_name, 1)
    with shared_server.client() as client:
        until_served(client, model_name, 1)
        registry.delete(model_name, force="true")
        until_served(client, model_name, None)
        assert client.infer(model_name, ONE).status == 404


def test_a_forced_version_is_served(shared_server, registry, model_name):
    """Gates were overruled: the golden answers must not keep it from loading either."""
    registry.push(model_name, bundle(1, golden=3))
    registry.promote(model_name, 1, force=True, reason="the golden file is wrong")
    with shared_server.client() as client:
        until_served(client, model_name, 1)


def test_wrong_golden_answers_are_not_served_unless_forced(shared_server, registry, model_name):
    push(registry, model_name, 1)
    registry.promote(model_name, 1)
    registry.push(model_name, bundle(2, golden=9))
    registry.alias(model_name, "mine", 2)
    with shared_server.client() as client:
        eventually(lambda: states(client, model_name).get(2) == "UNAVAILABLE", "it has an alias, and is refused")
        assert served(client, model_name) == 1 and served(client, model_name, "mine") is None
        registry.promote(model_name, 2, force=True, reason="the golden file is wrong")
        until_served(client, model_name, 2)
        registry.rollback(model_name)
        until_served(client, model_name, 1)


def test_no_request_fails_while_the_live_version_changes(shared_server, registry, model_name):
    push(registry, model_name, 1, 2)
    registry.promote(model_name, 1)
    stop, failures, seen = threading.Event(), [], set()

    def ask():
        with shared_server.client() as client:
            while not stop.is_set():
                answer = client.infer(model_name, ONE)
                if answer.status != 200 or answer.headers["X-Model-Version"] not in ("1", "2"):
                    failures.append(repr(answer))
                else:
                    seen.add(int(answer.json()["outputs"][0]["data"][0] - 1))

    with shared_server.client() as client:
        until_served(client, model_name, 1)
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                registry.promote(model_name, 2)
                until_served(client, model_name, 2)
                registry.rollback(model_name)
                until_served(client, model_name, 1)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not failures, failures[:3]
    assert seen == {1, 2}


def test_models_versions_route(shared_server, registry, model_name):
    """Requirement S2: current, available with status, size, FPR, accuracy, deployed_at, history."""
    registry.push(model_name, {"model.onnx": plus(1)}, metrics={"accuracy": 0.5, "false_positive_rate": 0.25})
    push(registry, model_name, 2)
    registry.promote(model_name, 1)
    with shared_server.client() as client:
        until_served(client, model_name, 1)
        model, = client.get(f"/models/versions?model={model_name}").json()["models"]
        assert (model["name"], model["current"]) == (model_name, 1)
        row = next(v for v in model["available"] if v["version"] == 1)
        assert (row["status"], row["accuracy"], row["false_positive_rate"], row["stage"]) == ("READY", 0.5, 0.25,
                                                                                              "Production")
        assert row["size_bytes"] == len(plus(1)) and row["deployed_at"] and row["aliases"] == ["champion"]
        assert [h["version"] for h in model["history"]] == [1]


def test_a_model_of_the_command_line_wins(start_server, tmp_path):
    (tmp_path / "own.onnx").write_bytes(plus(7))
    server = start_server(tmp_path / "own.onnx")
    with Registry(server.port, client=server.client()) as registry, server.client() as client:
        push(registry, "own", 1)
        push(registry, "other", 1)
        registry.promote("own", 1)
        registry.promote("other", 1)
        until_served(client, "other", 1)
        assert client.infer("own", ONE).json()["outputs"][0]["data"] == [8], "the file, not the registry's version"


# ---- version policies


@pytest.mark.parametrize("policy,loaded", [({"kind": "live"}, [2, 3]), ({"kind": "latest", "count": 2}, [2, 3, 4, 5]),
                                           ({"kind": "latest", "count": 1}, [2, 3, 5]),
                                           ({"kind": "all"}, [1, 2, 3, 4, 5]),
                                           ({"kind": "specific", "versions": [1, 9]}, [1, 2, 3])])
def test_policy(shared_server, registry, model_name, policy, loaded):
    push(registry, model_name, 1, 2, 3, 4, 5)
    registry.promote(model_name, 2)
    registry.alias(model_name, "mine", 3)
    registry.patch(model_name, policy=policy)
    with shared_server.client() as client:
        eventually(lambda: ready(client, model_name) == loaded, f"{policy} loads {loaded}")
        assert [v for v in range(1, 6) if served(client, model_name, v)] == loaded and served(client, model_name) == 2


def test_a_policy_follows_pushes_and_changes(shared_server, registry, model_name):
    push(registry, model_name, 1, 2)
    registry.promote(model_name, 1)
    registry.patch(model_name, policy={"kind": "latest", "count": 1})
    with shared_server.client() as client:
        eventually(lambda: ready(client, model_name) == [1, 2])
        push(registry, model_name, 3)
        eventually(lambda: ready(client, model_name) == [1, 3])
        registry.patch(model_name, policy=None)
        eventually(lambda: ready(client, model_name) == [1])


@pytest.mark.parametrize("setting,loaded", [("all", [1, 2, 3]), ("latest:2", [1, 2, 3]), ("latest:1", [1, 3]),
                                            ("live", [1])])
def test_policy_of_the_server(start_server, setting, loaded):
    server = start_server(args=["--set", f"registry.version_policy={setting}"])
    with Registry(server.port, client=server.client()) as registry, server.client() as client:
        push(registry, "m", 1, 2, 3)
        registry.promote("m", 1)
        eventually(lambda: ready(client, "m") == loaded, f"{setting} loads {loaded}")


@pytest.mark.parametrize("setting", ["latest", "latest:0", "latest:x", "some", "specific", "latest:-1", "latest:2x"])
def test_a_policy_that_makes_no_sense_ends_the_server(run_slipway, setting):
    done = run_slipway("serve", "--port", "0", "--set", f"registry.version_policy={setting}")
    assert done.returncode == 2 and "version_policy" in done.stderr, done


# ---- memory

PAD = 400_000


def padded(registry, model_name, number):
    """A version of a bit more than PAD bytes."""
    more = {"weights.bin": bytes([number]) * PAD}
    return push(registry, model_name, number, more=more)


def loads(client, model, version):
    """Asks until it answers: the first request for a version that was unloaded is refused and brings it back."""
    until_served(client, model, version, version)


def test_memory_limit_unloads_the_longest_unused(start_server):
    server = start_server(args=["--set", f"registry.memory={3 * PAD + 50_000}", "--set", "registry.version_policy=all"])
    with Registry(server.port, client=server.client()) as registry, server.client() as client:
        padded(registry, "m", 1)
        registry.promote("m", 1)
        for number in (2, 3):
            padded(registry, "m", number)
            eventually(lambda: ready(client, "m") == list(range(1, number + 1)))
        padded(registry, "m", 4)
        eventually(lambda: states(client, "m").get(4) == "UNAVAILABLE", "there is no room for it until it is asked for")
        older, newer, out = 2, 3, 4

        def newer_goes():
            """Of two loaded ones the older is used, then the third is asked for. What was loaded last goes only when
            uses count; they do by the server's clock, which ticks once a second, hence several rounds."""
            nonlocal older, newer, out
            for _ in range(50):
                assert served(client, "m", older) == older
            loads(client, "m", out)
            eventually(lambda: len(ready(client, "m")) == 3)
            kept, = set(ready(client, "m")) - {1, out}
            if kept == older:
                return True
            older, newer, out = newer, out, older
            return False

        eventually(newer_goes, "the longest unused goes")
        assert served(client, "m") == 1, "the live one never went"


def test_a_version_unloaded_for_memory_comes_back(start_server):
    server = start_server(args=["--set", f"registry.memory={2 * PAD + 50_000}", "--set", "registry.version_policy=all"])
    with Registry(server.port, client=server.client()) as registry, server.client() as client:
        for number in (1, 2, 3):
            padded(registry, "m", number)
        registry.promote("m", 1)
        eventually(lambda: 1 in ready(client, "m"))
        for version in (2, 3, 2, 3):
            loads(client, "m", version)
            eventually(lambda: ready(client, "m") == [1, version], "one beside the live one")


def test_memory_limit_never_unloads_what_has_a_name(start_server):
    server = start_server(args=["--set", f"registry.memory={3 * PAD + 50_000}", "--set", "registry.version_policy=all"])
    with Registry(server.port, client=server.client()) as registry, server.client() as client:
        for number in (1, 2, 3, 4):
            padded(registry, "m", number)
        registry.promote("m", 1)
        registry.alias("m", "mine", 2)
        registry.stage("m", "Production", 3)
        wanted = {1: "READY", 2: "READY", 3: "READY", 4: "UNAVAILABLE"}
        eventually(lambda: states(client, "m") == wanted, "the live, aliased and Production ones")
        answer = client.infer("m", ONE, version=4)
        assert answer.status == 503 and "memory" in answer.json()["error"], repr(answer)
        eventually(lambda: states(client, "m")[4] == "UNAVAILABLE")
        assert [served(client, "m", v) for v in (None, "mine", 3)] == [1, 2, 3]


def test_no_room_for_what_becomes_live(start_server):
    """The old version stays live and says why; with room again, the new one comes."""
    server = start_server(args=["--set", f"registry.memory={2 * PAD + 50_000}"])
    with Registry(server.port, client=server.client()) as registry, server.client() as client:
        for number in (1, 2, 3):
            padded(registry, "m", number)
        registry.promote("m", 1)
        registry.alias("m", "mine", 2)
        until_served(client, "m", 2, "mine")
        registry.promote("m", 3)
        eventually(lambda: states(client, "m").get(3) == "UNAVAILABLE" or served(client, "m") == 3)
        assert served(client, "m") in (1, 3)
        registry.delete_alias("m", "mine")
        until_served(client, "m", 3)


# ---- restart, and two servers


def test_restart_keeps_everything(start_server, tmp_path):
    args = ["--data-dir", tmp_path / "data"]
    first = start_server(args=args)
    with Registry(first.port, actor="ada") as registry, first.client() as client:
        registry.create("empty", description="none", tags={"k": "v"})
        push(registry, "m", 1, 2, 3)
        registry.patch("m", 1, tags={"a": "b"}, metrics={"f1": 0.5})
        registry.patch("m", policy={"kind": "latest", "count": 1})
        for version in (1, 2):
            registry.promote("m", version, reason=f"because {version}")
        registry.rollback("m")
        registry.alias("m", "mine", 2)
        registry.push("gone", {"model.onnx": plus(1)})
        registry.delete("gone")
        before, files = registry.everything(), disk(tmp_path / "data")
        eventually(lambda: ready(client, "m") == [1, 2, 3])
    first.stop()
    second = start_server(args=args)
    with Registry(second.port, client=second.client()) as registry, second.client() as client:
        assert served(client, "m") == 1, "ready says: what is live is loaded"
        assert registry.everything() == before and disk(tmp_path / "data") == files
        assert registry.audit_verify()["ok"]
        eventually(lambda: ready(client, "m") == [1, 2, 3])
        until_served(client, "m", 2, "mine")
        refused = pytest.raises(Refused, registry.rollback, "m")
        assert refused.value.status == 409, "the history is the same too"
        assert registry.push("gone", {"model.onnx": plus(1)})["version"] == 2


def test_nothing_stays_of_loaded_versions(start_server, tmp_path):
    server = start_server(args=["--data-dir", tmp_path / "data"])
    with Registry(server.port) as registry, server.client() as client:
        push(registry, "m", 1)
        registry.promote("m", 1)
        until_served(client, "m", 1)
    server.stop()
    left = [str(p) for p in (tmp_path / "data" / "serving").rglob("*") if p.name == "model.onnx"]
    assert not left


@pytest.fixture
def two(start_server, tmp_path):
    """Two servers on one data folder, with a Registry each."""
    servers = [start_server(args=["--data-dir", tmp_path / "data", "--set", "store.poll=50ms"]) for _ in range(2)]
    registries = [Registry(s.port, client=s.client()) for s in servers]
    return servers, registries


def test_two_servers_see_each_others_changes(two):
    (a, b), (at_a, at_b) = two
    push(at_a, "m", 1, 2)
    assert at_b.everything() == at_a.everything()
    assert at_b.pull("m", 1, "model.onnx")[2] == plus(1)
    with a.client() as client_a, b.client() as client_b:
        at_a.promote("m", 1)
        until_served(client_b, "m", 1)
        at_b.promote("m", 2)
        until_served(client_a, "m", 2)
        at_a.rollback("m")
        for client in (client_a, client_b):
            until_served(client, "m", 1)
        at_b.delete("m", force="true")
        for client in (client_a, client_b):
            until_served(client, "m", None)
    assert at_a.audit_verify()["ok"] and at_b.everything() == at_a.everything()


def test_one_of_two_servers_ends(two):
    (a, b), (at_a, at_b) = two
    push(at_a, "m", 1)
    at_a.promote("m", 1)
    with b.client() as client:
        until_served(client, "m", 1)
        a.stop()
        assert served(client, "m") == 1
        push(at_b, "m", 2)
        at_b.promote("m", 2)
        until_served(client, "m", 2)


def test_both_servers_push_at_once(two):
    (a, b), _ = two
    numbers, failures = [], []

    def work(port, offset):
        with Registry(port) as registry:
            for i in range(10):
                try:
                    numbers.append(registry.push("m", {"model.onnx": plus(offset + i)})["version"])
                    registry.promote("m", numbers[-1])
                except Refused as refusal:  # the other's promotion came between
                    if refusal.code != "conflict":
                        failures.append(refusal)

    threads = [threading.Thread(target=work, args=(server.port, i * 100)) for i, server in enumerate((a, b))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert sorted(numbers) == list(range(1, 21)), "each number once, none left out"
    with Registry(a.port) as registry:
        production = [v for v, stage in registry.stages("m").items() if stage == "Production"]
        assert production == [registry.model("m")["live"]]
        history = registry.history("m")
        assert [h["seq"] for h in history] == list(range(len(history), 0, -1)) and registry.audit_verify()["ok"]
