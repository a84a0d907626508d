"""Rules of crypto.tls, each over a real TLS handshake between two sides joined in memory."""

import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crypto import tls
from crypto.errors import CryptoError
from crypto.keyfile import write_private_file
from crypto.tls import TlsError


@dataclass(frozen=True)
class Member:
    """An identity on disk, as a replica has it."""

    certificate_path: Path
    key_path: Path
    pem: bytes

    @property
    def der(self) -> bytes:
        return tls.certificate_der(self.pem)

    @property
    def fingerprint(self) -> bytes:
        return tls.fingerprint(self.der)


@pytest.fixture
def member(tmp_path: Path) -> Callable[..., Member]:
    def make(name: str, identity: tuple[bytes, bytes] | None = None) -> Member:
        pem, key = tls.make_identity(name) if identity is None else identity
        places = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        places[0].write_bytes(pem)
        write_private_file(places[1], key)
        return Member(*places, pem)

    return make


@dataclass
class Link:
    """Two TLS sides joined by memory; no sockets, no threads."""

    server: ssl.SSLObject
    client: ssl.SSLObject

    @classmethod
    def between(cls, server: ssl.SSLContext, client: ssl.SSLContext) -> "Link":
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up))

    def shake_hands(self) -> None:
        """Take turns until both are done; a TLS 1.3 handshake is over in two turns of each."""
        for _ in range(3):
            for side in (self.client, self.server):
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()

    def carries(self, data: bytes) -> bool:
        self.client.write(data)
        self.server.write(data[::-1])
        return self.server.read(len(data)) == data and self.client.read(len(data)) == data[::-1]


def joined(server: ssl.SSLContext, client: ssl.SSLContext) -> Link:
    link = Link.between(server, client)
    link.shake_hands()
    return link


def between_members(server: Member, client: Member, trusted: Sequence[bytes]) -> Link:
    return joined(
        tls.server_context(server.certificate_path, server.key_path, trusted),
        tls.client_context(client.certificate_path, client.key_path, trusted),
    )


def unguarded_client(own: Member | None) -> ssl.SSLContext:
    """A client that keeps none of our rules."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if own is not None:
        context.load_cert_chain(own.certificate_path, own.key_path)
    return context


def unguarded_server(own: Member) -> ssl.SSLContext:
    """A server that keeps none of our rules."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate_path, own.key_path)
    return context


# Between members.


@pytest.mark.parametrize("form", ["pem", "der"])
def test_two_members_shake_hands_and_know_each_other(form: str, member: Callable[..., Member]) -> None:
    a, b = member("a"), member("b")
    link = between_members(a, b, [getattr(a, form), getattr(b, form)])
    assert link.server.version() == link.client.version() == "TLSv1.3"
    assert tls.require_peer(link.server, {a.fingerprint, b.fingerprint}) == b.fingerprint
    assert tls.require_peer(link.client, {a.fingerprint}) == a.fingerprint
    assert link.carries(b"hello")


def test_members_that_share_a_name_are_told_apart(member: Callable[..., Member], tmp_path: Path) -> None:
    a = member("a", tls.make_identity("same"))
    b = member("b", tls.make_identity("same"))
    link = between_members(a, b, [a.pem, b.pem])
    assert tls.require_peer(link.server, {b.fingerprint}) == b.fingerprint
    stranger = member("c", tls.make_identity("same"))
    with pytest.raises(ssl.SSLCertVerificationError):
        joined(tls.server_context(a.certificate_path, a.key_path, [a.pem, b.pem]), unguarded_client(stranger))


def test_a_member_is_refused_where_another_member_is_expected(member: Callable[..., Member]) -> None:
    a, b, c = member("a"), member("b"), member("c")
    link = between_members(a, b, [a.pem, b.pem, c.pem])
    with pytest.raises(TlsError, match=b.fingerprint.hex()):
        tls.require_peer(link.server, {c.fingerprint})


def test_a_client_whose_certificate_is_not_in_the_roster_is_refused(member: Callable[..., Member]) -> None:
    a, b, stranger = member("a"), member("b"), member("stranger")
    server = tls.server_context(a.certificate_path, a.key_path, [a.pem, b.pem])
    with pytest.raises(ssl.SSLCertVerificationError):
        joined(server, unguarded_client(stranger))


def test_a_server_whose_certificate_is_not_in_the_roster_is_refused(member: Callable[..., Member]) -> None:
    a, b, stranger = member("a"), member("b"), member("stranger")
    client = tls.client_context(a.certificate_path, a.key_path, [a.pem, b.pem])
    with pytest.raises(ssl.SSLCertVerificationError):
        joined(unguarded_server(stranger), client)


def test_a_client_without_a_certificate_is_refused_by_a_member(member: Callable[..., Member]) -> None:
    a, b = member("a"), member("b")
    server = tls.server_context(a.certificate_path, a.key_path, [a.pem, b.pem])
    with pytest.raises(ssl.SSLError) as caught:
        joined(server, unguarded_client(None))
    assert caught.value.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


@pytest.mark.parametrize("side", ["server", "client"])
def test_tls_1_2_is_refused(side: str, member: Callable[..., Member]) -> None:
    a, b = member("a"), member("b")
    if side == "server":
        server = tls.server_context(a.certificate_path, a.key_path, [a.pem, b.pem])
        client = unguarded_client(b)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        server = unguarded_server(a)
        server.maximum_version = ssl.TLSVersion.TLSv1_2
        client = tls.client_context(b.certificate_path, b.key_path, [a.pem, b.pem])
    with pytest.raises(ssl.SSLError) as caught:
        joined(server, client)
    assert caught.value.reason in {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"}


def test_a_stranger_for_whom_a_member_vouches_is_refused(member: Callable[..., Member]) -> None:
    a, b = member("a"), member("b")
    voucher = serialization.load_pem_private_key(b.key_path.read_bytes(), None)
    assert isinstance(voucher, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(b.pem)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .sign(voucher, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    stranger = member("stranger", (pem + b.pem, private_pem(key)))
    server = tls.server_context(a.certificate_path, a.key_path, [a.pem, b.pem])
    with pytest.raises(ssl.SSLCertVerificationError):
        joined(server, unguarded_client(stranger))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def expired_identity(name: str) -> tuple[bytes, bytes]:
    return tls.make_identity(
        name, not_before=datetime.now(UTC) - timedelta(days=3), validity=timedelta(days=2)
    )


def test_a_peer_whose_certificate_has_expired_is_refused_by_that_name(member: Callable[..., Member]) -> None:
    a, old = member("a"), member("old", expired_identity("old"))
    server = tls.server_context(a.certificate_path, a.key_path, [a.pem, old.pem])
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        joined(server, unguarded_client(old))
    assert caught.value.verify_message == "certificate has expired"


def test_no_session_is_resumed_and_no_ticket_given(member: Callable[..., Member]) -> None:
    a, b = member("a"), member("b")
    trusted = [a.pem, b.pem]
    server = tls.server_context(a.certificate_path, a.key_path, trusted)
    client = tls.client_context(b.certificate_path, b.key_path, trusted)
    first = joined(server, client)
    assert first.carries(b"whatever a ticket would have come with")
    assert first.client.session is not None
    assert not first.client.session.has_ticket
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    again = Link(
        server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up, session=first.client.session)
    )
    again.shake_hands()
    assert again.carries(b"anew")
    assert not again.client.session_reused
    assert not again.server.session_reused
    assert tls.peer_fingerprint(again.server) == b.fingerprint


# Clients of the ledger, who have no certificate.


def test_a_client_without_a_certificate_reaches_a_server_of_the_roster(member: Callable[..., Member]) -> None:
    a, b = member("a"), member("b")
    link = joined(
        tls.server_context_anonymous(a.certificate_path, a.key_path),
        tls.client_context_anonymous([a.pem, b.pem]),
    )
    assert link.client.version() == "TLSv1.3"
    assert tls.require_peer(link.client, {a.fingerprint}) == a.fingerprint
    assert link.carries(b"a transaction")
    with pytest.raises(TlsError, match="no certificate"):
        tls.peer_fingerprint(link.server)


def test_a_client_refuses_a_server_that_is_not_in_the_roster(member: Callable[..., Member]) -> None:
    a, stranger = member("a"), member("stranger")
    with pytest.raises(ssl.SSLCertVerificationError):
        joined(
            tls.server_context_anonymous(stranger.certificate_path, stranger.key_path),
            tls.client_context_anonymous([a.pem]),
        )


def test_the_port_for_clients_refuses_tls_1_2(member: Callable[..., Member]) -> None:
    a = member("a")
    client = unguarded_client(None)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError) as caught:
        joined(tls.server_context_anonymous(a.certificate_path, a.key_path), client)
    assert caught.value.reason == "UNSUPPORTED_PROTOCOL"


def test_nothing_is_known_of_a_peer_before_the_handshake(member: Callable[..., Member]) -> None:
    a = member("a")
    link = Link.between(
        tls.server_context_anonymous(a.certificate_path, a.key_path), tls.client_context_anonymous([a.pem])
    )
    with pytest.raises(TlsError, match="handshake is not finished"):
        tls.require_peer(link.client, {a.fingerprint})


# Identities and files.


def test_an_identity_states_its_names_validity_and_that_it_is_no_authority() -> None:
    pem, _ = tls.make_identity("replica-0.example", ["localhost", "127.0.0.1", "::1", "localhost"])
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["replica-0.example", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == tls.VALIDITY
    assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(hours=23)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_a_fingerprint_is_the_sha_256_of_the_der_bytes() -> None:
    pem, _ = tls.make_identity("a")
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert tls.certificate_der(pem) == tls.certificate_der(der) == der
    assert tls.fingerprint(der) == sha256(der).digest()


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ä", "a\0b", "a/b"])
def test_a_name_that_a_certificate_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(TlsError, match="no name for a certificate"):
        tls.make_identity(name)
    with pytest.raises(TlsError, match="no name for a certificate"):
        tls.make_identity("good", [name])


def own_refusal(certificate_path: Path, key_path: Path) -> str:
    with pytest.raises(TlsError) as caught:
        tls.server_context_anonymous(certificate_path, key_path)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_the_key_of_another_certificate_is_refused_by_both_names(member: Callable[..., Member]) -> None:
    a, b = member("a"), member("b")
    line = own_refusal(a.certificate_path, b.key_path)
    assert f"{b.key_path}: is not the key of the certificate {a.certificate_path}" in line


def test_an_own_certificate_out_of_its_time_is_refused_with_the_date(member: Callable[..., Member]) -> None:
    old = member("old", expired_identity("old"))
    assert f"{old.certificate_path}: expired on " in own_refusal(old.certificate_path, old.key_path)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    young = member("young", tls.make_identity("young", not_before=tomorrow))
    line = own_refusal(young.certificate_path, young.key_path)
    assert f"{young.certificate_path}: not valid before {tomorrow:%Y-%m-%d}" in line


def test_an_own_key_that_others_may_read_is_refused(member: Callable[..., Member]) -> None:
    a = member("a")
    a.key_path.chmod(0o644)
    assert f"chmod 600 {a.key_path}" in own_refusal(a.certificate_path, a.key_path)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(
    member: Callable[..., Member],
) -> None:
    a = member("a")
    key = serialization.load_pem_private_key(a.key_path.read_bytes(), None)
    a.key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    assert f"{a.key_path}: is encrypted" in own_refusal(a.certificate_path, a.key_path)


def test_files_that_are_missing_damaged_or_something_else_are_named(
    member: Callable[..., Member], tmp_path: Path
) -> None:
    a = member("a")
    absent = tmp_path / "absent"
    assert f"{absent}: there is no such file" in own_refusal(absent, a.key_path)
    assert f"{absent}: there is no such file" in own_refusal(a.certificate_path, absent)
    assert f"{a.key_path}: is not a certificate" in own_refusal(a.key_path, a.key_path)
    assert f"{tmp_path}: cannot be read" in own_refusal(tmp_path, a.key_path)
    a.key_path.write_bytes(a.pem)
    assert f"{a.key_path}: is not a private key" in own_refusal(a.certificate_path, a.key_path)
    a.certificate_path.write_bytes(a.pem[:200])
    assert f"{a.certificate_path}: is not a certificate" in own_refusal(a.certificate_path, a.key_path)


def authority() -> bytes:
    return self_signed(
        lambda builder: builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    )


def unstated() -> bytes:
    return self_signed(lambda builder: builder)


def self_signed(extended: Callable[[x509.CertificateBuilder], x509.CertificateBuilder]) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
    )
    return extended(builder).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("certificate", "complaint"),
    [
        (b"", "is not a certificate"),
        (b"\x30\x82\xff\xff", "is not a certificate"),
        (b"-----BEGIN CERTIFICATE-----\n", "is not a certificate"),
        (bytes(tls.MAX_CERTIFICATE_BYTES + 1), "bytes"),
        (tls.make_identity("a")[0] * 2, "several certificates"),
        (authority(), "is an authority"),
        (unstated(), "does not state that it is no authority"),
    ],
    ids=["empty", "cut DER", "cut PEM", "large", "two", "authority", "unstated"],
)
def test_what_cannot_be_pinned_is_refused_with_its_place(certificate: bytes, complaint: str) -> None:
    good, _ = tls.make_identity("good")
    with pytest.raises(TlsError, match=rf"trusted certificate 1: .*{complaint}"):
        tls.client_context_anonymous([good, certificate])


def test_an_altered_certificate_cannot_be_pinned() -> None:
    der = bytearray(tls.certificate_der(tls.make_identity("a")[0]))
    der[-1] ^= 1
    with pytest.raises(TlsError, match="is not self-signed"):
        tls.client_context_anonymous([bytes(der)])


def test_a_context_trusts_someone_and_not_everyone() -> None:
    good, _ = tls.make_identity("good")
    for count in (0, tls.MAX_TRUSTED + 1):
        with pytest.raises(TlsError, match=f"^{count} trusted certificates"):
            tls.client_context_anonymous([good] * count)


def test_a_tls_error_belongs_to_the_family() -> None:
    assert issubclass(TlsError, CryptoError)
