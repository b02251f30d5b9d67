"""Real repositories, fetched in a real sandbox from git's own HTTP server."""

from __future__ import annotations

import io
import json
import os
import ssl
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import fetch_inside, fetching, interpreters
from sandbox.fetching import FetchRequest, permit
from sandbox.install import InstallError, InstallPlace
from sandbox.interpreters import Interpreter
from tests.certificate import make_certificate
from tests.git_server import GitServer

pytestmark = pytest.mark.root

UID = 213_310
MAIN = "def app(scope, receive, send): ...\n"


@dataclass
class Fetcher:
    place: InstallPlace
    interpreter: Interpreter
    allowed: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)

    def fetch(self, url: str, ref: str = "", commit: str = "", *, whole: bool = True) -> dict[str, Any]:
        """Fetch; gives what was told, a refusal as {"refused"}. `files` are those of the zip."""
        told, bundle = (os.memfd_create(name) for name in ("told", "bundle"))
        request = FetchRequest(url, ref, commit, whole, self.interpreter, self.allowed)
        try:
            fetching.fetch(request, self.place, told=told, bundle=bundle)
            said: dict[str, Any] = json.loads(os.pread(told, 1 << 20, 0))
            content = os.pread(bundle, 1 << 28, 0)
        except InstallError as error:
            return {"refused": str(error)}
        finally:
            os.close(told)
            os.close(bundle)
        self.files = {}
        if content:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                self.files = {name: archive.read(name) for name in archive.namelist()}
        return said

    def left_behind(self) -> list[str]:
        return sorted(each.name for each in (self.place.data / "envs").iterdir())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    running = GitServer(tmp_path_factory.mktemp("repositories"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def python() -> Interpreter:
    return interpreters.default(interpreters.find())


@pytest.fixture
def fetcher(tmp_path: Path, server: GitServer, python: Interpreter) -> Iterator[Fetcher]:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    place = InstallPlace(data, "1", uid=UID, bytes_max=fetching.FETCHED_BYTES, deadline_s=60.0)
    made = Fetcher(place, python, (server.origin,))
    yield made
    assert not (data / "envs").exists() or made.left_behind() == []


def test_the_default_branch_is_fetched_as_it_is(server: GitServer, fetcher: Fetcher) -> None:
    repository = server.add("plain")
    commit = repository.commit({"main.py": MAIN, "deta.json": '{"name": "Plain"}', "a/b.txt": "x\r\n"})
    said = fetcher.fetch(repository.url)
    assert said == {
        "commit": commit,
        "branch": "main",
        "entries": ["main.py"],
        "deta_json": '{"name": "Plain"}',
        "warnings": [],
    }
    assert fetcher.files == {"main.py": MAIN.encode(), "deta.json": b'{"name": "Plain"}', "a/b.txt": b"x\r\n"}


def test_a_look_brings_deta_json_and_no_other_file(server: GitServer, fetcher: Fetcher) -> None:
    repository = server.add("look")
    repository.commit({"index.js": "1", "deta.json": "{}", "big.bin": os.urandom(8_000_000)})
    tight = replace(fetcher.place, bytes_max=2_000_000)
    said = Fetcher(tight, fetcher.interpreter, fetcher.allowed).fetch(repository.url, whole=False)
    assert (said["deta_json"], said["entries"]) == ("{}", ["index.js"])


def test_branches_with_slashes_are_found_among_the_refs(server: GitServer, fetcher: Fetcher) -> None:
    repository = server.add("branches")
    repository.commit({"main.py": "1"})
    wanted = repository.commit({"main.py": "2"}, branch="feature/a/b")
    repository.git("tag", "-a", "v1.0", "-m", "One", wanted)
    for ref, branch in (("feature/a/b", "feature/a/b"), ("v1.0", "v1.0"), (wanted, wanted)):
        said = fetcher.fetch(repository.url, ref)
        assert (said["commit"], said["branch"]) == (wanted, branch)
        assert fetcher.files == {"main.py": b"2"}
    assert "directory of the branch 'main'" in fetcher.fetch(repository.url, "main/docs/api")["refused"]
    assert "no branch 'feature/z'" in fetcher.fetch(repository.url, "feature/z")["refused"]


def test_the_commit_that_was_shown_is_the_one_that_is_fetched(server: GitServer, fetcher: Fetcher) -> None:
    repository = server.add("moving")
    shown = repository.commit({"main.py": "shown"})
    repository.commit({"main.py": "later"})
    assert fetcher.fetch(repository.url, commit=shown)["commit"] == shown
    assert fetcher.files == {"main.py": b"shown"}
    gone = fetcher.fetch(repository.url, commit="0" * 40)
    assert gone == {
        "refused": "The commit that was shown can no longer be had. Look at the repository again."
    }


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "lib", "missing.py", "x" * 5000])
def test_links_that_lead_to_no_file_are_refused(server: GitServer, fetcher: Fetcher, target: str) -> None:
    repository = server.add(f"link-{abs(hash(target))}")
    repository.commit({"main.py": "1", "lib/a.py": "2"}, links={"link.py": target})
    assert "'link.py' is a link to" in fetcher.fetch(repository.url)["refused"]


def test_links_within_become_the_files_that_they_lead_to(server: GitServer, fetcher: Fetcher) -> None:
    repository = server.add("links")
    repository.commit({"main.py": "1", "lib/a.py": "2"}, links={"lib/b.py": "./a.py", "c.py": "lib/a.py"})
    assert fetcher.fetch(repository.url)["warnings"] == []
    assert fetcher.files == {"main.py": b"1", "lib/a.py": b"2", "lib/b.py": b"2", "c.py": b"2"}


def test_submodules_and_large_file_storage_are_left_out_and_named(
    server: GitServer, fetcher: Fetcher
) -> None:
    repository = server.add("hostile")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"
    repository.commit(
        {
            "main.py": "$Id$\n",
            "model.bin": pointer,
            "kept.txt": "kept",
            ".gitattributes": "*.bin filter=lfs\n*.py ident filter=evil\nkept.txt export-ignore\n",
            ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = file:///etc\n',
        },
        submodules={"x": "1" * 40},
    )
    said = fetcher.fetch(repository.url)
    assert said["warnings"] == [
        "Submodules are left out: 'x'.",
        "Files kept by Git LFS are not fetched; what stands in for them is deployed: 'model.bin'.",
    ]
    assert fetcher.files["model.bin"] == pointer.encode()
    assert fetcher.files["main.py"] == b"$Id$\n"
    assert fetcher.files["kept.txt"] == b"kept"
    assert "x" not in fetcher.files


def test_a_repository_with_names_of_gits_own_runs_nothing(server: GitServer, fetcher: Fetcher) -> None:
    repository = server.add("hooks")
    hook = repository.blob("#!/bin/sh\ntouch /target/ran\n")
    trees = []
    for outer, inner in (("hooks", "post-checkout"), (".GIT", "config")):
        made = repository.git("mktree", given=f"100755 blob {hook}\t{inner}\n".encode())
        trees.append(f"040000 tree {made}\t{outer}")
    tree = repository.git("mktree", given="\n".join(trees).encode())
    repository.commit_tree(tree)
    fetcher.fetch(repository.url)
    assert sorted(fetcher.files) == [".GIT/config", "hooks/post-checkout"]


def test_too_much_is_refused_in_words(server: GitServer, fetcher: Fetcher) -> None:
    repository = server.add("many")
    repository.commit({f"f{number}": "1" for number in range(fetch_inside.FILES + 1)})
    assert "more than 20,000 files" in fetcher.fetch(repository.url)["refused"]
    repository = server.add("large-deta-json")
    repository.commit({"deta.json": " " * 70_000})
    assert "deta.json is larger than 64 KiB" in fetcher.fetch(repository.url, whole=False)["refused"]
    repository = server.add("zeros")
    repository.commit({f"{name}.bin": bytes(130_000_000) for name in "ab"})
    assert "260.0 MB of code; at most 250 MB" in fetcher.fetch(repository.url)["refused"]
    repository = server.add("huge")
    repository.commit({"noise.bin": os.urandom(6_000_000)})
    small = Fetcher(replace(fetcher.place, bytes_max=3_000_000), fetcher.interpreter, fetcher.allowed)
    assert "is larger than this host fetches" in small.fetch(repository.url)["refused"]


def test_slow_servers_are_given_up(server: GitServer, fetcher: Fetcher) -> None:
    server.stalled.add("slow")
    hurried = Fetcher(replace(fetcher.place, deadline_s=3.0), fetcher.interpreter, fetcher.allowed)
    said = hurried.fetch(f"{server.origin}/slow")
    assert said == {"refused": f"{server.origin}/slow was not fetched within 3 s. Try again later."}


def test_what_is_not_there_is_said(server: GitServer, fetcher: Fetcher) -> None:
    assert "no public repository at" in fetcher.fetch(f"{server.origin}/nothing")["refused"]
    server.add("empty")
    assert "has no commit yet" in fetcher.fetch(f"{server.origin}/empty")["refused"]


def test_no_place_but_the_one_of_the_address_is_reached(
    server: GitServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    inner = GitServer(tmp_path)
    try:
        inner.add("secret").commit({"main.py": "secret"})
        server.moved = {
            "to-private": f"{inner.origin}/secret",
            "to-file": f"file://{tmp_path}/secret",
            "to-metadata": "http://169.254.169.254/latest",
        }
        for name in server.moved:
            assert "refused" in fetcher.fetch(f"{server.origin}/{name}"), name
        strict = replace(fetcher, allowed=())
        for url in (f"{inner.origin}/secret", f"http://localhost:{inner.port}/secret"):
            assert "refused" in strict.fetch(url), url
        assert inner.asked == []
        # the same address, once it is named
        assert "commit" in replace(fetcher, allowed=(inner.origin,)).fetch(f"{inner.origin}/secret")
    finally:
        server.moved = {}
        inner.close()


def test_https_is_spoken_and_certificates_are_verified(tmp_path: Path, fetcher: Fetcher) -> None:
    certificate = make_certificate(tmp_path, ["localhost"])
    certificate.chmod(0o644)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secure = GitServer(tmp_path / "repositories", tls=context)
    try:
        commit = secure.add("secure").commit({"main.py": MAIN})
        doubting = replace(fetcher, allowed=(secure.origin,))
        assert "its certificate does not verify" in doubting.fetch(f"{secure.origin}/secure")["refused"]
        trust = replace(fetcher.place, environment={"SSL_CERT_FILE": str(certificate)})
        trusting = replace(doubting, place=trust)
        assert trusting.fetch(f"{secure.origin}/secure")["commit"] == commit
        assert trusting.files == {"main.py": MAIN.encode()}
    finally:
        secure.close()


def test_a_host_without_git_says_so(
    server: GitServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SYSTEM_PATH", "/nowhere")
    said = fetcher.fetch(f"{server.origin}/plain")
    assert said == {"refused": "This host has no git; its operator installs the Debian package 'git'."}


def test_what_is_kept_of_git_is_a_plain_file_or_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = tmp_path / "bundle.zip"
    link.symlink_to(secret)
    into = os.memfd_create("into")
    try:
        with pytest.raises(OSError):
            fetching._copy(link, into)
        link.unlink()
        os.mkfifo(link)
        with pytest.raises(InstallError):
            fetching._copy(link, into)
        assert os.pread(into, 10, 0) == b""
    finally:
        os.close(into)


def test_only_the_places_of_the_operator_may_be_private(python: Interpreter) -> None:
    request = FetchRequest("https://git.example/a", "", "", True, python, ("http://127.0.0.1:3000",))
    public = permit(request, {})
    assert (public.places, public.public_places) == (frozenset(), {("git.example", 443)})
    named = permit(replace(request, allowed=("https://git.example",)), {"HTTPS_PROXY": "http://proxy:3128"})
    assert (named.places, named.public_places) == ({("git.example", 443)}, frozenset())
