#!/usr/bin/python3
"""A registry of 10,000 models with 10 versions each: how long does one call take, over HTTP, from a client on this machine?

    bench/registry_scale.py [--models 10000] [--versions 10] [--calls 1000] [--postgres] [--data DIR] [--output FILE]

Fills a fresh registry (all versions share one small model file), then calls in a random order, one at a time: a page of 100
models from a random place, a page of a model's versions, an alias resolved, an alias moved, a promotion to champion and
Production with its gates (the model is loaded, run 100 times and compared with the live one). p99 of each in milliseconds.
--postgres: on a PostgreSQL server of its own instead of SQLite. --data: keep the filled data folder there, and use it when it is
there already (filling takes minutes); --calls 0 fills only.
"""
import argparse
import contextlib
import pathlib
import random
import sys
import time

from common import figure, need, percentile, port_of, report, slipway, table, temporary, test_models, SLIPWAY
from helpers.registry import Registry

LIMIT_MS = 20


def fill(registry, data, models, versions):
    begin = time.monotonic()
    for m in range(models):
        for v in range(versions):
            registry.push(f"model-{m:05d}", {"model.onnx": data}, description=f"version {v + 1}")
        registry.alias(f"model-{m:05d}", "candidate", versions)
        if m % 500 == 499:
            print(f"  {m + 1} models after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return time.monotonic() - begin


def measure(calls, count, seed):
    """{name: [ms]}; the calls are mixed in a random order."""
    order = [name for name in calls for _ in range(count)]
    random.Random(seed).shuffle(order)
    took = {name: [] for name in calls}
    for name in order:
        begin = time.perf_counter()
        calls[name]()
        took[name].append((time.perf_counter() - begin) * 1e3)
    return took


def the_calls(registry, models, versions):
    choose = random.Random(1)

    def name():
        return f"model-{choose.randrange(models):05d}"

    def page():
        return registry.models(limit=100, prefix=f"model-{choose.randrange(max(1, models // 100)):03d}")

    token = registry.models(limit=100)["next_page_token"]
    return {
        "list a page of 100 models": page,
        "list the second page": lambda: registry.models(limit=100, **({"page_token": token} if token else {})),
        "list a model's versions": lambda: registry.versions(name()),
        "resolve an alias": lambda: registry.version(name(), "candidate"),
        "move an alias (no gates)": lambda: registry.alias(name(), "candidate", choose.randrange(1, versions + 1)),
        "promote (gates included)": lambda: registry.promote(name(), choose.randrange(1, versions + 1)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10000)
    parser.add_argument("--versions", type=int, default=10)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--output")
    args = parser.parse_args()
    need(SLIPWAY)
    if args.postgres and args.data:
        parser.error("--data goes with SQLite")
    with temporary() as tmp, contextlib.ExitStack() as stack:
        folder = pathlib.Path(tmp)
        kept = pathlib.Path(args.data).resolve() if args.data else None
        filled = kept / f"filled-{args.models}-{args.versions}" if kept else None
        data = (test_models(folder / "models") / "mlp_45.onnx").read_bytes()
        options = []
        if args.postgres:
            from servers.postgres import PostgresServer
            postgres = stack.enter_context(PostgresServer({"fsync": "on", "full_page_writes": "on"}))
            options = ["--set", f"store.url={postgres.url}"]
        if kept:
            options = ["--data-dir", kept]
        server = slipway([], folder, *options)
        stack.callback(server.stop)
        registry = stack.enter_context(Registry(port_of(server)))
        if filled and filled.exists():
            filled_s = float(filled.read_text())
        else:
            filled_s = fill(registry, data, args.models, args.versions)
            if filled:
                filled.write_text(str(filled_s))
        if not args.calls:
            return
        took = measure(the_calls(registry, args.models, args.versions), args.calls, 7)
    rows = {n: {"p50": percentile(t, 50), "p99": percentile(t, 99), "max": max(t)} for n, t in took.items()}
    table([[n, f"{r['p50']:.2f}", f"{r['p99']:.2f}", f"{r['max']:.1f}"] for n, r in rows.items()],
          ["call", "p50 ms", "p99 ms", "max ms"])
    kind = "PostgreSQL" if args.postgres else "SQLite"
    print(f"filled with {args.models:,} models and {args.models * args.versions:,} versions in {filled_s:.0f} s\n")
    report("registry_scale_postgres" if args.postgres else "registry_scale",
           [figure(f"p99: {n} ({kind}, {args.models:,} models x {args.versions})", r["p99"], LIMIT_MS, "ms")
            for n, r in rows.items()],
           {"models": args.models, "versions": args.versions, "calls": args.calls, "filled_s": filled_s, "ms": rows},
           args.output)


if __name__ == "__main__":
    main()
