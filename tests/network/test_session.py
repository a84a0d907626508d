"""Rules of a TLS session, without sockets: two of them joined by passing on their output."""

import ssl
from random import Random

import pytest

from crypto.tls import peer_fingerprint
from network.session import Session, SessionFailed
from tests.network.harness import (
    anonymous_context,
    careless_context,
    client_context,
    identity,
    member_identity,
    server_context,
)


def both(client: ssl.SSLContext | None = None) -> tuple[Session, Session]:
    """A member that accepts and one that connects, nothing said yet."""
    members = member_identity(0), member_identity(1)
    connecting = client or client_context(members[1], *members)
    return Session(server_context(members[0], *members), True), Session(connecting, False)


def exchange(one: Session, other: Session) -> list[bytes]:
    """Pass on what both have to say until they are quiet; return the plaintext that came out."""
    came: list[bytes] = []
    while True:
        outputs = one.output(), other.output()
        if not any(outputs):
            return came
        for receiver, output in ((other, outputs[0]), (one, outputs[1])):
            if output:
                came += receiver.receive(output)


def joined() -> tuple[Session, Session]:
    server, client = both()
    server.begin()
    client.begin()
    assert exchange(server, client) == []
    return server, client


def assert_refused(record: bytes, receiver: Session, sender: Session) -> None:
    """The record is not let through, and its sender learns why: the receiver's own error names the cause only
    in OpenSSL older than 3.2.
    """
    with pytest.raises(SessionFailed):
        receiver.receive(record)
    with pytest.raises(SessionFailed, match="alert bad record mac"):
        sender.receive(receiver.output())


def test_two_sessions_know_each_other_after_the_handshake() -> None:
    server, client = joined()
    assert server.established
    assert client.established
    assert peer_fingerprint(server.ssl_object) == member_identity(1).fingerprint
    assert peer_fingerprint(client.ssl_object) == member_identity(0).fingerprint


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 1_000_000])
def test_what_is_protected_on_one_side_comes_out_on_the_other(size: int) -> None:
    server, client = joined()
    plaintext = Random(1).randbytes(size)
    client.protect(plaintext)
    server.protect(plaintext[::-1])
    outputs = client.output(), server.output()
    assert plaintext not in outputs
    assert b"".join(server.receive(outputs[0])) == plaintext
    assert b"".join(client.receive(outputs[1])) == plaintext[::-1]


def test_ciphertext_may_come_in_pieces_of_any_size() -> None:
    server, client = joined()
    client.protect(b"first")
    client.protect(b"second")
    stream = client.output()
    pieces = [piece for byte in stream for piece in server.receive(bytes([byte]))]
    assert pieces == [b"first", b"second"]


def test_data_that_comes_with_the_end_of_the_handshake_is_not_lost() -> None:
    server, client = both()
    client.begin()
    server.receive(client.output())
    client.receive(server.output())
    client.protect(b"at once")
    assert server.receive(client.output()) == [b"at once"]


def test_the_other_side_learns_that_a_session_has_ended_after_what_was_said_before() -> None:
    server, client = joined()
    client.protect(b"last words")
    client.end()
    assert server.receive(client.output()) == [b"last words"]
    assert server.ended
    server.end()
    client.receive(server.output())
    assert client.ended


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x17\x03\x03\x00\x10" + bytes(16)]
)
def test_nonsense_instead_of_a_handshake_fails_with_one_line(garbage: bytes) -> None:
    server, _ = both()
    with pytest.raises(SessionFailed) as caught:
        server.receive(garbage)
    assert "\n" not in str(caught.value)
    assert not server.established


def test_a_record_that_was_changed_on_its_way_fails_and_says_nothing() -> None:
    server, client = joined()
    client.protect(b"pay 1 to alice")
    record = bytearray(client.output())
    record[10] ^= 1
    assert_refused(bytes(record), server, client)


def test_a_record_that_is_repeated_fails() -> None:
    server, client = joined()
    client.protect(b"pay 1 to alice")
    record = client.output()
    assert server.receive(record) == [b"pay 1 to alice"]
    assert_refused(record, server, client)


@pytest.mark.parametrize("own", ["stranger", None])
def test_who_is_not_trusted_learns_it_by_an_alert(own: str | None) -> None:
    server, client = both(anonymous_context() if own is None else careless_context(identity(own)))
    client.begin()
    server.receive(client.output())
    client.receive(server.output())
    with pytest.raises(SessionFailed, match=r"certificate refused|did not return a certificate"):
        server.receive(client.output())
    with pytest.raises(SessionFailed, match="alert"):
        client.receive(server.output())
