"""How hosts are connected: a TUN device in each, all of them owned by one process (`cable`).

What lives here: making the devices, starting, ordering and ending that process. What must not be known here:
how packets are carried.
"""

import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.machines.hosts import INTERFACE, Host
from tests.machines.namespaces import Unavailable

TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
"""linux/if_tun.h. IFF_VNET_HDR is left out on purpose: without it the kernel cuts what is sent to the MTU,
and adds the checksums, before the cable sees it."""

ANSWER_SECONDS: Final = 10.0

ROOT: Final = Path(__file__).parents[2]


class Delay(NamedTuple):
    """What one direction between two hosts does, in ms."""

    ms: float
    jitter_ms: float = 0.0
    overtaking: float = 0.0
    """The share of packets, 0 to 1, that take half the time and wait for none before them."""


class Cabling:
    """Connects hosts by a cable whose lines take as long as one likes."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._devices: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self, host: Host) -> None:
        """Give a host its interface. Raises `Unavailable`."""
        request = struct.pack("16sH22x", INTERFACE.encode(), IFF_TUN | IFF_NO_PI)
        try:
            # A device belongs to the namespace in which this file was opened.
            with host.namespace.entered():
                device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
                self._devices[_hex(host)] = device
                fcntl.ioctl(device, TUNSETIFF, request)
        except OSError as error:
            raise Unavailable(f"no TUN device can be made: {error}") from None

    def start(self) -> None:
        """Carry packets between the hosts that are connected by now."""
        told = json.dumps({"devices": self._devices, "seed": self._seed})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.machines.cable", told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=tuple(self._devices.values()),
            cwd=ROOT,
            start_new_session=True,
        )
        self._drop_devices()

    def set(self, pairs: Iterable[tuple[Host, Host]], delay: Delay) -> None:
        """Let each direction from the first to the second host behave like this from now on."""
        lines = [
            (_hex(one), _hex(other), round(delay.ms * 1000), round(delay.jitter_ms * 1000), delay.overtaking)
            for one, other in pairs
        ]
        self._ask({"lines": lines})

    def counts(self) -> dict[str, int]:
        """Return how many packets were `carried`, `delayed`, `overtook` others, were `dropped` because there
        were too many, or were `unroutable`, so far."""
        return {name: int(count) for name, count in self._ask({}).items()}

    def _ask(self, order: dict[str, Sequence[object]]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise Unavailable("the cable does not run")
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], (), (), ANSWER_SECONDS)[0]:
            raise Unavailable("the cable does not answer")
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    def cpu_seconds(self) -> float:
        """Return the processor time that the cable has used."""
        if self._process is None:
            return 0.0
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process; the devices end with it."""
        self._drop_devices()
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _drop_devices(self) -> None:
        for device in self._devices.values():
            os.close(device)
        self._devices.clear()


def _hex(host: Host) -> str:
    return socket.inet_aton(host.address).hex()
