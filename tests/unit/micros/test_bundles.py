"""A bundle is taken whole or refused with a sentence, and nothing of a refused one is left (DEP-01 to 05)."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
import unicodedata
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zipping import DEVICE, FIFO, LINK, SOCKET, Item, build, deflate

from microhost.errors import ClientError
from microhost.micros import bundle as bundles
from microhost.micros.bundle import Base, Bundle, check_path, pack, unpack

MAIN = Item("main.py", b"app = 1\n")


def take(tmp_path: Path, content: bytes, **more: object) -> Bundle:
    """Unpack a zip's bytes into `code` of the test's directory."""
    (tmp_path / "bundle.zip").write_bytes(content)
    return unpack(tmp_path / "bundle.zip", tmp_path / "code", **more)  # type: ignore[arg-type]


def refusal(tmp_path: Path, content: bytes, **more: object) -> ClientError:
    """Have a zip refused; nothing but the zip may be there afterwards."""
    (tmp_path / "outside").mkdir(exist_ok=True)
    with pytest.raises(ClientError) as caught:
        take(tmp_path / "outside", content, **more)
    assert [path.name for path in (tmp_path / "outside").rglob("*")] == ["bundle.zip"]
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "base"}
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message
    assert str(tmp_path) not in caught.value.message
    return caught.value


def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    files = {"main.py": b"app = 1\n", "static/logo.bin": bytes(range(256)) * 1000, "empty.txt": b""}
    taken = take(tmp_path, build([Item(name, content) for name, content in files.items()]))
    assert taken.manifest == {name: sha256(content).hexdigest() for name, content in files.items()}
    assert taken.code_bytes == sum(map(len, files.values()))
    assert {name: (tmp_path / "code" / name).read_bytes() for name in files} == files
    assert taken.warnings == ()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_of_the_standard_library_are_taken(tmp_path: Path, method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("main.py", "app = 1")
        archive.mkdir("static")
        with archive.open("static/a.txt", "w", force_zip64=True) as file:
            file.write(b"x" * 300_000)
    assert take(tmp_path, buffer.getvalue()).manifest.keys() == {"main.py", "static/a.txt"}
    assert (tmp_path / "code" / "static" / "a.txt").stat().st_size == 300_000


def test_a_zip_that_was_streamed_is_taken(tmp_path: Path) -> None:
    class Unseekable(io.RawIOBase):
        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, part: object) -> int:
            self.content += bytes(part)  # type: ignore[call-overload]
            return len(bytes(part))  # type: ignore[call-overload]

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:  # sizes follow in data descriptors
        archive.writestr("main.py", "app = 1" * 1000)
        archive.writestr("b.py", "")
    assert take(tmp_path, bytes(stream.content)).code_bytes == 7000


def test_large_sizes_may_stand_in_the_64_bit_fields(tmp_path: Path) -> None:
    taken = take(tmp_path, build([Item("main.py", b"app = 1\n" * 99, zip64=True)]))
    assert taken.code_bytes == 8 * 99


def test_modes_become_644_and_755(tmp_path: Path) -> None:
    items = [
        Item("main.py", b"x", mode=stat.S_IFREG | 0o6666),
        Item("run.sh", b"x", mode=stat.S_IFREG | 0o4777),
        Item("dir/", mode=stat.S_IFDIR | 0o1777, method=0),
        Item("dir/secret.txt", b"x", mode=stat.S_IFREG | 0o400),
        Item("plain", b"x", mode=0),
    ]
    take(tmp_path, build(items))
    modes = {
        p.relative_to(tmp_path / "code").as_posix(): p.lstat().st_mode for p in (tmp_path / "code").rglob("*")
    }
    assert {name: stat.S_IMODE(mode) for name, mode in modes.items()} == {
        "main.py": 0o644,
        "run.sh": 0o755,
        "dir": 0o755,
        "dir/secret.txt": 0o644,
        "plain": 0o644,
    }
    assert stat.S_IMODE((tmp_path / "code").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "a/../../evil.py",
        "a/../b.py",
        "..",
        "a/..",
        "/etc/passwd",
        "//etc/passwd",
        "C:/windows/evil",
        "c:evil",
        "..\\evil.py",
        "a\\b.py",
        "\\\\server\\share",
        "a/./b.py",
        "a//b.py",
        "././b.py",
        "a\u2215..\u2215b",
        "\uff0e\uff0e/evil.py",
        "a\uff0fb",
        "\u2025/evil.py",
        "a\nb.py",
        "a\x1b[2Jb",
        "",
        "/",
        "x" * 256,
        "/".join(["d" * 100] * 11),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, build([MAIN, Item(name, b"evil")])).status == 422


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    assert "control character" in refusal(tmp_path, build([MAIN, Item(b"main.py\0.txt", b"x")])).message


@pytest.mark.parametrize("kind", [LINK, FIFO, DEVICE, SOCKET, stat.S_IFBLK, stat.S_IFDIR])
def test_links_devices_and_pipes_are_refused(tmp_path: Path, kind: int) -> None:
    refused = refusal(tmp_path, build([MAIN, Item("thing", b"/etc/passwd", mode=kind | 0o777)]))
    assert ("is a link" if kind == LINK else "neither a file nor a directory") in refused.message


def test_an_entry_below_a_link_is_refused(tmp_path: Path) -> None:
    items = [Item("lib", b"/tmp", mode=LINK | 0o777), Item("lib/evil.py", b"x")]
    assert "is a link" in refusal(tmp_path, build(items)).message


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("main.py", "main.py", "twice"),
        ("main.py", "./main.py", "twice"),
        ("main.py", "MAIN.PY", "the same name on many systems"),
        ("stra\u00dfe.txt", "STRASSE.txt", "the same name on many systems"),
        ("caf\u00e9.py", unicodedata.normalize("NFD", "caf\u00e9.py"), "the same name on many systems"),
        ("static/a", "Static/b", "the same name on many systems"),
        ("lib", "lib/a.py", "both as a file and as a directory"),
        ("lib/a.py", "lib", "both as a file and as a directory"),
        ("a/b/c", "a/b", "both as a file and as a directory"),
        ("lib", "lib/", "both as a file and as a directory"),
    ],
)
def test_names_that_collide_are_refused(tmp_path: Path, first: str, second: str, said: str) -> None:
    assert said in refusal(tmp_path, build([Item(first, b"1"), Item(second, b"")])).message


def test_a_directory_may_be_named_twice_and_after_its_files(tmp_path: Path) -> None:
    take(
        tmp_path,
        build([Item("a/b.py", b"1"), Item("a/", method=0), Item("a/", method=0), Item("./", method=0)]),
    )
    assert (tmp_path / "code" / "a" / "b.py").read_bytes() == b"1"


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    assert "without a password" in refusal(tmp_path, build([Item("main.py", b"x", flags=1)])).message


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99])
def test_unusual_packing_is_refused(tmp_path: Path, method: int) -> None:
    assert f"method {method}" in refusal(tmp_path, build([Item("main.py", b"x", method=method)])).message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "its end is missing"),
        (b"PK", "its end is missing"),
        (b"not a zip at all" * 1000, "its end is missing"),
        (build([MAIN])[:-1], "its end is missing"),
        (build([MAIN])[30:], "sound zip"),
        (build([MAIN]) + b"trailing", "its end is missing"),
        (build([MAIN], before=b"#!/bin/sh\n", directory_offset=0), "sound zip"),
        (build([MAIN, MAIN], count=1), "another number of entries"),
        (build([MAIN], count=2), "cut off"),
        (build([MAIN], disk=1), "one part of several"),
        (build([MAIN], directory_offset=10**9), "lies outside"),
        (build([Item("main.py", b"x", crc=1)]), "checksum"),
        (build([Item("main.py", b"", crc=1)]), "checksum"),
        (build([Item("main.py", b"x", method=0, size=2)]), "shorter than it says"),
        (build([Item("main.py", b"x" * 100, size=99)]), "longer than it says"),
        (build([Item("main.py", b"x", packed=b"\xff\xff\xff")]), "cannot be unpacked"),
        (build([Item("main.py", b"x" * 999, packed=deflate(b"x" * 999)[:-4])]), "does not end"),
        (build([Item("main.py", b"x", packed=deflate(b"x") + b"hidden")]), "does not end"),
        (build([Item("main.py", b"x", packed_size=10**9)]), "lies outside"),
        (build([Item("main.py", b"x", offset=10**9)]), "cut off"),
        (build([MAIN, Item("b.py", b"x", offset=0)]), "overlap"),
        (build([Item("main.py", b"x", local_name=b"evil.py")]), "described in two ways"),
        (build([Item("main.py", b"x", local_name=b"mai")]), "described in two ways"),
        (build([Item(b"\xff\xfe", b"x")]), "not the UTF-8"),
        (build([Item("d/", b"content", method=0)]), "directory with content"),
    ],
)
def test_broken_and_lying_zips_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    refused = refusal(tmp_path, content)
    assert said in refused.message
    assert refused.status == 422


def test_names_in_the_old_code_page_are_read(tmp_path: Path) -> None:
    taken = take(tmp_path, build([MAIN, Item(b"caf\x82.txt", b"x", flags=0)]))
    assert "caf\u00e9.txt" in taken.manifest


def test_overlapping_entries_that_share_data_are_refused(tmp_path: Path) -> None:
    kernel = deflate(b"\0" * 1_000_000)
    items = [Item("a", b"\0" * 1_000_000, packed=kernel)] + [
        Item(f"a{n}", b"\0" * 1_000_000, packed=b"", packed_size=len(kernel), offset=0, local_name=b"a")
        for n in range(50)
    ]
    assert "overlap" in refusal(tmp_path, build(items)).message


# Sizes


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let bundles hold 1 MB only."""
    monkeypatch.setattr(bundles, "CODE_BYTES", 1_000_000)
    return 1_000_000


def test_code_may_be_as_large_as_the_limit_and_no_byte_larger(tmp_path: Path, small_limit: int) -> None:
    noise = (sha256(b"noise").digest() * (small_limit // 32 + 1))[: small_limit - 1]
    assert take(tmp_path, build([Item("main.py", b"x"), Item("data", noise)])).code_bytes == small_limit
    (tmp_path / "more").mkdir()
    refused = refusal(tmp_path / "more", build([Item("main.py", b"xx"), Item("data", noise)]))
    assert refused.status == 413
    assert "over 1 MB" in refused.message


def test_the_limit_is_250_mb_of_actual_bytes(tmp_path: Path) -> None:
    piece = bytes(250_000)
    packed = deflate(piece)
    items = [Item(f"{n}.bin", piece, packed=packed) for n in range(1001)]
    refused = refusal(tmp_path, build(items))
    assert refused.status == 413
    assert "250 MB" in refused.message


MEASURE = """
import resource, sys
from pathlib import Path
from microhost.errors import ClientError
from microhost.micros.bundle import unpack
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = 0
try:
    unpack(Path(sys.argv[1]) / "bundle.zip", Path(sys.argv[1]) / "code")
except ClientError as error:
    status = error.status
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def measure(place: Path, content: bytes) -> tuple[int, int]:
    """Unpack in a process of its own; give the refusal's status or 0, and the kilobytes of memory it took."""
    (place / "bundle.zip").write_bytes(content)
    command = [sys.executable, "-c", MEASURE, str(place)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(said[0]), int(said[1])


def test_a_bomb_is_stopped_in_little_memory(tmp_path: Path) -> None:
    bomb = build([MAIN, Item("zeros", packed=deflate(bytes(200_000_000)), size=200_000_000, crc=0)])
    assert len(bomb) < 250_000
    status, kilobytes = measure(tmp_path, bomb)
    assert status == 413
    assert kilobytes < 8_000
    assert not (tmp_path / "code").exists()


def test_a_large_bundle_needs_little_memory(tmp_path: Path) -> None:
    noise = sha256(b"noise").digest() * (50_000_000 // 32)
    status, kilobytes = measure(tmp_path, build([MAIN, Item("data", noise, method=0)]))
    assert status == 0
    assert kilobytes < 8_000


def test_nested_zips_are_files_like_any_other(tmp_path: Path) -> None:
    inner = build([Item("zeros", bytes(1_000_000))])
    take(tmp_path, build([MAIN, Item("inner.zip", inner)]))
    assert (tmp_path / "code" / "inner.zip").read_bytes() == inner


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    refused = refusal(tmp_path, build([Item(f"{n}.py", method=0) for n in range(20_001)]))
    assert refused.status == 413
    assert "20,001" in refused.message


def test_an_end_that_claims_millions_of_entries_costs_nothing(tmp_path: Path) -> None:
    refused = refusal(tmp_path, build([MAIN], count=65_000))
    assert refused.status == 413


def test_too_many_directories_are_refused(tmp_path: Path) -> None:
    items = [Item("/".join(f"{n}{c}" for c in "abcdefghij"), b"", method=0) for n in range(2_001)]
    refused = refusal(tmp_path, build(items))
    assert refused.status == 413
    assert "files and directories" in refused.message


def test_unpacking_has_a_time_limit(tmp_path: Path) -> None:
    ticks = iter(range(0, 10_000, 25))
    assert (
        "within 60 s"
        in refusal(
            tmp_path, build([MAIN, *(Item(f"{n}", b"x") for n in range(9))]), clock=lambda: float(next(ticks))
        ).message
    )


# What people leave in


def test_byte_code_and_resource_forks_are_left_out(tmp_path: Path) -> None:
    items = [
        MAIN,
        Item("__pycache__/main.cpython-39.pyc", b"x"),
        Item("a/__pycache__/", method=0),
        Item("__MACOSX/._main.py", b"x"),
    ]
    taken = take(tmp_path, build(items))
    assert taken.manifest.keys() == {"main.py"}
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["main.py"]
    assert len(taken.warnings) == 1
    assert taken.warnings[0].startswith("3 entries")


@pytest.mark.parametrize(("name", "said"), [(".env", "environment"), (".git/config", "history")])
def test_secrets_and_history_in_a_bundle_are_warned_about(tmp_path: Path, name: str, said: str) -> None:
    taken = take(tmp_path, build([MAIN, Item(name, b"x")]))
    assert said in taken.warnings[0]


# Partial bundles


def make_base(tmp_path: Path) -> Base:
    """Unpack a base of three files."""
    (tmp_path / "base").mkdir()
    items = [MAIN, Item("lib/a.py", b"a"), Item("lib/b.sh", b"b", mode=stat.S_IFREG | 0o755)]
    taken = take(tmp_path / "base", build(items))
    return Base(tmp_path / "base" / "code", taken.manifest)


def test_a_partial_bundle_keeps_replaces_adds_and_deletes(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    base = Base(base.directory, base.manifest, delete=["lib/a.py"])
    taken = take(tmp_path, build([Item("main.py", b"app = 2\n"), Item("new/c.py", b"c")]), base=base)
    code = tmp_path / "code"
    assert {p.relative_to(code).as_posix() for p in code.rglob("*") if p.is_file()} == taken.manifest.keys()
    assert taken.manifest.keys() == {"main.py", "lib/b.sh", "new/c.py"}
    assert (code / "main.py").read_bytes() == b"app = 2\n"
    assert stat.S_IMODE((code / "lib" / "b.sh").stat().st_mode) == 0o755
    assert (base.directory / "main.py").read_bytes() == b"app = 1\n"
    assert taken.code_bytes == sum(p.stat().st_size for p in code.rglob("*") if p.is_file())
    assert {path: sha256((code / path).read_bytes()).hexdigest() for path in taken.manifest} == taken.manifest


def test_a_partial_bundle_may_only_delete(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    taken = take(
        tmp_path, build([]), base=Base(base.directory, base.manifest, delete=["lib/a.py", "lib/b.sh"])
    )
    assert taken.manifest.keys() == {"main.py"}


@pytest.mark.parametrize("name", ["LIB/a.py", "lib", "main.py/x", "Main.py"])
def test_a_partial_bundle_may_not_collide_with_what_it_keeps(tmp_path: Path, name: str) -> None:
    refusal(tmp_path, build([Item(name, b"x")]), base=make_base(tmp_path))


@pytest.mark.parametrize("path", ["nothing.py", "../base/code/main.py", "lib", ""])
def test_only_files_of_the_base_can_be_deleted(tmp_path: Path, path: str) -> None:
    base = make_base(tmp_path)
    refused = refusal(tmp_path, build([]), base=Base(base.directory, base.manifest, delete=[path]))
    assert "has no file" in refused.message


def test_what_a_partial_bundle_keeps_counts_too(tmp_path: Path, small_limit: int) -> None:
    (tmp_path / "base").mkdir()
    taken = take(tmp_path / "base", build([Item("data", sha256(b"x").digest() * 20_000)]))
    refused = refusal(
        tmp_path,
        build([Item("more", sha256(b"y").digest() * 20_000)]),
        base=Base(tmp_path / "base" / "code", taken.manifest),
    )
    assert refused.status == 413


def test_packed_code_can_be_deployed_again(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    pack(base.directory, base.manifest, tmp_path / "out.zip")
    again = unpack(tmp_path / "out.zip", tmp_path / "again")
    assert again.manifest == base.manifest
    assert stat.S_IMODE((tmp_path / "again" / "lib" / "b.sh").stat().st_mode) == 0o755
    pack(tmp_path / "again", again.manifest, tmp_path / "out2.zip")
    assert (tmp_path / "out.zip").read_bytes() == (tmp_path / "out2.zip").read_bytes()


# Whatever comes

SEGMENTS = st.sampled_from(
    ["a", "A", "b", "..", ".", "", "é", "e\u0301", "ß", "SS", "main.py", "C:", "\\", "__pycache__"]
)
NAMES = st.one_of(st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join), st.text(max_size=12))
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(
    names=st.lists(NAMES, max_size=8),
    kinds=st.lists(st.sampled_from([0, stat.S_IFREG, LINK, FIFO]), min_size=8, max_size=8),
)
def test_any_names_give_the_files_themselves_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], kinds: list[int]
) -> None:
    place = tmp_path_factory.mktemp("names")
    encodable = [name for name in names if not any("\ud800" <= c <= "\udfff" for c in name)]
    items = [
        Item(name, b"" if name.endswith("/") else name.encode(), mode=kind | 0o644, method=0)
        for name, kind in zip(encodable, kinds, strict=False)
    ]
    try:
        taken = take(place, build(items))
    except ClientError:
        assert [path.name for path in place.iterdir()] == ["bundle.zip"]
        return
    found = {
        p.relative_to(place / "code").as_posix(): p for p in (place / "code").rglob("*") if not p.is_dir()
    }
    assert found.keys() == taken.manifest.keys()
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in found.values())
    assert {path.name for path in place.iterdir()} == {"bundle.zip", "code"}
    folded = [unicodedata.normalize("NFC", name).casefold() for name in found]
    assert len(set(folded)) == len(folded)


@QUIET
@given(data=st.data())
def test_any_damage_gives_a_refusal_or_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("damage")
    whole = bytearray(
        build([Item("main.py", b"app = 1\n" * 20), Item("lib/a.bin", bytes(range(256)), method=0)])
    )
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.integers(max(0, len(whole) - 4), len(whole)))]
    try:
        taken = take(place, bytes(whole))
    except ClientError:
        assert [path.name for path in place.iterdir()] == ["bundle.zip"]
        return
    contents = {(place / "code" / path).read_bytes() for path in taken.manifest}
    assert contents <= {b"app = 1\n" * 20, bytes(range(256))}


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    place = tmp_path_factory.mktemp("bytes")
    with pytest.raises(ClientError):
        take(place, content)


@given(st.text(max_size=40))
def test_a_checked_path_stays_inside_on_every_system(name: str) -> None:
    try:
        path = check_path(name)
    except (ClientError, UnicodeEncodeError):
        return
    assert not path.startswith("/")
    assert "\\" not in path
    assert ".." not in path.split("/")
    assert path == "" or "" not in path.split("/")
