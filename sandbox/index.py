"""Translate the operator's index settings into uv's and npm's, and their complaints into one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

PASSED_ON = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|FIND_LINKS|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|"
    r"NATIVE_TLS|SYSTEM_CERTS|OFFLINE|INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD))|SSL_CERT_(FILE|DIR)|(HTTPS?|ALL|NO)_PROXY|"
    r"https_proxy|http_proxy|all_proxy|no_proxy"
)
NPM_PASSED_ON = re.compile(
    r"(?i:NPM_CONFIG_)((?i:REGISTRY|CAFILE|CA|STRICT_SSL|FETCH_[A-Z_]+|MAXSOCKETS|OFFLINE|PREFER_OFFLINE|_AUTH[A-Z]*)|//.+|@.+)|"
    r"NODE_EXTRA_CA_CERTS|(HTTPS?|ALL|NO)_PROXY|https_proxy|http_proxy|all_proxy|no_proxy"
)
TRANSLATED = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
}
# Lines of uv that show places of this machine.
HIDDEN_LINE = re.compile(
    r"Using C?Python|Using PyPy|warning: .*(hardlink|cache)|.*/build/lock\.txt|.* `/cache/"
)


def index_environment(operator: Mapping[str, str]) -> dict[str, str]:
    """Translate the operator's index settings, uv's and pip's, into uv's; uv's own win."""
    chosen = {ours: operator[theirs] for theirs, ours in TRANSLATED.items() if operator.get(theirs)}
    return chosen | {name: value for name, value in operator.items() if value and PASSED_ON.fullmatch(name)}


def npm_environment(operator: Mapping[str, str]) -> dict[str, str]:
    """Give the operator's settings for npm's registry: where it is, whom to trust, how to log in, which proxy to take."""
    return {name: value for name, value in operator.items() if value and NPM_PASSED_ON.fullmatch(name)}


def local_index_paths(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Give the existing paths that index settings name: directories of wheels, certificates."""
    words = [word.split("=", 1)[-1] for value in settings.values() for word in re.split(r"[\s,]+", value)]
    paths = [word.removeprefix("file://") for word in words]
    return tuple(dict.fromkeys(path for path in paths if path.startswith("/") and Path(path).exists()))


def index_urls(settings: Mapping[str, str], uv_says: str) -> tuple[str, ...]:
    """Give the addresses of the indexes: as the settings write them, and what uv adds to them (its lock's first lines)."""
    words = [
        word.split("=", 1)[-1] if "://" in word.split("=", 1)[-1] else word
        for name, value in settings.items()
        if re.fullmatch(r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS)", name)
        for word in re.split(r"[\s,]+", value)
    ]
    words += re.findall(r"^--(?:extra-)?(?:index-url|find-links) (\S+)", uv_says, re.MULTILINE)
    return tuple(dict.fromkeys(word for word in words if word.startswith(("http://", "https://"))))


def explain_failure(errors: str, *, runtime: str, packages_as_of: date | None) -> str:
    """Turn uv's own words into one sentence that names the requirement; the log has the rest."""
    dated = f" as of {packages_as_of}" if packages_as_of else ""

    def name(found: re.Match[str]) -> str:
        return f"Requirement {found[1]!r}"

    text = " ".join(errors.split())
    if found := re.search(
        r"(?:Because|because) (\S+) was not found in the (?:package registry|provided)", text
    ):
        return f"{name(found)} was not found in the package index; check its name in requirements.txt."
    if found := re.search(r"there (?:is|are) no versions? of (\S+?)[, ]", text):
        return f"{name(found)} is not in the package index{dated}; choose another version."
    if found := re.search(r"Because (?:all versions of )?(\S+) ha(?:s|ve) no usable wheels", text):
        return (
            f"{name(found)} has no ready wheel for {runtime}; choose another version or runtime, "
            "or allow builds for this project."
        )
    if found := re.search(
        r"Failed to (?:fetch|download[^:]*): `?https?://([^/`\s]+)\S*.*tunnel error: unsuccessful", text
    ):
        return (
            f"{found[1]!r} cannot be reached: installing reaches the package indexes of this host, and public addresses that "
            "requirements name."
        )
    if re.search(r"error sending request|dns error|502 Bad Gateway|tunnel error", text):
        return "The package index cannot be reached from the host; try again, or ask the operator."
    if found := re.search(r"Failed to (?:download|fetch|build)[: ]+`?([^`\s]+)", text):
        return f"{name(found)} could not be fetched or built; the log says why."
    if "hash" in text.lower() and "mismatch" in text.lower():
        return "A package does not have the hash that requirements.txt names; update the hash."
    return "The requirements cannot be met together; the log says which of them contradict each other."
