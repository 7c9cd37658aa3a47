"""What the benchmarks share: servers on free ports in temporary folders, wrk, medians, tables, JSON."""
import json
import os
import pathlib
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "scenario"), str(ROOT / "tests")]  # helpers.registry, servers.postgres
BUILD = pathlib.Path(os.environ.get("SLIPWAY_BUILD", ROOT / "build"))
SLIPWAY = BUILD / "slipway"
INPROC = BUILD / "bench" / "bench_inproc"
ORT = ROOT / "third_party" / "onnxruntime" / "libonnxruntime.so"


def need(*programs):
    missing = [p for p in programs if not shutil.which(str(p))]
    if missing:
        sys.exit(f"bench: not found: {', '.join(map(str, missing))}; run `make setup` and `make build` first")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_models(folder, *names):
    """The deterministic models of tools/make_test_models.py: all, or those named."""
    subprocess.run(["/usr/bin/python3", ROOT / "tools" / "make_test_models.py", folder, *names], check=True,
                   stdout=subprocess.DEVNULL)
    return pathlib.Path(folder)


class Process:
    """A server started here, ended by its own pid."""

    def __init__(self, argv, log, env=None, **options):
        self.log = open(log, "w+")
        self.process = subprocess.Popen([str(a) for a in argv], stdout=self.log, stderr=self.log, env=env, **options)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0


def wait_ready(url, process=None, limit_s=30):
    deadline = time.monotonic() + limit_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as r:
                if r.status == 200:
                    return
        except OSError:
            pass
        if process and process.process.poll() is not None:
            sys.exit(f"bench: the server ended with {process.process.returncode}; see {process.log.name}")
        if time.monotonic() > deadline:
            sys.exit(f"bench: {url} did not become ready in {limit_s} s")
        time.sleep(0.02)


def percentile(values, p):
    """The smallest value that at least p percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * p // 100) - 1)]


def port_of(server):
    return int(server.url.rsplit(":", 1)[1])


def slipway(models, folder, *options):
    port = free_port()
    server = Process([SLIPWAY, "serve", *models, "--port", port, "--data-dir", pathlib.Path(folder) / "data", *options],
                     pathlib.Path(folder) / f"slipway-{port}.log")
    server.url = f"http://127.0.0.1:{port}"
    wait_ready(server.url + "/health/ready", server)
    return server


NGINX_CONF = """
worker_processes 2;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ default_type application/json; return 200 '{answer}'; }}
    }}
}}
"""


def nginx(answer, folder):
    """nginx with two workers answering `answer` to everything."""
    port, folder = free_port(), pathlib.Path(folder) / "nginx"
    folder.mkdir(exist_ok=True)
    conf = folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(dir=folder, port=port, answer=answer))
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    server = Process([binary, "-p", folder, "-c", conf], folder / "out.log")
    server.url = f"http://127.0.0.1:{port}"
    wait_ready(server.url + "/", server)
    return server


def wrk(url, body_file, connections, seconds, content_type="application/json", header_length=None, threads=None,
        delay_ms=None, paths=None, zipf_keys=None, seed=1):
    env = dict(os.environ, BODY_FILE=str(body_file), CONTENT_TYPE=content_type)
    if zipf_keys:
        env.update(ZIPF_KEYS=str(zipf_keys), SEED=str(seed))
    if paths:
        env["PATHS"] = ",".join(paths)
    if delay_ms is not None:
        env["DELAY_MS"] = str(delay_ms)
    if header_length is not None:
        env["HEADER_LENGTH"] = str(header_length)
    threads = threads or min(2, connections)
    out = subprocess.run(["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s",
                          "-s", str(ROOT / "bench" / "wrk.lua"), url], env=env, capture_output=True, text=True, check=True)
    line = [l for l in out.stdout.splitlines() if l.startswith("JSON ")][-1]
    result = json.loads(line[5:])
    if result["errors"] or not result["requests"]:
        sys.exit(f"bench: {url}: {result['errors']} failed requests of {result['requests']}:\n{out.stdout}")
    result["per_s"] = result["requests"] / (result["duration_us"] / 1e6)
    return result


def inproc_env():
    return dict(os.environ, SLIPWAY_ORT_LIB=os.environ.get("SLIPWAY_ORT_LIB", str(ORT)))


def inproc(model, iterations):
    """The bare loop over ONNX Runtime, one thread, in microseconds a run."""
    out = subprocess.run([INPROC, model, str(iterations)], env=inproc_env(), capture_output=True, text=True, check=True)
    result = json.loads(out.stdout)
    return dict(result, p50_us=result["p50_ns"] / 1e3, p99_us=result["p99_ns"] / 1e3)


def inproc_rows(model, batch, iterations):
    """Rows a second of bare loops at that batch, one process a core, all at once."""
    runs = [subprocess.Popen([INPROC, model, str(iterations), str(batch)], env=inproc_env(), stdout=subprocess.PIPE)
            for _ in range(os.cpu_count())]
    texts = [run.communicate()[0] for run in runs]
    if any(run.returncode for run in runs):
        sys.exit(f"bench: {INPROC} failed")
    results = [json.loads(text) for text in texts]
    return {"per_s": sum(1e9 * batch / r["mean_ns"] for r in results), "batch": batch,
            "p50_us": statistics.median(r["p50_ns"] for r in results) / 1e3, "p99_us": max(r["p99_ns"] for r in results) / 1e3}


def load(url, body, connections, seconds, *options, failures_expected=False):
    """`slipway load`: its JSON. Failures end the benchmark unless they are what it is about."""
    out = subprocess.run([SLIPWAY, "load", url, "--body", body, "--concurrency", str(connections), "--duration",
                          f"{seconds}s", "--json", *map(str, options)], capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(f"bench: slipway load: {out.stderr}")
    result = json.loads(out.stdout)
    if result["errors"] and not failures_expected:
        sys.exit(f"bench: {url}: {result['failures']}")
    return result


def within(result, limit_ms):
    """Answers a second of `slipway load` that came within limit_ms."""
    counted = sum(count for low, width, count in result["latency_histogram"]["buckets"] if low + width <= limit_ms * 1e6)
    return counted / result["measured_s"]


def interleaved(rounds, runs):
    """runs: {name: function}; each round calls every function once, in turn. Returns {name: [results]}."""
    results = {name: [] for name in runs}
    for i in range(rounds):
        names = list(runs) if i % 2 == 0 else list(reversed(runs))
        for name in names:
            results[name].append(runs[name]())
            print(f"  round {i + 1}/{rounds}: {name}", file=sys.stderr)
    return results


def median(results, key):
    return statistics.median(r[key] for r in results)


def spread(results, key):
    values = [r[key] for r in results]
    return [min(values), max(values)]


def table(rows, header):
    cells = [header] + [[str(c) for c in row] for row in rows]
    widths = [max(len(r[i]) for r in cells) for i in range(len(header))]
    for n, row in enumerate(cells):
        print("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())
        if n == 0:
            print("  ".join("-" * w for w in widths))


def figure(name, value, limit, unit="", at_least=False):
    met = value >= limit if at_least else value <= limit
    return {"figure": name, "value": value, "limit": limit, "unit": unit, "at_least": at_least, "met": met}


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def report(name, figures, details, output=None):
    """Prints the table of figures and writes everything as JSON to build/bench/NAME.json."""
    table([[f["figure"], f"{f['value']:.3g} {f['unit']}".strip(),
            f"{'>=' if f['at_least'] else '<='} {f['limit']:g} {f['unit']}".strip(), "met" if f["met"] else "MISSED"]
           for f in figures], ["figure", "measured", "wanted", ""])
    path = pathlib.Path(output) if output else BUILD / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                                "machine": {"cores": os.cpu_count(), "cpu": cpu_model(), "arch": platform.machine(),
                                            "kernel": platform.release()},
                                "figures": figures, "details": details}, indent=1) + "\n")
    print(f"JSON: {path}")


def temporary():
    return tempfile.TemporaryDirectory(prefix="slipway-bench-")
