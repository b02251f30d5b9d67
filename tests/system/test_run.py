"""Run handlers over the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.driving import Host, Micro, wait_until, zip_app

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=["newest", "oldest"])
def micro(request: pytest.FixtureRequest, host: Host, project: str) -> Iterator[Micro]:
    settings = {"runtime": "python3.9"} if request.param == "oldest" else {}
    made = host.new_micro(project, f"lib-only-{request.param}", timeout_s=3.0, **settings)
    made.must_deploy(zip_app("lib-only"))
    yield made
    made.delete()


def test_the_default_action_gets_the_event(micro: Micro) -> None:
    answer = micro.run("", name="Ada", list=["a", "b"], flag=True, deep={"x": 1})
    assert answer.status_code == 200, answer.text
    event = answer.json()["response"]
    assert event["json"] == {"name": "Ada", "list": ["a", "b"], "flag": True, "deep": {"x": 1}}
    assert event["type"] == "run"
    assert event["action"] == ""
    assert '"Ada"' in event["body"]
    assert "the default action ran" in answer.json()["logs"]


def test_an_action_is_chosen_by_its_name(micro: Micro) -> None:
    assert micro.run("hello", name="Ada").json()["response"] == "hello Ada"
    assert micro.run("hello").json()["response"] == "hello world"


def test_a_handler_that_is_run_and_cron_can_be_run(micro: Micro) -> None:
    assert micro.run("time").json()["response"] == "ticked by run"


def test_none_is_null(micro: Micro) -> None:
    answer = micro.run("nothing")
    assert answer.status_code == 200
    assert answer.json()["response"] is None


def test_a_coroutine_handler_is_awaited(micro: Micro) -> None:
    assert micro.run("later").json()["response"] == "from a coroutine"


@pytest.mark.parametrize(
    ("action", "cause", "words"),
    [
        ("boom", "exception", "this handler fails on purpose"),
        ("no-such-action", "no_handler", "no-such-action"),
        ("set", "bad_result", "set"),
        ("sleep", "timeout", "3 s"),
    ],
)
def test_a_failing_run_names_its_cause(micro: Micro, action: str, cause: str, words: str) -> None:
    answer = micro.run(action)
    assert answer.status_code == 502
    shown = answer.json()
    assert shown["cause"] == cause
    assert words in " ".join(shown["errors"]) + shown["log"]
    event = wait_until(lambda: [each for each in micro.events() if each["action"] == action], "the event")[0]
    assert (event["trigger"], event["cause"]) == ("run", cause)
    assert micro.run("hello").status_code == 200


def test_the_log_of_a_failing_run_holds_what_was_printed_and_the_traceback(micro: Micro) -> None:
    log = micro.run("boom").json()["log"]
    assert "before it fails" in log
    assert "main.py" in log
    assert "ValueError" in log


def test_a_micro_of_handlers_only_answers_http_with_a_reason(micro: Micro) -> None:
    answer = micro.call()
    assert answer.status_code in (404, 502)
    assert "Traceback" not in answer.text


def test_a_micro_without_handlers_says_so(host: Host, project: str) -> None:
    micro = host.new_micro(project, "http-only")
    micro.must_deploy(zip_app("plain-wsgi"))
    answer = micro.run()
    assert answer.status_code == 502
    assert answer.json()["cause"] == "no_handler"
    micro.delete()


def test_a_run_before_the_first_deployment_is_refused(host: Host, project: str) -> None:
    micro = host.new_micro(project, "never-deployed")
    assert micro.run().status_code in (404, 409, 502)
    micro.delete()


@pytest.mark.parametrize("body", [b"not json", b'{"action": 5}', b'{"input": [1]}', b'{"unknown": 1}'])
def test_a_wrong_request_is_refused(micro: Micro, body: bytes) -> None:
    answer = micro.host.api(
        "POST", f"{micro.at}/run", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["errors"]
