"""What an ordinary user may map: /etc/subuid as it is found on machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.rootless import Range, find_range


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ada:100000:65536\n", Range(100_000, 65_536)),
        ("1001:300000:5\n", Range(300_000, 5)),
        ("bob:1:9\nada:100000:10\nada:200000:65536\n", Range(200_000, 65_536)),
        ("adam:100000:65536\n", None),
        ("ada:x:65536\nada:100000\n\n# a remark\n", None),
        ("", None),
    ],
)
def test_the_largest_range_of_a_user_is_found_by_name_or_number(
    tmp_path: Path, text: str, wanted: Range | None
) -> None:
    file = tmp_path / "subuid"
    file.write_text(text)
    assert find_range(str(file), "ada", 1001) == wanted


def test_no_file_is_no_range(tmp_path: Path) -> None:
    assert find_range(str(tmp_path / "none"), "ada", 1001) is None
