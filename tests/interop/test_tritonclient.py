"""The HTTP client of Triton, a client of the Open Inference Protocol that others wrote, against the real binary.

Not part of `make test`, for the client comes from the Python package index:

    python3 -m venv --system-site-packages venv && venv/bin/pip install 'tritonclient[http]'
    make interop PYTHON=venv/bin/python
"""
import json

import numpy as np
import pytest

try:
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException, triton_to_np_dtype
except ImportError:
    triton = None

pytestmark = pytest.mark.skipif(not triton, reason="tritonclient is not installed: pip install 'tritonclient[http]'")


@pytest.fixture
def client(start_server, test_models, digits):
    models = [digits] + [test_models / f"{name}.onnx" for name in ("mlp_45", "add_sub", "identity_all")]
    server = start_server(*models)
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=4) as client:
        yield client


def given(name, array, datatype, in_binary=True):
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=in_binary)
    return tensor


def golden(test_models, name):
    return json.loads((test_models / f"{name}.golden.jsonl").read_text().splitlines()[0])


def as_array(tensor):
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("digits") and client.is_model_ready("digits", "1")
    assert not client.is_model_ready("nothing") and not client.is_model_ready("digits", "7")
    assert client.get_server_metadata()["name"] == "slipway"
    metadata = client.get_model_metadata("mlp_45")
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 45]}]
    assert client.get_model_config("mlp_45")["input"][0]["data_type"] == "TYPE_FP32"
    assert {m["name"] for m in client.get_model_repository_index()} == {"digits", "mlp_45", "add_sub", "identity_all"}


@pytest.mark.parametrize("in_binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(client, test_models, in_binary, compression):
    case = golden(test_models, "mlp_45")
    want, = case["outputs"]
    answer = client.infer(
        "mlp_45", [given("features", as_array(case["inputs"][0]), "FP32", in_binary)], request_id="the-id",
        outputs=[triton.InferRequestedOutput(want["name"], binary_data=in_binary)],
        request_compression_algorithm=compression, response_compression_algorithm=compression)
    assert answer.get_response()["id"] == "the-id" and answer.get_response()["model_version"] == "1"
    np.testing.assert_allclose(answer.as_numpy(want["name"]), as_array(want), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("in_binary", [True, False], ids=["binary", "json"])
def test_every_data_type_comes_back(client, in_binary):
    inputs, arrays = [], {}
    for row in client.get_model_metadata("identity_all")["inputs"]:
        datatype = row["datatype"]
        values = ["ä", "", "b\n"] if datatype == "BYTES" else [0, 1, 1]
        kind = triton_to_np_dtype(datatype)
        shape = [1 if d < 0 else d for d in row["shape"]]
        arrays[row["name"]] = array = np.resize(np.array(values, kind), shape)
        # JSON cannot carry these two: then the request is mixed.
        inputs.append(given(row["name"], array, datatype, in_binary or datatype in ("FP16", "BF16")))
    answer = client.infer("identity_all", inputs)
    outputs = {o["name"]: answer.as_numpy(o["name"]) for o in answer.get_response()["outputs"]}
    assert len(outputs) == len(arrays)
    for array, got in zip(arrays.values(), outputs.values()):
        if array.dtype == np.object_:
            got = np.vectorize(lambda b: b.decode() if isinstance(b, bytes) else b, otypes=[object])(got)
        assert got.shape == array.shape and (got == array).all(), (array, got)


def test_a_picture_as_a_binary_tensor(client, digits):
    picture = np.array([(digits / "samples" / "held-out-3.png").read_bytes()], np.object_)
    answer = client.infer("digits", [given("image", picture, "BYTES")])
    assert answer.as_numpy("label").tolist() == [b"3"]


def test_requests_in_parallel(client, test_models):
    features = as_array(golden(test_models, "mlp_45")["inputs"][0])
    waiting = [client.async_infer("mlp_45", [given("features", features, "FP32")]) for _ in range(32)]
    answers = [w.get_result().get_response() for w in waiting]
    assert all(a == answers[0] for a in answers)
    assert client.get_inference_statistics("mlp_45")["model_stats"][0]["inference_count"] >= 32


def test_unload_and_load(client):
    client.unload_model("add_sub")
    assert not client.is_model_ready("add_sub")
    client.load_model("add_sub")
    assert client.is_model_ready("add_sub")
    with pytest.raises(InferenceServerException, match="nothing"):
        client.load_model("nothing")


def test_errors_reach_the_caller(client):
    wide = np.zeros((1, 45), np.float64)
    with pytest.raises(InferenceServerException, match="datatype is FP64, the model wants FP32"):
        client.infer("mlp_45", [given("features", wide, "FP64")])
    with pytest.raises(InferenceServerException, match="has no version '7'"):
        client.infer("mlp_45", [given("features", wide.astype(np.float32), "FP32")], model_version="7")
    with pytest.raises(InferenceServerException, match="'classification' is not supported"):
        client.infer("mlp_45", [given("features", wide.astype(np.float32), "FP32")],
                     outputs=[triton.InferRequestedOutput("score", class_count=1)])
