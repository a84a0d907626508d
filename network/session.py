"""One TLS session without I/O: ciphertext in, plaintext out, and the other way round.

What lives here: driving `ssl.SSLObject` between two memory buffers. What must not be known here: sockets,
event loops, and who may be believed (`crypto.tls` makes the contexts and compares certificates).

Why not asyncio's own TLS: there a stranger's bytes can end in an error that asyncio reports as ours (an abort
from within `data_received`, followed by the stream's end, is a `RuntimeError` for it), and each connection
keeps 256 KiB. Here every failure is a `SessionFailed` of this one connection.
"""

import ssl
from typing import Final

READ_BYTES: Final = 16 * 1024
"""The most that one TLS record carries (RFC 8446, 5.1)."""


class SessionFailed(Exception):
    """The handshake or a record was wrong; the session is of no use any more. One line."""


class Session:
    """One side of one session. Call `output` after every other call and send what it returns.

    Source: RFC 8446.
    """

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        """What `output` will return."""
        self.ssl_object = context.wrap_bio(self._incoming, self.outgoing, server_side=server_side)
        """For `crypto.tls.peer_fingerprint`, once `established`."""
        self.established = False
        self.ended = False
        """Whether the peer has closed the session."""

    def begin(self) -> None:
        """Start the handshake. The connecting side speaks first; for the other this does nothing."""
        self._shake_hands()

    def receive(self, ciphertext: bytes | memoryview) -> list[bytes]:
        """Take what came over the wire and return the plaintext in it, piece by piece.

        Raises `SessionFailed`; `output` then holds the alert for the peer.
        """
        self._incoming.write(ciphertext)
        if not self.established:
            self._shake_hands()
            if not self.established:
                return []
        return self._read()

    def protect(self, plaintext: bytes) -> None:
        """Encrypt `plaintext`, which must not be empty. Raises `SessionFailed`."""
        try:
            self.ssl_object.write(plaintext)
        except ssl.SSLError as error:
            raise _failed(error) from None

    def end(self) -> None:
        """Tell the peer that nothing follows."""
        try:
            self.ssl_object.unwrap()
        except ssl.SSLError:
            # What matters, the alert in the output, has been written before the peer's is waited for.
            return

    def output(self) -> bytes:
        """Return and forget the bytes that are to be sent."""
        return self.outgoing.read()

    def _shake_hands(self) -> None:
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise _failed(error) from None
        self.established = True

    def _read(self) -> list[bytes]:
        pieces: list[bytes] = []
        incoming, tls = self._incoming, self.ssl_object
        try:
            while True:
                piece = tls.read(READ_BYTES)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
                # A short piece ends its record: asking for more than there is would cost an exception.
                if not incoming.pending and (len(piece) < READ_BYTES or not tls.pending()):
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise _failed(error) from None
        return pieces


def _failed(error: ssl.SSLError) -> SessionFailed:
    """Say in OpenSSL's words what failed: its reason, and why a certificate was refused, if it was."""
    reason = (error.reason or type(error).__name__).lower().replace("_", " ")
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"certificate refused: {error.verify_message}"
    return SessionFailed(reason)
