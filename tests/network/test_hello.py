"""Rules of the hello: the same version, the same chain, and the member whose certificate was shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.roster import MemberId
from network.errors import HelloError
from network.hello import HELLO_BYTES, PROTOCOL_VERSION, Hello, HelloFault, RefusedHello

CHAIN = bytes(range(32))
OURS = Hello(CHAIN, MemberId(1))


def test_a_hello_has_44_bytes_in_a_fixed_order() -> None:
    encoded = Hello(CHAIN, MemberId(258)).encode()
    assert encoded == b"tetrarch" + b"\x00\x01" + CHAIN + b"\x01\x02"
    assert len(encoded) == HELLO_BYTES == 44


def test_the_hello_of_the_member_that_is_expected_is_taken() -> None:
    OURS.require(Hello(CHAIN, MemberId(2)).encode(), MemberId(2))


@pytest.mark.parametrize(
    ("payload", "fault", "says"),
    [
        (b"", HelloFault.MALFORMED, "no hello"),
        (b"GET / HTTP/1.1", HelloFault.MALFORMED, "no hello"),
        (Hello(CHAIN, MemberId(2)).encode()[:-1], HelloFault.MALFORMED, "no hello"),
        (b"T" + Hello(CHAIN, MemberId(2)).encode()[1:], HelloFault.MALFORMED, "no hello"),
        (
            Hello(CHAIN, MemberId(2), PROTOCOL_VERSION + 1).encode(),
            HelloFault.VERSION,
            "version 2, we speak 1",
        ),
        (Hello(bytes(32), MemberId(2)).encode(), HelloFault.CHAIN, "of chain 0{64}, we are of 000102"),
        (Hello(CHAIN, MemberId(3)).encode(), HelloFault.MEMBER, "member 3, its certificate is member 2's"),
    ],
)
def test_any_other_hello_is_refused_with_its_fault(payload: bytes, fault: HelloFault, says: str) -> None:
    with pytest.raises(RefusedHello, match=says) as caught:
        OURS.require(payload, MemberId(2))
    assert caught.value.fault is fault


@given(st.binary(max_size=60))
def test_no_bytes_make_anything_but_a_hello_error(payload: bytes) -> None:
    with pytest.raises(HelloError):
        OURS.require(payload, MemberId(2))
