"""slipway load and slo check: against slipway serve, and against servers that behave as none should.

Runs end by a number of requests, or by a timetable that says how many there must be; nothing asserts how long it took. A
tool that hung would be ended by the time limit of run_slipway.
"""
import json
import os
import signal
import socket
import subprocess

import pytest

from helpers.hostile import Hostile

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def load(run_slipway):
    """load(url, option...) -> (process, result of --json)."""
    def run(*arguments, code=0, **options):
        done = run_slipway("load", *arguments, "--json", **options)
        assert done.returncode == code, done.stdout[-2000:] + done.stderr
        return done, json.loads(done.stdout)
    return run


def only_failure(result):
    """Its class and example; every request must have failed so."""
    (name, failure), = result["failures"].items()
    assert failure["count"] == result["requests"] == result["errors"] and result["error_rate"] == 1
    return name, failure["example"]


# ---- against slipway serve


def test_images_of_a_folder_in_a_closed_loop(server, digits, load):
    _, result = load(f"{server.url}/v1/models/digits:predict", "--body", digits / "samples", "--requests", 300,
                     "--concurrency", 5, "--threads", 2)
    assert (result["kind"], result["requests"], result["errors"]) == ("load", 300, 0)
    assert result["statuses"] == {"200": 300} and result["failures"] == {} and not result["interrupted"]
    files = [p for p in (digits / "samples").iterdir()]
    assert result["settings"]["bodies"]["count"] == len(files)
    assert {f["content_type"] for f in result["settings"]["bodies"]["files"]} == {"image/png"}
    latency = result["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    assert sum(count for _, _, count in result["latency_histogram"]["buckets"]) == 300
    assert sum(row["requests"] for row in result["rows"]) == 300
    assert result["connections"] == 5 and "open_loop" not in result


def test_json_in_an_open_loop(start_server, test_models, load, tmp_path):
    server = start_server(test_models / "mlp_45.onnx")
    body = tmp_path / "request.json"
    golden = json.loads((test_models / "mlp_45.golden.jsonl").read_text().splitlines()[0])
    body.write_text(json.dumps({"inputs": golden["inputs"]}))
    _, result = load(f"{server.url}/v2/models/mlp_45/infer", "--body", body, "--rate", 500, "--duration", "400ms",
                     "--arrivals", "poisson", "--seed", 5)
    _, again = load(f"{server.url}/v2/models/mlp_45/infer", "--body", body, "--rate", 500, "--duration", "400ms",
                    "--arrivals", "poisson", "--seed", 5)
    assert result["errors"] == again["errors"] == 0
    assert result["requests"] == again["requests"] > 100  # the seed says when they are due
    assert result["settings"]["bodies"]["files"][0]["content_type"] == "application/json"
    assert result["settings"]["arrivals"] == "poisson" and result["open_loop"]["dropped"] == 0


def test_get_without_a_body_and_output_and_text(server, run_slipway, tmp_path):
    file = tmp_path / "load.json"
    done = run_slipway("load", f"{server.url}/health/live", "--requests", 50, "--output", file)
    assert done.returncode == 0 and done.stderr == ""
    assert "closed loop" in done.stdout and "200: 50" in done.stdout and "median" in done.stdout
    result = json.loads(file.read_text())
    assert result["settings"]["method"] == "GET" and result["settings"]["bodies"]["count"] == 0
    assert result["requests"] == 50


def test_refused_requests_are_failures_with_the_servers_words(server, load):
    done, result = load(f"{server.url}/v2/models/nothing/infer", "--method", "POST", "--requests", 10)
    name, example = only_failure(result)
    assert name == "status" and example.startswith("404") and "nothing" in example
    assert result["statuses"] == {"404": 10}
    _, result = load(f"{server.url}/v2/models/nothing/infer", "--method", "POST", "--requests", 10, "--expect-status", "4xx")
    assert result["errors"] == 0 and result["successes"] == 10


def test_head_has_no_body(server, load):
    _, result = load(f"{server.url}/health/live", "--method", "HEAD", "--requests", 20)
    assert result["errors"] == 0


def test_secret_headers_are_sent_but_not_kept(load):
    with Hostile(lambda c: c.forever(OK)) as server:
        _, result = load(server.url, "--requests", 3, "--header", "Authorization: Bearer abc123", "--header", "X-Team: blue")
    assert b"Authorization: Bearer abc123\r\n" in server.requests[0] and b"X-Team: blue\r\n" in server.requests[0]
    assert "abc123" not in json.dumps(result)
    assert {"name": "X-Team", "value": "blue"} in result["settings"]["headers"]


# ---- servers that behave badly


def drip(connection):
    """An answer byte by byte; a whole one."""
    while connection.read() is not None:
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n":
            connection.send(bytes([byte]))


def endless(start, piece):
    def serve(connection):
        if connection.read() is not None:
            connection.send(start)
            while True:
                connection.send(piece)
    return serve


HOSTILE = {
    "drips": (drip, None, ""),
    "continues_first": (lambda c: c.forever(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), None, ""),
    "ends_with_the_connection": (lambda c: c.answer(b"HTTP/1.0 200 OK\r\n\r\nto the end"), None, ""),
    "closes_mid_body": (lambda c: c.answer(OK[:-1]), "short_body", "closed"),
    "closes_mid_head": (lambda c: c.answer(OK[:20]), "short_body", "closed"),
    "closes_at_once": (lambda c: None, "closed", ""),
    "closes_after_the_request": (lambda c: c.read(), "closed", ""),
    "says_too_little": (lambda c: c.forever(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok"), "protocol", "behind"),
    "is_no_http": (lambda c: c.forever(b"220 mail.example ESMTP\r\n"), "protocol", "status line"),
    "is_garbage": (lambda c: c.forever(bytes(range(256)) * 8), "protocol", "status line"),
    "is_zeros": (lambda c: c.forever(bytes(100000)), "protocol", ""),
    "never_ends_its_headers": (endless(b"HTTP/1.1 200 OK\r\n", b"A: " + b"b" * 4000 + b"\r\n"), "protocol", "64 KiB"),
    "never_ends_a_header": (endless(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 4000), "protocol", "64 KiB"),
    "never_ends_its_body": (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"b" * 65536), "too_large", "limit"),
    "never_ends_its_chunks": (endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"b" * 4096 + b"\r\n"),
                              "too_large", "limit"),
    "announces_too_much": (lambda c: c.forever(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "too_large", "limit"),
    "continues_for_ever": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "protocol", "1xx"),
}


@pytest.mark.parametrize("behaviour", HOSTILE)
def test_a_server_that(behaviour, load):
    serve, failure, example = HOSTILE[behaviour]
    with Hostile(serve) as server:
        code = 3 if failure else 0  # nothing that can be called an answer
        done, result = load(server.url, "--requests", 20, "--concurrency", 4, "--max-body", "1MiB", code=code)
        assert result["requests"] == 20
        if failure is None:
            assert result["errors"] == 0
        else:
            name, text = only_failure(result)
            assert name == failure and example in text
            assert "no request was answered" in done.stderr


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
def test_a_server_that_never_answers_does_not_hang_the_tool(start, load):
    def serve(connection):
        if connection.answer(start):
            connection.wait_gone()
    with Hostile(serve) as server:
        _, result = load(server.url, "--duration", "300ms", "--timeout", "200ms", "--concurrency", 3, code=3)
    name, example = only_failure(result)
    assert name == "timeout" and ("not whole" in example) == bool(start)
    assert result["requests"] >= 3


def test_an_open_loop_shows_a_stall_in_all_requests_it_delays(load):
    """25 requests are due while the only connection waits for an answer. A closed loop sees one slow request."""
    with Hostile(lambda c: c.wait_gone()) as server:
        _, opened = load(server.url, "--rate", 50, "--duration", "500ms", "--timeout", "1s", "--concurrency", 1, code=3)
        _, closed = load(server.url, "--duration", "500ms", "--timeout", "1s", "--concurrency", 1, code=3)
    assert only_failure(opened)[0] == only_failure(closed)[0] == "timeout"
    assert opened["requests"] == 25 and opened["open_loop"]["late"] == 24
    assert closed["requests"] == 1


def test_a_server_that_gives_up_kept_connections_costs_no_failures(load):
    with Hostile(lambda c: c.answer(OK)) as server:
        _, result = load(server.url, "--requests", 30, "--concurrency", 2)
    assert result["errors"] == 0 and result["successes"] == 30 and result["connections"] == 30


def test_nobody_listens(load):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done, result = load(f"http://127.0.0.1:{port}/", "--requests", 2, code=3)
    assert only_failure(result) == ("connect", "Connection refused") and "Connection refused" in done.stderr


def test_an_early_answer_to_a_large_body(load, tmp_path):
    """The server refuses before it has read the body, and closes: that is an answer."""
    body = tmp_path / "large.bin"
    body.write_bytes(bytes(32 << 20))

    def serve(connection):
        connection.sock.recv(1)
        connection.send(b"HTTP/1.1 413 x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        connection.wait_gone()
    with Hostile(serve) as server:
        _, result = load(server.url, "--body", body, "--requests", 4, "--concurrency", 2)
    assert only_failure(result) == ("status", "413 big")


def test_a_large_body_arrives_whole(load, tmp_path):
    body = tmp_path / "large.bin"
    body.write_bytes(os.urandom(8 << 20))
    bodies = []

    def serve(connection):
        while (received := connection.read()) is not None:
            bodies.append(received)
            connection.send(OK)
    with Hostile(serve) as server:
        _, result = load(server.url, "--body", body, "--requests", 3, "--concurrency", 1)
    assert result["errors"] == 0 and set(bodies) == {body.read_bytes()}
    assert b"Content-Type: application/octet-stream\r\n" in server.requests[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_early_with_a_report(number, binary, tmp_path):
    """The server sends the signal itself, once some requests are answered."""
    file, processes = tmp_path / "load.json", []

    def serve(connection):
        for _ in range(20):
            if not connection.answer(OK):
                return
        processes[0].send_signal(number)
        connection.wait_gone()
    with Hostile(serve) as server:
        processes.append(subprocess.Popen([str(binary), "load", server.url, "--duration", "1h", "--timeout", "1h",
                                           "--concurrency", "1", "--output", str(file)], stdout=subprocess.PIPE, text=True))
        out, _ = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 0 and "(interrupted)" in out
    result = json.loads(file.read_text())
    assert result["interrupted"] and result["successes"] == 20 and result["errors"] == 0


# ---- TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, and one for another name."""
    folder = tmp_path_factory.mktemp("tls")
    made = {}
    for name, san in (("right", "IP:127.0.0.1"), ("wrong", "DNS:other.example")):
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={san}", "-keyout", key, "-out", cert],
                       check=True, capture_output=True, timeout=60)
        made[name] = (cert, key)
    return made


def test_https(certificate, load):
    with Hostile(lambda c: c.forever(OK), tls=certificate["right"]) as server:
        trusted = {"SSL_CERT_FILE": str(certificate["right"][0])}
        _, result = load(server.url, "--requests", 40, "--concurrency", 3, env=trusted)
        assert result["errors"] == 0 and result["connections"] == 3
        _, result = load(server.url, "--requests", 5, "--concurrency", 1, code=3)
        name, example = only_failure(result)
        assert name == "tls" and example.startswith("certificate:")
        _, result = load(server.url, "--requests", 5, "--concurrency", 1, "--insecure-tls")
        assert result["errors"] == 0


def test_https_with_the_certificate_of_another_name(certificate, load):
    with Hostile(lambda c: c.forever(OK), tls=certificate["wrong"]) as server:
        trusted = {"SSL_CERT_FILE": str(certificate["wrong"][0])}
        _, result = load(server.url, "--requests", 2, "--concurrency", 1, env=trusted, code=3)
    assert only_failure(result)[0] == "tls"


def test_a_large_body_over_https(certificate, load, tmp_path):
    body = tmp_path / "large.bin"
    body.write_bytes(os.urandom(4 << 20))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes(3000000)
    with Hostile(lambda c: c.forever(answer), tls=certificate["right"]) as server:
        _, result = load(server.url, "--body", body, "--requests", 6, "--concurrency", 2, "--insecure-tls")
    assert result["errors"] == 0 and result["bytes_received"] > 6 * 3000000


def test_https_to_a_server_that_speaks_plainly(load):
    with Hostile(lambda c: c.forever(OK)) as server:
        _, result = load(server.url.replace("http:", "https:"), "--requests", 2, "--timeout", "2s", code=3)
    assert only_failure(result)[0] in ("tls", "connect")


# ---- usage


@pytest.mark.parametrize("words, message", [
    (["ftp://h/"], "neither http:// nor https://"),
    (["http://u:p@h/"], "user names"),
    (["http://h/", "--duration", "30"], "--duration is '30'"),
    (["http://h/", "--duration", "0s"], "--duration is '0s'"),
    (["http://h/", "--timeout", "0"], "--timeout is '0'"),
    (["http://h/", "--rate", "0"], "--rate is '0'"),
    (["http://h/", "--rate", "1e-300"], "--rate is '1e-300'"),
    (["http://h/", "--rate", "1e8"], "--rate is '1e8'"),
    (["http://h/", "--arrivals", "poisson"], "--arrivals needs a --rate"),
    (["http://h/", "--rate", "nan"], "--rate is 'nan'"),
    (["http://h/", "--rate", "5", "--arrivals", "x"], "--arrivals is 'x'"),
    (["http://h/", "--concurrency", "0"], "--concurrency takes"),
    (["http://h/", "--expect-status", "20"], "--expect-status is '20'"),
    (["http://h/", "--expect-status", "6xx"], "--expect-status is '6xx'"),
    (["http://h/", "--header", "x"], "'x' is no header"),
    (["http://h/", "--header", "Content-Length: 5"], "not set by hand"),
    (["http://h/", "--method", "get"], "'get' is no method"),
    (["http://h/", "--order", "x"], "--order is 'x'"),
    (["http://h/", "--max-body", "x"], "--max-body is 'x'"),
    (["http://h/", "--content-type", "a\nb"], "--content-type"),
    ([], "URL is missing"),
])
def test_wrong_usage_of_load(words, message, run_slipway):
    done = run_slipway("load", *words)
    assert done.returncode == 2 and message in done.stderr and done.stdout == ""


def test_files_that_cannot_be_used_are_told_before_the_load(run_slipway, tmp_path):
    with Hostile(lambda c: c.forever(OK)) as server:
        done = run_slipway("load", server.url, "--requests", 1, "--body", tmp_path / "gone.json")
        assert done.returncode == 3 and "gone.json" in done.stderr
        done = run_slipway("load", server.url, "--requests", 1, "--output", tmp_path / "no" / "load.json")
        assert done.returncode == 3 and "load.json" in done.stderr
        (tmp_path / "empty").mkdir()
        done = run_slipway("load", server.url, "--requests", 1, "--body", tmp_path / "empty")
        assert done.returncode == 2 and "holds no file" in done.stderr
        assert server.connections == 0


# ---- slo check


@pytest.fixture
def result(server, run_slipway, tmp_path):
    file = tmp_path / "load.json"
    assert run_slipway("load", f"{server.url}/health/live", "--requests", 200, "--output", file).returncode == 0
    return file


def test_limits_that_are_kept(result, run_slipway):
    done = run_slipway("slo", "check", result, "--max-latency-ms", 60000, "--min-throughput", 0.001, "--max-error-rate", 0,
                       "--percentile", 99.9)
    assert done.returncode == 0 and done.stdout.count("ok ") == 3 and "latency p99.9" in done.stdout


def test_limits_that_are_broken(result, run_slipway):
    done = run_slipway("slo", "check", result, "--max-latency-ms", 0, "--min-throughput", 1e9, "--json")
    verdict = json.loads(done.stdout)
    assert done.returncode == 1 and verdict["passed"] is False
    assert [c["passed"] for c in verdict["criteria"]] == [False, False]
    done = run_slipway("slo", "check", result, "--max-latency-ms", 60000, "--min-throughput", 1e9)
    assert done.returncode == 1 and "FAIL  throughput" in done.stdout and "ok    latency p95" in done.stdout


def test_any_percentile_follows_from_the_histogram(result, run_slipway):
    values = []
    for percent in (50, 62.5, 90, 95, 99, 99.99):
        done = run_slipway("slo", "check", result, "--max-latency-ms", 60000, "--percentile", percent, "--json")
        values.append(json.loads(done.stdout)["criteria"][0]["value"])
    kept = json.loads(result.read_text())["latency_ms"]
    assert values == sorted(values) and values[-1] <= kept["max"]
    assert values[0] == pytest.approx(kept["p50"], rel=1e-6) and values[3] == pytest.approx(kept["p95"], rel=1e-6)


@pytest.mark.parametrize("words, message", [
    ([], "at least one of"),
    (["--max-latency-ms", "-1"], "--max-latency-ms is '-1'"),
    (["--max-latency-ms", "1ms"], "--max-latency-ms is '1ms'"),
    (["--min-throughput", "x"], "--min-throughput is 'x'"),
    (["--max-error-rate", "1.1"], "--max-error-rate is '1.1'"),
    (["--max-latency-ms", "1", "--percentile", "49"], "--percentile is '49'"),
    (["--max-latency-ms", "1", "--percentile", "100"], "--percentile is '100'"),
])
def test_wrong_usage_of_slo_check(words, message, run_slipway, tmp_path):
    file = tmp_path / "r.json"
    file.write_text("{}")
    done = run_slipway("slo", "check", file, *words)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", "{\"requests\": 1}", "\0" * 100, "[" * 100000])
def test_what_is_no_result_exits_with_3(text, run_slipway, tmp_path):
    file = tmp_path / "r.json"
    if text is not None:
        file.write_text(text)
    done = run_slipway("slo", "check", file, "--max-latency-ms", 1)
    assert done.returncode == 3 and "r.json" in done.stderr and done.stdout == ""


def test_a_result_without_requests_is_refused(result, run_slipway, tmp_path):
    changed = json.loads(result.read_text())
    changed["requests"] = 0
    changed["latency_histogram"] = {"unit": "ns", "count": 0, "min": 0, "max": 0, "buckets": []}
    file = tmp_path / "none.json"
    file.write_text(json.dumps(changed))
    done = run_slipway("slo", "check", file, "--max-latency-ms", 1)
    assert done.returncode == 3 and "no requests" in done.stderr
