"""What the console shows of kept deployments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from tests.driving import Host, Micro, zip_files

pytestmark = pytest.mark.root

MAIN = """print("imported: {0}")
async def app(scope, receive, send): ...
"""
HTML = b"<script>alert(1)</script>"


@pytest.fixture(scope="module")
def two(host: Host, project: str) -> Iterator[tuple[Micro, str, str]]:
    micro = host.new_micro(project, "kept-deployments")
    first = micro.must_deploy(
        zip_files(
            {"main.py": MAIN.format("first"), "pages/späti & co.html": HTML, "big.bin": b"x" * 1_000_001}
        )
    )
    second = micro.must_deploy(zip_files({"main.py": MAIN.format("second"), "full.bin": b"x" * 1_000_000}))
    yield micro, first["id"], second["id"]
    micro.delete()


def test_every_kept_deployment_shows_its_files(two: tuple[Micro, str, str]) -> None:
    micro, first, second = two
    for deployment, name in ((first, "first"), (second, "second")):
        shown = micro.host.get(f"{micro.at}/deployments/{deployment}/files")
        assert shown["deployment"] == deployment
        assert shown["files"]["main.py"] == sha256(MAIN.format(name).encode()).hexdigest()
        text = micro.host.api("GET", f"{micro.at}/deployments/{deployment}/files/main.py").text
        assert text == MAIN.format(name)


def test_a_file_comes_as_bytes_that_no_browser_shows(two: tuple[Micro, str, str]) -> None:
    micro, first, _ = two
    answer = micro.host.api("GET", f"{micro.at}/deployments/{first}/files/pages/sp%C3%A4ti%20%26%20co.html")
    assert answer.content == HTML
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''sp%C3%A4ti%20%26%20co.html"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_file_of_more_than_a_megabyte_is_refused(two: tuple[Micro, str, str]) -> None:
    micro, first, second = two
    at = f"{micro.at}/deployments"
    assert micro.host.api("GET", f"{at}/{first}/files/big.bin").status_code == 413
    assert len(micro.host.api("GET", f"{at}/{second}/files/full.bin").content) == 1_000_000


@pytest.mark.parametrize(
    "path", ["nothing.py", "..%2F..%2Fmeta.db", "%2Fetc%2Fpasswd", "pages", "main.py%00", ".%2Fmain.py", ""]
)
def test_no_other_path_is_opened(two: tuple[Micro, str, str], path: str) -> None:
    micro, first, _ = two
    assert micro.host.api("GET", f"{micro.at}/deployments/{first}/files/{path}").status_code == 404


def test_another_micros_deployment_is_not_shown(
    two: tuple[Micro, str, str], new_micro: Callable[..., Micro]
) -> None:
    other = new_micro()
    for what in ("files", "files/main.py", "log"):
        assert other.host.api("GET", f"{other.at}/deployments/{two[1]}/{what}").status_code == 404


def test_what_packages_and_import_printed_is_kept(two: tuple[Micro, str, str]) -> None:
    micro, first, second = two
    logs = [micro.host.get(f"{micro.at}/deployments/{each}/log")["log"] for each in (first, second)]
    assert ["imported: first" in logs[0], "imported: second" in logs[1]] == [True, True]
    assert "imported: second" not in logs[0]
