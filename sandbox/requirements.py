"""Read a user's requirements.txt into what may be resolved, and say why a line may not. Pure.

A requirements file can name more than packages: other files, other indexes, directories of the machine,
code to be built. Only packages are taken; anything else is refused with its line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

# Satisfied by our own packages, whatever version is asked for.
# Source: clients' manners: the registry's `deta` is another project today
OURS = ("deta", "detalib")
# What Debian's old pip wrote into frozen lists; it never was a package.
NO_PACKAGES = ("pkg-resources", "pkg_resources")
EXTRAS = {"async": "aiohttp"}

TEXT_BYTES = 256 * 1024
LINES = 2000

OPTIONS = {
    ("-r", "--requirement"): "reads another file; write its lines here",
    ("-c", "--constraint"): "reads another file; write its lines here",
    ("-e", "--editable"): "names a directory; put that code into the bundle",
    (
        "-i",
        "--index-url",
        "--extra-index-url",
        "--pypi-url",
        "--no-index",
    ): "names an index; only the host's own is used",
    ("-f", "--find-links"): "names a place of packages; only the host's own index is used",
}
ARCHIVES = (".whl", ".zip", ".tar.gz")
OTHER_OPTION = "is an option; only packages may stand here"


class RequirementsError(Exception):
    """Report the line that cannot be taken, in one sentence that ends with the next step."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """Hold what is to be resolved, one requirement a line, and what the log should say about the rest."""

    lines: tuple[str, ...]
    notes: tuple[str, ...]


def read_requirements(content: bytes, *, builds_allowed: bool) -> Requirements:
    """Read a requirements file of any common encoding, with LF or CRLF.

    Requirements by https or git+https URL run or hide code that no index vouches for: they need
    `builds_allowed`.

    Raises: RequirementsError naming the first line that cannot be taken.
    """
    if len(content) > TEXT_BYTES:
        raise RequirementsError(f"requirements.txt is {len(content)} bytes; at most {TEXT_BYTES} are read.")
    lines: dict[str, None] = {}
    notes: list[str] = []
    for number, text in _logical_lines(decode(content)):
        if number > LINES:
            raise RequirementsError(f"requirements.txt has more than {LINES} lines.")
        requirement, hashes = _parse(number, text, builds_allowed=builds_allowed)
        name = canonicalize_name(requirement.name)
        if name in OURS:
            notes.append(f"{requirement}: satisfied by the host's own {name!r} package.")
            lines.update({EXTRAS[extra]: None for extra in sorted(requirement.extras) if extra in EXTRAS})
        elif name in NO_PACKAGES:
            notes.append(f"{requirement}: left out; it is no package but a mark that an old pip left.")
        else:
            lines[f"{requirement}{hashes}"] = None
    return Requirements(tuple(lines), tuple(notes))


def decode(content: bytes) -> str:
    """Decode by the byte order mark; without one, UTF-16 by its zero bytes, else UTF-8, else Latin-1."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if b"\0" in content:
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
        return content.decode(encoding, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give each requirement with its line's number, continued lines joined, comments and blank lines gone."""
    started, joined = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        without_comment = re.sub(r"(^|\s)#.*$", "", line).strip()
        started = started or number
        if without_comment.endswith("\\"):
            joined += without_comment[:-1].rstrip() + " "
            continue
        whole = (joined + without_comment).strip()
        if whole:
            yield started, whole
        started, joined = 0, ""
    if joined.strip():
        yield started, joined.strip()


def _parse(number: int, text: str, *, builds_allowed: bool) -> tuple[Requirement, str]:
    where = f"requirements.txt, line {number}: {_shorten(text)!r}"
    _refuse_option(where, text)
    spec, *hashes = re.split(r"\s+--hash[= ]", text)
    try:
        requirement = Requirement(spec)
    except InvalidRequirement:
        raise RequirementsError(f"{where} {_explain(spec)}") from None
    if requirement.name.endswith(ARCHIVES):
        raise RequirementsError(f"{where} {_explain(requirement.name)}")
    if requirement.url:
        _check_url(where, requirement, builds_allowed=builds_allowed)
    if not all(re.fullmatch(r"sha(256|384|512):[0-9a-f]+", each.strip()) for each in hashes):
        raise RequirementsError(f"{where} has a hash that is not of the form sha256:...")
    return requirement, "".join(f" --hash={each.strip()}" for each in hashes)


def _refuse_option(where: str, text: str) -> None:
    if not text.startswith("-"):
        return
    option = re.split(r"[\s=]", text, maxsplit=1)[0]
    for names, reason in OPTIONS.items():
        if any(option == name or (len(name) == 2 and option.startswith(name)) for name in names):
            raise RequirementsError(f"{where} {reason}.")
    raise RequirementsError(f"{where} {OTHER_OPTION}.")


def _explain(spec: str) -> str:
    if re.match(r"[./~\\]|[A-Za-z]:\\", spec) or spec.endswith(ARCHIVES):
        return "is a path; put that code into the bundle, or name a package."
    if re.match(r"[a-z+]+:", spec, re.IGNORECASE):
        return "is an address without a name; write 'name @ https://...'."
    return "is not a requirement; write a package's name and versions, such as 'flask>=2.0'."


def _check_url(where: str, requirement: Requirement, *, builds_allowed: bool) -> None:
    scheme = (requirement.url or "").partition(":")[0].lower()
    if scheme not in ("https", "git+https"):
        raise RequirementsError(
            f"{where} is not reachable from here; name a version, such as '{requirement.name}==1.0'."
        )
    if not builds_allowed:
        raise RequirementsError(
            f"{where} is not from the package index; allow builds for this project, or name a version, "
            f"such as '{requirement.name}==1.0'."
        )


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
