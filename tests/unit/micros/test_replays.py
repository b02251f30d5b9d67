"""What was hidden in a recorded request is left out when it is sent again, or it is not sent at all."""

from __future__ import annotations

import pytest

from microhost.errors import ConflictError
from microhost.micros.replay import repeat_request
from microhost.records import Exchange, RequestSeen
from microhost.storage.masking import mask

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"


def recorded(target: str) -> RequestSeen:
    """Give a request as it is kept."""
    return mask(Exchange(RequestSeen("GET", target, (("cookie", "a=b"), ("x-fine", "yes"))), None)).request


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/a?token=planted&q=1", "/a?q=1"),
        ("/a?token=planted", "/a"),
        ("/a?q=***", "/a?q=***"),
        ("/a?q=1?token=planted", "/a"),
        ("/a?x;token=planted", "/a"),
        ("/a;v=1?q=1", "/a;v=1?q=1"),
        ("/a?q=1&next=https://u:planted@h/&q=2", "/a?q=1&q=2"),
    ],
)
def test_hidden_parameters_and_headers_are_left_out(target: str, sent: str) -> None:
    wanted, left_out = repeat_request(recorded(target))
    assert wanted.target == sent
    assert wanted.headers == (("x-fine", "yes"),)
    assert "cookie" in left_out


@pytest.mark.parametrize(
    "target",
    [
        "/a;jsessionid=planted/b",
        "/a;jsessionid=planted?q=1",
        f"/verify/{JWT}",
        f"/verify/{JWT}?q=1",
    ],
)
def test_a_request_with_something_hidden_in_its_path_is_not_sent(target: str) -> None:
    request = recorded(target)
    assert "planted" not in request.target
    with pytest.raises(ConflictError, match="Edit the request"):
        repeat_request(request)
