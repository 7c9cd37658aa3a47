"""The registry over HTTP: models, versions, aliases, stages, promotion with its gates, rollback, history, audit log.

Files are in test_registry_files.py, what is served in test_registry_serving.py, refusals in test_registry_bad_input.py."""
import hashlib
import re
import sqlite3
import time

import pytest
from onnx import TensorProto

from helpers.fixtures import name, registry, shared  # noqa: F401
from helpers.models import bundle, plus
from helpers.registry import Refused, Registry, quote

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


def push(registry, name, *numbers):
    """A version of plus(number) for each."""
    return [registry.push(name, {"model.onnx": plus(n)})["version"] for n in numbers]


def promoted(registry, name, count):
    """`count` versions, each promoted in turn."""
    for version in push(registry, name, *range(1, count + 1)):
        registry.promote(name, version)


def live(registry, name):
    """What is live, by every way to ask; they must agree."""
    model = registry.model(name)
    flagged = [v["version"] for v in registry.versions(name)["versions"] if v["live"]]
    assert flagged == ([model["live"]] if model["live"] else [])
    newest = registry.history(name)[:1]
    assert [h["version"] for h in newest if h["current"]] == ([model["live"]] if newest else [])
    return model["live"]


def refused(status, code, function, *arguments, **fields):
    with pytest.raises(Refused) as caught:
        function(*arguments, **fields)
    assert (caught.value.status, caught.value.code) == (status, code), caught.value
    return caught.value


def gate(gates, wanted):
    return next(g for g in gates if g["name"] == wanted)


# ---- models

def test_create_and_get_a_model(registry, name):
    made = registry.create(name, description="Adds", tags={"team": "maths", "empty": ""})
    assert made == registry.model(name)
    assert (made["name"], made["description"], made["tags"]) == (name, "Adds", {"team": "maths", "empty": ""})
    assert made["live"] is made["latest"] is made["policy"] is None and made["versions"] == 0 and made["aliases"] == {}
    assert TIME.match(made["created_at"]) and made["created_by"] == "anonymous"


def test_create_a_model_twice(registry, name):
    registry.create(name, description="first")
    error = refused(409, "conflict", registry.create, name, description="second")
    assert name in error.message and registry.model(name)["description"] == "first"


def test_change_description_and_tags(registry, name):
    registry.create(name, description="old", tags={"a": "1", "b": "2"})
    changed = registry.patch(name, description="new", tags={"b": None, "c": "3", "never": None})
    assert (changed["description"], changed["tags"]) == ("new", {"a": "1", "c": "3"})
    assert registry.patch(name, description=None)["description"] is None
    assert registry.model(name)["tags"] == {"a": "1", "c": "3"}


@pytest.mark.parametrize("changes", [{"nmae": "x"}, {"tags": {"k": 1}}, {"tags": {"bad\tkey": "x"}}, {"policy": {"kind": "some"}},
                                     {"policy": {"kind": "latest"}}, {"policy": {"kind": "latest", "count": 0}},
                                     {"description": 7}, {"live": 1}])
def test_a_change_that_makes_no_sense(registry, name, changes):
    registry.create(name, tags={"k": "v"})
    before = registry.everything()
    refused(400, "invalid_argument", registry.patch, name, **changes)
    assert registry.everything() == before


def test_policy_of_a_model(registry, name):
    registry.create(name)
    for policy in ({"kind": "latest", "count": 3}, {"kind": "specific", "versions": [1, 4]}, {"kind": "all"}, {"kind": "live"},
                   None):
        assert registry.patch(name, policy=policy)["policy"] == policy


def test_delete_a_model(registry, name):
    push(registry, name, 1)
    registry.delete(name)
    refused(404, "not_found", registry.model, name)
    refused(404, "not_found", registry.versions, name)
    refused(404, "not_found", registry.delete, name)
    assert name not in [m["name"] for m in registry.models(limit=1000)["models"]]


def test_delete_a_live_model_needs_force(registry, name):
    promoted(registry, name, 1)
    assert name in refused(409, "conflict", registry.delete, name).message
    assert live(registry, name) == 1
    registry.delete(name, force="true")
    refused(404, "not_found", registry.model, name)


def test_numbers_go_on_after_a_model_was_deleted(registry, name):
    push(registry, name, 1, 2)
    registry.delete(name)
    assert push(registry, name, 3) == [3]
    refused(404, "not_found", registry.version, name, 1)


def test_pages_of_models(registry, name):
    names = [f"{name}-{i}" for i in range(5)]
    for each in names:
        registry.create(each)
    seen, token = [], {}
    for _ in range(10):
        page = registry.models(limit=2, prefix=name, **token)
        assert len(page["models"]) <= 2
        seen += [m["name"] for m in page["models"]]
        if page["next_page_token"] is None:
            break
        token = {"page_token": page["next_page_token"]}
    assert seen == names


def test_pages_stay_in_order_while_models_come_and_go(registry, name):
    for i in (1, 3, 5):
        registry.create(f"{name}-{i}")
    first = registry.models(limit=2, prefix=name)
    registry.create(f"{name}-0")
    registry.create(f"{name}-4")
    registry.delete(f"{name}-3")
    rest = registry.models(limit=10, prefix=name, page_token=first["next_page_token"])
    assert [m["name"] for m in first["models"] + rest["models"]] == [f"{name}-{i}" for i in (1, 3, 4, 5)]


def test_models_by_prefix_and_tag(registry, name):
    registry.create(f"{name}.a", tags={"team": "x"})
    registry.create(f"{name}.b", tags={"team": "y"})
    registry.create(f"{name}_c", tags={"team": "x"})

    def names(**query):
        return [m["name"] for m in registry.models(**query)["models"]]
    assert names(prefix=f"{name}.") == [f"{name}.a", f"{name}.b"]
    assert names(prefix=name, tag="team=x") == [f"{name}.a", f"{name}_c"]
    assert names(prefix=name, tag="team=z") == []
    assert names(prefix=f"{name}%") == [] and names(prefix=f"{name}.*") == [], "a prefix is no pattern"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=-1", "limit=x", "page_token=rubbish", "tag=novalue",
                                   "page_token=%FF"])
def test_listings_refuse_a_bad_query(registry, query):
    refused(400, "invalid_argument", registry.call, "GET", f"/api/v1/models?{query}")


@pytest.mark.parametrize("below", ["", "/versions", "/versions/1", "/versions/1/files", "/versions/1/files/model.onnx", "/aliases",
                                   "/aliases/champion", "/stages/Production", "/history"])
def test_a_model_that_is_not_there(registry, name, below):
    error = refused(404, "not_found", registry.call, "GET", f"/api/v1/models/{name}{below}")
    assert name in error.message


# ---- versions

def test_a_version_shows_what_it_is(registry, name):
    files = bundle(1, name, golden=2, extra="description: From the bundle\nmetadata: { accuracy: 0.5 }\n")
    version = registry.push(name, files, source="https://example.org/run", run_id="r1", tags={"k": "v"}, metrics={"loss": 0.25})
    assert version == registry.version(name, 1)
    assert (version["model"], version["version"], version["stage"], version["aliases"]) == (name, 1, "None", [])
    assert not version["live"] and version["description"] == "From the bundle"
    assert version["metrics"] == {"accuracy": 0.5, "loss": 0.25} and version["tags"] == {"k": "v"}
    assert (version["source"], version["run_id"], version["replaces"]) == ("https://example.org/run", "r1", None)
    assert version["signature"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]
    assert version["signature"]["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1]}]
    assert version["gates"] is version["gates_at"] is version["served_signature"] is None
    assert (version["files"], version["size_bytes"]) == (3, sum(map(len, files.values())))
    assert TIME.match(version["created_at"]) and version["created_by"] == "anonymous"


def test_digest_of_a_version(registry, name):
    files = {"model.onnx": plus(1), "b.txt": b"b", "a/z.txt": b"z", "a.txt": b""}
    lines = sorted(f"{hashlib.sha256(data).hexdigest()} {len(data)} {path}\n" for path, data in files.items())
    version = registry.push(name, files)
    assert version["digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert registry.push(name, files)["digest"] == version["digest"], "the same files again"


def test_files_of_a_version(registry, name):
    files = {"model.onnx": plus(1), "b.txt": b"b", "a/z.txt": b"z"}
    registry.push(name, files)
    wanted = [{"path": p, "sha256": hashlib.sha256(files[p]).hexdigest(), "size": len(files[p])} for p in sorted(files)]
    assert registry.files(name, 1) == wanted


def test_versions_are_numbered(registry, name):
    assert push(registry, name, 1, 2, 3) == [1, 2, 3]
    model = registry.model(name)
    assert (model["latest"], model["versions"], model["live"]) == (3, 3, None)
    assert [v["version"] for v in registry.versions(name)["versions"]] == [3, 2, 1], "newest first"


def test_pages_of_versions(registry, name):
    push(registry, name, *range(5))
    seen, token = [], {}
    for _ in range(10):
        page = registry.versions(name, limit=2, **token)
        seen += [v["version"] for v in page["versions"]]
        if page["next_page_token"] is None:
            break
        token = {"page_token": page["next_page_token"]}
    assert seen == [5, 4, 3, 2, 1]


def test_expected_version(registry, name):
    assert registry.push(name, {"model.onnx": plus(1)}, expected_version=1)["version"] == 1
    before = registry.everything()
    for wrong in (1, 3):
        error = refused(409, "conflict", registry.push, name, {"model.onnx": plus(1)}, expected_version=wrong)
        assert str(wrong) in error.message and name in error.message
    assert registry.everything() == before
    assert registry.push(name, {"model.onnx": plus(2)}, expected_version=2)["version"] == 2


def test_a_version_of_no_model(registry, name):
    refused(404, "not_found", registry.push, name, {"model.onnx": plus(1)}, create_model=False)
    refused(404, "not_found", registry.model, name)
    registry.create(name)
    assert registry.push(name, {"model.onnx": plus(1)}, create_model=False)["version"] == 1


def test_change_a_version(registry, name):
    registry.push(name, {"model.onnx": plus(1)}, description="old", tags={"a": "1", "b": "2"}, metrics={"loss": 1, "f1": 0.5})
    changed = registry.patch(name, 1, description="new", tags={"a": None, "c": "3"}, metrics={"f1": None, "auc": 0.75})
    assert changed == registry.version(name, 1)
    assert (changed["description"], changed["tags"]) == ("new", {"b": "2", "c": "3"})
    assert changed["metrics"] == {"loss": 1, "auc": 0.75}


@pytest.mark.parametrize("changes", [{"files": []}, {"source": "x"}, {"number": 2}, {"stage": "Production"}, {"digest": "0" * 64},
                                     {"metrics": {"f1": "good"}}, {"tags": ["a"]}])
def test_what_never_changes_in_a_version(registry, name, changes):
    push(registry, name, 1)
    before = registry.everything()
    refused(400, "invalid_argument", registry.patch, name, 1, **changes)
    assert registry.everything() == before


def test_delete_a_version(registry, name):
    push(registry, name, 1, 2)
    registry.delete_version(name, 2)
    refused(404, "not_found", registry.version, name, 2)
    refused(404, "not_found", registry.files, name, 2)
    refused(404, "not_found", registry.delete_version, name, 2)
    refused(404, "not_found", registry.promote, name, 2)
    assert [v["version"] for v in registry.versions(name)["versions"]] == [1]
    assert push(registry, name, 3) == [3], "its number is never given again"


def test_delete_a_version_that_is_pointed_to(registry, name):
    push(registry, name, 1, 2)
    registry.alias(name, "mine", 1)
    registry.stage(name, "Production", 2)
    before = registry.everything()
    assert "mine" in refused(409, "conflict", registry.delete_version, name, 1).message
    assert "Production" in refused(409, "conflict", registry.delete_version, name, 2).message
    assert registry.everything() == before
    registry.delete_alias(name, "mine")
    registry.delete_version(name, 1)


def test_a_version_by_number_alias_and_live(registry, name):
    push(registry, name, 1, 2)
    refused(404, "not_found", registry.version, name, "live")
    registry.alias(name, "mine", 2)
    registry.promote(name, 1)
    assert [registry.version(name, v)["version"] for v in (1, "1", "mine", "champion", "live")] == [1, 1, 2, 1, 1]


@pytest.mark.parametrize("version", ["0", "-1", "4", "01x", "1.0", "99999999999999999999", "nothing", "latest"])
def test_a_version_that_is_not_there(registry, name, version):
    push(registry, name, 1)
    with pytest.raises(Refused) as caught:
        registry.version(name, version)
    assert caught.value.status in (400, 404) and version in caught.value.message, caught.value


def test_lineage(registry, name):
    first, = push(registry, name, 1)
    registry.promote(name, first)
    second, third = push(registry, name, 2, 3)
    registry.promote(name, third)
    fourth, = push(registry, name, 4)
    assert [registry.version(name, v)["replaces"] for v in (first, second, third, fourth)] == [None, 1, 1, 3]


# ---- aliases and stages

def test_aliases(registry, name):
    push(registry, name, 1, 2)
    answer = registry.alias(name, "challenger", 1)
    assert (answer["version"], answer["live"], answer["gates"], answer["forced"]) == (1, None, None, False)
    registry.alias(name, "Blue.2_x-", 2)
    assert registry.aliases(name) == {"Blue.2_x-": 2, "challenger": 1} == registry.model(name)["aliases"]
    assert registry.version(name, 1)["aliases"] == ["challenger"]
    registry.alias(name, "challenger", 2)
    assert registry.call("GET", f"/api/v1/models/{name}/aliases/challenger") == {"alias": "challenger", "version": 2}
    assert sorted(registry.version(name, 2)["aliases"]) == ["Blue.2_x-", "challenger"]
    registry.delete_alias(name, "challenger")
    refused(404, "not_found", registry.delete_alias, name, "challenger")
    refused(404, "not_found", registry.version, name, "challenger")
    assert registry.aliases(name) == {"Blue.2_x-": 2}


@pytest.mark.parametrize("alias", ["1", "v1", "V2", "latest", "live", "a b", "a%", "ä", "x" * 129, "-a"])
def test_what_is_no_alias(registry, name, alias):
    push(registry, name, 1)
    before = registry.everything()
    error = refused(400, "invalid_argument", registry.alias, name, alias, 1)
    assert alias in error.message
    assert registry.everything() == before


def test_an_alias_of_no_version(registry, name):
    push(registry, name, 1)
    refused(404, "not_found", registry.alias, name, "challenger", 2)
    assert registry.aliases(name) == {}


def test_champion_is_live(registry, name):
    push(registry, name, 1, 2)
    answer = registry.alias(name, "champion", 1)
    assert (answer["live"], answer["previous_live"]) == (1, None) and gate(answer["gates"], "load")["status"] == "passed"
    assert live(registry, name) == 1 and registry.stages(name) == {1: "None", 2: "None"}
    registry.stage(name, "Production", 2)
    assert live(registry, name) == 1, "champion wins over Production"
    registry.delete_alias(name, "champion")
    assert live(registry, name) == 2, "then what is in Production"


def test_without_champion_the_last_in_production_is_live(registry, name):
    push(registry, name, 1, 2, 3)
    for version in (2, 1, 3):
        registry.stage(name, "Production", version)
        assert live(registry, name) == version
    registry.stage(name, "Archived", 3)
    assert live(registry, name) == 1
    for version in (1, 2):
        registry.stage(name, "None", version)
    assert live(registry, name) is None


def test_stages(registry, name):
    push(registry, name, 1, 2, 3)
    assert registry.stage(name, "Staging", 1)["gates"] is None, "only Production has gates"
    registry.stage(name, "Staging", 2)
    assert registry.stages(name) == {1: "Staging", 2: "Staging", 3: "None"}
    registry.stage(name, "Staging", 3, archive_existing=True)
    assert registry.stages(name) == {1: "Archived", 2: "Archived", 3: "Staging"}
    listed = registry.call("GET", f"/api/v1/models/{name}/stages/Archived")
    assert [v["version"] for v in listed["versions"]] == [2, 1] and listed["next_page_token"] is None
    assert [v["version"] for v in registry.versions(name, stage="Staging")["versions"]] == [3]


def test_archive_existing_leaves_other_stages_alone(registry, name):
    push(registry, name, 1, 2, 3)
    registry.stage(name, "Staging", 1)
    registry.stage(name, "Production", 2)
    registry.stage(name, "Production", 3, archive_existing=True)
    assert registry.stages(name) == {1: "Staging", 2: "Archived", 3: "Production"}


def test_a_stage_that_is_none(registry, name):
    push(registry, name, 1)
    assert "Live" in refused(400, "invalid_argument", registry.stage, name, "Live", 1).message
    refused(400, "invalid_argument", registry.promote, name, 1, stage="Live")
    refused(400, "invalid_argument", registry.versions, name, stage="Live")


# ---- promotion and rollback

def test_promote(registry, name):
    push(registry, name, 1, 2)
    first = registry.promote(name, 1)
    assert (first["version"], first["live"], first["previous_live"], first["forced"]) == (1, 1, None, False)
    second = registry.promote(name, 2)
    assert (second["live"], second["previous_live"]) == (2, 1) and second["revision"] > first["revision"]
    assert live(registry, name) == 2
    assert registry.stages(name) == {1: "Archived", 2: "Production"} and registry.aliases(name) == {"champion": 2}


def test_promote_to_a_stage_or_an_alias_only(registry, name):
    push(registry, name, 1, 2)
    registry.promote(name, 1, stage="Staging")
    registry.promote(name, 1, alias="challenger")
    assert live(registry, name) is None
    assert registry.stages(name) == {1: "Staging", 2: "None"} and registry.aliases(name) == {"challenger": 1}
    registry.promote(name, "challenger", stage="Production", alias="champion")
    assert live(registry, name) == 1 and registry.aliases(name) == {"challenger": 1, "champion": 1}


def test_a_change_that_changes_nothing_leaves_no_trace(registry, name):
    promoted(registry, name, 1)
    registry.patch(name, tags={"k": "v"})
    before = registry.everything()
    assert registry.promote(name, 1)["live"] == 1
    registry.patch(name, tags={"k": "v", "other": None})
    registry.alias(name, "champion", 1)
    assert registry.everything() == before


def test_rollback_walks_back(registry, name):
    promoted(registry, name, 3)
    answer = registry.rollback(name, reason="bad answers")
    assert (answer["model"], answer["version"], answer["previous_live"]) == (name, 2, 3)
    assert live(registry, name) == 2
    assert registry.stages(name) == {1: "Archived", 2: "Production", 3: "Archived"} and registry.aliases(name) == {"champion": 2}
    assert registry.rollback(name)["version"] == 1 == live(registry, name)
    assert registry.stages(name) == {1: "Production", 2: "Archived", 3: "Archived"}
    before = registry.everything()
    assert name in refused(409, "conflict", registry.rollback, name).message
    assert registry.everything() == before, "and never to nothing"


def test_history(registry, name):
    promoted(registry, name, 3)
    registry.rollback(name, reason="why")
    rows = registry.history(name)
    assert [(h["version"], h["kind"], h["current"], h["undone"]) for h in rows] == [
        (2, "rollback", True, False), (3, "promote", False, True), (2, "promote", False, False), (1, "promote", False, False)]
    assert rows[0]["reason"] == "why" and rows[0]["actor"] == "anonymous" and all(TIME.match(h["time"]) for h in rows)
    assert registry.call("GET", f"/api/v1/models/{name}/history?limit=1")["history"] == rows[:1]


def test_promotion_after_a_rollback_begins_a_new_branch(registry, name):
    promoted(registry, name, 3)
    registry.rollback(name)
    push(registry, name, 4)
    registry.promote(name, 4)
    assert [registry.rollback(name)["version"] for _ in range(2)] == [2, 1], "3 was rolled back from: not again to it"


def test_rollback_to_a_version(registry, name):
    promoted(registry, name, 4)
    assert registry.rollback(name, version="2")["version"] == 2 == live(registry, name)
    assert registry.rollback(name)["version"] == 1
    refused(409, "conflict", registry.rollback, name, version="4")
    refused(404, "not_found", registry.rollback, name, version="9")
    assert live(registry, name) == 1


def test_rollback_passes_over_deleted_versions(registry, name):
    promoted(registry, name, 3)
    registry.delete_version(name, 2)
    assert registry.rollback(name)["version"] == 1 == live(registry, name)


def test_rollback_restores_aliases_and_stages_together(registry, name):
    push(registry, name, 1, 2, 3)
    registry.alias(name, "champion", 1)
    registry.stage(name, "Production", 2)
    registry.alias(name, "mine", 2)
    registry.promote(name, 3)
    assert registry.stages(name) == {1: "None", 2: "Archived", 3: "Production"}
    registry.rollback(name)
    assert live(registry, name) == 1 and registry.aliases(name) == {"champion": 1, "mine": 2}
    assert registry.stages(name) == {1: "None", 2: "Production", 3: "Archived"}


def test_rollback_of_what_was_never_live(registry, name):
    push(registry, name, 1)
    refused(409, "conflict", registry.rollback, name)
    registry.promote(name, 1)
    refused(409, "conflict", registry.rollback, name)
    assert live(registry, name) == 1


def test_rollback_route_of_requirement_s2(registry, name):
    promoted(registry, name, 2)
    shown = next(m for m in registry.call("GET", f"/models/versions?model={name}")["models"] if m["name"] == name)
    assert [h["version"] for h in shown["history"]] == [2, 1]
    answer = registry.call("POST", "/models/rollback", {"model": name, "reason": "S2"})
    assert (answer["version"], answer["previous_live"]) == (1, 2) and live(registry, name) == 1
    refused(409, "conflict", registry.call, "POST", "/models/rollback", {"model": name})
    refused(404, "not_found", registry.call, "POST", "/models/rollback", {"model": f"{name}-no"})


def test_rollback_without_a_body(registry, name):
    promoted(registry, name, 2)
    assert registry.call("POST", f"/api/v1/models/{name}/rollback")["version"] == 1


# ---- gates

def test_results_of_the_gates_are_kept(registry, name):
    registry.push(name, bundle(1, name, golden=2, extra="gates: { max_latency_ms: 60000 }\n"))
    gates = registry.promote(name, 1)["gates"]
    assert [(g["name"], g["status"]) for g in gates] == [
        ("digest", "passed"), ("load", "passed"), ("golden", "passed"), ("signature", "skipped"), ("latency", "passed")]
    version = registry.version(name, 1)
    assert version["gates"] == gates and TIME.match(version["gates_at"])
    assert version["served_signature"]["inputs"][0]["name"] == "x"
    assert gate(gates, "latency")["measured"] > 0 and gate(gates, "latency")["wanted"] == 60000


FAILING = {
    "golden": (bundle(1, golden=3), {}),
    "latency": (bundle(1, extra="gates: { max_latency_ms: 0.000001 }\n"), {}),
    "accuracy": (bundle(1, extra="gates: { min_accuracy: 0.9 }\n"), {"metrics": {"accuracy": 0.8}}),
    "fpr": (bundle(1, extra="gates: { max_fpr: 0.0007 }\nmetadata: { false_positive_rate: 0.001 }\n"), {}),
    "false_positive_rate": (bundle(1, extra="gates: { max_false_positive_rate: 0 }\n"), {"metrics": {"fpr": 0.001}}),
    "recall": (bundle(1, extra="gates: { min_recall: 0.1 }\n"), {}),  # nobody measured it
}


@pytest.mark.parametrize("failing", FAILING)
def test_a_gate_that_fails(registry, name, failing):
    files, fields = FAILING[failing]
    push(registry, name, 1)
    registry.promote(name, 1)
    registry.push(name, files, **fields)
    audit, stages, history = registry.audit(object=name), registry.stages(name), registry.history(name)
    for change in (lambda: registry.promote(name, 2), lambda: registry.alias(name, "champion", 2),
                   lambda: registry.stage(name, "Production", 2)):
        error = refused(409, "gate_failed", change)
        failed = [g for g in error.details["gates"] if g["status"] == "failed"]
        assert [g["name"] for g in failed] == [failing], error.details
        assert failing in error.message and failed[0]["detail"]
    assert live(registry, name) == 1 and registry.aliases(name) == {"champion": 1}
    assert (registry.stages(name), registry.history(name)) == (stages, history)
    assert [r for r in registry.audit(object=name) if r not in audit and r["action"] != "version.gates"] == []
    assert gate(registry.version(name, 2)["gates"], failing)["status"] == "failed", "what failed is kept"


def test_force_needs_a_reason_and_is_audited(registry, name):
    registry.push(name, bundle(1, golden=3))
    for fields in ({}, {"reason": ""}, {"reason": "   "}):
        assert "reason" in refused(400, "invalid_argument", registry.promote, name, 1, force=True, **fields).message
    assert live(registry, name) is None
    answer = registry.promote(name, 1, force=True, reason="the golden file is wrong")
    assert answer["forced"] and answer["live"] == 1 and gate(answer["gates"], "golden")["status"] == "failed"
    row = registry.audit(object=name, limit=1)[0]
    assert row["reason"] == "the golden file is wrong" and row["after"]["forced"] is True
    assert row["after"]["gates_failed"] == ["golden"]


def test_force_where_nothing_failed_is_no_force(registry, name):
    push(registry, name, 1)
    assert registry.promote(name, 1, force=True, reason="to be sure")["forced"] is False


def test_force_cannot_make_a_model_load(registry, name, test_models):
    registry.push(name, {"model.onnx": (test_models / "unknown_operator.onnx").read_bytes()})
    error = refused(409, "gate_failed", registry.promote, name, 1, force=True, reason="please")
    assert gate(error.details["gates"], "load")["status"] == "failed" and live(registry, name) is None


CHANGES = {  # what a candidate is, and whether it breaks callers of plus(1, ["N", 3])
    "same": (plus(2, ["N", 3]), False),
    "wider_input": (plus(2, ["N", "M"], output_shape=["N", 3]), False),
    "wider_output": (plus(2, ["N", "M"]), True),
    "narrower": (plus(2, [1, 3]), True),
    "other_datatype": (plus(2, ["N", 3], TensorProto.DOUBLE), True),
    "other_rank": (plus(2, ["N"]), True),
    "input_renamed": (plus(2, ["N", 3], input_name="z"), True),
    "output_renamed": (plus(2, ["N", 3], output_name="z"), True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_signature_gate(registry, name, change):
    model, breaks = CHANGES[change]
    for data in (plus(1, ["N", 3]), model):
        registry.push(name, {"model.onnx": data})
    registry.promote(name, 1)
    if breaks:
        error = refused(409, "gate_failed", registry.promote, name, 2)
        assert [g["name"] for g in error.details["gates"] if g["status"] == "failed"] == ["signature"]
        assert live(registry, name) == 1
    answer = registry.promote(name, 2, allow_breaking=breaks)
    assert answer["live"] == 2 and not answer["forced"]


def test_rollback_runs_no_gates(registry, name):
    registry.push(name, bundle(1, golden=3))
    registry.promote(name, 1, force=True, reason="known")
    push(registry, name, 2)
    registry.promote(name, 2)
    assert registry.rollback(name)["version"] == 1


# ---- audit log

def test_every_change_has_its_row(registry, name):
    registry.create(name)
    registry.patch(name, tags={"k": "v"})
    push(registry, name, 1, 2)
    registry.patch(name, 1, description="x")
    registry.alias(name, "mine", 1)
    registry.stage(name, "Staging", 2)
    registry.promote(name, 1)
    registry.promote(name, 2)
    registry.rollback(name)
    registry.delete_alias(name, "mine")
    registry.delete_version(name, 2)
    registry.delete(name, force="true")
    rows = registry.audit(object=name)
    actions = [r["action"] for r in reversed(rows)]
    assert actions == ["model.create", "model.update", "version.create", "version.create", "version.update", "alias.set",
                       "stage.set", "model.promote", "model.promote", "model.rollback", "alias.delete", "version.delete",
                       "model.delete"]
    assert all(r["object"].startswith(name) and TIME.match(r["time"]) and len(r["hash"]) == 64 for r in rows)
    assert [r["seq"] for r in rows] == sorted((r["seq"] for r in rows), reverse=True)


def test_who_what_and_which_request(shared, name):
    with shared.client() as client:
        registry = Registry(shared.port, client=client, actor="ada")
        registry.create(name)
        registry.call("PATCH", f"/api/v1/models/{name}", {"description": "new"}, {"X-Request-Id": "my-request"})
        row = registry.audit(object=name, limit=1)[0]
        assert (row["actor"], row["request_id"], row["object"]) == ("claimed:ada", "my-request", name)
        assert row["before"]["description"] is None and row["after"]["description"] == "new"
        assert registry.model(name)["created_by"] == "claimed:ada"


@pytest.mark.parametrize("actor", ["", "a" * 300, "a\tb", "system\x7f"])
def test_an_actor_is_never_taken_for_another(shared, name, actor):
    with Registry(shared.port, actor=actor) as registry:
        status, _, _ = registry.request("POST", "/api/v1/models", {"name": name})
        if status < 300:
            row = registry.audit(object=name, limit=1)[0]
            assert row["actor"] == "anonymous" or row["actor"].startswith("claimed:"), row
        else:
            assert status == 400


def test_audit_filters(shared, name):
    registries = [Registry(shared.port, actor=f"{name}-{i}") for i in range(2)]
    a, b = registries
    a.create(f"{name}")
    b.create(f"{name}2")
    push(b, name, 1)
    a.alias(name, "mine", 1)

    def objects(**query):
        return [r["object"] for r in reversed(a.audit(**query))]
    assert objects(object=name) == [name, f"{name}/1", f"{name}@mine"], f"{name}2 is another model"
    assert objects(object=f"{name}/1") == [f"{name}/1"]
    assert objects(actor=f"claimed:{name}-0") == [name, f"{name}@mine"]
    assert objects(object=name, action="model.create") == [name]
    assert objects(object=name, action="alias.") == [f"{name}@mine"]
    assert objects(object=name, action="alias") == [] == objects(object=name, action="nothing.here")
    for registry in registries:
        registry.close()


def test_audit_pages_and_times(registry, name):
    registry.create(name)
    for i in range(4):
        registry.patch(name, description=str(i))
    seen, before = [], {}
    for _ in range(10):
        page = registry.call("GET", "/api/v1/audit?limit=2&object=" + name + (f"&before={before}" if before else ""))
        seen += page["rows"]
        before = page["next_before"]
        if before is None:
            break
    assert [r["seq"] for r in seen] == [r["seq"] for r in registry.audit(object=name)] and len(seen) == 5
    first, last = seen[-1]["time"], seen[0]["time"]
    assert registry.audit(object=name, since=first, until=last)[-1]["time"] == first
    assert registry.audit(object=name, until="2001-01-01T00:00:00Z") == []
    assert registry.audit(object=name, since=int(time.time() * 1000) + 3600_000) == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "before=x", "before=-1", "since=yesterday", "until=2026-13-01T00:00:00Z"])
def test_audit_refuses_a_bad_query(registry, query):
    refused(400, "invalid_argument", registry.call, "GET", f"/api/v1/audit?{query}")


def test_the_chain_holds(registry, name):
    registry.create(name)
    report = registry.audit_verify()
    newest = registry.audit(limit=1)[0]
    assert report["ok"] and report["fault"] is None
    assert report["head"]["hash"] == newest["hash"] and report["rows"] == newest["seq"]


FORGERIES = {  # SQL of somebody with access to the database, and the row that is found
    "changed": ("UPDATE audit SET actor = 'nobody' WHERE seq = 4", 4),
    "changed_after": ("UPDATE audit SET after_json = '{}' WHERE seq = 6", 6),
    "changed_time": ("UPDATE audit SET time_ms = time_ms + 1 WHERE seq = 5", 5),
    "missing": ("DELETE FROM audit WHERE seq = 4", 4),
    "missing_first": ("DELETE FROM audit WHERE seq = 1", 1),
    "missing_last": ("DELETE FROM audit WHERE seq >= 9", 9),
    "reordered": ("UPDATE audit SET seq = -1 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5;"
                  "UPDATE audit SET seq = 5 WHERE seq = -1", 4),
    "inserted": ("INSERT INTO audit SELECT 11, time_ms, actor, action, object, reason, request_id, before_json, after_json, hash"
                 " FROM audit WHERE seq = 10", 11),
    "moved_up": ("DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq > 4", 4),
}


@pytest.fixture(scope="module")
def ten_rows(binary, tmp_path_factory):
    """A server with ten audit rows, and its database."""
    from helpers.server import Server
    with Server(binary, [], cwd=tmp_path_factory.mktemp("audit")) as server:
        with Registry(server.port) as registry:
            for i in range(10):
                registry.create(f"model-{i}")
        yield server


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_audit_row_is_found_and_named(ten_rows, run_slipway, forgery):
    sql, row = FORGERIES[forgery]
    database = sqlite3.connect(ten_rows.cwd / "slipway-data" / "slipway.db", timeout=30)
    rows = database.execute("SELECT * FROM audit ORDER BY seq").fetchall()
    try:
        database.executescript(f"BEGIN; {sql}; COMMIT")
        with ten_rows.client() as client:
            report = Registry(ten_rows.port, client=client).audit_verify()
        assert not report["ok"] and report["fault"]["seq"] == row and str(row) in report["fault"]["message"], report
        told = run_slipway("audit", "verify", "--server", ten_rows.url)
        assert told.returncode == 1 and re.search(rf"\brows? {row}\b", told.stdout + told.stderr), told
    finally:
        with database:
            database.execute("DELETE FROM audit")
            database.executemany(f"INSERT INTO audit VALUES ({','.join('?' * len(rows[0]))})", rows)
        database.close()
    told = run_slipway("audit", "verify", "--server", ten_rows.url)
    assert told.returncode == 0, told


def test_quoting_of_names_in_paths(registry, name):
    odd = f"{name}._-x"
    registry.push(odd, {"model.onnx": plus(1), "a dir/ü%.txt": b"text"})
    assert registry.pull(odd, 1, "a dir/ü%.txt")[2] == b"text"
    assert registry.call("GET", f"/api/v1/models/{quote(odd)}")["latest"] == 1
