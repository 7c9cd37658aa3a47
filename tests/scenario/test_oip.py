"""The Open Inference Protocol v2 with right input: metadata, every data type, JSON and binary, requested outputs."""
import base64
import json
import re
import struct

import pytest

from helpers.client import tensor

FORMATS = {"BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h",
           "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d"}


@pytest.fixture(scope="module")
def shared(binary, test_models, tmp_path_factory):
    from helpers.server import Server
    names = ["mlp_45", "identity_all", "add_sub", "scalar"]
    with Server(binary, [test_models / f"{n}.onnx" for n in names], cwd=tmp_path_factory.mktemp("run")) as server:
        yield server


@pytest.fixture
def client(shared):
    with shared.client() as client:
        yield client


def expected(test_models, name):
    """The first golden case of a test model: inputs, outputs."""
    return json.loads((test_models / f"{name}.golden.jsonl").read_text().splitlines()[0])


def close(got, want):
    return len(got) == len(want) and all(abs(g - w) <= 1e-4 * max(1, abs(w)) for g, w in zip(got, want))


def test_server_metadata(client):
    meta = client.get("/v2").json()
    assert meta["name"] == "slipway" and "binary_tensor_data" in meta["extensions"]
    assert client.get("/v2/health/live").status == 200 and client.get("/v2/health/ready").status == 200


def test_model_metadata(client):
    meta = client.get("/v2/models/mlp_45").json()
    assert meta["platform"] == "onnx_onnxv1" and meta["versions"] == ["1"]
    assert meta["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 45]}]
    assert meta["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}]
    assert client.get("/v2/models/mlp_45/versions/1").json() == meta
    assert client.get("/v2/models/mlp_45/ready").status == 200
    assert client.get("/v2/models/mlp_45/versions/1/ready").status == 200


def test_known_model_known_answer(client, test_models):
    want = expected(test_models, "mlp_45")
    answer = client.post("/v2/models/mlp_45/infer", {"inputs": want["inputs"], "id": 'a "quoted" id'})
    assert answer.status == 200
    body = answer.json()
    assert body["model_name"] == "mlp_45" and body["model_version"] == "1" and body["id"] == 'a "quoted" id'
    assert answer.headers["X-Model-Version"] == "1"
    assert close(body["outputs"][0]["data"], want["outputs"][0]["data"])
    assert body["outputs"][0]["shape"] == want["outputs"][0]["shape"]


def test_nested_and_flat_and_any_key_order(client):
    rows = [[(i * 7 + j) % 11 / 10 for j in range(45)] for i in range(3)]
    flat = [x for r in rows for x in r]
    nested = client.infer("mlp_45", [tensor("features", [3, 45], "FP32", rows)]).json()["outputs"][0]
    assert nested == client.infer("mlp_45", [tensor("features", [3, 45], "FP32", flat)]).json()["outputs"][0]
    data_first = ('{"inputs": [{"data": %s, "parameters": {"x": [1, {"y": null}]}, "shape": [3, 45], "name": "features",'
                  ' "datatype": "FP32"}], "parameters": {"unknown": true}}' % json.dumps(rows)).encode()
    answer = client.request("POST", "/v2/models/mlp_45/infer", data_first, {"Content-Type": "application/json"})
    assert answer.json()["outputs"][0] == nested
    # One row alone and the same row in a batch agree (to rounding: kernels may differ by batch).
    one = client.infer("mlp_45", [tensor("features", [1, 45], "FP32", rows[1])]).json()["outputs"][0]["data"]
    assert close(one, nested["data"][1:2])


def identity_inputs(client):
    """Values at the edges of each data type for the model that gives back what it gets."""
    meta = client.get("/v2/models/identity_all").json()
    values = {"BOOL": [True, False, True, True], "UINT8": [0, 255, 7, 8], "UINT16": [0, 65535, 7, 8], "UINT32": [0, 2**32 - 1, 7, 8],
              "UINT64": [0, 2**64 - 1, 2**53 + 1, 8], "INT8": [-128, 127, 0, 8], "INT16": [-32768, 32767, 0, 8],
              "INT32": [-2**31, 2**31 - 1, 0, 8], "INT64": [-2**63, 2**63 - 1, -(2**53 + 1), 8],
              "FP16": [0.0, -65504.0, 0.0999755859375, 1.5], "FP32": [1.17549435e-38, -3.4028234663852886e38, 0.10000000149011612, 3.0],
              "FP64": [5e-324, -1.7976931348623157e308, 0.1, 3.0],
              "BYTES": ["", "héllo \U0001f30d \"\\\n\u0000", "x" * 1000, "4"]}
    return meta, {i["name"]: (i["datatype"], values[i["datatype"]]) for i in meta["inputs"] if i["datatype"] != "BF16"}


def test_every_data_type_as_json(client):
    meta, given = identity_inputs(client)
    sixteen = [i for i in meta["inputs"] if i["datatype"] in ("FP16", "BF16")]
    inputs = [tensor(n, [2, 2], t, v) for n, (t, v) in given.items() if t != "FP16"]
    if sixteen:
        answer = client.infer("identity_all", inputs + [tensor(i["name"], [2, 2], i["datatype"], [0, 1, 2, 3]) for i in sixteen])
        assert answer.status == 400 and "binary" in answer.json()["error"]


def binary_request(tensors, **fields):
    """(header length, body) of [(name, shape, datatype, blob)]."""
    inputs = [{"name": n, "shape": s, "datatype": t, "parameters": {"binary_data_size": len(b)}} for n, s, t, b in tensors]
    head = json.dumps({"inputs": inputs, **fields}).encode()
    return len(head), head + b"".join(b for _, _, _, b in tensors)


def encode(datatype, values):
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)
    if datatype == "BF16":
        return b"".join(struct.pack("<f", v)[2:] for v in values)
    return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)


def test_every_data_type_binary_both_ways(client):
    meta, given = identity_inputs(client)
    blobs = []
    for spec in meta["inputs"]:
        datatype = spec["datatype"]
        values = given[spec["name"]][1] if datatype != "BF16" else [0.0, 1.5, -2.0, 4.0]
        blobs.append((spec["name"], [2, 2], datatype, encode(datatype, values)))
    length, body = binary_request(blobs, parameters={"binary_data_output": True})
    answer = client.request("POST", "/v2/models/identity_all/infer", body,
                            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(length)})
    assert answer.status == 200, repr(answer)
    head_length = int(answer.headers["Inference-Header-Content-Length"])
    head, rest = json.loads(answer.body[:head_length]), answer.body[head_length:]
    assert len(head["outputs"]) == len(blobs)
    for output, (_, shape, datatype, blob) in zip(head["outputs"], blobs):
        size = output["parameters"]["binary_data_size"]
        assert output["datatype"] == datatype and output["shape"] == shape and "data" not in output
        assert rest[:size] == blob, f"{datatype} came back changed"
        rest = rest[size:]
    assert rest == b""


def test_mixed_json_and_binary(client):
    meta, given = identity_inputs(client)
    inputs, blob = [], b""
    for spec in meta["inputs"]:
        datatype = spec["datatype"]
        if datatype in ("FP16", "BF16", "INT64"):
            piece = encode(datatype, given[spec["name"]][1] if datatype != "BF16" else [0.0, 1.5, -2.0, 4.0])
            inputs.append({"name": spec["name"], "shape": [2, 2], "datatype": datatype,
                           "parameters": {"binary_data_size": len(piece)}})
            blob += piece
        else:
            inputs.append(tensor(spec["name"], [2, 2], datatype, given[spec["name"]][1]))
    wanted = {i["datatype"]: o["name"] for i, o in zip(meta["inputs"], meta["outputs"])}
    outputs = [{"name": wanted[t]} for t in ("FP64", "UINT64", "INT64", "BYTES", "BOOL", "FP32", "INT8")]
    outputs.append({"name": wanted["FP16"], "parameters": {"binary_data": True}})
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    answer = client.request("POST", "/v2/models/identity_all/infer", head + blob,
                            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))})
    assert answer.status == 200, repr(answer)
    n = int(answer.headers["Inference-Header-Content-Length"])
    got = {o["datatype"]: o for o in json.loads(answer.body[:n])["outputs"]}
    by_type = {t: v for t, v in given.values()}
    for datatype in ("FP64", "UINT64", "INT64", "BYTES", "BOOL", "INT8"):
        assert got[datatype]["data"] == by_type[datatype], datatype
    assert [struct.pack("<f", x) for x in got["FP32"]["data"]] == [struct.pack("<f", x) for x in by_type["FP32"]]
    assert answer.body[n:] == encode("FP16", by_type["FP16"])


def test_shortest_floats(client):
    """0.1 as FP32 comes back as 0.1, not 0.10000000149011612."""
    meta, given = identity_inputs(client)
    name = next(i["name"] for i in meta["inputs"] if i["datatype"] == "FP32")
    out = next(o["name"] for o in meta["outputs"] if o["datatype"] == "FP32")
    inputs, blobs = [], b""
    for spec in meta["inputs"]:
        if spec["name"] == name:
            inputs.append(tensor(name, [2, 2], "FP32", [0.1, 16777216, 1e-7, -0.0]))
            continue
        piece = encode(spec["datatype"], ["", "", "", ""] if spec["datatype"] == "BYTES" else [0, 0, 0, 0])
        inputs.append({"name": spec["name"], "shape": [2, 2], "datatype": spec["datatype"],
                       "parameters": {"binary_data_size": len(piece)}})
        blobs += piece
    head = json.dumps({"inputs": inputs, "outputs": [{"name": out}]}).encode()
    answer = client.request("POST", "/v2/models/identity_all/infer", head + blobs,
                            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))})
    assert answer.status == 200, repr(answer)
    text = answer.text.replace(" ", "")
    assert re.search(r"\[0\.1,16777216(\.0)?,1e-0?7,-0(\.0)?\]", text), text


def test_raw_single_input_request(client):
    blob = struct.pack("<45f", *[0.5] * 45)
    answer = client.request("POST", "/v2/models/mlp_45/infer", blob,
                            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"})
    assert answer.status == 200, repr(answer)
    n = int(answer.headers["Inference-Header-Content-Length"])
    head = json.loads(answer.body[:n])
    assert head["outputs"][0]["shape"] == [1, 1] and len(answer.body) - n == 4
    as_json = client.infer("mlp_45", [tensor("features", [1, 45], "FP32", [0.5] * 45)]).json()
    assert close(struct.unpack("<f", answer.body[n:]), as_json["outputs"][0]["data"])


def test_requested_outputs(client, test_models):
    want = expected(test_models, "add_sub")
    both = client.post("/v2/models/add_sub/infer", {"inputs": want["inputs"]}).json()["outputs"]
    assert len(both) == 2
    for o, w in zip(both, want["outputs"]):
        assert o["name"] == w["name"] and close(o["data"], w["data"])
    second = client.post("/v2/models/add_sub/infer",
                         {"inputs": want["inputs"], "outputs": [{"name": want["outputs"][1]["name"]}]}).json()["outputs"]
    assert second == both[1:]
    turned = client.post("/v2/models/add_sub/infer",
                         {"inputs": list(reversed(want["inputs"])),
                          "outputs": [{"name": o["name"]} for o in reversed(both)]}).json()["outputs"]
    assert turned == list(reversed(both)), "outputs come in the order asked for; inputs may come in any order"


def test_scalar(client, test_models):
    want = expected(test_models, "scalar")
    got = client.post("/v2/models/scalar/infer", {"inputs": want["inputs"]})
    assert got.status == 200, repr(got)
    assert got.json()["outputs"][0]["shape"] == [] and close(got.json()["outputs"][0]["data"], want["outputs"][0]["data"])


def test_empty_batch_is_answered_or_refused_clearly(client):
    answer = client.infer("mlp_45", [tensor("features", [0, 45], "FP32", [])])
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.json()["outputs"][0]["data"] == []


def test_predict_agrees_with_oip(client):
    rows = [[(i + j) % 5 / 5 for j in range(45)] for i in range(4)]
    want = client.infer("mlp_45", [tensor("features", [4, 45], "FP32", rows)]).json()["outputs"][0]["data"]
    row_form = client.post("/v1/models/mlp_45:predict", {"instances": rows})
    assert [p[0] for p in row_form.json()["predictions"]] == want
    named = client.post("/v1/models/mlp_45:predict", {"instances": [{"features": r} for r in rows]})
    assert named.json() == row_form.json()
    versioned = client.post("/v1/models/mlp_45/versions/1:predict", {"instances": rows, "signature_name": "serving_default"})
    assert versioned.json() == row_form.json()
    columnar = client.post("/v1/models/mlp_45:predict", {"inputs": rows}).json()["outputs"]
    columnar_named = client.post("/v1/models/mlp_45:predict", {"inputs": {"features": rows}}).json()["outputs"]
    assert columnar == columnar_named
    data = columnar["probability"] if isinstance(columnar, dict) else columnar
    assert [p[0] for p in data] == want


def test_statistics_count(client):
    before = client.get("/v2/models/mlp_45/stats").json()["model_stats"][0]
    for _ in range(3):
        client.infer("mlp_45", [tensor("features", [2, 45], "FP32", [0.5] * 90)])
    after = client.get("/v2/models/mlp_45/stats").json()["model_stats"][0]
    assert after["name"] == "mlp_45" and after["version"] == "1"
    assert after["inference_count"] - before["inference_count"] == 6
    assert after["execution_count"] - before["execution_count"] == 3
    for part in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"):
        for key in ("count", "ns"):
            assert isinstance(after["inference_stats"][part][key], int), part
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 3
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]


def test_digits_from_an_image(start_server, digits):
    with start_server(digits).client() as client:
        meta = client.get("/v2/models/digits").json()
        assert meta["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
        for path in sorted((digits / "samples").glob("held-out-*.png")):
            image = path.read_bytes()
            raw = client.request("POST", "/v1/models/digits:predict", image, {"Content-Type": "image/png"})
            assert raw.status == 200, repr(raw)
            prediction = raw.json()["predictions"][0]
            assert prediction["label"] == path.stem[-1], f"{path.name} read as {prediction}"
            packed = base64.b64encode(image).decode()
            b64 = client.post("/v1/models/digits:predict", {"instances": [{"b64": packed}, {"b64": packed}]})
            assert b64.json()["predictions"] == [prediction, prediction]
            length, body = binary_request([("image", [1], "BYTES", struct.pack("<I", len(image)) + image)])
            oip = client.request("POST", "/v2/models/digits/infer", body,
                                 {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(length)})
            outputs = {o["name"]: o for o in oip.json()["outputs"]}
            assert outputs["label"]["data"] == [path.stem[-1]]
            encoded = client.infer("digits", [{**tensor("image", [1], "BYTES", [packed]),
                                               "parameters": {"content_type": "base64"}}])
            assert encoded.json()["outputs"] == oip.json()["outputs"]
