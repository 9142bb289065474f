"""The frontend's own certificate authority: one CA, and one server certificate that is renewed in time.

Keys are EC P-256. Certificates begin two days in the past, because a host that was just switched on may have a clock
a day off.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from avalanche.adapters.files import write_whole
from avalanche.errors import ConfigError

CA_LIFE = timedelta(days=3653)
SERVER_LIFE = timedelta(days=730)
RENEW_BEFORE = timedelta(days=60)
BACKDATE = timedelta(days=2)


class Authority:
    """The CA in a folder: ``ca.key``, ``ca.crt``, and ``server.pem`` with key and certificate; mode 0600."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._folder = folder
        self._key = key
        self._certificate = certificate

    def __repr__(self) -> str:
        return f"<Authority {self._folder}>"

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether ``folder`` holds a complete CA. The certificate is written last."""
        return (folder / "ca.crt").is_file()

    @classmethod
    def create(cls, folder: Path, *, name: str, now: float) -> Authority:
        """Make a new CA called ``name`` in ``folder``, in place of a half-made one."""
        folder.mkdir(mode=0o700, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Avalanche CA of {name}"[:64])])
        begin = _moment(now) - BACKDATE
        builder = _builder(subject, subject, key, begin, begin + CA_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(certificates=True), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        write_whole(folder / "ca.key", _key_pem(key))
        write_whole(folder / "ca.crt", _pem(certificate))
        return cls(folder, key, certificate)

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """Open the CA in ``folder``.

        Raises:
            ConfigError: there is none, or it cannot be read.
        """
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except FileNotFoundError as error:
            raise ConfigError(
                f"{error.filename}: the certificate authority is not there; run: avalanche init"
            ) from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder}: the certificate authority cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{folder / 'ca.key'}: not an EC key")
        return cls(folder, key, certificate)

    @property
    def pem(self) -> str:
        """The CA's certificate, which every stub carries."""
        return _pem(self._certificate).decode("ascii")

    def renew_server(self, names: Sequence[str], now: float) -> str | None:
        """Make a server certificate when there is none, its names are others, or it nears its end.

        Args:
            names: addresses and host names that installing hosts use.

        Returns:
            Why a new one was made, or None.
        """
        reason = self._stale(names, now)
        if reason is None:
            return None
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        begin = _moment(now) - BACKDATE
        end = min(begin + SERVER_LIFE, self._certificate.not_valid_after_utc)
        builder = _builder(subject, self._certificate.subject, key, begin, end, issuer_key=self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(certificates=False), critical=True)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(usage, critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        # Key and certificate are one file, so that a crash never leaves a pair that does not fit.
        write_whole(self._folder / "server.pem", _key_pem(key) + _pem(builder.sign(self._key, hashes.SHA256())))
        return reason

    def server_context(self) -> ssl.SSLContext:
        """The TLS settings of the HTTPS port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._folder / "server.pem")
        return context

    def _stale(self, names: Sequence[str], now: float) -> str | None:
        try:
            found = x509.load_pem_x509_certificate((self._folder / "server.pem").read_bytes())
        except FileNotFoundError:
            return "there was none"
        except ValueError:
            return "it could not be read"
        try:
            found.verify_directly_issued_by(self._certificate)
            held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:  # any doubt about the old one is a reason for a new one
            return "it was not of this authority"
        if set(held) != {_general(name) for name in names}:
            return "the addresses changed"
        if not found.not_valid_before_utc <= _moment(now) <= found.not_valid_after_utc - RENEW_BEFORE:
            return "it neared its end"
        return None


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
    *,
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer_key or key).public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(identifier, critical=False)
    )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(int(now), UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
