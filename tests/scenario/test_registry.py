"""The registry over HTTP: models, versions, aliases, stages, promotion with its gates, rollback, history, audit log.

Files are in test_registry_files.py, serving in test_registry_serving.py, refusals in test_registry_bad_input.py."""
import hashlib
import re
import sqlite3
import time

import pytest
from onnx import TensorProto

from helpers.models import bundle, plus
from helpers.registry import Refused, Registry, quote

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


def push(registry, model_name, *numbers):
    """A version of plus(number) for each."""
    return [registry.push(model_name, {"model.onnx": plus(n)})["version"] for n in numbers]


def promoted(registry, model_name, count):
    """`count` versions, each promoted in turn."""
    for version in push(registry, model_name, *range(1, count + 1)):
        registry.promote(model_name, version)


def live(registry, model_name):
    """What is live, by every way to ask; they must agree."""
    model = registry.model(model_name)
    flagged = [v["version"] for v in registry.versions(model_name)["versions"] if v["live"]]
    assert flagged == ([model["live"]] if model["live"] else [])
    newest = registry.history(model_name)[:1]
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


def test_create_and_get_a_model(registry, model_name):
    made = registry.create(model_name, description="Adds", tags={"team": "maths", "empty": ""})
    assert made == registry.model(model_name)
    assert (made["name"], made["description"], made["tags"]) == (model_name, "Adds", {"team": "maths", "empty": ""})
    assert made["live"] is made["latest"] is made["policy"] is None and made["versions"] == 0 and made["aliases"] == {}
    assert TIME.match(made["created_at"]) and made["created_by"] == "anonymous"


def test_create_a_model_twice(registry, model_name):
    registry.create(model_name, description="first")
    error = refused(409, "conflict", registry.create, model_name, description="second")
    assert model_name in error.message and registry.model(model_name)["description"] == "first"


def test_change_description_and_tags(registry, model_name):
    registry.create(model_name, description="old", tags={"a": "1", "b": "2"})
    changed = registry.patch(model_name, description="new", tags={"b": None, "c": "3", "never": None})
    assert (changed["description"], changed["tags"]) == ("new", {"a": "1", "c": "3"})
    assert registry.patch(model_name, description=None)["description"] is None
    assert registry.model(model_name)["tags"] == {"a": "1", "c": "3"}


@pytest.mark.parametrize(
    "changes",
    [{"nmae": "x"}, {"tags": {"k": 1}}, {"tags": {"bad\tkey": "x"}}, {"policy": {"kind": "some"}},
     {"policy": {"kind": "latest"}}, {"policy": {"kind": "latest", "count": 0}}, {"description": 7}, {"live": 1}])
def test_a_change_that_makes_no_sense(registry, model_name, changes):
    registry.create(model_name, tags={"k": "v"})
    before = registry.everything()
    refused(400, "invalid_argument", registry.patch, model_name, **changes)
    assert registry.everything() == before


def test_policy_of_a_model(registry, model_name):
    registry.create(model_name)
    for policy in ({"kind": "latest", "count": 3}, {"kind": "specific", "versions":
                                                    [1, 4]}, {"kind": "all"}, {"kind": "live"}, None):
        assert registry.patch(model_name, policy=policy)["policy"] == policy


def test_delete_a_model(registry, model_name):
    push(registry, model_name, 1)
    registry.delete(model_name)
    refused(404, "not_found", registry.model, model_name)
    refused(404, "not_found", registry.versions, model_name)
    refused(404, "not_found", registry.delete, model_name)
    assert model_name not in [m["name"] for m in registry.models(limit=1000)["models"]]


def test_delete_a_live_model_needs_force(registry, model_name):
    promoted(registry, model_name, 1)
    assert model_name in refused(409, "conflict", registry.delete, model_name).message
    assert live(registry, model_name) == 1
    registry.delete(model_name, force="true")
    refused(404, "not_found", registry.model, model_name)


def test_numbers_go_on_after_a_model_was_deleted(registry, model_name):
    push(registry, model_name, 1, 2)
    registry.delete(model_name)
    assert push(registry, model_name, 3) == [3]
    refused(404, "not_found", registry.version, model_name, 1)


def test_pages_of_models(registry, model_name):
    names = [f"{model_name}-{i}" for i in range(5)]
    for each in names:
        registry.create(each)
    seen, token = [], {}
    for _ in range(10):
        page = registry.models(limit=2, prefix=model_name, **token)
        assert len(page["models"]) <= 2
        seen += [m["name"] for m in page["models"]]
        if page["next_page_token"] is None:
            break
        token = {"page_token": page["next_page_token"]}
    assert seen == names


def test_pages_stay_in_order_while_models_come_and_go(registry, model_name):
    for i in (1, 3, 5):
        registry.create(f"{model_name}-{i}")
    first = registry.models(limit=2, prefix=model_name)
    registry.create(f"{model_name}-0")
    registry.create(f"{model_name}-4")
    registry.delete(f"{model_name}-3")
    rest = registry.models(limit=10, prefix=model_name, page_token=first["next_page_token"])
    assert [m["name"] for m in first["models"] + rest["models"]] == [f"{model_name}-{i}" for i in (1, 3, 4, 5)]


def test_models_by_prefix_and_tag(registry, model_name):
    registry.create(f"{model_name}.a", tags={"team": "x"})
    registry.create(f"{model_name}.b", tags={"team": "y"})
    registry.create(f"{model_name}_c", tags={"team": "x"})

    def names(**query):
        return [m["name"] for m in registry.models(**query)["models"]]

    assert names(prefix=f"{model_name}.") == [f"{model_name}.a", f"{model_name}.b"]
    assert names(prefix=model_name, tag="team=x") == [f"{model_name}.a", f"{model_name}_c"]
    assert names(prefix=model_name, tag="team=z") == []
    assert names(prefix=f"{model_name}%") == [] and names(prefix=f"{model_name}.*") == [], "a prefix is no pattern"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=-1", "limit=x", "page_token=rubbish", "tag=novalue", "page_token=%FF"])
def test_listings_refuse_a_bad_query(registry, query):
    refused(400, "invalid_argument", registry.call, "GET", f"/api/v1/models?{query}")


@pytest.mark.parametrize("below", [
    "", "/versions", "/versions/1", "/versions/1/files", "/versions/1/files/model.onnx", "/aliases",
    "/aliases/champion", "/stages/Production", "/history"
])
def test_a_model_that_is_not_there(registry, model_name, below):
    error = refused(404, "not_found", registry.call, "GET", f"/api/v1/models/{model_name}{below}")
    assert model_name in error.message


# ---- versions


def test_a_version_shows_what_it_is(registry, model_name):
    files = bundle(1, model_name, golden=2, extra="description: From the bundle\nmetadata: { accuracy: 0.5 }\n")
    version = registry.push(model_name,
                            files,
                            source="https://example.org/run",
                            run_id="r1",
                            tags={"k": "v"},
                            metrics={"loss": 0.25})
    assert version == registry.version(model_name, 1)
    assert (version["model"], version["version"], version["stage"], version["aliases"]) == (model_name, 1, "None", [])
    assert not version["live"] and version["description"] == "From the bundle"
    assert version["metrics"] == {"accuracy": 0.5, "loss": 0.25} and version["tags"] == {"k": "v"}
    assert (version["source"], version["run_id"], version["replaces"]) == ("https://example.org/run", "r1", None)
    assert version["signature"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]
    assert version["signature"]["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1]}]
    assert version["gates"] is version["gates_at"] is version["served_signature"] is None
    assert (version["files"], version["size_bytes"]) == (3, sum(map(len, files.values())))
    assert TIME.match(version["created_at"]) and version["created_by"] == "anonymous"


def test_digest_of_a_version(registry, model_name):
    files = {"model.onnx": plus(1), "b.txt": b"b", "a/z.txt": b"z", "a.txt": b""}
    lines = sorted(f"{hashlib.sha256(data).hexdigest()} {len(data)} {path}\n" for path, data in files.items())
    version = registry.push(model_name, files)
    assert version["digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert registry.push(model_name, files)["digest"] == version["digest"], "the same files again"


def test_files_of_a_version(registry, model_name):
    files = {"model.onnx": plus(1), "b.txt": b"b", "a/z.txt": b"z"}
    registry.push(model_name, files)
    wanted = [{"path": p, "sha256": hashlib.sha256(files[p]).hexdigest(), "size": len(files[p])} for p in sorted(files)]
    assert registry.files(model_name, 1) == wanted


def test_versions_are_numbered(registry, model_name):
    assert push(registry, model_name, 1, 2, 3) == [1, 2, 3]
    model = registry.model(model_name)
    assert (model["latest"], model["versions"], model["live"]) == (3, 3, None)
    assert [v["version"] for v in registry.versions(model_name)["versions"]] == [3, 2, 1], "newest first"


def test_pages_of_versions(registry, model_name):
    push(registry, model_name, *range(5))
    seen, token = [], {}
    for _ in range(10):
        page = registry.versions(model_name, limit=2, **token)
        seen += [v["version"] for v in page["versions"]]
        if page["next_page_token"] is None:
            break
        token = {"page_token": page["next_page_token"]}
    assert seen == [5, 4, 3, 2, 1]


def test_expected_version(registry, model_name):
    assert registry.push(model_name, {"model.onnx": plus(1)}, expected_version=1)["version"] == 1
    before = registry.everything()
    for wrong in (1, 3):
        error = refused(409, "conflict", registry.push, model_name, {"model.onnx": plus(1)}, expected_version=wrong)
        assert str(wrong) in error.message and model_name in error.message
    assert registry.everything() == before
    assert registry.push(model_name, {"model.onnx": plus(2)}, expected_version=2)["version"] == 2


def test_a_version_of_no_model(registry, model_name):
    refused(404, "not_found", registry.push, model_name, {"model.onnx": plus(1)}, create_model=False)
    refused(404, "not_found", registry.model, model_name)
    registry.create(model_name)
    assert registry.push(model_name, {"model.onnx": plus(1)}, create_model=False)["version"] == 1


def test_change_a_version(registry, model_name):
    registry.push(model_name, {"model.onnx": plus(1)},
                  description="old",
                  tags={"a": "1", "b": "2"},
                  metrics={"loss": 1, "f1": 0.5})
    changed = registry.patch(model_name,
                             1,
                             description="new",
                             tags={"a": None, "c": "3"},
                             metrics={"f1": None, "auc": 0.75})
    assert changed == registry.version(model_name, 1)
    assert (changed["description"], changed["tags"]) == ("new", {"b": "2", "c": "3"})
    assert changed["metrics"] == {"loss": 1, "auc": 0.75}


@pytest.mark.parametrize("changes", [{"files": []}, {"source": "x"}, {"number": 2}, {"stage": "Production"},
                                     {"digest": "0" * 64}, {"metrics": {"f1": "good"}}, {"tags": ["a"]}])
def test_what_never_changes_in_a_version(registry, model_name, changes):
    push(registry, model_name, 1)
    before = registry.everything()
    refused(400, "invalid_argument", registry.patch, model_name, 1, **changes)
    assert registry.everything() == before


def test_delete_a_version(registry, model_name):
    push(registry, model_name, 1, 2)
    registry.delete_version(model_name, 2)
    refused(404, "not_found", registry.version, model_name, 2)
    refused(404, "not_found", registry.files, model_name, 2)
    refused(404, "not_found", registry.delete_version, model_name, 2)
    refused(404, "not_found", registry.promote, model_name, 2)
    assert [v["version"] for v in registry.versions(model_name)["versions"]] == [1]
    assert push(registry, model_name, 3) == [3], "its number is never given again"


def test_delete_a_version_that_is_pointed_to(registry, model_name):
    push(registry, model_name, 1, 2)
    registry.alias(model_name, "mine", 1)
    registry.stage(model_name, "Production", 2)
    before = registry.everything()
    assert "mine" in refused(409, "conflict", registry.delete_version, model_name, 1).message
    assert "Production" in refused(409, "conflict", registry.delete_version, model_name, 2).message
    assert registry.everything() == before
    registry.delete_alias(model_name, "mine")
    registry.delete_version(model_name, 1)


def test_a_version_by_number_alias_and_live(registry, model_name):
    push(registry, model_name, 1, 2)
    refused(404, "not_found", registry.version, model_name, "live")
    registry.alias(model_name, "mine", 2)
    registry.promote(model_name, 1)
    assert [registry.version(model_name, v)["version"] for v in (1, "1", "mine", "champion", "live")] == [1, 1, 2, 1, 1]


@pytest.mark.parametrize("version", ["0", "-1", "4", "01x", "1.0", "99999999999999999999", "nothing", "latest"])
def test_a_version_that_is_not_there(registry, model_name, version):
    push(registry, model_name, 1)
    with pytest.raises(Refused) as caught:
        registry.version(model_name, version)
    assert caught.value.status in (400, 404) and version in caught.value.message, caught.value


def test_lineage(registry, model_name):
    first, = push(registry, model_name, 1)
    registry.promote(model_name, first)
    second, third = push(registry, model_name, 2, 3)
    registry.promote(model_name, third)
    fourth, = push(registry, model_name, 4)
    assert [registry.version(model_name, v)["replaces"] for v in (first, second, third, fourth)] == [None, 1, 1, 3]


# ---- aliases and stages


def test_aliases(registry, model_name):
    push(registry, model_name, 1, 2)
    answer = registry.alias(model_name, "challenger", 1)
    assert (answer["version"], answer["live"], answer["gates"], answer["forced"]) == (1, None, None, False)
    registry.alias(model_name, "Blue.2_x-", 2)
    assert registry.aliases(model_name) == {"Blue.2_x-": 2, "challenger": 1} == registry.model(model_name)["aliases"]
    assert registry.version(model_name, 1)["aliases"] == ["challenger"]
    registry.alias(model_name, "challenger", 2)
    assert registry.call("GET",
                         f"/api/v1/models/{model_name}/aliases/challenger") == {"alias": "challenger", "version": 2}
    assert sorted(registry.version(model_name, 2)["aliases"]) == ["Blue.2_x-", "challenger"]
    registry.delete_alias(model_name, "challenger")
    refused(404, "not_found", registry.delete_alias, model_name, "challenger")
    refused(404, "not_found", registry.version, model_name, "challenger")
    assert registry.aliases(model_name) == {"Blue.2_x-": 2}


@pytest.mark.parametrize("alias", ["1", "v1", "V2", "latest", "live", "a b", "a%", "ä", "x" * 129, "-a"])
def test_what_is_no_alias(registry, model_name, alias):
    push(registry, model_name, 1)
    before = registry.everything()
    error = refused(400, "invalid_argument", registry.alias, model_name, alias, 1)
    assert alias in error.message
    assert registry.everything() == before


def test_an_alias_of_no_version(registry, model_name):
    push(registry, model_name, 1)
    refused(404, "not_found", registry.alias, model_name, "challenger", 2)
    assert registry.aliases(model_name) == {}


def test_champion_is_live(registry, model_name):
    push(registry, model_name, 1, 2)
    answer = registry.alias(model_name, "champion", 1)
    assert (answer["live"], answer["previous_live"]) == (1, None) and gate(answer["gates"],
                                                                           "load")["status"] == "passed"
    assert live(registry, model_name) == 1 and registry.stages(model_name) == {1: "None", 2: "None"}
    registry.stage(model_name, "Production", 2)
    assert live(registry, model_name) == 1, "champion wins over Production"
    registry.delete_alias(model_name, "champion")
    assert live(registry, model_name) == 2, "then what is in Production"


def test_without_champion_the_last_in_production_is_live(registry, model_name):
    push(registry, model_name, 1, 2, 3)
    for version in (2, 1, 3):
        registry.stage(model_name, "Production", version)
        assert live(registry, model_name) == version
    registry.stage(model_name, "Archived", 3)
    assert live(registry, model_name) == 1
    for version in (1, 2):
        registry.stage(model_name, "None", version)
    assert live(registry, model_name) is None


def test_stages(registry, model_name):
    push(registry, model_name, 1, 2, 3)
    assert registry.stage(model_name, "Staging", 1)["gates"] is None, "only Production has gates"
    registry.stage(model_name, "Staging", 2)
    assert registry.stages(model_name) == {1: "Staging", 2: "Staging", 3: "None"}
    registry.stage(model_name, "Staging", 3, archive_existing=True)
    assert registry.stages(model_name) == {1: "Archived", 2: "Archived", 3: "Staging"}
    listed = registry.call("GET", f"/api/v1/models/{model_name}/stages/Archived")
    assert [v["version"] for v in listed["versions"]] == [2, 1] and listed["next_page_token"] is None
    assert [v["version"] for v in registry.versions(model_name, stage="Staging")["versions"]] == [3]


def test_archive_existing_leaves_other_stages_alone(registry, model_name):
    push(registry, model_name, 1, 2, 3)
    registry.stage(model_name, "Staging", 1)
    registry.stage(model_name, "Production", 2)
    registry.stage(model_name, "Production", 3, archive_existing=True)
    assert registry.stages(model_name) == {1: "Staging", 2: "Archived", 3: "Production"}


def test_a_stage_that_is_none(registry, model_name):
    push(registry, model_name, 1)
    assert "Live" in refused(400, "invalid_argument", registry.stage, model_name, "Live", 1).message
    refused(400, "invalid_argument", registry.promote, model_name, 1, stage="Live")
    refused(400, "invalid_argument", registry.versions, model_name, stage="Live")


# ---- promotion and rollback


def test_promote(registry, model_name):
    push(registry, model_name, 1, 2)
    first = registry.promote(model_name, 1)
    assert (first["version"], first["live"], first["previous_live"], first["forced"]) == (1, 1, None, False)
    second = registry.promote(model_name, 2)
    assert (second["live"], second["previous_live"]) == (2, 1) and second["revision"] > first["revision"]
    assert live(registry, model_name) == 2
    assert registry.stages(model_name) == {1: "Archived", 2: "Production"
                                           } and registry.aliases(model_name) == {"champion": 2}


def test_promote_to_a_stage_or_an_alias_only(registry, model_name):
    push(registry, model_name, 1, 2)
    registry.promote(model_name, 1, stage="Staging")
    registry.promote(model_name, 1, alias="challenger")
    assert live(registry, model_name) is None
    assert registry.stages(model_name) == {1: "Staging", 2: "None"
                                           } and registry.aliases(model_name) == {"challenger": 1}
    registry.promote(model_name, "challenger", stage="Production", alias="champion")
    assert live(registry, model_name) == 1 and registry.aliases(model_name) == {"challenger": 1, "champion": 1}


def test_a_change_that_changes_nothing_leaves_no_trace(registry, model_name):
    promoted(registry, model_name, 1)
    registry.patch(model_name, tags={"k": "v"})
    before = registry.everything()
    assert registry.promote(model_name, 1)["live"] == 1
    registry.patch(model_name, tags={"k": "v", "other": None})
    registry.alias(model_name, "champion", 1)
    assert registry.everything() == before


def test_rollback_walks_back(registry, model_name):
    promoted(registry, model_name, 3)
    answer = registry.rollback(model_name, reason="bad answers")
    assert (answer["model"], answer["version"], answer["previous_live"]) == (model_name, 2, 3)
    assert live(registry, model_name) == 2
    assert registry.stages(model_name) == {1: "Archived", 2: "Production", 3: "Archived"
                                           } and registry.aliases(model_name) == {"champion": 2}
    assert registry.rollback(model_name)["version"] == 1 == live(registry, model_name)
    assert registry.stages(model_name) == {1: "Production", 2: "Archived", 3: "Archived"}
    before = registry.everything()
    assert model_name in refused(409, "conflict", registry.rollback, model_name).message
    assert registry.everything() == before, "and never to nothing"


def test_history(registry, model_name):
    promoted(registry, model_name, 3)
    registry.rollback(model_name, reason="why")
    rows = registry.history(model_name)
    assert [(h["version"], h["kind"], h["current"], h["undone"]) for h in rows] == [(2, "rollback", True, False),
                                                                                    (3, "promote", False, True),
                                                                                    (2, "promote", False, False),
                                                                                    (1, "promote", False, False)]
    assert rows[0]["reason"] == "why" and rows[0]["actor"] == "anonymous" and all(TIME.match(h["time"]) for h in rows)
    assert registry.call("GET", f"/api/v1/models/{model_name}/history?limit=1")["history"] == rows[:1]


def test_promotion_after_a_rollback_begins_a_new_branch(registry, model_name):
    promoted(registry, model_name, 3)
    registry.rollback(model_name)
    push(registry, model_name, 4)
    registry.promote(model_name, 4)
    assert [registry.rollback(model_name)["version"]
            for _ in range(2)] == [2, 1], "3 was rolled back from: not again to it"


def test_rollback_to_a_version(registry, model_name):
    promoted(registry, model_name, 4)
    assert registry.rollback(model_name, version="2")["version"] == 2 == live(registry, model_name)
    assert registry.rollback(model_name)["version"] == 1
    refused(409, "conflict", registry.rollback, model_name, version="4")
    refused(404, "not_found", registry.rollback, model_name, version="9")
    assert live(registry, model_name) == 1


def test_rollback_passes_over_deleted_versions(registry, model_name):
    promoted(registry, model_name, 3)
    registry.delete_version(model_name, 2)
    assert registry.rollback(model_name)["version"] == 1 == live(registry, model_name)


def test_rollback_restores_aliases_and_stages_together(registry, model_name):
    push(registry, model_name, 1, 2, 3)
    registry.alias(model_name, "champion", 1)
    registry.stage(model_name, "Production", 2)
    registry.alias(model_name, "mine", 2)
    registry.promote(model_name, 3)
    assert registry.stages(model_name) == {1: "None", 2: "Archived", 3: "Production"}
    registry.rollback(model_name)
    assert live(registry, model_name) == 1 and registry.aliases(model_name) == {"champion": 1, "mine": 2}
    assert registry.stages(model_name) == {1: "None", 2: "Production", 3: "Archived"}


def test_rollback_of_what_was_never_live(registry, model_name):
    push(registry, model_name, 1)
    refused(409, "conflict", registry.rollback, model_name)
    registry.promote(model_name, 1)
    refused(409, "conflict", registry.rollback, model_name)
    assert live(registry, model_name) == 1


def test_rollback_route_of_requirement_s2(registry, model_name):
    promoted(registry, model_name, 2)
    shown = next(m for m in registry.call("GET", f"/models/versions?model={model_name}")["models"]
                 if m["name"] == model_name)
    assert [h["version"] for h in shown["history"]] == [2, 1]
    answer = registry.call("POST", "/models/rollback", {"model": model_name, "reason": "S2"})
    assert (answer["version"], answer["previous_live"]) == (1, 2) and live(registry, model_name) == 1
    refused(409, "conflict", registry.call, "POST", "/models/rollback", {"model": model_name})
    refused(404, "not_found", registry.call, "POST", "/models/rollback", {"model": f"{model_name}-no"})


def test_rollback_without_a_body(registry, model_name):
    promoted(registry, model_name, 2)
    assert registry.call("POST", f"/api/v1/models/{model_name}/rollback")["version"] == 1


# ---- gates


def test_results_of_the_gates_are_kept(registry, model_name):
    registry.push(model_name, bundle(1, model_name, golden=2, extra="gates: { max_latency_ms: 60000 }\n"))
    gates = registry.promote(model_name, 1)["gates"]
    assert [(g["name"], g["status"]) for g in gates] == [("digest", "passed"), ("load", "passed"), ("golden", "passed"),
                                                         ("signature", "skipped"), ("latency", "passed")]
    version = registry.version(model_name, 1)
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
def test_a_gate_that_fails(registry, model_name, failing):
    files, fields = FAILING[failing]
    push(registry, model_name, 1)
    registry.promote(model_name, 1)
    registry.push(model_name, files, **fields)
    audit, stages, history = registry.audit(
        object=model_name), registry.stages(model_name), registry.history(model_name)
    for change in (lambda: registry.promote(model_name, 2), lambda: registry.alias(model_name, "champion", 2),
                   lambda: registry.stage(model_name, "Production", 2)):
        error = refused(409, "gate_failed", change)
        failed = [g for g in error.details["gates"] if g["status"] == "failed"]
        assert [g["name"] for g in failed] == [failing], error.details
        assert failing in error.message and failed[0]["detail"]
    assert live(registry, model_name) == 1 and registry.aliases(model_name) == {"champion": 1}
    assert (registry.stages(model_name), registry.history(model_name)) == (stages, history)
    new = [r for r in registry.audit(object=model_name) if r not in audit]
    assert {r["action"]
            for r in new} == {"version.gates"} and new[0]["after"]["failed"] == [failing], "only what was tried"
    assert gate(registry.version(model_name, 2)["gates"], failing)["status"] == "failed", "what failed is kept"


def test_force_needs_a_reason_and_is_audited(registry, model_name):
    registry.push(model_name, bundle(1, golden=3))
    for fields in ({}, {"reason": ""}, {"reason": "   "}):
        assert "reason" in refused(400, "invalid_argument", registry.promote, model_name, 1, force=True,
                                   **fields).message
    assert live(registry, model_name) is None
    answer = registry.promote(model_name, 1, force=True, reason="the golden file is wrong")
    assert answer["forced"] and answer["live"] == 1 and gate(answer["gates"], "golden")["status"] == "failed"
    row = registry.audit(object=model_name, limit=1)[0]
    assert row["reason"] == "the golden file is wrong" and row["after"]["forced"] is True
    assert row["after"]["gates_failed"] == ["golden"]


def test_force_where_nothing_failed_is_no_force(registry, model_name):
    push(registry, model_name, 1)
    assert registry.promote(model_name, 1, force=True, reason="to be sure")["forced"] is False


def test_force_cannot_make_a_model_load(registry, model_name, test_models):
    registry.push(model_name, {"model.onnx": (test_models / "unknown_operator.onnx").read_bytes()})
    error = refused(409, "gate_failed", registry.promote, model_name, 1, force=True, reason="please")
    assert gate(error.details["gates"], "load")["status"] == "failed" and live(registry, model_name) is None


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
def test_signature_gate(registry, model_name, change):
    model, breaks = CHANGES[change]
    for data in (plus(1, ["N", 3]), model):
        registry.push(model_name, {"model.onnx": data})
    registry.promote(model_name, 1)
    if breaks:
        error = refused(409, "gate_failed", registry.promote, model_name, 2)
        assert [g["name"] for g in error.details["gates"] if g["status"] == "failed"] == ["signature"]
        assert live(registry, model_name) == 1
    answer = registry.promote(model_name, 2, allow_breaking=breaks)
    assert answer["live"] == 2 and not answer["forced"]


def test_rollback_runs_no_gates(registry, model_name):
    registry.push(model_name, bundle(1, golden=3))
    registry.promote(model_name, 1, force=True, reason="known")
    push(registry, model_name, 2)
    registry.promote(model_name, 2)
    assert registry.rollback(model_name)["version"] == 1


# ---- audit log


def test_every_change_has_its_row(registry, model_name):
    registry.create(model_name)
    registry.patch(model_name, tags={"k": "v"})
    push(registry, model_name, 1, 2)
    registry.patch(model_name, 1, description="x")
    registry.alias(model_name, "mine", 1)
    registry.stage(model_name, "Staging", 2)
    registry.promote(model_name, 1)
    registry.promote(model_name, 2)
    registry.rollback(model_name)
    registry.delete_alias(model_name, "mine")
    registry.delete_version(model_name, 2)
    registry.delete(model_name, force="true")
    rows = registry.audit(object=model_name)
    actions = [r["action"] for r in reversed(rows)]
    assert actions == [
        "model.create", "model.update", "version.create", "version.create", "version.update", "alias.set", "stage.set",
        "model.promote", "model.promote", "model.rollback", "alias.delete", "version.delete", "model.delete"
    ]
    assert all(r["object"].startswith(model_name) and TIME.match(r["time"]) and len(r["hash"]) == 64 for r in rows)
    assert [r["seq"] for r in rows] == sorted((r["seq"] for r in rows), reverse=True)


def test_who_what_and_which_request(shared_server, model_name):
    with shared_server.client() as client:
        registry = Registry(shared_server.port, client=client, actor="ada")
        registry.create(model_name)
        registry.call("PATCH", f"/api/v1/models/{model_name}", {"description": "new"}, {"X-Request-Id": "my-request"})
        row = registry.audit(object=model_name, limit=1)[0]
        assert (row["actor"], row["request_id"], row["object"]) == ("claimed:ada", "my-request", model_name)
        assert row["before"]["description"] is None and row["after"]["description"] == "new"
        assert registry.model(model_name)["created_by"] == "claimed:ada"


@pytest.mark.parametrize("actor", ["", "a" * 300, "a\tb", "system\x7f"])
def test_an_actor_is_never_taken_for_another(shared_server, model_name, actor):
    with Registry(shared_server.port, actor=actor) as registry:
        status, _, _ = registry.request("POST", "/api/v1/models", {"name": model_name})
        if status < 300:
            row = registry.audit(object=model_name, limit=1)[0]
            assert row["actor"] == "anonymous" or row["actor"].startswith("claimed:"), row
        else:
            assert status == 400


def test_audit_filters(shared_server, model_name):
    registries = [Registry(shared_server.port, actor=f"{model_name}-{i}") for i in range(2)]
    a, b = registries
    a.create(f"{model_name}")
    b.create(f"{model_name}2")
    push(b, model_name, 1)
    a.alias(model_name, "mine", 1)

    def objects(**query):
        return [r["object"] for r in reversed(a.audit(**query))]

    assert objects(object=model_name) == [model_name, f"{model_name}/1",
                                          f"{model_name}@mine"], f"{model_name}2 is another model"
    assert objects(object=f"{model_name}/1") == [f"{model_name}/1"]
    assert objects(actor=f"claimed:{model_name}-0") == [model_name, f"{model_name}@mine"]
    assert objects(object=model_name, action="model.create") == [model_name]
    assert objects(object=model_name, action="alias.") == [f"{model_name}@mine"]
    assert objects(object=model_name, action="alias") == [] == objects(object=model_name, action="nothing.here")
    for registry in registries:
        registry.close()


def test_audit_pages_and_times(registry, model_name):
    registry.create(model_name)
    for i in range(4):
        registry.patch(model_name, description=str(i))
    seen, before = [], {}
    for _ in range(10):
        page = registry.call("GET",
                             "/api/v1/audit?limit=2&object=" + model_name + (f"&before={before}" if before else ""))
        seen += page["rows"]
        before = page["next_before"]
        if before is None:
            break
    assert [r["seq"] for r in seen] == [r["seq"] for r in registry.audit(object=model_name)] and len(seen) == 5
    first, last = seen[-1]["time"], seen[0]["time"]
    assert registry.audit(object=model_name, since=first, until=last)[-1]["time"] == first
    assert registry.audit(object=model_name, until="2001-01-01T00:00:00Z") == []
    assert registry.audit(object=model_name, since=int(time.time() * 1000) + 3600_000) == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "before=x", "before=-1", "since=yesterday", "until=2026-13-01T00:00:00Z"])
def test_audit_refuses_a_bad_query(registry, query):
    refused(400, "invalid_argument", registry.call, "GET", f"/api/v1/audit?{query}")


def test_the_chain_holds(registry, model_name):
    registry.create(model_name)
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
    "inserted": ("INSERT INTO audit SELECT 11, time_ms, actor, action, object, reason, request_id, before_json, "
                 "after_json, hash FROM audit WHERE seq = 10", 11),
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


def test_quoting_of_names_in_paths(registry, model_name):
    odd = f"{model_name}._-x"
    registry.push(odd, {"model.onnx": plus(1), "a dir/ü%.txt": b"text"})
    assert registry.pull(odd, 1, "a dir/ü%.txt")[2] == b"text"
    assert registry.call("GET", f"/api/v1/models/{quote(odd)}")["latest"] == 1
