"""Starlight over HTTP: every way to send an image, every way to do it wrong, versions and rollback, metrics.

The detector is a small one made here (helpers/starlight.py), so that every number of an answer is known.
"""
import base64
import json
import random
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from helpers import starlight
from helpers.registry import Registry, read_files
from helpers.server import Server
from helpers.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SECRET = "meet me at the old pier at noon"
LIMIT = 64 * 1024


def form(parts, boundary="x-boundary-x"):
    """(headers, body) of multipart/form-data; a part is (name, file name or None, bytes)."""
    body = b""
    for name, file_name, data in parts:
        file_part = f'; filename="{file_name}"' if file_name else ""
        body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file_part}\r\n'
                 f"Content-Type: application/octet-stream\r\n\r\n").encode() + data + b"\r\n"
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


def b64(data):
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return starlight.write_detector(tmp_path_factory.mktemp("detector") / "starlight")


@pytest.fixture(scope="module")
def app(binary, detector, tmp_path_factory):
    """One server for what changes nothing in it."""
    args = ["--app", "starlight", "--set", "registry.enabled=false", "--set", f"starlight.max_image_bytes={LIMIT}",
            "--set", "starlight.max_image_pixels=100000"]
    with Server(binary, [detector], args=args, cwd=tmp_path_factory.mktemp("app")) as server:
        yield server


@pytest.fixture
def client(app):
    with app.client() as client:
        yield client


def without_run(answer):
    """An answer without what differs from one run to the next."""
    return {key: value for key, value in answer.json().items() if key not in ("latency_ms", "request_id")}


# ---- answers

def test_answer_of_a_hidden_text(client):
    image = starlight.with_alpha(SECRET)
    answer = client.post("/inference", body=image, headers={"Content-Type": "image/png", "X-Request-Id": "mine-7"})
    assert answer.status == 200 and answer.headers["X-Model-Version"] == "1"
    facts = answer.json()
    assert without_run(answer) == {
        "is_stego": True, "stego_probability": 0.75, "stego_type": "alpha", "confidence": 0.75, "threshold": 0.5,
        "method_probabilities": {"alpha": 0.75, "palette": 0, "lsb.rgb": 0, "exif": 0, "raw": 0},
        "extracted_message": SECRET,
        "message": {"method": "alpha", "bit_order": "lsb-first", "marked": True, "length": len(SECRET)},
        "image": facts["image"], "model_name": "starlight", "model_version": "1"}
    assert facts["request_id"] == "mine-7" and facts["latency_ms"] > 0
    expected = {"format": "png", "width": 64, "height": 64, "bit_depth": 8, "has_alpha": True, "palette_colors": 0,
                "frames": 1, "bytes": len(image)}
    assert {key: facts["image"][key] for key in expected} == expected


@pytest.mark.parametrize("kind, mode, format", [("PNG", "RGB", "png"), ("PNG", "P", "png"), ("JPEG", "RGB", "jpeg"),
                                                ("GIF", "P", "gif"), ("WEBP", "RGB", "webp"), ("BMP", "RGB", "bmp")])
def test_answer_of_a_clean_image(client, kind, mode, format):
    answer = client.post("/inference", body=starlight.clean(kind, mode), headers={"Content-Type": "image/*"}).json()
    assert (answer["is_stego"], answer["stego_type"], answer["extracted_message"], answer["message"]) == \
        (False, None, None, None)
    assert (answer["stego_probability"], answer["confidence"]) == (0.125, 0.875)
    assert sum(answer["method_probabilities"].values()) == pytest.approx(0.125)
    assert (answer["image"]["format"], answer["image"]["width"], answer["image"]["height"]) == (format, 20, 10)


@pytest.mark.parametrize("image, method, order", [
    (starlight.with_rgb(SECRET, "msb-first"), "lsb.rgb", "msb-first"),
    (starlight.with_rgb(SECRET, "lsb-first"), "lsb.rgb", "lsb-first"),
    (starlight.with_raw(SECRET, "JPEG"), "raw", None),
    (starlight.with_raw(SECRET, "BMP"), "raw", None)])
def test_methods(client, image, method, order):
    answer = client.post("/inference", body=image, headers={"Content-Type": "application/octet-stream"}).json()
    assert (answer["stego_type"], answer["extracted_message"]) == (method, SECRET)
    assert (answer["message"]["method"], answer["message"]["bit_order"]) == (method, order)


IMAGE = starlight.with_rgb(SECRET, "msb-first")
WAYS = {
    "raw": ({"Content-Type": "image/png"}, IMAGE),
    "raw, another type": ({"Content-Type": "image/jpeg"}, IMAGE),
    "octets": ({"Content-Type": "application/octet-stream; x=y"}, IMAGE),
    "no type": ({}, IMAGE),
    "base64": ({"Content-Type": "application/json"}, json.dumps({"image_base64": b64(IMAGE)}).encode()),
    "escaped": ({"Content-Type": "application/json"},
                json.dumps({"image_base64": b64(IMAGE)}).replace("/", "\\/").encode()),
    "data URI": ({"Content-Type": "application/json; charset=utf-8"},
                 json.dumps({"image_base64": "data:image/png;base64," + b64(IMAGE), "image_url": None}).encode()),
    "bare data URI": ({"Content-Type": "application/json"},
                      json.dumps({"note": [1, {"a": None}], "image_base64": "DATA:;base64," + b64(IMAGE)}).encode()),
    "JSON without a type": ({}, b" \n" + json.dumps({"image_base64": b64(IMAGE)}).encode()),
    "form, image": form([("image", "a.png", IMAGE)]),
    "form, file": form([("note", None, b"hello"), ("file", "b.gif", IMAGE), ("other", "c.png", b"\x89PNG")]),
    "form, no file name": form([("image", None, IMAGE)], boundary="a b'()+_,-./:=?c".replace(" ", "")),
    "form, base64": form([("image_base64", None, b64(IMAGE).encode())]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/inference", "/starlight/inference"])
def test_ways_to_send_an_image(client, path, way):
    headers, body = WAYS[way]
    answer = client.post(path, body=body, headers=headers)
    assert answer.status == 200, answer
    assert without_run(answer) == without_run(
        client.post("/inference", body=IMAGE, headers={"Content-Type": "image/png"}))


def test_chunked_and_compressed_bodies(client):
    import gzip
    answer = client.post("/inference", body=gzip.compress(IMAGE),
                         headers={"Content-Type": "image/png", "Content-Encoding": "gzip"})
    assert answer.json()["extracted_message"] == SECRET
    answer = client.post("/inference", body=iter([IMAGE[:100], IMAGE[100:]]), headers={"Content-Type": "image/png"})
    assert answer.json()["extracted_message"] == SECRET


def test_version_by_query(client):
    for version, status in [("1", 200), ("2", 404), ("nobody", 404)]:
        answer = client.post(f"/inference?model_version={version}", body=IMAGE, headers={"Content-Type": "image/png"})
        assert answer.status == status, answer


def test_without_app_only_the_mounted_path(start_server, detector):
    server = start_server(detector)
    with server.client() as client:
        assert client.post("/inference", body=IMAGE, headers={"Content-Type": "image/png"}).status == 404
        answer = client.post("/starlight/inference", body=IMAGE, headers={"Content-Type": "image/png"})
        assert answer.json()["is_stego"] is True
        paths = client.get("/openapi.json").json()["paths"]
        assert "/starlight/inference" in paths and "/inference" not in paths


def test_mounted_paths_are_documented(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/inference", "/starlight/inference", "/starlight/health", "/starlight/metrics", "/starlight/models/versions",
            "/starlight/models/rollback"} <= set(paths)
    assert client.get("/inference").status == 405


# ---- what is refused

def json_of(**members):
    return {"Content-Type": "application/json"}, json.dumps(members).encode()


PNG = {"Content-Type": "image/png"}
REFUSED = {
    "nothing": (PNG, b"", 400, "body", "empty"),
    "empty object": (*json_of(), 400, None, "image_base64 or image_url is missing"),
    "nulls": (*json_of(image_url=None, image_base64=None), 400, None, "missing"),
    "both": (*json_of(image_url="http://a/", image_base64=b64(IMAGE)), 400, "image_base64", "image_url already"),
    "number": (*json_of(image_base64=7), 400, "image_base64", "must be a string"),
    "url is a list": (*json_of(image_url=["http://a/"]), 400, "image_url", "must be a string"),
    "empty string": (*json_of(image_base64=""), 400, "image_base64", "empty"),
    "empty URL": (*json_of(image_url=""), 400, "image_url", "empty"),
    "not base64": (*json_of(image_base64="???="), 400, "image_base64", "image_base64:"),
    "no padding": (*json_of(image_base64=b64(b"12345").rstrip("=")), 400, "image_base64", "image_base64:"),
    "data URI without base64": (*json_of(image_base64="data:image/png,abc"), 400, "image_base64", ";base64,"),
    "data URI without data": (*json_of(image_base64="data:image/png;base64"), 400, "image_base64", ";base64,"),
    "array": ({"Content-Type": "application/json"}, b"[]", 400, None, "object"),
    "cut off JSON": ({"Content-Type": "application/json"}, b'{"image_base64": "AAAA', 400, "image_base64", "byte"),
    "twice the same": ({"Content-Type": "application/json"}, b'{"image_url": "a", "image_url": "b"}', 400, None, "image_url"),
    "more after the end": ({"Content-Type": "application/json"}, b'{} x', 400, None, "byte"),
    "form with two": (*form([("image", "a", IMAGE), ("file", "b", IMAGE)]), 400, "file", "image already"),
    "form with one twice": (*form([("image", "a", IMAGE), ("image", "b", IMAGE)]), 400, "image", "twice"),
    "form without": (*form([("picture", "a", IMAGE)]), 400, None, "field image is missing"),
    "form with an empty file": (*form([("image", "a", b"")]), 400, "image", "empty"),
    "form without boundary": ({"Content-Type": "multipart/form-data"}, b"--x--", 400, None, "boundary"),
    "form cut off": (form([])[0], form([("image", "a", IMAGE)])[1][:-8], 400, None, "form:"),
    "form of another boundary": (form([], boundary="other")[0], form([("image", "a", IMAGE)])[1], 400, None, "boundary"),
    "urlencoded": ({"Content-Type": "application/x-www-form-urlencoded"}, b"image_url=http://a/", 415, None, "content type"),
    "text": ({"Content-Type": "text/plain"}, IMAGE, 415, None, "content type"),
    "no image": (PNG, b"hello, this is no image at all", 415, "body", None),
    "no image in JSON": (*json_of(image_base64=b64(b"hello, this is no image")), 415, "image_base64", None),
    "no image in a form": (*form([("file", "a.png", b"hello, this is no image")]), 415, "file", None),
    "cut off PNG": (PNG, IMAGE[:100], 422, "body", None),
    "wrong CRC": (PNG, IMAGE[:60] + bytes([IMAGE[60] ^ 1]) + IMAGE[61:], 422, "body", None),
    "zero size": (PNG, starlight.png_header_only(0, 10), 422, "body", None),
    "many pixels": (PNG, starlight.png_header_only(100000, 100000), 413, "body", "pixels"),
    "bomb": (PNG, starlight.png_header_only(300, 300), 422, "body", None),
    "large file": (PNG, IMAGE + b"x" * LIMIT, 413, "body", str(LIMIT)),
    "large base64": (*json_of(image_base64="A" * (LIMIT * 2)), 413, "image_base64", str(LIMIT)),
    "large in a form": (*form([("image", "a", b"x" * (LIMIT + 1))]), 413, "image", str(LIMIT)),
    "URL while switched off": (*json_of(image_url="http://example.org/a.png"), 422, "image_url", "starlight.image_url"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(client, case):
    headers, body, status, field, words = REFUSED[case]
    answer = client.post("/inference", body=body, headers=headers)
    assert answer.status == status, answer
    error = answer.json()["error"]
    assert error["details"] == ({"field": field} if field else {}), answer
    assert words is None or words in error["message"], answer
    assert error["request_id"]
    # The connection and the server go on.
    assert client.post("/inference", body=IMAGE, headers=PNG).json()["is_stego"] is True


def test_every_cut_of_a_form_is_refused(client):
    headers, body = form([("image", "a.png", starlight.clean()), ("note", None, b"x")])
    end = body.rindex(b"--\r\n")
    for length in list(range(0, 160)) + list(range(end - 40, end)):
        assert client.post("/inference", body=body[:length], headers=headers).status == 400, length


def test_model_that_is_no_detector(start_server, detector, tmp_path):
    shutil.copy(detector / "detector.onnx", tmp_path / "numbers.onnx")  # without the steps of a bundle
    server = start_server(tmp_path / "numbers.onnx", args=["--set", "starlight.model=numbers"])
    with server.client() as client:
        answer = client.post("/starlight/inference", body=IMAGE, headers=PNG)
        assert answer.status == 500 and "takes no images" in answer.json()["error"]["message"]


def test_detector_without_the_outputs(start_server, tmp_path):
    folder = starlight.write_detector(tmp_path / "starlight")
    bundle = (folder / "bundle.yaml").read_text().replace("  starlight: true\n", "")
    (folder / "bundle.yaml").write_text(bundle)
    server = start_server(folder)
    with server.client() as client:
        answer = client.post("/starlight/inference", body=IMAGE, headers=PNG)
        assert answer.status == 500 and "'method_probabilities'" in answer.json()["error"]["message"]


def test_verdict_follows_the_threshold_and_a_text_never_changes_it(start_server, tmp_path):
    """The detector is 75 % sure and the text is there, but the threshold is higher: clean, and nothing is shown."""
    server = start_server(starlight.write_detector(tmp_path / "starlight", threshold=0.8), args=["--app", "starlight"])
    with server.client() as client:
        answer = client.post("/inference", body=IMAGE, headers=PNG).json()
    assert (answer["is_stego"], answer["stego_probability"], answer["threshold"]) == (False, 0.75, 0.8)
    assert (answer["stego_type"], answer["extracted_message"], answer["message"]) == (None, None, None)
    assert answer["confidence"] == 0.25


# ---- S2

def test_no_detector(start_server):
    server = start_server(args=["--set", "registry.enabled=false"])
    with server.client() as client:
        answer = client.post("/starlight/inference", body=IMAGE, headers=PNG)
        assert answer.status == 503 and "no model 'starlight' is served" in answer.json()["error"]["message"]
        assert metrics_of(client)['starlight_images_refused_total{reason="unavailable"}'] == "1"
        health = client.get("/starlight/health").json()
        assert health["status"] == "not_ready" and health["models"] == []
        assert client.get("/starlight/models/versions").status == 404


def test_health_is_of_the_detector(start_server, detector, digits):
    server = start_server(detector, digits)
    with server.client() as client:
        health = client.get("/starlight/health").json()
        assert health["status"] == "ok" and [m["name"] for m in health["models"]] == ["starlight"]
        assert len(client.get("/health").json()["models"]) == 2
        versions = client.get("/starlight/models/versions").json()["models"]
        assert [m["name"] for m in versions] == ["starlight"]
        version = versions[0]["available"][0]
        assert (version["status"], version["accuracy"], version["false_positive_rate"]) == ("READY", 0.5, 0.25)
        assert version["size_bytes"] > 0 and version["deployed_at"]
        answer = client.post("/starlight/models/rollback", {})
        assert answer.status == 409 and "served from a file" in answer.json()["error"]["message"]


def test_versions_and_rollback_of_the_registry(start_server, tmp_path):
    server = start_server(args=["--app", "starlight"])
    with server.client() as client, Registry(server.port) as registry:
        for probability in (0.75, 0.625):
            files = read_files(starlight.write_detector(tmp_path / str(probability), stego=probability))
            version = registry.push("starlight", files)
            registry.promote("starlight", version["version"])

        def answers():
            answer = client.post("/inference", body=IMAGE, headers=PNG)
            return answer.status == 200 and (answer.json()["stego_probability"], answer.json()["model_version"])

        until(lambda: answers() == (0.625, "2"), "version 2 is live")
        versions = client.get("/starlight/models/versions").json()["models"][0]
        assert versions["current"] == 2 and len(versions["available"]) == 2 and versions["history"][0]["version"] == 2
        assert client.post("/starlight/models/rollback", {"model": "other"}).status == 400
        back = client.post("/starlight/models/rollback", {"reason": "too eager"})
        assert back.status == 200 and back.json()["version"] == 1
        until(lambda: answers() == (0.75, "1"), "version 1 is live again")
        assert client.post("/starlight/inference?model_version=2", body=IMAGE, headers=PNG).json()["model_version"] == "2"


# ---- the detector that comes with the program

@pytest.fixture(params=["apps/starlight/detector", "share/slipway/apps/starlight/detector"])
def program(request, binary, tmp_path):
    """The program as it lies in a source tree, and installed: a folder with bin/slipway and the bundle."""
    place = tmp_path / "place"
    (place / "bin").mkdir(parents=True)
    shutil.copy2(binary, place / "bin" / "slipway")
    (place / "third_party").symlink_to(ROOT / "third_party")  # ONNX Runtime, unless the system has it
    starlight.write_detector(place / request.param)
    return place


def served(client):
    """Probability and version that /inference answers for IMAGE."""
    answer = client.post("/inference", body=IMAGE, headers=PNG)
    return (answer.json()["stego_probability"], answer.json()["model_version"]) if answer.status == 200 else answer.status


@pytest.mark.parametrize("args", [[], ["--set", "registry.enabled=false"]])
def test_detector_of_the_program(program, tmp_path, args):
    with Server(program / "bin" / "slipway", [], args=["--app", "starlight", *args], cwd=tmp_path) as server:
        with server.client() as client:  # ready means that it is there
            assert served(client) == (0.75, "1")
            assert client.get("/starlight/models/versions").json()["models"][0]["current"] == 1


def test_detector_of_the_program_gives_way(program, tmp_path):
    """To the registry's, without an answer missing; and after a restart the registry's is there from the beginning."""
    other = read_files(starlight.write_detector(tmp_path / "other", stego=0.625))
    args = ["--app", "starlight", "--data-dir", str(tmp_path / "data")]
    with Server(program / "bin" / "slipway", [], args=args, cwd=tmp_path) as server:
        with server.client() as client, Registry(server.port) as registry:
            version = registry.push("starlight", other)
            assert served(client) == (0.75, "1")  # known to the registry, but not live
            registry.promote("starlight", version["version"])
            seen = set()
            until(lambda: seen.add(served(client)) or (0.625, "1") in seen, "the registry's is live")
            assert seen <= {(0.75, "1"), (0.625, "1")}
    with Server(program / "bin" / "slipway", [], args=args, cwd=tmp_path) as server, server.client() as client:
        assert served(client) == (0.625, "1")
        assert not server.logs_of("the model that comes with the application stands in")


def test_a_detector_that_is_named_wins(program, tmp_path):
    named = starlight.write_detector(tmp_path / "named", stego=0.625)
    with Server(program / "bin" / "slipway", [named], args=["--app", "starlight"], cwd=tmp_path) as server:
        with server.client() as client:
            assert served(client) == (0.625, "1")


def test_the_program_without_app_or_detector(program, tmp_path):
    with Server(program / "bin" / "slipway", [], cwd=tmp_path) as server, server.client() as client:
        assert client.post("/starlight/inference", body=IMAGE, headers=PNG).status == 503
    (program / "bundles").mkdir()
    for folder in ("apps", "share"):
        if (program / folder).exists():
            (program / folder).rename(program / "bundles" / folder)
    with Server(program / "bin" / "slipway", [], args=["--app", "starlight"], cwd=tmp_path) as server:
        line = server.wait_log("no model of the application; name one on the command line or push one to the registry")
        assert line["model"] == "starlight" and "apps/starlight/detector" in line["reason"]
        with server.client() as client:
            assert client.post("/inference", body=IMAGE, headers=PNG).status == 503


def test_a_broken_detector_of_the_program(program, tmp_path):
    for model in program.glob("**/detector.onnx"):
        model.write_bytes(b"no model")
    with Server(program / "bin" / "slipway", [], args=["--app", "starlight"], cwd=tmp_path) as server:
        server.wait_log("model unavailable", model="starlight")
        with server.client() as client:
            answer = client.post("/inference", body=IMAGE, headers=PNG)
            assert answer.status == 503


# ---- metrics

def metrics_of(client):
    """Samples of starlight_* without buckets: {line's name and labels: value}."""
    lines = client.get("/starlight/metrics").text.splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("starlight_") and "_bucket" not in line)


def test_metrics(start_server, detector):
    server = start_server(detector, args=["--app", "starlight"])
    with server.client() as client:
        clean = starlight.clean("JPEG")
        for body in (IMAGE, IMAGE, clean):
            client.post("/inference", body=body, headers=PNG)
        client.post("/starlight/inference", body=b"nonsense", headers=PNG)
        client.post("/inference", body=IMAGE[:90], headers=PNG)
        client.post("/inference", {"image_url": "http://example.org/"})
        metrics = metrics_of(client)
        assert metrics['starlight_inferences_total{verdict="stego",method="lsb.rgb",format="png"}'] == "2"
        assert metrics['starlight_inferences_total{verdict="clean",method="none",format="jpeg"}'] == "1"
        assert metrics['starlight_images_refused_total{reason="unsupported_media"}'] == "1"
        assert metrics['starlight_images_refused_total{reason="unprocessable"}'] == "2"
        assert metrics["starlight_image_bytes_total"] == str(2 * len(IMAGE) + len(clean))
        assert metrics["starlight_inference_duration_seconds_count"] == "3"
        assert float(metrics["starlight_inference_duration_seconds_sum"]) > 0
        everything = client.get("/metrics").text
        assert 'route="/inference"' in everything and 'route="/starlight/inference"' in everything


# ---- nonsense, and many at once

def test_mutated_requests(client):
    """Bodies of every form with bytes changed, cut out, doubled and exchanged: an answer each, and none of them a 500."""
    rng = random.Random(20260725)
    seeds = [way for way in WAYS.values()] + [(case[0], case[1]) for case in REFUSED.values() if len(case[1]) < 2000]
    statuses = set()
    for _ in range(1500):
        headers, body = rng.choice(seeds)
        data = bytearray(body)
        for _ in range(rng.choice([1, 1, 2, 8])):
            at, length = rng.randrange(len(data) + 1), rng.choice([1, 1, 2, 40])
            piece = rng.choice([b"", bytes([rng.randrange(256)]), bytes(data[at:at + length]) * 2, b"\r\n", b"--x-boundary-x",
                                b'"', b"\\", b"{", b"}", b"\0", b'"image_url":', b"null", b"=", b"AAAA"])
            data[at:at + length] = piece
        answer = client.post("/inference", body=bytes(data), headers=headers)
        statuses.add(answer.status)
        assert answer.status in (200, 400, 413, 415, 422), (answer, headers, bytes(data))
    assert {200, 400, 415, 422} <= statuses
    assert client.post("/inference", body=IMAGE, headers=PNG).json()["extracted_message"] == SECRET


@pytest.mark.slow
def test_many_at_once(app):
    """Clients with different images and bodies never see each other's answers."""
    images = {f"text number {i}, long enough to be seen": None for i in range(12)}
    for i, text in enumerate(images):
        images[text] = starlight.with_rgb(text, "msb-first" if i % 2 else "lsb-first", size=(40 + i, 40))
    faults = []

    def work(seed):
        try:
            with app.client() as client:
                for i in range(30):
                    text = list(images)[(seed * 7 + i) % len(images)]
                    image = images[text]
                    headers, body = [(PNG, image), form([("image", "x", image)]),
                                     json_of(image_base64=b64(image)), (PNG, image[:77])][(seed + i) % 4]
                    answer = client.post("/inference", body=body, headers=headers)
                    expected = (422, None) if body == image[:77] else (200, text)
                    got = (answer.status, answer.json().get("extracted_message"))
                    assert got == expected
        except BaseException as fault:  # of a thread: told by the test
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]


# ---- documentation

def test_commands_of_the_documentation(app, tmp_path):
    """Every curl line of docs/starlight.md, as it stands there but for the port."""
    (tmp_path / "image.png").write_bytes(IMAGE)
    text = (ROOT / "docs" / "starlight.md").read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines()]
    lines = [line for line in lines if line.startswith("curl ")]
    assert len(lines) == 8
    for line in lines:
        command = line.replace("127.0.0.1:8080", f"127.0.0.1:{app.port}")
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, line
        if "image_url" in line:
            assert "starlight.image_url switches it on" in done.stdout
        elif "/inference" in line:
            assert json.loads(done.stdout)["extracted_message"] == SECRET, line
        elif "rollback" in line:
            assert "served from a file" in done.stdout
        elif "metrics" in line:
            documented = set(re.findall(r"^\| `(starlight_\w+)", text, re.M))
            # Those without labels are there from the beginning; the others were used by the lines before.
            shown = set(re.findall(r"^# TYPE (starlight_\w+)", done.stdout, re.M))
            assert documented - {"starlight_image_fetches_total"} <= shown <= documented
        else:
            assert "starlight" in done.stdout and json.loads(done.stdout), line
