#!/usr/bin/python3
"""Slipway beside other model servers: same models, same requests, same client, one run.

    bench/peers/run.py [--peers fastapi,litserve,mlserver,fastify] [--rounds 5] [--seconds 4] [--output FILE]

bench/peers/setup.py installs the peers before. In each round each server in turn is started, must give right answers,
warms up, takes the load of wrk with both models and ends, so that no other server runs beside it. Times are medians over
the rounds. JSON, one row a request: a small MLP over many connections, and a CNN on 3x224x224 over few.
"""
import argparse
import json
import os
import pathlib
import platform
import sys
import time
import urllib.error
import urllib.request

from peers import PEERS, TITLES, Server, size, why_missing

from common import SLIPWAY, figure, interleaved, median, need, report, spread, table, temporary, test_models, wrk
from serving import cnn_bodies, mlp_body

TOLERANCE = 1e-4
MB = 1024 * 1024
# (peer, model) -> how many of its requests Slipway should answer in the time of one
WANTED = {("fastapi", "mlp_45"): 5, ("fastify", "mlp_45"): 1.8, ("fastapi", "cnn_224"): 7, ("fastify", "cnn_224"): 7}
MODELS = {"mlp_45": "small MLP", "cnn_224": "CNN 3x224x224"}


def ask(url, body):
    """The outputs of one answer as {name: (shape, numbers)}."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {o["name"]: (o["shape"], o["data"]) for o in json.load(answer)["outputs"]}


def agrees(got, want):
    return got.keys() == want.keys() and all(
        got[n][0] == want[n][0] and len(got[n][1]) == len(want[n][1])
        and all(abs(a - b) <= TOLERANCE * max(1, abs(b)) for a, b in zip(got[n][1], want[n][1])) for n in want)


def check(server, bodies, expected, model):
    try:
        got = ask(f"{server.url}/v2/models/{model}/infer", bodies[model].read_bytes())
    except (OSError, ValueError, KeyError) as e:
        server.fail(f"{model}: {e}")
    if not agrees(got, expected[model]):
        server.fail(f"{model}: answered {str(got)[:300]}, which is not {str(expected[model])[:300]}")


def first_answer(server, bodies, expected, begin, limit_s=120):
    """Seconds from `begin` to the first answer of the small model, which must be right."""
    while True:
        server.check_running()
        try:
            got = ask(server.url + "/v2/models/mlp_45/infer", bodies["mlp_45"].read_bytes())
            break
        except (OSError, ValueError):  # not listening, or not ready
            if time.perf_counter() - begin > limit_s:
                server.fail(f"no answer within {limit_s} s")
            time.sleep(0.002)
    seconds = time.perf_counter() - begin
    if not agrees(got, expected["mlp_45"]):
        server.fail(f"mlp_45: answered {str(got)[:300]}, which is not {str(expected['mlp_45'])[:300]}")
    return seconds


def visit(name, models, folder, bodies, expected, args):
    """One server from start to end."""
    begin = time.perf_counter()
    server = Server(name, models, folder / name)
    try:
        result = {"start_ms": 1e3 * first_answer(server, bodies, expected, begin)}
        for model in MODELS:
            check(server, bodies, expected, model)
        time.sleep(1)
        result["idle_bytes"] = server.memory_bytes()
        for model in MODELS:
            connections = getattr(args, f"{model.split('_')[0]}_connections")
            infer = f"{server.url}/v2/models/{model}/infer"
            wrk(infer, bodies[model], connections, args.warmup)
            begin_s = server.processor_s()
            result[model] = wrk(infer, bodies[model], connections, args.seconds)
            result[model]["cpu_ms"] = 1e3 * (server.processor_s() - begin_s) / result[model]["requests"]
            server.check_running()
            check(server, bodies, expected, model)
        result["loaded_bytes"] = server.memory_bytes()
    finally:
        server.stop()
    return result


def reference(models, folder, bodies):
    """Slipway's own answers, after it has given the golden ones."""
    server = Server("slipway", models, folder / "reference")
    try:
        begin, golden, expected = time.monotonic(), {}, {}
        for model in MODELS:
            case = json.loads((models / f"{model}.golden.jsonl").read_text().splitlines()[0])
            golden[model] = {o["name"]: (o["shape"], o["data"]) for o in case["outputs"]}
            while True:
                server.check_running()
                try:
                    got = ask(f"{server.url}/v2/models/{model}/infer", json.dumps({"inputs": case["inputs"]}).encode())
                    break
                except OSError as e:
                    if time.monotonic() - begin > 30:
                        server.fail(f"no answer within 30 s: {e}")
                    time.sleep(0.01)
            if not agrees(got, golden[model]):
                server.fail(f"{model}: answered {str(got)[:300]}, which is not {str(golden[model])[:300]}")
            expected[model] = ask(f"{server.url}/v2/models/{model}/infer", bodies[model].read_bytes())
    finally:
        server.stop()
    return expected


def row(name, visits, parts):
    """Medians of one server."""
    out = {"title": TITLES[name], "start_ms": median(visits, "start_ms"), "idle_bytes": median(visits, "idle_bytes"),
           "loaded_bytes": median(visits, "loaded_bytes"), "size_bytes": sum(parts.values()) if parts else None,
           "size_parts": parts}
    for model in MODELS:
        out[model] = {key: median([v[model] for v in visits], key) for key in ("per_s", "p50_us", "p99_us", "cpu_ms")}
        out[model]["range_per_s"] = spread([v[model] for v in visits], "per_s")
    return out


def figures_of(rows):
    return [figure(f"{MODELS[model]}, JSON: requests/s, in those of {TITLES[peer]}",
                   rows["slipway"][model]["per_s"] / rows[peer][model]["per_s"], wanted, "x", at_least=True)
            for (peer, model), wanted in WANTED.items() if peer in rows]


def print_rows(rows, left_out):
    cells = []
    for r in rows.values():
        times = [cell for m in MODELS for cell in (f"{r[m]['per_s']:,.0f}", f"{r[m]['p50_us'] / 1e3:.2f}",
                                                   f"{r[m]['p99_us'] / 1e3:.2f}", f"{r[m]['cpu_ms']:.3f}")]
        cells.append([r["title"], *times, f"{r['idle_bytes'] / MB:.0f}", f"{r['loaded_bytes'] / MB:.0f}",
                      f"{r['start_ms']:.0f}", f"{r['size_bytes'] / MB:.0f}" if r["size_bytes"] else "?"])
    table(cells, ["server", "MLP req/s", "p50 ms", "p99 ms", "CPU ms", "CNN req/s", "p50 ms", "p99 ms", "CPU ms", "idle MB",
                  "loaded MB", "start ms", "size MB"])
    for name, why in left_out.items():
        print(f"left out: {TITLES[name]}: {why}")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=2, help="seconds of load before the measured ones")
    parser.add_argument("--mlp-connections", type=int, default=32)
    parser.add_argument("--cnn-connections", type=int, default=4)
    parser.add_argument("--output")
    args = parser.parse_args()
    chosen = [p for p in args.peers.split(",") if p]
    unknown = set(chosen) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    need("wrk", "strip", SLIPWAY)
    left_out = {p: why_missing(p) for p in chosen if why_missing(p)}
    for name, why in left_out.items():
        print(f"left out: {TITLES[name]}: {why}", file=sys.stderr)
    servers = ["slipway", *(p for p in chosen if p not in left_out)]
    if len(servers) == 1:
        sys.exit("bench: no peer is installed; run bench/peers/setup.py")
    load_before = round(os.getloadavg()[0], 1)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        models = test_models(folder / "models", *MODELS)
        bodies = {"mlp_45": mlp_body(folder), "cnn_224": cnn_bodies(folder)[0]}
        sizes = {name: size(name, folder) for name in servers}
        expected = reference(models, folder, bodies)
        results = interleaved(args.rounds, {
            name: lambda name=name: visit(name, models, folder, bodies, expected, args) for name in servers})
        rows = {name: row(name, visits, sizes[name]) for name, visits in results.items()}
    print_rows(rows, left_out)
    report("peers", figures_of(rows), {
        "rounds": args.rounds, "seconds": args.seconds, "warmup": args.warmup, "load_before": load_before,
        "connections": {"mlp_45": args.mlp_connections, "cnn_224": args.cnn_connections},
        "python": platform.python_version(), "servers": rows, "left_out": left_out,
        "visits": results}, args.output)


if __name__ == "__main__":
    main()
