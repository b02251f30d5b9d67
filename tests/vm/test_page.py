"""What the reader of docs/server.md's commands reads, and that the test that types them leaves none out. Needs no machine."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.vm import page, test_server_page
from tests.vm.names import answer


def read(tmp_path: Path, text: str) -> dict[str, tuple[page.Line, ...]]:
    file = tmp_path / "page.md"
    file.write_text(text)
    return page.read_steps(file)


def test_blocks_belong_to_the_step_above_and_lose_their_comments(tmp_path: Path) -> None:
    steps = read(
        tmp_path,
        "1. **One.** Words\n   and more.\n\n       a && b   # said\n       c '#d'\n\n* **Two**, too:\n\n      e\n",
    )
    assert steps == {"One": (page.Line("a && b", "said"), page.Line("c '#d'")), "Two": (page.Line("e"),)}


@pytest.mark.parametrize("text", ["# Title\n\n       a\n", "1. **One.**\n1. **One.**\n"])
def test_what_cannot_be_told_apart_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="page.md"):
        read(tmp_path, text)


def test_every_block_of_the_page_is_typed() -> None:
    with_blocks = [name for name, lines in page.read_steps().items() if lines]
    assert with_blocks == list(test_server_page.STEPS)


def test_what_is_typed_otherwise_stands_on_the_page() -> None:
    steps = page.read_steps()
    for each in test_server_page.SUBSTITUTIONS:
        assert any(each.said in line.typed for line in steps[each.step]), each


def test_the_machines_name_server_knows_a_domain_and_what_is_below_it() -> None:
    def ask(name: str, kind: str = "A") -> tuple[str, list[str]]:
        reply = dns.message.from_wire(
            answer(dns.message.make_query(name, kind).to_wire(), "micros.example.org", "127.0.0.1")
        )
        return dns.rcode.to_text(reply.rcode()), [str(each) for rrset in reply.answer for each in rrset]

    for name in ("micros.example.org", "blog.micros.example.org", "Blog.Micros.Example.org"):
        assert ask(name) == ("NOERROR", ["127.0.0.1"])
        assert ask(name, "AAAA") == ("NOERROR", [])
    assert ask("example.org") == ("NXDOMAIN", [])
    assert ask("notmicros.example.org") == ("NXDOMAIN", [])
