"""Fetch one commit of a git repository and pack its files: what runs inside of the sandbox, with the standard library alone.

Theory of operation
    Nothing is ever checked out: the files are read as objects and written into a zip, so no hook, filter, attribute,
    submodule or link of the repository is acted upon, and no path of it is opened. git asks the network through the one
    proxy that it has (index_proxy.py) and takes no protocol but http and https. Reading objects may fetch nothing.
    Prints one JSON object: {"commit", "branch", "entries", "deta_json", "warnings"}, or {"refused": sentence}.

Sources: gitprotocol-v2(5), git-fetch(1), git-ls-tree(1), git-cat-file(1).
"""

from __future__ import annotations

import errno
import json
import os
import posixpath
import re
import subprocess
import sys
import zipfile

REPOSITORY = "/target/repository"
BUNDLE = "/target/bundle.zip"
DETA_JSON = "deta.json"
DETA_JSON_BYTES = 64 * 1024
TOP_NAMES = ("main.py", "index.js", "requirements.txt", "package.json")
CODE_BYTES = 250_000_000
FILES = 20_000
LINK_BYTES = 4096
NAMED = 3  # of a kind, in one warning
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LFS = b"version https://git-lfs.github.com/spec/"
REGULAR, EXECUTABLE, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
SETTINGS = (
    "core.hooksPath=/dev/null",
    "credential.helper=",
    "http.followRedirects=initial",
    "protocol.version=2",
    "fetch.recurseSubmodules=false",
    "fetch.unpackLimit=1",  # one file instead of one an object
    "transfer.bundleURI=false",
    "core.bigFileThreshold=1m",
    "pack.threads=1",
    "gc.auto=0",
    "maintenance.auto=false",
)
CONFIG = tuple(word for setting in SETTINGS for word in ("-c", setting))
NOT_PUBLIC = "There is no public repository at {url}. Check the address; a private one cannot be deployed."
# What git says, and what it means to somebody who pressed a button.
COMPLAINTS = (
    (
        r"tunnel failed, response 403|code 403 from proxy",
        "{url} leads to no public address, or to another host; nothing was fetched.",
    ),
    (
        r"could not read (Username|Password)|returned error: 40[0134]|[Nn]ot found|Authentication failed",
        NOT_PUBLIC,
    ),
    (
        r"not allowed|not supported|redirect",
        "{url} leads elsewhere, which is not followed. Give the repository's own address.",
    ),
    (r"certificate", "{url} cannot be trusted: its certificate does not verify."),
    (r"too slow|timed? ?out", "{url} answers too slowly. Try again later."),
    (
        r"response 50\d|returned error: 5\d\d|Could not resolve|Failed to connect|unable to access",
        "{url} cannot be reached. Check the address, or try again later.",
    ),
    (
        r"not our ref|unadvertised object|couldn't find remote ref",
        "The commit that was shown can no longer be had. Look at the repository again.",
    ),
    (r"File too large|signal 25|No space left", "The repository at {url} is larger than this host fetches."),
)


class RefusedError(Exception):
    """Say in one sentence why nothing is fetched."""


def main(git: str, url: str, ref: str, commit: str, wants_bundle: str) -> None:
    """Fetch, then print what was found."""
    try:
        told = Fetch(git, url).run(ref, commit, wants_bundle=wants_bundle == "bundle")
    except RefusedError as error:
        told = {"refused": str(error)}
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.ENOSPC):
            raise
        told = {"refused": f"The repository at {url} is larger than this host fetches."}
    print(json.dumps(told))


class Fetch:
    """Hold one repository while it is fetched."""

    def __init__(self, git: str, url: str) -> None:
        """Fetch `url` by the program `git`."""
        self.git = git
        self.url = url
        self.warnings: list[str] = []

    def run(self, ref: str, commit: str, *, wants_bundle: bool) -> dict[str, object]:
        """Fetch `commit`, or the newest of `ref`, or of the default branch; pack it when a bundle is wanted."""
        self._ask("init", "--quiet", "--bare", "--template=", REPOSITORY, directory="/")
        self._ask("config", "remote.origin.url", self.url)
        name, newest = self._resolve(ref)
        wanted = commit if commit and commit != newest else name
        size = () if wants_bundle else (f"--filter=blob:limit={DETA_JSON_BYTES + 1}",)
        self._ask("fetch", "--quiet", "--depth=1", "--no-tags", *size, "origin", wanted)
        found = (
            self._read("rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}").decode().strip()
        )
        if commit and found != commit:
            raise RefusedError(f"{self.url} has changed since it was shown. Look at it again.")
        top = {path: (mode, oid) for mode, _, oid, path in self._list(found)}
        deta_json = self._read_deta_json(top)
        if wants_bundle:
            self._pack(found)
        return {
            "commit": found,
            "branch": re.sub(r"^refs/(heads|tags)/", "", name),
            "entries": [each for each in TOP_NAMES if each in top],
            "deta_json": deta_json,
            "warnings": self.warnings,
        }

    def _resolve(self, ref: str) -> tuple[str, str]:
        """Give the whole name of what is asked for and its object; a commit is its own name."""
        parts = ref.split("/") if ref else []
        tries = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        patterns = [f"refs/{kind}/{each}" for each in tries for kind in ("heads", "tags")]
        known: dict[str, str] = {}
        default = "HEAD"
        for line in (
            self._ask("ls-remote", "--symref", "origin", "HEAD", *patterns)
            .decode("utf-8", "replace")
            .splitlines()
        ):
            target, _, name = line.partition("\t")
            if target.startswith("ref: ") and name == "HEAD":
                default = target[5:]
            elif COMMIT.fullmatch(target):
                known[name] = target
        if not ref:
            if "HEAD" not in known:
                raise RefusedError(f"The repository at {self.url} has no commit yet.")
            return default, known["HEAD"]
        for pattern in patterns:
            if pattern in known:
                return self._whole(pattern, ref), known[pattern]
        if COMMIT.fullmatch(ref):
            return ref, ref
        raise RefusedError(f"The repository at {self.url} has no branch {ref!r}.")

    def _whole(self, pattern: str, ref: str) -> str:
        branch = pattern.split("/", 2)[2]
        if branch != ref:
            raise RefusedError(
                f"{ref[len(branch) + 1 :]!r} is a directory of the branch {branch!r}; only a whole repository can be deployed."
            )
        return pattern

    def _list(self, commit: str, *options: str) -> list[tuple[str, str, str, str]]:
        """List a commit's tree: mode, size ('' unless asked for by -l), object, path."""
        found = []
        for line in self._read("ls-tree", "-z", "--full-tree", *options, commit).split(b"\0")[:-1]:
            head, _, path = line.partition(b"\t")
            words = head.decode().split()
            try:
                found.append((words[0], words[3] if len(words) > 3 else "", words[2], path.decode()))
            except UnicodeDecodeError:
                raise RefusedError(
                    f"The repository has a name that is not UTF-8, {path!r}. Rename it."
                ) from None
        return found

    def _read_deta_json(self, top: dict[str, tuple[str, str]]) -> str | None:
        mode, oid = top.get(DETA_JSON, ("", ""))
        if mode not in (REGULAR, EXECUTABLE):
            return None
        # one that is larger than was asked for is missing, and asking for it fails
        size = _run(self.git, "cat-file", "-s", oid, protocols="").stdout.strip()
        if not size.isdigit() or int(size) > DETA_JSON_BYTES:
            raise RefusedError(f"The repository's deta.json is larger than {DETA_JSON_BYTES // 1024} KiB.")
        return self._read("cat-file", "blob", oid).decode("utf-8", "replace")

    def _pack(self, commit: str) -> None:
        """Write the files of a commit into a zip, each as it is kept."""
        entries = self._list(commit, "-r", "-l")
        if len(entries) > FILES:
            raise RefusedError(f"The repository has more than {FILES:,} files; a Micro may have no more.")
        regular = {
            path: (mode, int(size), oid) for mode, size, oid, path in entries if mode in (REGULAR, EXECUTABLE)
        }
        self._warn([path for mode, _, _, path in entries if mode == SUBMODULE], "Submodules are left out")
        with _Objects(self.git) as objects:
            linked = {
                path: self._follow(path, objects.read(oid) if int(size) <= LINK_BYTES else b"", regular)
                for mode, size, oid, path in entries
                if mode == LINK
            }
            files = {**regular, **linked}
            total = sum(size for _, size, _ in files.values())
            if total > CODE_BYTES:
                raise RefusedError(
                    f"The repository has {total / 1e6:.1f} MB of code; at most {CODE_BYTES // 10**6} MB may be deployed."
                )
            self._write(files, objects)

    def _follow(
        self, path: str, target: bytes, files: dict[str, tuple[str, int, str]]
    ) -> tuple[str, int, str]:
        """Give the file that a link leads to, which must be one of the repository's."""
        text = target.decode("utf-8", "replace")
        aim = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
        if not text or text.startswith("/") or aim not in files:
            raise RefusedError(
                f"{path!r} is a link to {text[:80]!r}, which is no file of the repository. Put the file itself there."
            )
        return files[aim]

    def _write(self, files: dict[str, tuple[str, int, str]], objects: _Objects) -> None:
        pointers = []
        with zipfile.ZipFile(BUNDLE, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path, (mode, _, oid) in sorted(files.items()):
                content = objects.read(oid)
                if content.startswith(LFS):
                    pointers.append(path)
                info = zipfile.ZipInfo(path)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = int(mode, 8) << 16
                archive.writestr(info, content)
        self._warn(pointers, "Files kept by Git LFS are not fetched; what stands in for them is deployed")

    def _warn(self, paths: list[str], sentence: str) -> None:
        if paths:
            named = ", ".join(repr(each[:80]) for each in paths[:NAMED])
            more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
            self.warnings.append(f"{sentence}: {named}{more}.")

    def _ask(self, *command: str, directory: str = REPOSITORY) -> bytes:
        """Run git with the network. Raises: RefusedError in words for people."""
        done = _run(self.git, *command, protocols="http:https", directory=directory)
        if done.returncode != 0:
            raise RefusedError(self._explain(done.stderr.decode("utf-8", "replace")))
        return done.stdout

    def _read(self, *command: str) -> bytes:
        """Run git on what is here already."""
        done = _run(self.git, *command, protocols="")
        if done.returncode != 0:
            raise RefusedError(f"The repository at {self.url} is damaged: git cannot read it.")
        return done.stdout

    def _explain(self, said: str) -> str:
        for pattern, sentence in COMPLAINTS:
            if re.search(pattern, said):
                return sentence.format(url=self.url)
        lines = [each.strip() for each in said.splitlines() if each.strip()]
        last = "".join(each for each in lines[-1][:200] if each.isprintable()) if lines else "nothing"
        return f"git could not fetch {self.url}; it said: {last}"


class _Objects:
    """Read objects by one process of git."""

    def __init__(self, git: str) -> None:
        self._command = [git, *CONFIG, "cat-file", "--batch"]

    def __enter__(self) -> _Objects:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, env=_environment("")
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, oid: str) -> bytes:
        """Give an object's bytes."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{oid}\n".encode())
        self._process.stdin.flush()
        words = self._process.stdout.readline().split()
        if len(words) != 3:
            raise RefusedError("The repository is damaged: an object is missing.")
        content = self._process.stdout.read(int(words[2]) + 1)
        return content[:-1]


def _run(
    git: str, *command: str, protocols: str, directory: str = REPOSITORY
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [git, *CONFIG, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=directory,
        env=_environment(protocols),
        restore_signals=False,  # git shall say that a file is too large, not die of it
        check=False,
    )


def _environment(protocols: str) -> dict[str, str]:
    """Give git's environment; without protocols it can ask nobody for what is missing."""
    return {**os.environ, "GIT_ALLOW_PROTOCOL": protocols or "none"}


if __name__ == "__main__":
    main(*sys.argv[1:])
