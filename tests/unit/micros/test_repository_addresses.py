"""Addresses of repositories are read as people paste them, and nothing but public https is taken."""

from __future__ import annotations

import pytest

from microhost.errors import ClientError
from microhost.micros.repository_address import read_address

HUB = "https://github.com/ada/app"


@pytest.mark.parametrize(
    ("text", "url", "ref", "name"),
    [
        (HUB, HUB, "", "app"),
        (f" {HUB}/ ", HUB, "", "app"),
        (f"{HUB}.git", f"{HUB}.git", "", "app"),
        (f"{HUB}?tab=readme#top", HUB, "", "app"),
        ("HTTPS://GitHub.com/ada/app", HUB, "", "app"),
        (f"{HUB}/tree/main", HUB, "main", "app"),
        (f"{HUB}/tree/feature/a/b/", HUB, "feature/a/b", "app"),
        (f"{HUB}/tree/with%23sign", HUB, "with#sign", "app"),
        ("https://github.com/tree/tree/tree/tree", "https://github.com/tree/tree", "tree", "tree"),
        ("https://gitlab.com/a/b/c/-/tree/x/y", "https://gitlab.com/a/b/c", "x/y", "c"),
        ("https://gitlab.com/a/b/-/tree/main?ref_type=heads", "https://gitlab.com/a/b", "main", "b"),
        ("https://bitbucket.org/a/b/src/main/", "https://bitbucket.org/a/b", "main", "b"),
        ("https://bitbucket.org/a/b/src/branch/x", "https://bitbucket.org/a/b", "branch/x", "b"),
        ("https://codeberg.org/a/b/src/branch/x/y", "https://codeberg.org/a/b", "x/y", "b"),
        ("https://codeberg.org/a/b/src/commit/abc", "https://codeberg.org/a/b", "abc", "b"),
        ("https://github.com/ada/tree", "https://github.com/ada/tree", "", "tree"),
        ("https://git.example:8443/app", "https://git.example:8443/app", "", "app"),
        ("http://127.0.0.1:3000/app/x/tree/y", "http://127.0.0.1:3000/app/x", "y", "x"),
    ],
)
def test_addresses_of_repositories_and_of_their_branches(text: str, url: str, ref: str, name: str) -> None:
    found = read_address(text, ("http://127.0.0.1:3000/",))
    assert (found.url, found.ref, found.name) == (url, ref, name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Name a repository"),
        ("http://github.com/a/b", "not an https address"),
        ("http://127.0.0.1:3001/a/b", "not an https address"),
        ("file:///etc", "not an https address"),
        ("/etc/passwd", "not an https address"),
        ("ssh://git@github.com/a/b", "not an https address"),
        ("git@github.com:a/b.git", "not an https address"),
        ("git://github.com/a/b", "not an https address"),
        ("ext::sh -c id", "not the address"),
        ("ext::sh", "not an https address"),
        ("--upload-pack=id", "not an https address"),
        ("javascript:alert(1)", "not an https address"),
        ("https://", "not the address"),
        ("https:///a/b", "not the address"),
        ("https://ada:secret@github.com/a/b", "user name or password"),
        ("https://ada@github.com/a/b", "user name or password"),
        ("https://github.com:99999/a/b", "not the address"),
        ("https://git_hub.com\\@evil/a", "user name or password"),
        ("https://[::1/a", "not the address"),
        ("https://github.com", "names no repository"),
        ("https://github.com/a/../b", "names no repository"),
        ("https://github.com/a/b c", "not the address"),
        ("https://github.com/a/b;id", "names no repository"),
        ("https://github.com/a/b\n", ""),
        ("https://github.com/a\nb", "not the address"),
        (f"{HUB}/tree/-x", "cannot be the name"),
        (f"{HUB}/tree/a..b", "cannot be the name"),
        (f"{HUB}/tree/a%0ab", "cannot be the name"),
        (f"{HUB}/tree/a*", "cannot be the name"),
        ("https://github.com/" + "a/" * 20, "names no repository"),
        ("https://github.com/" + "a" * 3000, "not the address"),
    ],
)
def test_everything_else_is_refused_in_one_sentence(text: str, reason: str) -> None:
    if not reason:
        assert read_address(text).name == "b"
        return
    with pytest.raises(ClientError, match=reason) as refusal:
        read_address(text, ("http://127.0.0.1:3000",))
    assert "\n" not in refusal.value.message
    assert "secret" not in refusal.value.message
