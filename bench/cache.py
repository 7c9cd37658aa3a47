#!/usr/bin/python3
"""The result cache: what a hit costs, what stays in it, and what replicas share through Redis.

    bench/cache.py [--rounds 5] [--seconds 4] [--keys 100000] [--room 10000] [--output FILE]

Hits and runs of the same small MLP, side by side, 32 connections, JSON. Then a load whose inputs are Zipf(1.0) over --keys
numbers, on a cache with room for --room results, against an LRU of that room asked for numbers of the same distribution, and
against the best any cache could do without looking ahead (the --room most frequent numbers). Then two replicas that share a
Redis: how many of the numbers that the first was asked for the second finds.
"""
import argparse
import collections
import json
import pathlib
import sys
import urllib.request

import numpy

from common import (SLIPWAY, ROOT, figure, interleaved, median, need, report, slipway, spread, table, temporary,
                    test_models, wrk)

SHARED = 2000


def bundle(folder, model, cached):
    path = pathlib.Path(folder) / ("cached" if cached else "plain")
    path.mkdir()
    (path / "model.onnx").write_bytes(model.read_bytes())
    (path / "bundle.yaml").write_text(f"name: {path.name}\nmodel: model.onnx\ncache: {{ enable: {str(cached).lower()} }}\n")
    return path


def body(folder, first):
    values = ["0"] * 44
    path = pathlib.Path(folder) / f"body-{first}.json"
    path.write_text('{"inputs": [{"name": "features", "shape": [1, 45], "datatype": "FP32", "data": ['
                    + ", ".join([str(first)] + values) + "]}]}")
    return path


def kept(server):
    with urllib.request.urlopen(server.url + "/api/v1/cache", timeout=10) as answer:
        return json.load(answer)


def lru_rate(numbers, room, warm):
    held, hits = collections.OrderedDict(), 0
    for i, n in enumerate(numbers):
        if n in held:
            held.move_to_end(n)
            hits += i >= warm
        else:
            held[n] = True
            if len(held) > room:
                held.popitem(last=False)
    return hits / (len(numbers) - warm)


def zipf_numbers(keys, count):
    weights = 1 / numpy.arange(1, keys + 1)
    sums = numpy.cumsum(weights)
    return numpy.searchsorted(sums, numpy.random.default_rng(1).random(count) * sums[-1]).tolist()


def zipf_load(model, folder, args):
    """Warms the cache up, then measures: the hit rate over HTTP, and that of LRU over as many requests."""
    server = slipway([model], folder, "--set", f"cache.entries={args.room}", "--set", "cache.memory=256MiB")
    template = body(folder, "KEY")
    url = server.url + "/v2/models/cached/infer"
    try:
        warm = wrk(url, template, 32, 2 * args.seconds, zipf_keys=args.keys, seed=1)
        before = kept(server)["models"][0]
        wrk(url, template, 32, 2 * args.seconds, zipf_keys=args.keys, seed=2)
        after = kept(server)
    finally:
        server.stop()
    hits, misses = (after["models"][0][k] - before[k] for k in ("hits", "misses"))
    numbers = zipf_numbers(args.keys, warm["requests"] + hits + misses)
    sums = numpy.cumsum(1 / numpy.arange(1, args.keys + 1))
    return {"hit_rate": hits / (hits + misses), "requests": hits + misses, "warm_up": warm["requests"],
            "lru": lru_rate(numbers, args.room, warm["requests"]), "best_static": float(sums[args.room - 1] / sums[-1]),
            "memory": after["memory"]}


def post(url, data):
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()
        return answer.headers["X-Cache"]


def shared(model, folder):
    """The share of the first replica's numbers that the second has at once."""
    sys.path.insert(0, str(ROOT / "tests"))
    from servers.redis import RedisServer
    with RedisServer() as redis:
        servers = []
        for name in ("one", "two"):
            (pathlib.Path(folder) / name).mkdir()
            servers.append(slipway([model], pathlib.Path(folder) / name, "--set", f"cache.redis={redis.addresses}"))
        text = body(folder, "KEY").read_text()
        try:
            urls = [s.url + "/v2/models/cached/infer" for s in servers]
            said = [[post(url, text.replace("KEY", str(n)).encode()) for n in range(SHARED)] for url in urls]
            return {"first": said[0].count("hit") / SHARED, "second": said[1].count("hit") / SHARED,
                    "redis": kept(servers[1])["redis"]}
        finally:
            for server in servers:
                server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--keys", type=int, default=100000)
    parser.add_argument("--room", type=int, default=10000)
    parser.add_argument("--output")
    args = parser.parse_args()
    need("wrk", SLIPWAY)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        mlp = test_models(folder / "models") / "mlp_45.onnx"
        plain, cached = bundle(folder, mlp, False), bundle(folder, mlp, True)
        fixed = body(folder, 1)
        server = slipway([plain, cached], folder)
        try:
            results = interleaved(args.rounds, {
                name: lambda name=name: wrk(f"{server.url}/v2/models/{name}/infer", fixed, 32, args.seconds)
                for name in ("plain", "cached")})
        finally:
            server.stop()
        zipf, replicas = zipf_load(cached, folder, args), shared(cached, folder)
    table([[n, f"{median(r, 'per_s'):,.0f}", f"{median(r, 'p50_us'):.1f}", f"{median(r, 'p99_us'):.1f}"]
           for n, r in results.items()], ["run", "requests/s", "p50 us", "p99 us"])
    print(f"Zipf(1.0), {args.keys} keys, room for {args.room}: hit rate {zipf['hit_rate']:.4f} over {zipf['requests']} requests; "
          f"LRU {zipf['lru']:.4f}; the most frequent {args.room}: {zipf['best_static']:.4f}")
    figures = [
        figure("cache hit against uncached small MLP, requests/s",
               median(results["cached"], "per_s") / median(results["plain"], "per_s"), 1.0, at_least=True),
        figure("hit rate on Zipf(1.0) less that of LRU", 100 * (zipf["hit_rate"] - zipf["lru"]), -2, "points", at_least=True),
        figure("hit rate of the second replica on the first's keys", replicas["second"], 0.95, at_least=True),
    ]
    report("cache", figures, {"rounds": args.rounds, "seconds": args.seconds, "results": results, "zipf": zipf,
                              "replicas": replicas, "spread": {n: spread(r, "per_s") for n, r in results.items()}}, args.output)


if __name__ == "__main__":
    main()
