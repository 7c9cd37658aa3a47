"""Bad input gets the right 4xx or 5xx with a message naming the cause; the next request is served."""
import gzip
import json
import zlib

import pytest

from helpers.client import tensor

ROW = [0.5] * 45
URL = "/v2/models/mlp_45/infer"


@pytest.fixture(scope="module")
def shared(binary, test_models, digits, tmp_path_factory):
    """One server for all cases: each leaves it healthy, which the next case proves."""
    from helpers.server import Server
    with Server(binary, [test_models / "mlp_45.onnx", digits],
                args=["--config", config(tmp_path_factory.mktemp("config"))], cwd=tmp_path_factory.mktemp("run")) as server:
        yield server


def config(folder):
    path = folder / "slipway.yaml"
    path.write_text("server:\n  max_body_bytes: 1MiB\n  max_control_body_bytes: 64KiB\n")
    return path


@pytest.fixture
def client(shared):
    with shared.client() as client:
        yield client
        good = client.infer("mlp_45", [tensor("features", [1, 45], "FP32", ROW)])
        assert good.status == 200, f"the next request is not served: {good!r}"


def features(**changes):
    return {**tensor("features", [1, 45], "FP32", ROW), **changes}


def oip(*inputs, **fields):
    return json.dumps({"inputs": list(inputs), **fields}).encode()


def without(key):
    t = features()
    del t[key]
    return t


def values(first):
    """The request with its first number written so."""
    return oip(features()).replace(b"[0.5,", b"[" + first + b",", 1).replace(b"[0.5, ", b"[" + first + b", ", 1)


OIP_CASES = {
    # name: (body, words that the message must hold)
    "wrong name": (oip(features(name="feature")), ["feature", "features"]),
    "wrong dtype": (oip(features(datatype="INT64", data=[1] * 45)), ["features", "FP32", "INT64"]),
    "unknown dtype": (oip(features(datatype="FP33")), ["FP33"]),
    "dtype not a string": (oip(features(datatype=5)), ["datatype"]),
    "wrong shape": (oip(features(shape=[1, 44], data=ROW[:44])), ["features", "45", "44"]),
    "wrong rank": (oip(features(shape=[45])), ["features", "shape"]),
    "negative dimension": (oip(features(shape=[-1, 45])), ["shape"]),
    "shape overflow": (oip(features(shape=[9223372036854775807, 45])), ["shape"]),
    "huge element count": (oip(features(shape=[1000000000, 45])), ["features"]),
    "shape of floats": (oip(features(shape=[1.0, 45])), ["shape"]),
    "shape not a list": (oip(features(shape=45)), ["shape"]),
    "rank 40": (oip(features(shape=[1] * 39 + [45])), ["shape"]),
    "too few elements": (oip(features(data=ROW[:-1])), ["features", "45", "44"]),
    "too many elements": (oip(features(data=ROW + [1])), ["features", "45"]),
    "ragged": (oip(features(shape=[2, 45], data=[ROW, ROW[:-1]])), ["features"]),
    "nested wrongly": (oip(features(data=[[[x] for x in ROW]])), ["features"]),
    "data missing": (oip(without("data")), ["data"]),
    "shape missing": (oip(without("shape")), ["shape"]),
    "datatype missing": (oip(without("datatype")), ["datatype"]),
    "name missing": (oip(without("name")), ["name"]),
    "data is a string": (oip(features(data="0.5")), ["features"]),
    "strings for numbers": (oip(features(data=["0.5"] * 45)), ["features"]),
    "null element": (values(b"null"), ["features"]),
    "bool element": (values(b"true"), ["features"]),
    "NaN": (values(b"NaN"), ["byte"]),
    "Infinity": (values(b"Infinity"), ["byte"]),
    "float overflow": (values(b"1e39"), ["features"]),
    "double overflow": (values(b"1e400"), ["features"]),
    "4000 digits of exponent": (values(b"1e" + b"9" * 4000), ["features"]),
    "leading zero": (values(b"00.5"), []),
    "leading plus": (values(b"+0.5"), []),
    "bare point": (values(b".5"), []),
    "point without digits": (values(b"5."), []),
    "hex": (values(b"0x10"), []),
    "input twice": (oip(features(), features()), ["features", "twice"]),
    "no inputs": (oip(), ["inputs"]),
    "inputs missing": (b"{}", ["inputs"]),
    "inputs null": (b'{"inputs": null}', ["inputs"]),
    "inputs an object": (b'{"inputs": {}}', ["inputs"]),
    "not an object": (b"[1, 2]", []),
    "empty body": (b"", []),
    "blank body": (b"  \n ", []),
    "cut in the middle": (oip(features())[:200], ["byte"]),
    "cut at the end": (oip(features())[:-1], ["byte"]),
    "text after the end": (oip(features()) + b" x", ["byte"]),
    "two documents": (oip(features()) * 2, ["byte"]),
    "trailing comma": (b'{"inputs": [],}', ["byte"]),
    "single quotes": (b"{'inputs': []}", ["byte"]),
    "comment": (b'/* x */ {"inputs": []}', ["byte"]),
    "byte order mark": (b"\xef\xbb\xbf" + oip(features()), ["byte"]),
    "UTF-16": (oip(features()).decode().encode("utf-16"), []),
    "bad UTF-8 in a string": (oip(features(name="X")).replace(b'"X"', b'"\xff\xfe"'), []),
    "lone surrogate": (oip(features(name="X")).replace(b'"X"', b'"\\ud800"'), []),
    "control character in a string": (oip(features(name="X")).replace(b'"X"', b'"a\nb"'), []),
    "deep nesting of data": (b'{"inputs":[{"name":"features","shape":[1,45],"datatype":"FP32","data":' + b"[" * 100000, []),
    "deep nesting elsewhere": (b'{"parameters":' + b'{"a":' * 100000, []),
    "duplicate inputs": (b'{"inputs": [], "inputs": []}', ["inputs"]),
    "duplicate data": (oip(features()).replace(b'"data":', b'"data": [1], "data":'), ["data"]),
    "duplicate shape": (oip(features()).replace(b'"shape":', b'"shape": [1], "shape":'), ["shape"]),
    "duplicate name": (oip(features()).replace(b'"name":', b'"name": "a", "name":'), ["name"]),
    "unknown output": (oip(features(), outputs=[{"name": "nothing"}]), ["nothing"]),
    "output twice": (oip(features(), outputs=[{"name": "probability"}] * 2), ["probability"]),
    "outputs a string": (oip(features(), outputs="probability"), ["outputs"]),
    "id a number": (oip(features(), id=7), ["id"]),
    "binary size without binary part": (oip({**without("data"), "parameters": {"binary_data_size": 180}}), ["binary"]),
    "data and binary size": (oip(features(parameters={"binary_data_size": 180})), ["data"]),
}


@pytest.mark.parametrize("name", OIP_CASES)
def test_oip_body(client, name):
    body, words = OIP_CASES[name]
    answer = client.request("POST", URL, body, {"Content-Type": "application/json"})
    assert answer.status == 400, repr(answer)
    message = answer.json()["error"]
    assert isinstance(message, str) and len(message) > 5
    for word in words:
        assert word in message, f"{word!r} is not named in {message!r}"


def test_missing_input_is_named(shared, start_server, test_models):
    with start_server(test_models / "add_sub.onnx").client() as client:
        meta = client.get("/v2/models/add_sub").json()
        first = meta["inputs"][0]
        shape = [abs(d) for d in first["shape"]]
        count = 1
        for d in shape:
            count *= d
        answer = client.infer("add_sub", [tensor(first["name"], shape, first["datatype"], [1] * count)])
        assert answer.status == 400
        assert meta["inputs"][1]["name"] in answer.json()["error"]


@pytest.mark.parametrize("path, words", [
    ("/v2/models/nothing/infer", ["nothing"]),
    ("/v2/models/mlp_45/versions/7/infer", ["7"]),
    ("/v2/models/mlp_45/versions/-1/infer", ["-1"]),
    ("/v2/models/mlp_45/versions/99999999999999999999/infer", ["99999999999999999999"]),
    ("/v2/models/mlp_45/versions/no-such-alias/infer", ["no-such-alias"]),
    ("/v1/models/nothing:predict", ["nothing"]),
    ("/v1/models/mlp_45/versions/7:predict", ["7"]),
    ("/v2/models/%6dlp_4%35%00/infer", []),
    ("/v2/models/" + "x" * 3000 + "/infer", []),
])
def test_unknown_model_or_version(client, path, words):
    answer = client.request("POST", path, oip(features()), {"Content-Type": "application/json"})
    assert answer.status in (404, 400) and (not words or answer.status == 404), repr(answer)
    assert all(word in answer.text for word in words), repr(answer)


def test_unknown_path_and_method(client):
    assert client.get("/nothing").status == 404
    assert client.get("/v2/nothing").json()["error"]
    refused = client.request("DELETE", URL)
    assert refused.status == 405 and "POST" in refused.headers["Allow"]
    refused = client.request("POST", "/health")
    assert refused.status == 405 and "GET" in refused.headers["Allow"]
    assert refused.json()["error"]["code"] == "method_not_allowed"


PREDICT_CASES = {
    "no instances": (b"{}", ["instances"]),
    "empty instances": (b'{"instances": []}', ["instances"]),
    "instances a number": (b'{"instances": 3}', ["instances"]),
    "wrong length": (json.dumps({"instances": [ROW[:-1]]}).encode(), ["features", "45", "44"]),
    "ragged": (json.dumps({"instances": [ROW, ROW[:-1]]}).encode(), []),
    "too deep": (json.dumps({"instances": [[ROW]]}).encode(), ["features"]),
    "wrong name": (json.dumps({"instances": [{"x": ROW}]}).encode(), ["x"]),
    "both forms": (json.dumps({"instances": [ROW], "inputs": [ROW]}).encode(), ["inputs"]),
    "unknown key": (json.dumps({"instances": [ROW], "instance": 1}).encode(), ["instance"]),
    "mixed kinds": (json.dumps({"instances": [ROW, {"features": ROW}]}).encode(), []),
    "text": (b'{"instances": ["a"]}', []),
    "cut": (b'{"instances": [[0.5, 0.5', ["byte"]),
    "duplicate": (b'{"instances": [], "instances": []}', ["instances"]),
}


@pytest.mark.parametrize("name", PREDICT_CASES)
def test_predict_body(client, name):
    body, words = PREDICT_CASES[name]
    answer = client.request("POST", "/v1/models/mlp_45:predict", body, {"Content-Type": "application/json"})
    assert answer.status == 400, repr(answer)
    error = answer.json()["error"]
    assert error["code"] == "invalid_argument" and error["request_id"] == answer.headers["X-Request-Id"]
    for word in words:
        assert word in error["message"], f"{word!r} is not named in {error['message']!r}"


HEAD = json.dumps({"inputs": [{"name": "features", "shape": [1, 45], "datatype": "FP32",
                               "parameters": {"binary_data_size": 180}}]}).encode()
BLOB = b"\x00\x00\x00\x3f" * 45


@pytest.mark.parametrize("length, body", [
    (str(len(HEAD) + 1), HEAD + BLOB),
    (str(len(HEAD) - 1), HEAD + BLOB),
    (str(len(HEAD) + len(BLOB) + 1), HEAD + BLOB),
    ("-1", HEAD + BLOB),
    ("abc", HEAD + BLOB),
    ("99999999999999999999999", HEAD + BLOB),
    (str(len(HEAD)), HEAD + BLOB[:-1]),
    (str(len(HEAD)), HEAD),
    (str(len(HEAD)), HEAD + BLOB + b"\0"),
    (str(len(HEAD)), HEAD.replace(b"180", b"176") + BLOB),
    (str(len(HEAD) + 18), HEAD.replace(b"180", b"18446744073709551615") + BLOB),
    (str(len(HEAD) + 1), HEAD.replace(b"180", b"-180") + BLOB),
    ("0", BLOB[:-4]),
    ("0", b""),
])
def test_binary_framing(client, length, body):
    answer = client.request("POST", URL, body, {"Content-Type": "application/octet-stream",
                                                "Inference-Header-Content-Length": length})
    assert answer.status == 400, repr(answer)
    assert len(answer.json()["error"]) > 5


def test_right_binary_request(client):
    answer = client.request("POST", URL, HEAD + BLOB, {"Content-Type": "application/octet-stream",
                                                       "Inference-Header-Content-Length": str(len(HEAD))})
    assert answer.status == 200, repr(answer)


def test_content_type_and_encoding(client):
    assert client.request("POST", URL, oip(features()), {"Content-Type": "text/csv"}).status == 415
    for encoding in ("br", "zstd", "gzip, gzip", "snappy"):
        answer = client.request("POST", URL, oip(features()),
                                {"Content-Type": "application/json", "Content-Encoding": encoding})
        assert answer.status == 415 and encoding.split(",")[0] in answer.text, repr(answer)
    for encoding in ("gzip", "deflate"):
        answer = client.request("POST", URL, oip(features()),
                                {"Content-Type": "application/json", "Content-Encoding": encoding})
        assert answer.status == 400 and "compressed body" in answer.text, repr(answer)
    cut = gzip.compress(oip(features()))[:-9]
    answer = client.request("POST", URL, cut, {"Content-Type": "application/json", "Content-Encoding": "gzip"})
    assert answer.status == 400 and "compressed body" in answer.text, repr(answer)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_decompression_bomb(client, shared, encoding):
    bomb = (gzip.compress if encoding == "gzip" else zlib.compress)(b" " * (200 << 20))
    assert len(bomb) < 1 << 20
    before = shared.rss_kib()
    answer = client.request("POST", URL, bomb, {"Content-Type": "application/json", "Content-Encoding": encoding})
    assert answer.status == 413, repr(answer)
    assert shared.rss_kib() - before < 20 * 1024, "the bomb was held in memory"


def test_body_over_the_limit(shared, client):
    answer = client.request("POST", URL, b" " * ((1 << 20) + 1), {"Content-Type": "application/json"})
    assert answer.status == 413, repr(answer)
    answer = client.request("POST", "/v2/repository/index", b" " * (65 * 1024), {"Content-Type": "application/json"})
    assert answer.status == 413, repr(answer)
    announced = (f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 "Content-Length: 1000000000000\r\n\r\n").encode()
    assert shared.raw(announced).startswith(b"HTTP/1.1 413")


def test_model_that_fails_at_run_time(start_server, test_models):
    failing = {"gather": tensor("index", [1], "INT64", [99]), "log_nan": tensor("x", [2, 1], "FP32", [1, -1])}
    with start_server(test_models / "gather.onnx", test_models / "log_nan.onnx").client() as client:
        for name, bad_input in failing.items():
            bad = client.infer(name, [bad_input])
            assert bad.status == 500, repr(bad)
            assert name == "gather" or "NaN" in bad.json()["error"], repr(bad)
            stats = client.get(f"/v2/models/{name}/stats").json()["model_stats"][0]
            assert stats["inference_stats"]["fail"]["count"] == 1
            good = {**bad_input, "data": [1] * len(bad_input["data"])}
            assert client.infer(name, [good]).status == 200
        assert client.get("/health/ready").status == 200


@pytest.mark.parametrize("name", ["opset_99.onnx", "unknown_operator.onnx", "truncated.onnx"])
def test_broken_model_files(run_slipway, test_models, name):
    done = run_slipway("serve", test_models / name, "--port", "0")
    assert done.returncode == 1, done.stderr
    assert name.split(".")[0] in done.stderr
    done = run_slipway("validate", test_models / name)
    assert done.returncode == 1


IMAGE_CASES = {
    "not an image": (b"hello", 415),
    "empty": (b"", 400),
    "truncated PNG": (None, 422),
    "huge PNG header": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (100000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0\0\0\0\0", 422),
}


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_bad_images(client, digits, name):
    body, status = IMAGE_CASES[name]
    if body is None:
        body = sorted((digits / "samples").glob("*.png"))[0].read_bytes()[:-30]
    answer = client.request("POST", "/v1/models/digits:predict", body, {"Content-Type": "image/png"})
    assert answer.status in (status, 413 if status == 422 else status), repr(answer)
    assert answer.json()["error"]["message"]
