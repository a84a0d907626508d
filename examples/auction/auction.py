"""An auction on a ledger: things are offered, bid for, and go to whoever bid most.

| operation | fields | value of the result |
|---|---|---|
| `offer` | `thing`, `least` | true |
| `bid` | `thing`, `amount` | true; refused unless it is more than all before |
| `close` | `thing` | the winner's key and the amount, or null; refused to all but the seller |
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, json

from ledger.application import (
    ApplicationContext,
    Invalid,
    PayloadDecoder,
    Refused,
    StateReader,
    StateView,
    canonical_json,
)

Thing = Annotated[str, Meta(min_length=1, max_length=64)]
Amount = Annotated[int, Meta(ge=0, le=10**12)]


class Offer(Struct, frozen=True, tag_field="op", tag="offer", forbid_unknown_fields=True):
    """Put a thing up for auction."""

    thing: Thing
    least: Amount


class Bid(Struct, frozen=True, tag_field="op", tag="bid", forbid_unknown_fields=True):
    """Offer an amount for it."""

    thing: Thing
    amount: Amount


class Close(Struct, frozen=True, tag_field="op", tag="close", forbid_unknown_fields=True):
    """End its auction."""

    thing: Thing


class Lot(Struct, frozen=True):
    """What the state holds of a thing. Fields in the order of their names: its JSON is canonical."""

    amount: int
    """The least bid, or the highest so far."""
    bidder: str | None
    open: bool
    seller: str


_lots = json.Decoder(Lot)


class Auction:
    """The application."""

    def __init__(self, parameters: Mapping[str, str]) -> None:  # noqa: ARG002  # it has none
        self._payloads: PayloadDecoder[Offer | Bid | Close] = PayloadDecoder(Offer | Bid | Close)

    def check(self, payload: bytes) -> None:
        """Raise `Invalid` unless `payload` is one of the operations."""
        self._payloads.check(payload)

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Carry out one operation. Raises `Refused`."""
        asked, sender = self._payloads.decode(payload), context.sender.hex()
        lot = self._lot(asked.thing, state)
        if isinstance(asked, Offer):
            if lot is not None:
                raise Refused("it was offered before")
            return self._keep(state, asked.thing, Lot(asked.least, None, True, sender))
        if lot is None or not lot.open:
            raise Refused("it is not for sale")
        if isinstance(asked, Bid):
            if asked.amount < lot.amount or (lot.bidder is not None and asked.amount == lot.amount):
                raise Refused("another bid is as high")
            return self._keep(state, asked.thing, Lot(asked.amount, sender, True, lot.seller))
        if sender != lot.seller:
            raise Refused("the seller alone ends it")
        self._keep(state, asked.thing, Lot(lot.amount, lot.bidder, False, lot.seller))
        return canonical_json(lot.bidder and {"amount": lot.amount, "bidder": lot.bidder})

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer `{"thing": ...}`: what the state holds of it, or `null`. Raises `Invalid`."""
        try:
            thing = json.decode(question, type=dict[str, str])["thing"]
        except (ValueError, KeyError):
            raise Invalid("a question names a thing") from None
        return state.get(f"lot/{thing}".encode()) or b"null"

    def _lot(self, thing: str, state: StateReader) -> Lot | None:
        stored = state.get(f"lot/{thing}".encode())
        return None if stored is None else _lots.decode(stored)

    def _keep(self, state: StateView, thing: str, lot: Lot) -> bytes:
        state.put(f"lot/{thing}".encode(), json.encode(lot))
        return b"true"
