"""What a requirements file may say."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.requirements import RequirementsError, decode, read_requirements


def read(text: str, *, builds_allowed: bool = False) -> tuple[str, ...]:
    return read_requirements(text.encode(), builds_allowed=builds_allowed).lines


def test_names_versions_extras_and_markers_pass() -> None:
    text = "flask\nFastAPI[all]>=0.9,<1\nuvicorn ; python_version >= '3.9'\n"
    assert read(text) == ("flask", "FastAPI[all]<1,>=0.9", 'uvicorn; python_version >= "3.9"')


def test_comments_blank_lines_and_carriage_returns_are_nothing() -> None:
    assert read("# all\r\n\r\n  flask  # web\r\n\t\r\nidna\r\n") == ("flask", "idna")


def test_a_line_may_be_continued_and_carry_hashes() -> None:
    text = "idna==3.4 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nsix\n"
    assert read(text) == ("idna==3.4 --hash=sha256:aa --hash=sha256:bb", "six")


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF16_LE + "flask\r\nidna\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "flask\nidna\n".encode("utf-16-be"),
        "flask\r\nidna\r\n".encode("utf-16-le"),
        codecs.BOM_UTF8 + b"flask\nidna",
        "# caf\xe9\nflask\nidna".encode("latin-1"),
    ],
)
def test_every_common_encoding_is_read(content: bytes) -> None:
    assert read_requirements(content, builds_allowed=False).lines == ("flask", "idna")


@pytest.mark.parametrize("line", ["deta", "deta==1.1.0", "Deta>=1,<2 ; python_version > '3'", "detalib"])
def test_our_own_packages_are_left_out_and_that_is_said(line: str) -> None:
    done = read_requirements(f"{line}\nflask\n".encode(), builds_allowed=False)
    assert done.lines == ("flask",)
    assert "the host's own" in done.notes[0]


def test_the_asynchronous_sdk_brings_its_client() -> None:
    assert read("deta[async]==1.1.0a2\n") == ("aiohttp",)


def test_the_mark_of_an_old_pip_is_left_out() -> None:
    done = read_requirements(b"pkg-resources==0.0.0\nflask\n", builds_allowed=False)
    assert done.lines == ("flask",)
    assert "no package" in done.notes[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-r other.txt", "reads another file"),
        ("--requirement=other.txt", "reads another file"),
        ("-c limits.txt", "reads another file"),
        ("-e .", "names a directory"),
        ("-egit+https://x.test/y", "names a directory"),
        ("--index-url https://x.test/simple", "names an index"),
        ("-i https://x.test/simple", "names an index"),
        ("--extra-index-url https://x.test/simple", "names an index"),
        ("--find-links /srv", "names a place of packages"),
        ("--no-binary :all:", "is an option"),
        ("./local", "is a path"),
        ("../up", "is a path"),
        ("/etc", "is a path"),
        ("C:\\wheels\\x.whl", "is a path"),
        ("thing-1.0-py3-none-any.whl", "is a path"),
        ("file:///etc/passwd", "is an address without a name"),
        ("git+https://x.test/y", "is an address without a name"),
        ("thing @ file:///etc", "not reachable"),
        ("thing @ http://x.test/t.whl", "not reachable"),
        ("thing @ git+ssh://x.test/t", "not reachable"),
        ("thing @ https://x.test/t.whl", "allow builds"),
        ("flask==", "is not a requirement"),
        ("two words", "is not a requirement"),
        ("idna --hash=md5:00", "hash"),
    ],
)
def test_anything_else_is_refused_with_its_line(line: str, said: str) -> None:
    with pytest.raises(RequirementsError) as caught:
        read(f"# first\n\n{line}\n")
    assert "line 3" in str(caught.value)
    assert said in str(caught.value)


def test_addresses_pass_where_builds_are_allowed() -> None:
    (line,) = read("thing @ git+https://x.test/y@main\n", builds_allowed=True)
    assert line.replace(" ", "") == "thing@git+https://x.test/y@main"


def test_a_file_url_never_passes() -> None:
    with pytest.raises(RequirementsError):
        read("thing @ file:///etc\n", builds_allowed=True)


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(RequirementsError, match="at most"):
        read_requirements(b"#" * 300_000, builds_allowed=False)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    decode(content)
    try:
        done = read_requirements(content, builds_allowed=False)
    except RequirementsError as error:
        assert "\n" not in str(error)
    else:
        assert all("\n" not in line and not line.startswith("-") for line in done.lines)
