#!/usr/bin/python3
"""Writes docs/benchmarks.md from the JSON that the benchmarks left in build/bench/.

    bench/report.py [--output docs/benchmarks.md]
"""
import argparse
import json

from common import BUILD, ROOT

COMMANDS = {"serving": "bench/serving.py", "batching": "bench/batching.py", "overload": "bench/overload.py",
            "fairness": "bench/fairness.py", "cache": "bench/cache.py", "footprint": "bench/footprint.py", "isolation": "bench/isolation.py",
            "swap": "bench/swap.py", "registry_scale": "bench/registry_scale.py",
            "registry_scale_postgres": "bench/registry_scale.py --postgres", "replicas": "bench/replicas.py",
            "restore": "bench/restore.py", "starlight": "bench/starlight.py", "load_client": "bench/load_client.py"}

HEAD = """# Benchmarks

Written by `bench/report.py` from the last runs of the commands named below; run `make bench` to measure again. Every
figure is a median over interleaved rounds on one machine that also runs the load; absolute times mean little, ratios
travel. {machine}.
"""


def value(f):
    return f"{f['value']:.3g} {f['unit']}".strip()


def limit(f):
    return f"{'at least' if f['at_least'] else 'at most'} {f['limit']:g} {f['unit']}".strip()


def extra(details):
    """Single calls (registry_scale) as a table."""
    if "ms" not in details:
        return []
    return ["", "| call | p50 ms | p99 ms | slowest ms |", "| --- | --- | --- | --- |",
            *[f"| {n} | {t['p50']:.2f} | {t['p99']:.2f} | {t['max']:.1f} |" for n, t in details["ms"].items()]]


def section(name, data):
    details = data["details"]
    rounds = f", {details['rounds']} rounds of {details['seconds']} s" if "rounds" in details else ""
    lines = ["", f"## `{COMMANDS[name]}`", "", f"{data['time'][:10]}{rounds}.", "", "| figure | measured | wanted |",
             "| --- | --- | --- |"]
    lines += [f"| {f['figure']} | {value(f)}{'' if f['met'] else ' (missed)'} | {limit(f)} |" for f in data["figures"]]
    lines += extra(details)
    runs = details.get("results", {})
    rows = []
    for run, results in runs.items():
        def middle(key):
            values = sorted(r[key] for r in results)
            return values[len(values) // 2]
        rate = f"{middle('per_s'):,.0f}" if "per_s" in results[0] else ""
        rows.append(f"| {run} | {rate} | {middle('p50_us'):.1f} | {middle('p99_us'):.1f} |")
    if rows:
        lines += ["", "| run | requests/s | p50 us | p99 us |", "| --- | --- | --- | --- |", *rows]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=str(ROOT / "docs" / "benchmarks.md"))
    args = parser.parse_args()
    found = {}
    for name in COMMANDS:
        path = BUILD / "bench" / f"{name}.json"
        if path.exists():
            found[name] = json.loads(path.read_text())
    if not found:
        raise SystemExit("bench: no results in build/bench; run `make bench` first")
    m = next(iter(found.values()))["machine"]
    lines = HEAD.format(machine=f"Machine: {m['cores']} cores, {m['arch']}, Linux {m['kernel']}").splitlines()
    for name, data in found.items():
        lines += section(name, data)
    with open(args.output, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
