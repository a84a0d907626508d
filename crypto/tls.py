"""TLS identities and contexts: self-signed certificates, each pinned by its exact bytes; TLS 1.3 only.

What lives here: making an identity, the `ssl` contexts of both sides, and the comparison of certificates
after a handshake. What must not be known here: sockets, frames, addresses, and what is said over TLS.

There is no authority and no hostname: the roster names certificates, and only these are believed.

* OpenSSL is given the roster's certificates as its only anchors, so it ends the handshake of anyone else.
  Anchors must not be allowed to sign others, or a member could vouch for strangers: such a one is refused.
* After the handshake `require_peer` compares the SHA-256 of the peer's certificate with the one expected of
  exactly this peer. No byte may be exchanged before that. Under TLS 1.3 a client's handshake ends before the
  server has judged the client: its refusal arrives with the client's first reading.
* Tickets are off and no session is kept: each connection shows its certificate anew, and nothing outlives a
  roster. A handshake costs about 1 ms of CPU, both sides together.

Keys are ECDSA P-256, which every TLS library speaks (Ed25519 certificates measured no cheaper). They are no
signing keys of the ledger, which come from `crypto.keys` alone. Source: RFC 8446; RFC 5280 for certificates.
"""

import ssl
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NewType

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto.digest import Digest
from crypto.errors import CryptoError
from crypto.keyfile import KeyFileError, read_private_file
from crypto.roster import MAX_MEMBERS

Fingerprint = NewType("Fingerprint", Digest)
"""32 bytes: SHA-256 of a certificate's DER bytes."""

VALIDITY: Final = timedelta(days=3650)
"""Ten years. What ends an identity is the roster, which an epoch changes; expiry only sweeps up behind it."""

BACKDATED: Final = timedelta(days=1)
"""How far back validity begins, so that a peer whose clock is slow accepts a certificate made just now."""

MAX_CERTIFICATE_BYTES: Final = 16 * 1024
"""A certificate or key made here has less than 1 KiB; others may carry longer names and keys."""

MAX_TRUSTED: Final = 2 * MAX_MEMBERS
"""Certificates in one context: two full rosters, while one epoch hands over to the next."""

MAX_COMMON_NAME: Final = 64
"""RFC 5280's upper bound for a common name (ub-common-name)."""

_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


class TlsError(CryptoError):
    """A certificate or key that cannot be used, or a peer that is not the one expected. One line."""


def make_identity(
    common_name: str,
    hosts: Sequence[str] = (),
    *,
    not_before: datetime | None = None,
    validity: timedelta = VALIDITY,
) -> tuple[bytes, bytes]:
    """Return a new self-signed certificate and its private key (PKCS#8, not encrypted), both PEM.

    `common_name` and `hosts` (DNS names or IP addresses) become subject alternative names for the sake of
    other tools; nothing here compares them. Valid from a day ago for ten years unless told otherwise. The key
    is for `crypto.keyfile.write_private_file`. Raises TlsError for a name that a certificate cannot hold.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _checked_name(common_name))])
    begin = datetime.now(UTC) - BACKDATED if not_before is None else not_before
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signatures_only(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(_alternative_names([common_name, *hosts]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def certificate_der(certificate: bytes) -> bytes:
    """Return the DER bytes of one certificate given as PEM or DER. Raises TlsError."""
    return _parsed(certificate, "the certificate").public_bytes(serialization.Encoding.DER)


def fingerprint(certificate_der: bytes) -> Fingerprint:
    """Return SHA-256 of a certificate's DER bytes (32 bytes): what a roster names a certificate by."""
    return Fingerprint(Digest(sha256(certificate_der).digest()))


def server_context(certificate_path: Path, key_path: Path, trusted: Sequence[bytes]) -> ssl.SSLContext:
    """Return the accepting side between members: the peer must show a certificate among `trusted`.

    `trusted` are PEM or DER certificates. Raises TlsError: for files that are missing, damaged, expired, that
    do not belong together, or whose key is open to others, and for certificates that cannot be pinned.
    """
    return _authenticated(ssl.PROTOCOL_TLS_SERVER, certificate_path, key_path, trusted)


def client_context(certificate_path: Path, key_path: Path, trusted: Sequence[bytes]) -> ssl.SSLContext:
    """Return the connecting side between members, as `server_context` is the accepting one."""
    return _authenticated(ssl.PROTOCOL_TLS_CLIENT, certificate_path, key_path, trusted)


def server_context_anonymous(certificate_path: Path, key_path: Path) -> ssl.SSLContext:
    """Return the accepting side towards clients, which show no certificate. Raises TlsError."""
    context = _bare(ssl.PROTOCOL_TLS_SERVER)
    _load_own(context, certificate_path, key_path)
    return context


def client_context_anonymous(trusted: Sequence[bytes]) -> ssl.SSLContext:
    """Return the side of a client without a certificate, which believes servers among `trusted` only."""
    context = _bare(ssl.PROTOCOL_TLS_CLIENT)
    _pin(context, trusted)
    return context


def client_context_authority(authority_path: Path) -> ssl.SSLContext:
    """Return the side of a client that believes servers whose certificate an authority vouches for, under the
    name that is dialled: for servers that are no members, such as brokers that others run. TLS 1.2 or later.

    `authority_path` holds the authorities' certificates (PEM). Raises TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(authority_path)
    except FileNotFoundError:
        raise TlsError(f"{authority_path}: there is no such file") from None
    except ssl.SSLError:
        raise TlsError(f"{authority_path}: holds no certificates in PEM") from None
    except OSError as error:
        raise TlsError(f"{authority_path}: cannot be read: {error}") from None
    return context


def peer_fingerprint(connection: ssl.SSLObject | ssl.SSLSocket) -> Fingerprint:
    """Return the fingerprint of the certificate that the peer showed. Raises TlsError if it showed none."""
    try:
        shown = connection.getpeercert(binary_form=True)
    except ValueError:
        raise TlsError("the handshake is not finished: the peer has shown nothing yet") from None
    if shown is None:
        raise TlsError("the peer showed no certificate")
    return fingerprint(shown)


def require_peer(connection: ssl.SSLObject | ssl.SSLSocket, expected: Collection[bytes]) -> Fingerprint:
    """Return the peer's fingerprint if it is among the `expected` ones, else raise TlsError.

    To be called right after the handshake and before any byte is exchanged. Whoever dials a certain member
    gives that member's fingerprint alone, so that no other member can stand in for it.
    """
    shown = peer_fingerprint(connection)
    if shown not in expected:
        raise TlsError(f"the peer showed certificate {shown.hex()}, which is not the one expected")
    return shown


def _bare(protocol: int) -> ssl.SSLContext:
    """A context that trusts nobody yet and resumes nothing."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    context.check_hostname = False
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    return context


def _authenticated(
    protocol: int, certificate_path: Path, key_path: Path, trusted: Sequence[bytes]
) -> ssl.SSLContext:
    context = _bare(protocol)
    _load_own(context, certificate_path, key_path)
    _pin(context, trusted)
    return context


def _pin(context: ssl.SSLContext, trusted: Sequence[bytes]) -> None:
    """Make `trusted` the only certificates that a peer may show."""
    if not 0 < len(trusted) <= MAX_TRUSTED:
        raise TlsError(f"{len(trusted)} trusted certificates: there must be from 1 to {MAX_TRUSTED}")
    anchors = bytearray()
    for place, certificate in enumerate(trusted):
        what = f"trusted certificate {place}"
        parsed = _parsed(certificate, what)
        _require_no_authority(parsed, what)
        anchors += parsed.public_bytes(serialization.Encoding.DER)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=anchors)
    except ssl.SSLError as error:
        raise TlsError(f"the trusted certificates cannot be used: {error.reason}") from None


def _load_own(context: ssl.SSLContext, certificate_path: Path, key_path: Path) -> None:
    """Load the own certificate and key, after checks whose errors OpenSSL would word less clearly."""
    certificate = _parsed(_read_certificate(certificate_path), str(certificate_path))
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise TlsError(f"{certificate_path}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        raise TlsError(f"{certificate_path}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    _require_own_key(certificate, certificate_path, key_path)
    try:
        context.load_cert_chain(certificate_path, key_path)
    except (OSError, ValueError) as error:
        raise TlsError(f"{certificate_path}, {key_path}: cannot be used: {error}") from None


def _require_own_key(certificate: x509.Certificate, certificate_path: Path, key_path: Path) -> None:
    try:
        key = serialization.load_pem_private_key(read_private_file(key_path, MAX_CERTIFICATE_BYTES), None)
        fits = key.public_key() == certificate.public_key()
    except KeyFileError as error:
        raise TlsError(str(error)) from None
    except TypeError:
        raise TlsError(f"{key_path}: is encrypted; a TLS key is kept unencrypted, with mode 0600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsError(f"{key_path}: is not a private key in PEM that can be used") from None
    if not fits:
        raise TlsError(f"{key_path}: is not the key of the certificate {certificate_path}")


def _read_certificate(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CERTIFICATE_BYTES + 1)
    except FileNotFoundError:
        raise TlsError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise TlsError(f"{path}: cannot be read: {error}") from None


def _parsed(certificate: bytes, what: str) -> x509.Certificate:
    """Exactly one certificate from PEM or DER; `what` names it in errors."""
    if len(certificate) > MAX_CERTIFICATE_BYTES:
        raise TlsError(f"{what}: has more than {MAX_CERTIFICATE_BYTES} bytes")
    if certificate.count(_PEM_BEGIN) > 1:
        raise TlsError(f"{what}: holds several certificates; one is wanted, which stands for itself")
    try:
        if _PEM_BEGIN in certificate:
            return x509.load_pem_x509_certificate(certificate)
        return x509.load_der_x509_certificate(certificate)
    except ValueError:
        raise TlsError(f"{what}: is not a certificate in PEM or DER") from None


def _require_no_authority(certificate: x509.Certificate, what: str) -> None:
    """Guard against anchors in whose name others could be vouched for, or that OpenSSL would not match."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise TlsError(f"{what}: is not self-signed") from None
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise TlsError(f"{what}: does not state that it is no authority (basic constraints)") from None
    if constraints.ca:
        raise TlsError(f"{what}: is an authority, which could vouch for others")


def _signatures_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_alternative_name(name) for name in dict.fromkeys(names)])


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(_checked_name(name))


def _checked_name(name: str) -> str:
    if not 0 < len(name) <= MAX_COMMON_NAME or not _NAME_CHARACTERS.issuperset(name):
        raise TlsError(f"{name!r} is no name for a certificate: 1 to {MAX_COMMON_NAME} of a-z A-Z 0-9 . -")
    return name
