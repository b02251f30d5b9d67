"""deta.json is read leniently; what cannot be read is said field by field."""

from __future__ import annotations

import json
import time

import pytest

from microhost.errors import ClientError
from microhost.micros.deta_json import DetaJson, read_deta_json
from tests.slowness import slow


def refusal(text: str) -> list[str]:
    with pytest.raises(ClientError) as refused:
        read_deta_json(text)
    assert refused.value.status == 422
    return refused.value.message.splitlines()


def test_every_field_of_the_docs_is_read() -> None:
    text = json.dumps(
        {
            "name": "Shop",
            "description": "Sells.",
            "runtime": "python3.9",
            "env": [
                {"key": "TOKEN", "description": "Of the shop", "value": "", "required": True},
                {"key": "COLOUR", "value": "red"},
            ],
            "cron": "3 minutes",
        }
    )
    read, notes = read_deta_json(text)
    assert (read.name, read.description, read.runtime, read.cron) == (
        "Shop",
        "Sells.",
        "python3.9",
        "3 minutes",
    )
    assert [(each.key, each.value, each.required) for each in read.env] == [
        ("TOKEN", "", True),
        ("COLOUR", "red", False),
    ]
    assert notes == []


def test_without_a_file_everything_is_empty() -> None:
    assert read_deta_json(None) == (DetaJson(), [])
    assert read_deta_json("{}") == (DetaJson(), [])


def test_what_is_found_in_the_wild_passes() -> None:
    read, notes = read_deta_json(
        '\ufeff{"name": null, "extra": [1,],\n "env": [{"key": "A", "default": 30, "required": "true",},'
        ' {"key": "B", "value": true}, {"key": "C", "value": "x, ]"}, {"key": "DETA_PROJECT_KEY"},],\n}'
    )
    assert [(each.key, each.value, each.required) for each in read.env] == [
        ("A", "30", True),
        ("B", "true", False),
        ("C", "x, ]", False),
    ]
    assert notes == ["'DETA_PROJECT_KEY' of deta.json is left out: the host sets it itself."]
    assert read_deta_json('{"env": null}')[0].env == ()
    assert read_deta_json('{"env": [{"key": "N", "value": %s}]}' % ("9" * 5000))[0].env[0].value == "9" * 5000


def test_each_wrong_field_gets_a_sentence() -> None:
    wrong = {
        "name": ["x"],
        "description": "x" * 2001,
        "runtime": {"a": 1},
        "cron": [],
        "env": [
            {"description": "no key"},
            "B",
            {"key": "C", "required": "perhaps"},
            {"key": "D", "value": {}},
        ],
    }
    assert refusal(json.dumps(wrong)) == [
        "deta.json: 'name' must be text.",
        "deta.json: 'description' is longer than 2,000 characters.",
        "deta.json: 'runtime' must be text.",
        "deta.json: 'env.0.key' is required.",
        "deta.json: 'env.1' must be an object.",
        "deta.json: 'env.2.required' must be true or false.",
        "deta.json: 'env.3.value' must be text.",
        "deta.json: 'cron' must be text.",
    ]
    assert refusal('{"env": {"A": "1"}}') == ["deta.json: 'env' must be a list."]
    assert refusal("[]") == ["deta.json: 'its content' must be an object."]
    assert refusal('{"env": [{"key": "1A"}, {"key": "B"}, {"key": "B"}]}') == [
        "deta.json: 'env.0': '1A' is not a variable's name. Take letters, digits and '_', not beginning with a digit.",
        "deta.json: 'env.2.key' is 'B' once more; name it once.",
    ]


@pytest.mark.parametrize("text", ["", "{", "not json", "{'a': 1}", "[" * 60_000, '{"name": "\\ud800"}'])
def test_what_is_no_json_is_said(text: str) -> None:
    for sentence in refusal(text):
        assert sentence.startswith("deta.json")


def test_there_is_a_limit_to_the_variables() -> None:
    many = json.dumps({"env": [{"key": f"K{number}"} for number in range(257)]})
    assert refusal(many) == ["deta.json: 'env' has more than 256 entries."]


def test_a_hostile_file_costs_no_time() -> None:
    began = time.monotonic()
    assert refusal('"' + '\\"' * 30_000)[0].startswith("deta.json is not JSON")
    refusal(", " * 30_000 + "]")
    assert len(refusal(json.dumps({"env": [{}] * 15_000}))) == 21
    assert time.monotonic() - began < slow(5), "it took 23 s when each quote began anew"
