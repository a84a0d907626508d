"""Rules of addresses: what is written can be read back, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.address import Address
from network.errors import AddressError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7000", "127.0.0.1", 7000),
        ("localhost:1", "localhost", 1),
        ("replica-0.example.org:65535", "replica-0.example.org", 65535),
        ("example.org.:7000", "example.org.", 7000),
        ("my_service:7000", "my_service", 7000),
        ("[::1]:7000", "::1", 7000),
        ("[2001:db8::1]:7000", "2001:db8::1", 7000),
        ("[fe80::1%eth0]:7000", "fe80::1%eth0", 7000),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the port is missing"),
        ("localhost", "the port is missing"),
        (":7000", "the host is missing"),
        ("localhost:", "'' is not a port"),
        ("localhost:x", "'x' is not a port"),
        ("localhost:-1", "'-1' is not a port"),
        ("localhost:+1", "is not a port"),
        ("localhost: 7000", "is not a port"),
        ("localhost:\u0667", "is not a port"),
        ("localhost:7_000", "is not a port"),
        ("localhost:70000", "port 70000 is not within 1 to 65535"),
        ("localhost:0", "port 0 is not within 1 to 65535"),
        ("localhost:" + "9" * 5_000, "is not a port"),
        ("::1:7000", "an IPv6 address is written in brackets"),
        ("[::1]", r"an IPv6 address is written \[address\]:port"),
        ("[::1:7000", r"an IPv6 address is written \[address\]:port"),
        ("[::1]7000", r"an IPv6 address is written \[address\]:port"),
        ("[localhost]:7000", "'localhost' is not an IPv6 address"),
        ("[127.0.0.1]:7000", "is not an IPv6 address"),
        ("256.0.0.1:7000", "is not an IPv4 address"),
        ("127.1:7000", "is not an IPv4 address"),
        ("local host:7000", "is not a host name"),
        ("https://example.org:7000", "brackets|is not a host name"),
        ("-x.example:7000", "is not a host name"),
        ("a..b:7000", "is not a host name"),
        ("bücher.example:7000", "is not a host name"),
        ("a" * 64 + ".example:7000", "is not a host name"),
        ("\n:7000", "is not a host name"),
        (".".join(["abc"] * 70) + ":7000", "is not a host name"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(text: str, says: str) -> None:
    with pytest.raises(AddressError, match=says) as caught:
        Address.parse(text)
    assert repr(text) in str(caught.value)


def test_port_0_is_for_listening_only() -> None:
    assert Address.parse("127.0.0.1:0", listening=True) == Address("127.0.0.1", 0)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert Address.parse(str(address)) == address
