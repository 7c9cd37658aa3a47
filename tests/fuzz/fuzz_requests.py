#!/usr/bin/python3
"""Fuzzes a running server over HTTP: N mutated requests, then the server must be healthy and answer right.

    tests/fuzz/fuzz_requests.py --requests 1000000 [--seed 1] [--processes 2] [--binary build/slipway] [MODEL...]

Starts the server itself on a free port of 127.0.0.1 (with the models given, else those of tools/make_test_models.py and
models/digits). Nine in ten requests are well-framed HTTP with mutated paths, headers and bodies, pipelined on keep-alive
connections, so that every one must get an answer; the tenth is raw mutated bytes on a connection of its own. Checked:
every answer is well-formed HTTP with an expected status; an error names its cause in JSON; no 500 but for a model that
fails; the process lives; at the end the reference request gets its right answer and memory has not grown by more than
--growth MB. The same seed sends the same requests. Exit code 0 healthy, 1 not.
"""
import argparse
import gzip
import json
import multiprocessing
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STATUSES = {200, 400, 404, 405, 408, 413, 414, 415, 417, 422, 429, 431, 500, 501, 503, 505}
PIPELINE = 16
TOKENS = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"1e-400", b"null", b"true", b"[]", b"{}", b"[[[[[[[[",
          b"]]]]", b'"\\ud800"', b'"\\u0000"', b"9223372036854775808", b"-9223372036854775809", b"0.1.2", b"01", b"\xff\xfe",
          b"1" * 400, b"[" * 3000, b'{"a":' * 300, b'"shape":[-1]', b'"shape":[4294967296,4294967296]', b'"datatype":"FP16"',
          b'"data":', b'"inputs":', b'"parameters":{"binary_data_size":18446744073709551615}', b'"binary_data":true',
          b'"name":"features"', b'"instances":', b'{"b64":"!!!!"}', b"\x00" * 8, b"\r\n\r\n", b"%00", b"%2e%2e/"]


def tensor(name, shape, datatype, data):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def seeds():
    """(method, path, headers, body) of requests that are right, to be mutated."""
    row = [i / 45 for i in range(45)]
    oip = json.dumps({"id": "1", "inputs": [tensor("features", [1, 45], "FP32", row)],
                      "outputs": [{"name": "probability"}]}).encode()
    blob = b"\x00\x00\x80\x3f" * 45
    binary_header = json.dumps({"inputs": [{"name": "features", "shape": [1, 45], "datatype": "FP32",
                                            "parameters": {"binary_data_size": 180}}],
                                "parameters": {"binary_data_output": True}}).encode()
    png = (ROOT / "models" / "digits" / "samples").glob("*.png")
    images = [p.read_bytes() for p in sorted(png)[:3]]
    js = {"Content-Type": "application/json"}
    found = [
        ("POST", "/v2/models/mlp_45/infer", js, oip),
        ("POST", "/v2/models/mlp_45/versions/1/infer", js, oip),
        ("POST", "/v2/models/mlp_45/infer", {"Content-Type": "application/octet-stream",
                                             "Inference-Header-Content-Length": str(len(binary_header))}, binary_header + blob),
        ("POST", "/v2/models/mlp_45/infer", {"Content-Type": "application/octet-stream",
                                             "Inference-Header-Content-Length": "0"}, blob),
        ("POST", "/v2/models/mlp_45/infer", dict(js, **{"Content-Encoding": "gzip"}), gzip.compress(oip, mtime=0)),
        ("POST", "/v2/models/mlp_45/infer", dict(js, **{"Content-Encoding": "deflate"}), zlib.compress(oip)),
        ("POST", "/v1/models/mlp_45:predict", js, json.dumps({"instances": [row, row]}).encode()),
        ("POST", "/v1/models/mlp_45:predict", js, json.dumps({"inputs": {"features": [row]}}).encode()),
        ("POST", "/v2/repository/index", js, b'{"ready": true}'),
        ("GET", "/v2/models/mlp_45", {}, b""),
        ("GET", "/v2/models/mlp_45/stats", {"Accept-Encoding": "gzip"}, b""),
        ("GET", "/models/versions?model=mlp_45", {}, b""),
        ("GET", "/metrics", {}, b""),
        ("POST", "/monitoring/v1/metrics/log", js, json.dumps({"metrics": [
            {"name": "orders", "value": 3, "labels": {"shop": "a"}}]}).encode()),
        ("GET", "/monitoring/v1/metrics/stats?metric=latency_ms&model=mlp_45&window=6h&granularity=1m&label=version:1", {}, b""),
        ("GET", "/monitoring/v1/alerts/recent?limit=10&severity=critical&state=firing&since=2026-01-01T00:00:00Z", {}, b""),
        ("POST", "/monitoring/v1/alerts/acknowledge", js,
         json.dumps({"alert_id": "0" * 32, "acknowledged_by": "a", "note": "b"}).encode()),
    ]
    for image in images:
        found.append(("POST", "/v1/models/digits:predict", {"Content-Type": "image/png"}, image))
    return found


def mutate_bytes(rng, data, limit=1 << 18):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        kind, at = rng.randrange(6), rng.randrange(len(data) + 1)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        elif kind == 2:
            del data[at:at + rng.choice((1, 2, 8, 64))]
        elif kind == 3:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 4:
            data[at:at + rng.randrange(16)] = rng.choice(TOKENS)
        else:
            end = at + rng.randrange(64)
            data[at:at] = data[at:end]
    return bytes(data[:limit])


def clean_header(text):
    """A header value or path that keeps the framing: no control characters, no blanks."""
    return "".join(c if 0x21 <= ord(c) < 0x7f else "%" + format(ord(c) & 255, "02x") for c in text)


def framed(rng, seed):
    method, path, headers, body = seed
    headers = dict(headers)
    what = rng.randrange(10)
    if what < 6 and body:
        body = mutate_bytes(rng, body)
    elif what == 6:
        path = "/" + clean_header(mutate_bytes(rng, path[1:].encode(), 2000).decode("latin-1"))
    elif what == 7 and headers:
        name = rng.choice(sorted(headers))
        headers[name] = clean_header(mutate_bytes(rng, headers[name].encode(), 500).decode("latin-1"))
    elif what == 8:
        method = rng.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
    else:
        body = mutate_bytes(rng, body)
        headers["Content-Encoding"] = rng.choice(("gzip", "deflate", "br", "identity", "gzip, gzip"))
    # Only requests whose answer closes nothing by rule; the server may still close after an error.
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Broken(Exception):
    pass


class Connection:
    def __init__(self, port):
        self.port, self.sock, self.buffer = port, None, b""

    def open(self):
        self.close()
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.buffer = b""

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None

    def _more(self):
        try:
            data = self.sock.recv(1 << 16)
        except socket.timeout as e:
            raise Broken("no answer within 30 s") from e
        except ConnectionError:
            data = b""
        self.buffer += data
        return bool(data)

    def answer(self):
        """(status, body, closes) of the next answer; None at the end of the connection."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                if self.buffer:
                    raise Broken(f"half an answer: {self.buffer[:200]!r}")
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        fields = {k.lower(): v.strip() for k, v in (l.split(b":", 1) for l in lines[1:])}
        if status == 100:
            return self.answer()
        length = int(fields.get(b"content-length", b"-1"))
        if length < 0:
            raise Broken(f"an answer without Content-Length: {head!r}")
        while len(self.buffer) < length:
            if not self._more():
                raise Broken(f"a body cut at {len(self.buffer)} of {length}: {head!r}")
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        if fields.get(b"content-encoding") == b"gzip":
            body = gzip.decompress(body)
        return status, fields, body


def check(status, fields, body, request):
    if status not in STATUSES:
        raise Broken(f"status {status} for {request[:300]!r}: {body[:300]!r}")
    if status >= 400 and fields.get(b"content-type", b"").startswith(b"application/json"):
        error = json.loads(body)["error"]
        text = error if isinstance(error, str) else error["message"]
        if not text:
            raise Broken(f"an error without a message for {request[:300]!r}")
        code = None if isinstance(error, str) else error["code"]
        if status == 500 and (code or text) and "NaN" not in text and "infinit" not in text and code != "inference_failed":
            raise Broken(f"500 {text!r} for {request[:400]!r}")


def pipelined(connection, requests, counts):
    """Sends them at once; unanswered ones (the server closed after an error) are sent again alone."""
    waiting = list(requests)
    while waiting:
        if not connection.sock:
            connection.open()
        try:
            connection.sock.sendall(b"".join(waiting))
        except ConnectionError:
            pass  # closed while sending: what was answered before is still read
        answered = 0
        while answered < len(waiting):
            answer = connection.answer()
            if answer is None:
                break
            check(*answer, waiting[answered])
            counts[answer[0]] = counts.get(answer[0], 0) + 1
            answered += 1
            if answer[1].get(b"connection", b"").lower() == b"close":
                break
        if answered < len(waiting):
            connection.close()
        if answered == 0 and len(waiting) == 1:
            # A request may be refused without an answer only by a reset during its upload; try once alone.
            counts["unanswered"] = counts.get("unanswered", 0) + 1
            answered = 1
        elif answered == 0:
            pipelined(connection, waiting[:1], counts)
            answered = 1
        waiting = waiting[answered:]


def raw(port, data, counts):
    """Bytes that may be half a request, an end of the sending side, and, without waiting for more than what comes at
    once, the end of the connection: the server sees it vanish at any stage."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            s.settimeout(0.002)
            while s.recv(1 << 16):
                pass
        except (ConnectionError, socket.timeout):
            pass
    counts["raw"] = counts.get("raw", 0) + 1


def work(port, count, seed, results):
    rng, found, counts = random.Random(seed), seeds(), {}
    connection, done = Connection(port), 0
    try:
        while done < count:
            batch = [framed(rng, rng.choice(found)) for _ in range(min(PIPELINE, count - done))]
            if rng.randrange(PIPELINE * 10) < PIPELINE:
                for request in batch:
                    raw(port, mutate_bytes(rng, request), counts)
            else:
                pipelined(connection, batch, counts)
            done += len(batch)
        results.put((counts, None))
    except Exception as e:  # reported by the parent, which fails
        results.put((counts, f"{type(e).__name__}: {e}"))
    finally:
        connection.close()


def reference(port):
    connection = Connection(port)
    connection.open()
    method, path, headers, body = seeds()[0]
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    connection.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    status, _, answer = connection.answer()
    connection.close()
    if status != 200:
        raise Broken(f"the reference request got {status}: {answer[:300]!r}")
    return json.loads(answer)["outputs"][0]["data"]


def resident_mb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def settled_mb(pid, enough):
    """Resident memory once the idle server has given back what the requests freed; waits at most 15 s for that."""
    deadline = time.monotonic() + 15
    while resident_mb(pid) > enough and time.monotonic() < deadline:
        time.sleep(0.2)
    return resident_mb(pid)


def start(binary, models, folder):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = open(folder / "server.log", "w")
    server = subprocess.Popen([binary, "serve", *models, "--port", str(port), "--data-dir", str(folder / "data")],
                              stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            reference(port)
            return server, port
        except (OSError, Broken, TypeError):
            time.sleep(0.05)
    server.kill()
    sys.exit(f"fuzz_requests: the server did not become ready:\n{(folder / 'server.log').read_text()[-3000:]}")


def fuzz(port, args):
    results = multiprocessing.Queue()
    share = -(-args.requests // args.processes)
    workers = [multiprocessing.Process(target=work, args=(port, share, args.seed * 1000 + i, results))
               for i in range(args.processes)]
    for w in workers:
        w.start()
    total, failures = {}, []
    for _ in workers:
        counts, failure = results.get()
        failures += [failure] if failure else []
        for k, v in counts.items():
            total[k] = total.get(k, 0) + v
    for w in workers:
        w.join()
    return total, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--growth", type=float, default=16, help="MB of resident memory allowed on top of the warm server")
    parser.add_argument("--binary", default=str(ROOT / "build" / "slipway"))
    parser.add_argument("models", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-fuzz-") as tmp:
        folder = pathlib.Path(tmp)
        models = args.models
        if not models:
            subprocess.run(["/usr/bin/python3", ROOT / "tools" / "make_test_models.py", folder / "m"], check=True,
                           stdout=subprocess.DEVNULL)
            models = [str(folder / "m" / "mlp_45.onnx"), str(ROOT / "models" / "digits")]
        server, port = start(args.binary, models, folder)
        before_answer = reference(port)
        warm = argparse.Namespace(requests=2000, seed=args.seed + 7, processes=args.processes)
        fuzz(port, warm)
        before = resident_mb(server.pid)
        begin = time.monotonic()
        total, failures = fuzz(port, args)
        seconds = time.monotonic() - begin
        if server.poll() is None:
            after = settled_mb(server.pid, before + args.growth)
            try:
                if reference(port) != before_answer:
                    failures.append("the reference request got another answer than before")
            except (Broken, OSError) as e:
                failures.append(str(e))
            if after - before > args.growth:
                failures.append(f"memory grew from {before:.1f} to {after:.1f} MB")
            server.send_signal(signal.SIGTERM)
            if server.wait(30) != 0:
                failures.append(f"the server ended with {server.returncode}")
            print(f"memory {before:.1f} -> {after:.1f} MB")
        else:
            failures.append(f"the server died with {server.returncode}:\n{(folder / 'server.log').read_text()[-4000:]}")
        print(f"{sum(total.values())} requests in {seconds:.0f} s: "
              + ", ".join(f"{k}: {v}" for k, v in sorted(total.items(), key=str)))
        for f in failures:
            print("FAILED:", f)
        sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
