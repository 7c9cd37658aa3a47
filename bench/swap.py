#!/usr/bin/python3
"""Does swapping the live version disturb requests? A steady load while versions 1 and 2 of the model are promoted in turn.

    bench/swap.py [--rounds 7] [--seconds 4] [--connections 32] [--pause 0.5] [--output FILE]

Quiet and busy rounds are interleaved; each connection waits 1 ms between its requests, so that about 20,000 requests come a
second. In a busy round a promotion (gates included) follows every --pause seconds. Counted: failed requests (must be 0), and
p99 against quiet, ratio of the medians.
"""
import argparse
import pathlib
import threading

from common import figure, interleaved, median, need, port_of, report, slipway, spread, table, temporary, test_models, wrk
from common import SLIPWAY
from helpers.registry import Registry
from serving import mlp_body


class Promoter(threading.Thread):
    """Promotes versions 1 and 2 in turn until told to stop."""

    def __init__(self, port, model, pause):
        super().__init__()
        self.registry, self.model, self.pause = Registry(port), model, pause
        self.ended, self.swaps, self.failed = threading.Event(), 0, None

    def run(self):
        try:
            live = self.registry.model(self.model)["live"]
            while not self.ended.wait(self.pause):
                live = 3 - live
                self.registry.promote(self.model, live)
                self.swaps += 1
        except Exception as failure:  # told by the main thread
            self.failed = failure
        finally:
            self.registry.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--pause", type=float, default=0.5)
    parser.add_argument("--output")
    args = parser.parse_args()
    need("wrk", SLIPWAY)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        model = (test_models(folder / "models") / "mlp_45.onnx").read_bytes()
        body = mlp_body(folder)
        server = slipway([], folder)
        swaps = []
        try:
            port = port_of(server)
            with Registry(port) as registry:
                for _ in range(2):
                    registry.push("mlp", {"model.onnx": model})
                registry.promote("mlp", 1)
            url = server.url + "/v2/models/mlp/infer"

            def load():
                return wrk(url, body, args.connections, args.seconds, delay_ms=1)

            def busy():
                promoter = Promoter(port, "mlp", args.pause)
                promoter.start()
                try:
                    return load()
                finally:
                    promoter.ended.set()
                    promoter.join()
                    if promoter.failed:
                        raise SystemExit(f"bench: {promoter.failed}")
                    swaps.append(promoter.swaps)

            results = interleaved(args.rounds, {"quiet": load, "busy": busy})
        finally:
            server.stop()
    table([[n, f"{median(r, 'per_s'):,.0f}", f"{median(r, 'p50_us'):.0f}", f"{median(r, 'p99_us'):.0f}",
            "{:.0f}..{:.0f}".format(*spread(r, "p99_us"))] for n, r in results.items()],
          ["run", "requests/s", "p50 us", "p99 us", "p99 range"])
    print(f"swaps in each busy round: {swaps}; requests in busy rounds: {sum(r['requests'] for r in results['busy']):,}\n")
    report("swap", [
        figure("requests that failed while the live version was swapped", sum(r["errors"] for r in results["busy"]), 0),
        figure("requests/s during swaps", median(results["busy"], "per_s"), 20000, at_least=True),
        figure("p99 while the live version is swapped, against quiet",
               median(results["busy"], "p99_us") / median(results["quiet"], "p99_us"), 1.5, "x")],
           {"rounds": args.rounds, "seconds": args.seconds, "results": results, "swaps": swaps}, args.output)


if __name__ == "__main__":
    main()
