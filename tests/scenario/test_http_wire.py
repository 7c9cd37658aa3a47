"""HTTP/1.1 on the wire: what an HTTP library would hide."""
import json
import re
import socket

import pytest

from helpers.client import tensor
from helpers.server import read_all

ROW = [0.25] * 45
BODY = json.dumps({"inputs": [tensor("features", [1, 45], "FP32", ROW)]}).encode()
HEAD = b"POST /v2/models/mlp_45/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
def server(start_server, test_models):
    return start_server(test_models / "mlp_45.onnx")


def answers(data):
    """[(status, headers, body)] of a byte stream of answers with Content-Length."""
    found = []
    while data:
        head, rest = data.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        headers = dict(re.match(rb"([^:]+):\s*(.*)", l).groups() for l in lines[1:])
        headers = {k.lower().decode(): v.decode() for k, v in headers.items()}
        length = int(headers.get("content-length", 0))
        found.append((int(lines[0].split()[1]), headers, rest[:length]))
        data = rest[length:]
    return found


def request(body=BODY, extra=b""):
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_pipelining_keeps_order(server):
    ids = [f"id-{i}" for i in range(40)]
    stream = b"".join(request(extra=b"X-Request-Id: %s\r\n" % i.encode()) for i in ids[:-1])
    stream += request(extra=b"X-Request-Id: %s\r\nConnection: close\r\n" % ids[-1].encode())
    with server.connect() as c:
        c.sendall(stream)
        got = answers(read_all(c))
    assert [s for s, _, _ in got] == [200] * len(ids)
    assert [h["x-request-id"] for _, h, _ in got] == ids


def test_byte_by_byte(server):
    with server.connect() as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in request(extra=b"Connection: close\r\n"):
            c.sendall(bytes([b]))
        assert answers(read_all(c))[0][0] == 200


def test_expect_continue(server):
    with server.connect() as c:
        c.sendall(HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        first = c.recv(1000)
        assert first.startswith(b"HTTP/1.1 100 ")
        c.sendall(BODY)
        rest = read_all(c)
        assert answers((first + rest).split(b"\r\n\r\n", 1)[1])[0][0] == 200
    with server.connect() as c:
        c.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n")
        assert read_all(c).startswith(b"HTTP/1.1 413"), "a body that will be refused must not be asked for"


def test_chunked_body(server):
    pieces = [BODY[i:i + 37] for i in range(0, len(BODY), 37)]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    got = answers(server.raw(HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked))
    assert got[0][0] == 200


@pytest.mark.parametrize("lines", [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 5x\r\n",
    b"Content-Length: 99999999999999999999999999\r\n",
])
def test_smuggling_is_refused(server, lines):
    got = server.raw(HEAD + lines + b"\r\n0\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    # libmicrohttpd 0.9.75 answers these itself, in HTML, and writes the header of that answer twice; what counts is that
    # it closes and that the bytes after the refused header are never taken for a request.
    assert re.match(rb"HTTP/1.[01] (400|413)", got) and b" 200 " not in got, got[:500]
    assert server.client().get("/health/live").status == 200


@pytest.mark.parametrize("junk", [b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                                  b"GET / HTTP/1.1\r\n" + b"A" * 100000 + b"\r\n\r\n",
                                  b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                                  b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20000 + b"\r\n"])
def test_junk_is_refused(server, junk):
    with server.connect() as c:
        try:
            c.sendall(junk)
            c.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused while still being sent
        got = read_all(c)
    assert not got.startswith(b"HTTP/1.1 2"), got[:200]
    assert server.client().get("/health/live").status == 200


def test_head_and_keep_alive(server):
    stream = b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as c:
        c.sendall(stream)
        data = read_all(c)
    head, rest = data.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200") and rest.startswith(b"HTTP/1.1 200"), data[:400]
    assert json.loads(answers(rest)[0][2])["engine"] == "onnxruntime"


def test_http_1_0(server):
    got = server.raw(b"GET /health/live HTTP/1.0\r\n\r\n")
    assert re.match(rb"HTTP/1.[01] 200", got)


def test_gzip_answers(server):
    with server.client() as client:
        plain = client.get("/openapi.json")
        packed = client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in packed.headers["Vary"]
        assert packed.body == plain.body and len(packed.wire_body) < len(plain.wire_body) / 2
        for accepted in ("gzip;q=0", "identity", "br", ""):
            assert "Content-Encoding" not in client.get("/openapi.json", headers={"Accept-Encoding": accepted}).headers
        small = client.infer("mlp_45", [tensor("features", [1, 45], "FP32", ROW)])
        assert "Content-Encoding" not in small.headers


def test_request_id(server):
    with server.client() as client:
        assert client.get("/version", headers={"X-Request-Id": "abc-1.2:3"}).headers["X-Request-Id"] == "abc-1.2:3"
        made = {client.get("/version").headers["X-Request-Id"] for _ in range(20)}
        assert len(made) == 20
        for bad in ("x" * 500, 'a"b', "a b"):
            assert client.get("/version", headers={"X-Request-Id": bad}).headers["X-Request-Id"] != bad


def config(tmp_path, text):
    path = tmp_path / "slipway.yaml"
    path.write_text(text)
    return ["--config", path]


def test_slow_headers(start_server, test_models, tmp_path):
    server = start_server(test_models / "mlp_45.onnx", args=config(tmp_path, "server: {header_timeout: 300ms}"))
    with server.connect() as c:
        c.sendall(b"GET /health HTTP/1.1\r\nHost:")
        got = read_all(c)  # ends by the server's own clock
    assert got == b"" or got.startswith(b"HTTP/1.1 408"), got
    assert server.client().get("/health/live").status == 200


def test_slow_body(start_server, test_models, tmp_path):
    server = start_server(test_models / "mlp_45.onnx", args=config(tmp_path, "server: {body_timeout: 300ms}"))
    with server.connect() as c:
        c.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        got = read_all(c)
    assert got.startswith(b"HTTP/1.1 408"), got
    assert server.client().get("/health/live").status == 200


def test_idle_connections_are_closed(start_server, test_models, tmp_path):
    server = start_server(test_models / "mlp_45.onnx", args=config(tmp_path, "server: {idle_timeout: 300ms}"))
    with server.connect() as c:
        c.sendall(request())
        data = read_all(c)
    assert answers(data)[0][0] == 200


def test_too_many_connections(start_server, test_models, tmp_path):
    server = start_server(test_models / "mlp_45.onnx", args=config(tmp_path, "server: {max_connections: 8}"))
    held, served = [], 0
    try:
        # The connection that asked for readiness may still count for a moment, so that one of these is refused.
        while served < 8 and len(held) < 100:
            held.append(server.connect())
            held[-1].sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                served += held[-1].recv(1000).startswith(b"HTTP/1.1 200")
            except ConnectionResetError:
                pass
        assert served == 8
        with server.connect() as c:
            assert c.recv(1000).startswith(b"HTTP/1.1 503")
    finally:
        for c in held:
            c.close()


def test_client_that_goes_away(server):
    for cut in (10, len(HEAD), len(HEAD) + 100):
        for _ in range(20):
            with server.connect() as c:
                c.sendall(request()[:cut])
    for _ in range(50):
        with server.connect() as c:
            c.sendall(request())  # does not wait for the answer
    assert server.client().get("/health/live").status == 200
