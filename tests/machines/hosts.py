"""A host: a namespace with an address, what it refuses to hear, and how fast it may send.

What lives here: nftables (cuts and loss) and the token bucket (bandwidth) of one host. What must not be known
here: how hosts are connected, and what runs in them.

Cuts and loss are made where packets arrive, so that their sender learns nothing of them: a packet that is
dropped on its way out of Linux is reported to TCP, which then holds back. Which packets are lost is the
kernel's choice (`numgen random`), not a seed's.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.machines.namespaces import Namespace, Unavailable

INTERFACE: Final = "eth0"

PREFIX: Final = "10.77"
"""Addresses are PREFIX.0.1 and so on, the same in every laboratory: their namespaces never meet."""

MTU: Final = 1500
"""Bytes, as on real paths. Larger packets would be fewer and cheaper, but the loss of one would be that of
many, and TCP would learn of it otherwise. Segmentation is done before the interface for the same reason."""

BURST_BYTES: Final = 16 * 1024
"""What may leave at once under a limit: some packets, as little as a token bucket needs for its rate."""

QUEUE_MS: Final = 400
"""How long a packet may wait under a limit until packets are dropped: the buffer of a usual router."""

CONGESTION_CONTROL: Final = "reno"
"""A namespace begins with the machine's own, and under loss nothing makes more of a difference. This one is
had and allowed by every kernel, and on lossy paths cubic, which Linux usually has, is no quicker (RFC 9438,
4.3)."""

_LOSS_STEPS: Final = 1000


class Host:
    """One machine of the laboratory."""

    def __init__(self, name: str, number: int) -> None:
        """`number`: from 1, the last part of its address. Raises `Unavailable`."""
        self.name = name
        self.address = f"{PREFIX}.0.{number}"
        self.namespace = Namespace()
        self._deaf_to: frozenset[str] = frozenset()
        self._loss = 0.0
        self._limited = False

    def bring_up(self) -> None:
        """Give its interface, which must be there, its address. Raises `Unavailable`."""
        run = self.namespace.run
        self.set("tcp_congestion_control", CONGESTION_CONTROL)
        run("ip", "link", "set", "lo", "up")
        run("ip", "address", "add", f"{self.address}/16", "dev", INTERFACE)
        run(
            "ip",
            "link",
            "set",
            INTERFACE,
            "mtu",
            str(MTU),
            "gso_max_size",
            str(MTU),
            "gso_max_segs",
            "1",
            "up",
        )
        self._rule()

    def set(self, name: str, value: str) -> None:
        """Set one of the kernel's settings of IP or TCP (`net.ipv4`, ip-sysctl) in this host, for connections
        that are made from now on. Raises `Unavailable`."""
        try:
            with self.namespace.entered():
                Path("/proc/sys/net/ipv4", name).write_text(value)
        except OSError as error:
            raise Unavailable(f"net.ipv4.{name} cannot be {value}: {error}") from None

    # What it hears.

    def be_deaf_to(self, addresses: Iterable[str]) -> None:
        """Hear nothing from these hosts; from all others as before. Raises `Unavailable`."""
        self._deaf_to = frozenset(addresses)
        self._rule()

    def lose(self, share: float) -> None:
        """Lose this share, 0 to 1, of all packets that arrive. Raises `Unavailable`."""
        self._loss = share
        self._rule()

    def _rule(self) -> None:
        """Replace all rules at once; counters go on."""
        chain = "ip lab heard"
        lines = [
            "add table ip lab",
            "add counter ip lab cut",
            "add counter ip lab lost",
            f"add chain {chain} {{ type filter hook input priority 0; }}",
            f"flush chain {chain}",
        ]
        lines += [
            f"add rule {chain} ip saddr {address} counter name cut drop" for address in sorted(self._deaf_to)
        ]
        if self._loss:
            below = round(self._loss * _LOSS_STEPS)
            lines.append(
                f"add rule {chain} iifname {INTERFACE} numgen random mod {_LOSS_STEPS} < {below}"
                " counter name lost drop"
            )
        self.namespace.run("nft", "-f", "-", given="\n".join(lines) + "\n")

    def dropped(self) -> dict[str, int]:
        """Return how many packets were dropped so far: `cut` and `lost`. Raises `Unavailable`."""
        told = json.loads(self.namespace.run("nft", "-j", "list", "counters", "table", "ip", "lab"))
        counters = [each["counter"] for each in told["nftables"] if "counter" in each]
        return {counter["name"]: counter["packets"] for counter in counters}

    # How fast it sends.

    def limit(self, kbit_per_second: int | None) -> None:
        """Let no more than so much leave, headers included; `None`: as much as there is. Raises
        `Unavailable`."""
        discipline = ("qdisc", "{}", "dev", INTERFACE, "root")
        if kbit_per_second is not None:
            more = ("rate", f"{kbit_per_second}kbit", "burst", str(BURST_BYTES), "latency", f"{QUEUE_MS}ms")
            self.namespace.run("tc", *(word.format("replace") for word in discipline), "tbf", *more)
        elif self._limited:
            self.namespace.run("tc", *(word.format("delete") for word in discipline))
        self._limited = kbit_per_second is not None

    def held_back(self) -> int:
        """Return how often a packet had to wait under the present limit. Raises `Unavailable`."""
        told = json.loads(self.namespace.run("tc", "-s", "-j", "qdisc", "show", "dev", INTERFACE))
        return sum(int(each["overlimits"]) for each in told if each["kind"] == "tbf")
