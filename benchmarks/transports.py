"""What a broker costs: `python -m benchmarks.transports [--pairs N] [--transactions N] [--json]`.

The bench of `tetrarch bench` over TCP and by way of a Mosquitto on this machine, in turn, so that both see
the same neighbours: with TLS to the broker and sealed end to end there, with mutual TLS here, and with fsync
and every reply verified in both. What counts is the ratio within a pair.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tetrarch.bench.run import Plan, measure

BARS = {"throughput_ratio": 0.4, "single_p50_ms": 25.0}
"""At least so much of TCP's throughput, and at most so long for a single client, by way of a broker."""


def main() -> None:
    """Measure the pairs and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--transactions", type=int, default=20_000)
    parser.add_argument("--replicas", "-n", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pairs: list[dict[str, Any]] = []
    for number in range(options.pairs):
        # The first of a pair in turn: whoever is second may find caches warm or a neighbour gone.
        order = ("tcp", "mqtt") if number % 2 == 0 else ("mqtt", "tcp")
        pair = {transport: measured(transport, options.replicas, options.transactions) for transport in order}
        ratio = pair["mqtt"]["throughput_tps"] / pair["tcp"]["throughput_tps"]
        pairs.append({**pair, "throughput_ratio": ratio})
        if not options.json:
            show(number, pair, ratio)
    ratios = [pair["throughput_ratio"] for pair in pairs]
    singles = [pair["mqtt"]["single_p50_ms"] for pair in pairs]
    if options.json:
        print(json.dumps({"pairs": pairs, "bars": BARS}))
    else:
        print(f"throughput ratio, median: {median(ratios):.2f} (bar {BARS['throughput_ratio']})")
        print(f"one client by way of a broker, p50, median: {median(singles):.1f} ms", end=" ")
        print(f"(bar {BARS['single_p50_ms']:.0f} ms)")


def measured(transport: str, replicas: int, transactions: int) -> dict[str, float]:
    """Return the figures of one bench."""
    with tempfile.TemporaryDirectory() as scratch:
        plan = Plan(replicas=replicas, transactions=transactions, transport=transport)
        found = measure(plan, Path(scratch) / "network", _untold).json()
    names = ("throughput_tps", "share_of_limit", "single_p50_ms", "single_p99_ms", "load_p50_ms", "verify_us")
    return {name: float(found[name]) for name in names}


def _untold(_phase: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def show(number: int, pair: dict[str, dict[str, float]], ratio: float) -> None:
    """Print one pair."""
    for transport, figures in sorted(pair.items()):
        print(
            f"pair {number + 1} {transport:>4}: {figures['throughput_tps']:6.0f} /s,"
            f" {figures['share_of_limit']:.2f} of the limit of signatures,"
            f" one client p50 {figures['single_p50_ms']:5.1f} ms, p99 {figures['single_p99_ms']:5.1f} ms"
        )
    print(f"pair {number + 1}: throughput ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
