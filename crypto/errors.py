"""The errors of this package: one family, raised for input that must not be believed."""


class CryptoError(Exception):
    """Something from outside is not what it claims to be."""


class CodecError(CryptoError):
    """Bytes that do not decode, or whose strict re-encoding differs from what was received."""


class KeyRefused(CryptoError):
    """A public key that is of low order, not canonically encoded, or not a point of the curve."""


class CertificateError(CryptoError):
    """A certificate or envelope that is malformed, of another chain or epoch, or short of members."""


class SignatureError(CryptoError):
    """A signature that does not verify under the key of the member or sender it claims."""
