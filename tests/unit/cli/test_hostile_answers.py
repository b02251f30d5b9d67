"""What a server says is not trusted: no escape sequence, no other address, no other shape reaches further than a sentence."""

from __future__ import annotations

import json
import sys

import httpx2
import pytest

from microhost.cli import browser, output
from microhost.cli.api import Api, parse_object, read_whole, segment
from microhost.cli.failures import NOT_FOUND, NOT_LOGGED_IN, CliError
from microhost.cli.requests import build

HOSTILE = "\x1b]0;title\x07\x9b31m\u202eevil\r\x7f"


def test_a_segment_never_climbs_to_another_place_of_the_server() -> None:
    assert segment("a/../b") == "a%2F..%2Fb"
    for name in ("", ".", ".."):
        with pytest.raises(CliError) as caught:
            segment(name)
        assert caught.value.exit_code == NOT_FOUND


@pytest.mark.parametrize("data", [b"<html>", b"null", b"[]", b'"\xff"', b"[" * 200_000])
def test_an_answer_of_another_shape_is_a_sentence(data: bytes) -> None:
    with pytest.raises(CliError, match="cannot be read"):
        parse_object(data)


def test_a_lacking_name_is_the_servers_failure_and_none_of_ours() -> None:
    with pytest.raises(CliError, match="has no 'id'"):
        parse_object(b'{"made": {}}')["made"]["id"]


def test_an_endless_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microhost.cli.api.ANSWER_BYTES", 10)
    assert read_whole(httpx2.Response(200, content=b"x" * 10)) == b"x" * 10
    with pytest.raises(CliError, match="longer than"):
        read_whole(httpx2.Response(200, content=b"x" * 11))


def test_a_token_that_cannot_be_sent_is_refused_and_not_shown() -> None:
    for token in ("geheim\x9b", "geheim\r\nx: y", "geheim geheim"):
        with pytest.raises(CliError) as caught:
            Api("http://localhost:1", token)
        assert caught.value.exit_code == NOT_LOGGED_IN
        assert "geheim" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("body", [{"errors": 5, "hints": 7}, {"errors": [], "log": [1]}, {}])
def test_a_refusal_of_another_shape_still_tells_the_status(body: dict[str, object]) -> None:
    assert Api("http://localhost:1", None).refusal(422, body).message == "The server answered 422."


def test_a_refusal_without_any_status_is_a_sentence() -> None:
    told = Api("http://localhost:1", None).refusal(0, {"status": "?"})
    assert told.message == "The server refuses it, and does not say why."


def test_a_redirection_names_where_to_and_is_not_followed() -> None:
    answer = httpx2.Response(302, headers={"location": "https://other.example/x"}, content=b"")
    told = Api("http://localhost:1", None).refuse(answer)
    assert (told.message, told.hint) == (
        "The server answered 302.",
        "It sends on to https://other.example. If that is your server: --server URL.",
    )
    inside = Api("http://localhost:1", None).refuse(httpx2.Response(302, headers={"location": "/login"}))
    assert inside.hint == "Name the right server: --server URL, or MICROHOST_URL."


@pytest.mark.parametrize(
    ("told", "pause_s"), [("7", 7.0), ("999", 60.0), ("", 1.0), ("-1", 1.0), ("soon", 1.0)]
)
def test_when_to_ask_again_is_taken_within_reason(told: str, pause_s: float) -> None:
    answer = httpx2.Response(429, headers={"retry-after": told}, content=b"{}")
    assert Api("http://localhost:1", None).refuse(answer).retry_after_s == pause_s


def test_failures_warnings_and_hints_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.fail(CliError(f"{HOSTILE}\nmore {HOSTILE}", HOSTILE, log=HOSTILE))
    output.warn(HOSTILE)
    told = capsys.readouterr().err
    assert all(each.isprintable() or each == "\n" for each in told), ascii(told)
    assert told.count("evil") == 5


def test_json_for_people_holds_no_control_character_and_loses_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = {"a": HOSTILE, "ü": ["\ud800", "\U000e0001", "\n\t"]}
    output.give_json(data)
    given = capsys.readouterr().out
    assert all(each.isprintable() or each in "\n\t" for each in given), ascii(given)
    assert json.loads(given) == data
    assert "ü" in given


@pytest.mark.parametrize("url", ["file:///etc/passwd", "--version", "javascript:alert(1)", ""])
def test_only_web_pages_are_opened(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(browser.webbrowser, "open", lambda page: opened.append(page) or True)
    assert not browser.open_page(url)
    assert browser.open_page("http://localhost:8000/login")
    assert opened == ["http://localhost:8000/login"]


def test_closed_streams_are_no_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    output.say("x")
    output.give("x")
    with pytest.raises(CliError, match="Nobody is there"):
        output.confirm("Sure?", yes=False)


def test_a_method_is_a_word() -> None:
    assert build("http://x/", method="purge", headers=[], data=[]).method == "PURGE"
    with pytest.raises(CliError, match="no method"):
        build("http://x/", method="B AD", headers=[], data=[])


def test_the_command_and_the_host_speak_the_same_version() -> None:
    from microhost import limits
    from microhost.cli import api

    assert api.API_VERSION == limits.API_VERSION
