#!/usr/bin/python3
"""Twice the load that can be carried: how many answers still come in time, and do those that are admitted?

    bench/overload.py [--rounds 5] [--seconds 5] [--deadline-ms 100] [--output FILE]

The peak is what a closed loop of 64 connections gets answered within the deadline. Then requests are due at twice that rate, at
random moments, each with X-Timeout-Ms, on so many connections that the client never waits for a free one. Peak and overload are
interleaved; every figure is the median over the rounds, each against the peak of its own round. The same without deadlines
shows what they are for. The client shares the cores: what it takes to send and to read the refused half is not the server's.
"""
import argparse
import pathlib
import statistics

from batching import bodies
from common import figure, load, need, report, slipway, table, temporary, test_models, within, SLIPWAY

CLOSED, OPEN = 64, 2048


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--deadline-ms", type=int, default=100)
    parser.add_argument("--output")
    args = parser.parse_args()
    need(SLIPWAY)
    limit = args.deadline_ms
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        model = test_models(folder / "models") / "mlp_big.onnx"
        _, binary, header_length = bodies(folder)
        server = slipway([model], folder)
        url = server.url + "/v2/models/mlp_big/infer"
        common = ["--header", f"Inference-Header-Content-Length: {header_length}", "--content-type",
                  "application/octet-stream", "--warmup", "1s"]
        deadline = ["--header", f"X-Timeout-Ms: {limit}"]
        rounds = []
        try:
            for i in range(args.rounds):
                peak = load(url, binary, CLOSED, args.seconds, *common, *deadline, failures_expected=True)
                rate = ["--rate", round(2 * within(peak, limit)), "--arrivals", "poisson"]
                twice = load(url, binary, OPEN, args.seconds, *common, *deadline, *rate, failures_expected=True)
                without = load(url, binary, OPEN, args.seconds, *common, *rate, failures_expected=True)
                rounds.append({"peak": peak, "twice": twice, "without": without})
                print(f"  round {i + 1}/{args.rounds}: peak {within(peak, limit):.0f}/s, twice {within(twice, limit):.0f}/s, "
                      f"without deadlines {within(without, limit):.0f}/s", flush=True)
        finally:
            server.stop()

    def ratio(name):
        return statistics.median(within(r[name], limit) / within(r["peak"], limit) for r in rounds)

    def middle(name, key):
        return statistics.median(r[name]["latency_ms"][key] for r in rounds)

    table([[name, f"{statistics.median(within(r[name], limit) for r in rounds):.0f}", f"{middle(name, 'p50'):.1f}",
            f"{middle(name, 'p99'):.1f}",
            " ".join(f"{status}: {statistics.median(r[name]['statuses'].get(status, 0) for r in rounds):.0f}"
                     for status in sorted({s for r in rounds for s in r[name]["statuses"]}))]
           for name in ("peak", "twice", "without")],
          ["run", "in time /s", "p50 ms", "p99 ms", "answers by status"])
    print()
    report("overload", [
        figure("twice the load, deadlines: answers in time against the peak", ratio("twice"), 0.9, at_least=True),
        figure("p99 of the admitted against their deadline", middle("twice", "p99") / limit, 1),
    ], {"rounds": args.rounds, "seconds": args.seconds, "deadline_ms": limit,
        "results": {name: [{"per_s": within(r[name], limit), "p50_us": r[name]["latency_ms"]["p50"] * 1e3,
                            "p99_us": r[name]["latency_ms"]["p99"] * 1e3, "statuses": r[name]["statuses"],
                            "open_loop": r[name].get("open_loop")} for r in rounds] for name in rounds[0]}}, args.output)


if __name__ == "__main__":
    main()
