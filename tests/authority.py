"""A certificate authority of our own, for servers behind TLS."""

import copy
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A certificate authority of our own.

    Args:
        folder: for its files.
        begun: its life, so long from now.
    """

    def __init__(self, folder: Path, begun: timedelta = -DAY) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._own_name = "Test Authority"
        own = self._signed(self._own_name, self._key, begun, 400 * DAY, authority=True)
        self._chain = own.public_bytes(serialization.Encoding.PEM)
        self.path = folder / "authority.pem"
        self.path.write_bytes(self._chain)

    def between(self, start: timedelta, end: timedelta) -> "Authority":
        """Another one that this one has signed, and that signs servers."""
        found = copy.copy(self)
        found._key, found._own_name = ec.generate_private_key(ec.SECP256R1()), "Between"
        own = self._signed(found._own_name, found._key, start, end, authority=True)
        found._chain = own.public_bytes(serialization.Encoding.PEM)
        return found

    def _signed(
        self, name: str, key: Any, start: timedelta, end: timedelta, *, authority: bool = False
    ) -> x509.Certificate:
        """Valid from and until so long from now: not from when the tests were collected, which may
        be hours ago.
        """
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self._own_name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, authority, authority, False, False),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )

    def certificate(self, name: str, start: timedelta = -DAY, end: timedelta = 100 * DAY) -> Path:
        """Of a server with this name, for this time from now, with its key before it and its chain
        behind it.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        path = self._folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        chain = self._signed(name, key, start, end).public_bytes(serialization.Encoding.PEM)
        path.write_bytes(private + chain + self._chain)
        return path

    def context(self, name: str, start: timedelta, end: timedelta) -> ssl.SSLContext:
        """Of a server with a certificate for this name and time."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(name, start, end))
        return context
