"""Keep a certificate authority of this host's own, and issue certificates for its names.

The authority may only speak for the host's domain, the original's two names and loopback (name constraints): whoever
takes its certificate into a system's roots trusts it for nothing else. Its key never leaves `secrets/`; the
certificates that it issues and their keys are never written down, so that nothing on the disk can go stale.
Source: RFC 5280, sections 4.2.1.6 (names) and 4.2.1.10 (name constraints); RFC 6125.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from microhost.limits import AUTHORITY_DAYS, CERTIFICATE_DAYS
from microhost.storage.files import DIRECTORY_MODE, make_directory, write_file

KEY_FILE = Path("secrets", "ca.key")
CERTIFICATE_FILE = Path("ca", "ca.pem")
KEY_MODE, CERTIFICATE_MODE = 0o600, 0o644
# Clocks of clients go wrong.
BACKDATED = timedelta(hours=1)
LOOPBACK_NAMES = ("database.deta.sh", "drive.deta.sh", "localhost")
LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")

_Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Identity:
    """Hold a certificate with what leads from it to a root, and its key, all in PEM. It ends at `ends_at`."""

    chain: bytes
    key: bytes
    ends_at: datetime

    def __repr__(self) -> str:
        """Say nothing of the key."""
        return f"Identity(ends_at={self.ends_at.isoformat()})"


@dataclass(frozen=True, slots=True)
class Authority:
    """Issue certificates. `certificate` is its own, in PEM; `made` tells whether it is new."""

    certificate: bytes
    made: bool
    _root: x509.Certificate
    _key: _Key
    _clock: Callable[[], datetime]

    def issue(self, names: Sequence[str]) -> Identity:
        """Make a certificate for host names, wildcards and addresses, with a key of its own.

        Valid for CERTIFICATE_DAYS, or as long as the authority, if that is shorter.
        """
        now = self._clock()
        ends_at = min(now + timedelta(days=CERTIFICATE_DAYS), self._root.not_valid_after_utc)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name("microhost"), self._root.subject, key.public_key(), now - BACKDATED, ends_at)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName([_general_name(each) for each in names]), False),
            (issuer, False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Identity(_pem(certificate) + self.certificate, _key_pem(key), ends_at)


def open_authority(data: Path, domain: str, *, clock: Callable[[], datetime]) -> Authority:
    """Open the authority below `data`, made anew when there is none that can speak for `domain`.

    What is missing, damaged, about to end or made for another domain is replaced: an authority keeps nothing
    that could be lost but the trust in it.
    """
    found = _read(data, domain, clock())
    made = found is None
    root, key = found or _make(data, domain, clock())
    return Authority(_pem(root), made, root, key, clock)


def names_of(domain: str) -> list[str]:
    """Give every name and address that a host of this domain answers to."""
    ours = [domain] if _is_address(domain) else [domain, f"*.{domain}"]
    return list(dict.fromkeys([*ours, *LOOPBACK_NAMES, "*.localhost", "127.0.0.1", "::1"]))


def _read(data: Path, domain: str, now: datetime) -> tuple[x509.Certificate, _Key] | None:
    try:
        root = x509.load_pem_x509_certificate((data / CERTIFICATE_FILE).read_bytes())
        key = serialization.load_pem_private_key((data / KEY_FILE).read_bytes(), None)
        permitted = root.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return None
    is_ours = isinstance(key, _Key) and key.public_key() == root.public_key()
    lasts = root.not_valid_after_utc - now > timedelta(days=CERTIFICATE_DAYS)
    if not isinstance(key, _Key) or not is_ours or not lasts or list(permitted or ()) != _permitted(domain):
        return None
    (data / KEY_FILE).chmod(KEY_MODE)
    return root, key


def _make(data: Path, domain: str, now: datetime) -> tuple[x509.Certificate, _Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # two authorities of one machine must not have one name: clients look issuers up by it
    name = _name(f"microhost local authority {identifier.digest.hex()[:8]}")
    ends_at = now + timedelta(days=AUTHORITY_DAYS)
    builder = _builder(name, name, key.public_key(), now - BACKDATED, ends_at)
    for extension, critical in (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(key_cert_sign=True), True),
        (x509.NameConstraints(_permitted(domain), None), True),
        (identifier, False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    root = builder.sign(key, hashes.SHA256())
    make_directory(data / KEY_FILE.parent)
    make_directory(data / CERTIFICATE_FILE.parent, mode=DIRECTORY_MODE)
    write_file(data / KEY_FILE, _key_pem(key), mode=KEY_MODE)
    write_file(data / CERTIFICATE_FILE, _pem(root), mode=CERTIFICATE_MODE)
    return root, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    starts_at: datetime,
    ends_at: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts_at)
        .not_valid_after(ends_at)
    )


def _permitted(domain: str) -> list[x509.GeneralName]:
    networks: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_network(each)) for each in LOOPBACK_NETWORKS
    ]
    if _is_address(domain):
        networks.append(x509.IPAddress(ipaddress.ip_network(domain)))
        return [*map(x509.DNSName, LOOPBACK_NAMES), *networks]
    names = dict.fromkeys([domain, *LOOPBACK_NAMES])
    return [*map(x509.DNSName, names), *networks]


def _general_name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
