"""Say which names may be given to projects, Micros and sub-domains.

Source: Deta docs, Micros > Custom Domains and Sub-domains: at least 4 characters; letters, digits, dashes and
underscores; begins and ends with a letter or digit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import timedelta

from microhost.errors import ClientError
from microhost.limits import EGRESS_NAMES_MAX, SUBDOMAIN_CHARACTERS_MIN
from microhost.records import Egress

NAME_CHARACTERS = 64
LABEL_CHARACTERS = 63
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
QUARANTINE = timedelta(days=30)
DOMAIN_CHARACTERS = 253
DOMAIN_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# Names that lead elsewhere by themselves: to this machine, to the doors inside Micros, to other networks
OTHERS_DOMAINS = ("localhost", "deta.sh", "local", "invalid", "onion", "arpa")
# fmt: off
RESERVED = frozenset((
    "account", "accounts", "admin", "administrator", "api", "auth", "autoconfig", "autodiscover",
    "base", "broadcasthost", "button", "console", "cron", "dashboard", "database", "deploy", "deta", "drive", "email",
    "health", "help", "hostmaster", "imap", "isatap", "localdomain", "localhost", "login",
    "logout", "mail", "mailer-daemon", "metrics", "micro", "microhost", "micros", "nobody", "none",
    "null", "oauth", "pop3", "postmaster", "proxy", "root", "security", "signin", "signup", "smtp",
    "status", "support", "system", "undefined", "visor", "webmail", "webmaster", "wpad", "www",
    "www1", "www2",
))
# fmt: on


def check_name(name: str, kind: str) -> str:
    """Give a project's or Micro's name, trimmed. Raises: ClientError when it will not do."""
    name = unicodedata.normalize("NFC", name.strip())
    if not name or len(name) > NAME_CHARACTERS:
        raise ClientError(f"A {kind}'s name has 1 to {NAME_CHARACTERS} characters, not {len(name)}.")
    if name in (".", "..") or any(character in "/\\?#%" or not character.isprintable() for character in name):
        raise ClientError(
            f"{name!r} is not a {kind}'s name: leave out '/', '\\', '?', '#', '%' and what cannot be printed."
        )
    return name


def check_subdomain(label: str) -> str:
    """Give a chosen sub-domain in lower case. Raises: ClientError when it will not do."""
    label = label.lower()
    if len(label) < SUBDOMAIN_CHARACTERS_MIN or len(label) > LABEL_CHARACTERS:
        raise ClientError(
            f"'{label[:80]}' has {len(label)} characters; a sub-domain has {SUBDOMAIN_CHARACTERS_MIN} to"
            f" {LABEL_CHARACTERS}."
        )
    if not LABEL.fullmatch(label):
        raise ClientError(
            f"{label!r} is not a sub-domain. Take letters, digits, '-' and '_', a letter or digit at both"
            " ends."
        )
    if label in RESERVED or label.startswith("xn--"):
        raise ClientError(f"The sub-domain '{label}' is reserved. Choose another one.")
    return label


def check_domain(domain: str, *, own: Sequence[str]) -> str:
    """Give a custom domain in lower case; `own` are the host's. Raises: ClientError when it will not do."""
    name = _check_host_name(domain)
    for other in (*(each.lower() for each in own), *OTHERS_DOMAINS):
        if name == other or name.endswith(f".{other}"):
            raise ClientError(f"The domain '{name}' cannot be given to a Micro: '{other}' is not yours.")
    return name


def check_egress(egress: str | Sequence[str]) -> Egress:
    """Give where a Micro may connect to: `public`, `none`, or host names in lower case, sorted; `*.` stands for any below.

    Raises: ClientError when it will not do.
    """
    if isinstance(egress, str):
        if egress in ("public", "none"):
            return egress
        raise ClientError(f"egress is {egress[:80]!r}; it may be 'public', 'none' or a list of host names.")
    if not 1 <= len(egress) <= EGRESS_NAMES_MAX:
        raise ClientError(
            f"egress lists {len(egress)} names; it may list 1 to {EGRESS_NAMES_MAX}. For none at all write 'none'."
        )
    return tuple(sorted({_check_listed(each) for each in egress}))


def _check_listed(name: str) -> str:
    below = name.strip().removeprefix("*.")
    return f"{'*.' if below != name.strip() else ''}{_check_host_name(below)}"


def _check_host_name(text: str) -> str:
    name = text.strip().lower().removesuffix(".")
    labels = name.split(".")
    if (
        len(name) > DOMAIN_CHARACTERS
        or len(labels) < 2
        or not all(map(DOMAIN_LABEL.fullmatch, labels))
        or not re.search("[a-z]", labels[-1])
    ):
        raise ClientError(
            f"{text[:80]!r} is not a domain. Write a whole name such as 'shop.example.org'; one with other letters"
            " as 'xn--...'."
        )
    return name
