"""Addresses as people write them: `host:port`, `[2001:db8::1]:7000`. Nothing is resolved here.

What lives here: parsing with errors that say what is wrong, and writing. What must not be known here:
sockets.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from network.errors import AddressError

MAX_PORT: Final = 65535

MAX_HOST: Final = 253
"""The longest DNS name (RFC 1035, 2.3.4, less the length bytes)."""

_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBERS_ONLY: Final = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (a DNS name, an IPv4 or an IPv6 address, without brackets) and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, listening: bool = False) -> "Address":
        """Return the address that `text` writes. Raises `AddressError`.

        `listening`: port 0 is allowed and means any free port.
        """
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or not rest.startswith(":"):
                raise AddressError(f"{text!r}: an IPv6 address is written [address]:port")
            _check_ipv6(host, text)
            port = rest[1:]
        else:
            host, colon, port = text.rpartition(":")
            if not colon:
                raise AddressError(f"{text!r}: the port is missing; an address is written host:port")
            if ":" in host:
                raise AddressError(f"{text!r}: an IPv6 address is written in brackets: [address]:port")
            _check_name(host, text)
        return cls(host, _port(port, text, 0 if listening else 1))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _port(digits: str, text: str, lowest: int) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        raise AddressError(
            f"{text!r}: {digits!r} is not a port; a port is a number from {lowest} to {MAX_PORT}"
        )
    port = int(digits)
    if not lowest <= port <= MAX_PORT:
        raise AddressError(f"{text!r}: port {port} is not within {lowest} to {MAX_PORT}")
    return port


def _check_ipv6(host: str, text: str) -> None:
    try:
        IPv6Address(host)
    except AddressValueError:
        raise AddressError(f"{text!r}: {host!r} is not an IPv6 address") from None


def _check_name(host: str, text: str) -> None:
    """Guard against what a resolver would choke on or read as something else."""
    if not host:
        raise AddressError(f"{text!r}: the host is missing; an address is written host:port")
    if _NUMBERS_ONLY.fullmatch(host):
        try:
            IPv4Address(host)
        except AddressValueError:
            raise AddressError(f"{text!r}: {host!r} is not an IPv4 address") from None
        return
    labels = host.removesuffix(".").split(".")
    if len(host) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(f"{text!r}: {host!r} is not a host name")
