"""What the two ends of a conversation are called in the exchange of keys.

What lives here: names as bytes, such that no member's can be a client's. What must not be known here: topics.
"""

from crypto.digest import ChainId
from crypto.roster import MemberId
from crypto.sealed import Ends


def between_members(chain_id: ChainId, one: MemberId, other: MemberId) -> Ends:
    """Return the ends of the conversation of two members: the lower id opens it."""
    low, high = min(one, other), max(one, other)
    return Ends(chain_id, _member(MemberId(low)), _member(MemberId(high)))


def client_and_member(chain_id: ChainId, client: str, member: MemberId) -> Ends:
    """Return the ends of the conversation of a client, by its name in topics, and a member."""
    return Ends(chain_id, b"client/" + client.encode(), _member(member))


def _member(member: MemberId) -> bytes:
    return b"member/%d" % member
