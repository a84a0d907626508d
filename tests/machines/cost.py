"""What the laboratory itself costs: `python -m tests.machines.cost [--json]`.

A packet goes there and back within one host, which the kernel does alone, between two hosts, which the cable
does, and between them with a delay; and one stream is sent as fast as the cable lets it.
"""

import argparse
import json
import socket
import sys
import threading
import time
from contextlib import suppress

from tests.machines.cabling import Delay
from tests.machines.laboratory import Laboratory, missing
from tetrarch.bench.machine import percentile

ROUND_TRIPS = 2_000
ROUND_TRIP_BYTES = 300
"""A vote, sealed."""

DELAY_MS = 20.0
STREAM_SECONDS = 3.0
PATIENCE_S = 10.0

Figures = dict[str, float]


def echo(there: socket.socket) -> None:
    """Send back what comes, until an empty packet does."""
    while True:
        packet, sender = there.recvfrom(65536)
        if not packet:
            return
        there.sendto(packet, sender)


def round_trips(lab: Laboratory, count: int, source: str = "one") -> list[float]:
    """Return how long each round trip between `source` and the other host took, ms."""
    with lab.inside("other"):
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        there.bind((lab.hosts["other"].address, 7000))
    with lab.inside(source):
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here.settimeout(PATIENCE_S)
        here.connect((lab.hosts["other"].address, 7000))
    answering = threading.Thread(target=echo, args=[there])
    answering.start()
    took = []
    with here, there:
        try:
            for _ in range(count):
                began = time.perf_counter()
                here.send(bytes(ROUND_TRIP_BYTES))
                here.recv(65536)
                took.append((time.perf_counter() - began) * 1000)
        finally:
            here.send(b"")
            answering.join(PATIENCE_S)
    return took


def stream_bytes(lab: Laboratory, seconds: float) -> int:
    """Return how many bytes of one TCP connection arrive in so many seconds."""
    with lab.inside("other"):
        listening = socket.create_server((lab.hosts["other"].address, 7001))
    with lab.inside("one"):
        here = socket.create_connection((lab.hosts["other"].address, 7001), PATIENCE_S)
    there, _ = listening.accept()
    there.settimeout(PATIENCE_S)

    def send() -> None:
        with suppress(OSError):
            while True:
                here.sendall(bytes(65536))

    sending = threading.Thread(target=send)
    sending.start()
    received, until = 0, time.monotonic() + seconds
    with here, there, listening:
        while time.monotonic() < until:
            received += len(there.recv(65536))
        here.shutdown(socket.SHUT_RDWR)
        sending.join(PATIENCE_S)
    return received


def measure() -> Figures:
    """Return all figures; units are in the names."""
    with Laboratory(["one", "other"]) as lab:
        within = round_trips(lab, ROUND_TRIPS, source="other")
        bare = round_trips(lab, ROUND_TRIPS)
        carried, cpu = lab.cabling.counts()["carried"], lab.cabling.cpu_seconds()
        received = stream_bytes(lab, STREAM_SECONDS)
        packets = lab.cabling.counts()["carried"] - carried
        cpu = lab.cabling.cpu_seconds() - cpu
        lab.delay(Delay(DELAY_MS))
        delayed = round_trips(lab, 100)
    return {
        "within_a_host_p50_ms": round(percentile(within, 0.5), 3),
        "within_a_host_p99_ms": round(percentile(within, 0.99), 3),
        "cable_round_trip_p50_ms": round(percentile(bare, 0.5), 3),
        "cable_round_trip_p99_ms": round(percentile(bare, 0.99), 3),
        "cable_packets_per_second": round(packets / STREAM_SECONDS),
        "cable_cpu_us_per_packet": round(cpu / packets * 1e6, 1),
        "cable_stream_mbit_per_second": round(received * 8 / STREAM_SECONDS / 1e6, 1),
        "delay_asked_ms": 2 * DELAY_MS,
        "delayed_round_trip_p50_ms": round(percentile(delayed, 0.5), 3),
        "delayed_round_trip_p99_ms": round(percentile(delayed, 0.99), 3),
    }


def main() -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if missing():
        print(f"there can be no laboratory here: {missing()}", file=sys.stderr)
        return 2
    figures = measure()
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:32} {value:>10}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
