"""Why a transaction was not admitted: the documented codes, and which of them are final.

A refusal is final only from a weak quorum of replicas, and only for the codes that depend on neither
state, time nor load: every correct replica then refuses these exact bytes for ever. All others may be
retried.
"""

from enum import Enum


class RefusalCode(Enum):
    """The code of a signed refusal."""

    MALFORMED = "malformed"
    """The bytes are not the canonical encoding of a transaction."""
    TOO_LARGE = "too_large"
    """More bytes than the genesis allows."""
    WRONG_CHAIN = "wrong_chain"
    """It names another chain id."""
    BAD_KEY = "bad_key"
    """The sender's public key is of low order or not canonical."""
    BAD_SIGNATURE = "bad_signature"
    """The signature does not verify over these bytes."""
    INVALID = "invalid"
    """The application refuses the payload whatever the state."""
    EXPIRED = "expired"
    """valid_until has passed on this replica's clock."""
    TOO_FAR = "too_far"
    """valid_until lies further ahead than the horizon."""
    OVERLOADED = "overloaded"
    """The pool, or the sender's or connection's share of it, is full."""
    NOT_VOTING = "not_voting"
    """This replica takes no part at present (catching up, full disk, halted)."""

    @property
    def final(self) -> bool:
        """Whether the code depends on the bytes alone."""
        return self in _FINAL


_FINAL = frozenset(
    {
        RefusalCode.MALFORMED,
        RefusalCode.TOO_LARGE,
        RefusalCode.WRONG_CHAIN,
        RefusalCode.BAD_KEY,
        RefusalCode.BAD_SIGNATURE,
        RefusalCode.INVALID,
    }
)
