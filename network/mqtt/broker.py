"""One broker: where it is, how it is recognised, and as whom one logs in there.

What lives here: plain data, checked. What must not be known here: files, connections.
"""

import ssl
from dataclasses import dataclass
from typing import Final

from network.address import Address

MAX_BROKERS: Final = 8
"""A member says in one byte from which brokers it hears another."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, and the account that is used there. `repr` never shows the password."""

    address: Address
    context: ssl.SSLContext | None
    """What its certificate is judged by (`crypto.tls`); `None`: no TLS, for a broker on this machine only."""
    user: str
    password: "Password"


class Password:
    """Text that does not show in a `repr`, a log or an error."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "Password(…)"
