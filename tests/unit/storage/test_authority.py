"""The host's own authority: made once, made anew when it cannot serve, and able to speak for our names only."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from microhost.limits import AUTHORITY_DAYS, CERTIFICATE_DAYS
from microhost.storage.authority import CERTIFICATE_FILE, KEY_FILE, Authority, names_of, open_authority

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def opened(data: Path, domain: str = "example.org", *, days: float = 0) -> Authority:
    """Open the authority so many days after it all began."""
    return open_authority(data, domain, clock=lambda: NOW + timedelta(days=days))


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_it_is_made_once_and_its_key_is_its_owners_alone(tmp_path: Path) -> None:
    first = opened(tmp_path)
    second = opened(tmp_path)
    assert first.made
    assert not second.made
    assert first.certificate == second.certificate
    assert mode_of(tmp_path / KEY_FILE) == 0o600
    assert mode_of(tmp_path / KEY_FILE.parent) == 0o700
    assert mode_of(tmp_path / CERTIFICATE_FILE) == 0o644
    assert b"PRIVATE" not in (tmp_path / CERTIFICATE_FILE).read_bytes()


@pytest.mark.parametrize("file", [KEY_FILE, CERTIFICATE_FILE])
@pytest.mark.parametrize("content", [None, b"", b"nonsense", "the other's"])
def test_what_is_missing_or_damaged_is_replaced(
    tmp_path: Path, file: Path, content: bytes | str | None
) -> None:
    before = opened(tmp_path / "a").certificate
    opened(tmp_path / "b")
    broken = tmp_path / "a" / file
    if content is None:
        broken.unlink()
    else:
        broken.write_bytes((tmp_path / "b" / file).read_bytes() if isinstance(content, str) else content)
    repaired = opened(tmp_path / "a")
    assert repaired.made
    assert repaired.certificate != before
    assert not opened(tmp_path / "a").made


def test_another_domain_wants_another_authority(tmp_path: Path) -> None:
    assert opened(tmp_path, "example.org").made
    assert opened(tmp_path, "other.example").made
    assert not opened(tmp_path, "other.example").made


def test_it_is_replaced_before_a_certificate_would_outlive_it(tmp_path: Path) -> None:
    opened(tmp_path)
    late = AUTHORITY_DAYS - CERTIFICATE_DAYS - 1
    assert not opened(tmp_path, days=late).made
    assert opened(tmp_path, days=late + 1).made


def verify(authority: Authority, names: list[str], wanted: str, *, days: float = 0) -> None:
    """Verify as a strict client does. Raises: VerificationError."""
    chain = x509.load_pem_x509_certificates(authority.issue(names).chain)
    roots = Store(x509.load_pem_x509_certificates(authority.certificate))
    at = NOW + timedelta(days=days)
    verifier = PolicyBuilder().store(roots).time(at).build_server_verifier(x509.DNSName(wanted))
    verifier.verify(chain[0], chain[1:])


@pytest.mark.parametrize(
    "name", ["example.org", "a.example.org", "database.deta.sh", "drive.deta.sh", "localhost"]
)
def test_a_strict_client_believes_our_names(tmp_path: Path, name: str) -> None:
    verify(opened(tmp_path), names_of("example.org"), name)


@pytest.mark.parametrize("name", ["example.com", "deta.sh", "evil-example.org", "org", "www.evil.net"])
def test_it_cannot_speak_for_names_that_are_not_ours(tmp_path: Path, name: str) -> None:
    authority = opened(tmp_path)
    verify(authority, ["example.org"], "example.org")
    with pytest.raises(VerificationError):
        verify(authority, [name, "example.org"], name)


def test_a_certificate_ends_after_its_days(tmp_path: Path) -> None:
    authority = opened(tmp_path)
    assert authority.issue(["example.org"]).ends_at == NOW + timedelta(days=CERTIFICATE_DAYS)
    verify(authority, ["example.org"], "example.org", days=CERTIFICATE_DAYS - 1)
    with pytest.raises(VerificationError):
        verify(authority, ["example.org"], "example.org", days=CERTIFICATE_DAYS + 1)


def test_every_certificate_has_a_key_of_its_own_and_none_is_written_down(tmp_path: Path) -> None:
    authority = opened(tmp_path)
    first, second = authority.issue(["example.org"]), authority.issue(["example.org"])
    assert first.key != second.key
    assert "PRIVATE" not in repr(first)
    stored = (tmp_path / KEY_FILE).read_bytes()
    assert load_pem_private_key(first.key, None) != load_pem_private_key(stored, None)
    assert sorted(each.name for each in tmp_path.rglob("*") if each.is_file()) == ["ca.key", "ca.pem"]


def test_a_domain_may_be_an_address(tmp_path: Path) -> None:
    authority = opened(tmp_path, "192.0.2.7")
    assert names_of("192.0.2.7")[0] == "192.0.2.7"
    certificate = x509.load_pem_x509_certificate(authority.issue(names_of("192.0.2.7")).chain)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.7" in {str(each) for each in names.get_values_for_type(x509.IPAddress)}
    assert ssl.PEM_cert_to_DER_cert(authority.certificate.decode())
