"""Certificates for daemons that speak TLS to each other on loopback."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.ports import LOOPBACK

_DAYS = 365


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPair:
    """PEM texts; the key is PKCS 8 without a passphrase."""

    certificate: str
    key: str = field(repr=False)


def self_signed(common_name: str, extra_addresses: Iterable[str] = ()) -> KeyPair:
    """A certificate for ``localhost`` and 127.0.0.1 that is its own authority, for servers and for clients.

    ``extra_addresses`` are further addresses of this host that servers listen on.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return _pair(key, subject=name, issuer=name, signer=key, addresses=extra_addresses, is_authority=True)


def signed_by(
    authority: str, authority_key: str, extra_addresses: Iterable[str] = (), *, common_name: str = "renewed"
) -> KeyPair:
    """Another certificate for the same addresses, of an authority that is given as PEM: what a renewal brings."""
    issuer = x509.load_pem_x509_certificate(authority.encode()).subject
    signer = serialization.load_pem_private_key(authority_key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError(f"an authority's key is {type(signer).__name__}; expected one that self_signed made")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    key = ec.generate_private_key(ec.SECP256R1())
    return _pair(key, subject=subject, issuer=issuer, signer=signer, addresses=extra_addresses, is_authority=False)


def _pair(
    key: ec.EllipticCurvePrivateKey,
    *,
    subject: x509.Name,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    addresses: Iterable[str],
    is_authority: bool,
) -> KeyPair:
    now = datetime.now(UTC)
    listening = [x509.IPAddress(ipaddress.ip_address(one)) for one in (LOOPBACK, *addresses)]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([*listening, x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyPair(certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(), key=private.decode())
