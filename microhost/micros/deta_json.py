"""Read a repository's deta.json leniently, or say of each field what is wrong with it. Pure.

Trailing commas pass, `default` stands for `value`, numbers and truth values count as text, unknown fields are passed over.
Source: Deta docs, Deploy to Deta Button, Metadata, Environment Variables And Cron.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from microhost.errors import ClientError
from microhost.limits import CRON_EXPRESSION_CHARACTERS, ENVIRONMENT_VARIABLES, VARIABLE_BYTES
from microhost.micros.env import PRESET, check_change

DESCRIPTION_CHARACTERS = 2000
NAME_CHARACTERS = 200
# A text that nothing ends counts, too: else it would be looked for from each of its quotes.
TOKEN = re.compile(r'"(?:\\.|[^"\\])*+(?:"|\\?\Z)|,(?=\s*+[\]}])', re.DOTALL)
MISTAKES_SHOWN = 20
WORDS = {
    "missing": "is required",
    "half": "holds half of a character",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def _to_text(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise PydanticCustomError("half", "half of a character")
    return json.dumps(value) if isinstance(value, bool) else value


class Variable(BaseModel):
    """Describe an environment variable that the app uses; `value` is its default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    description: Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS), BeforeValidator(_to_text)] = ""
    value: Annotated[
        str,
        Field(max_length=VARIABLE_BYTES),
        BeforeValidator(_to_text),
        Field(validation_alias=AliasChoices("value", "default")),
    ] = ""
    required: bool = False


class DetaJson(BaseModel):
    """Hold what a repository says of itself; what it does not say is empty."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, Field(max_length=NAME_CHARACTERS), BeforeValidator(_to_text)] = ""
    description: Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS), BeforeValidator(_to_text)] = ""
    runtime: Annotated[str, Field(max_length=NAME_CHARACTERS), BeforeValidator(_to_text)] = ""
    env: Annotated[
        tuple[Variable, ...],
        Field(max_length=ENVIRONMENT_VARIABLES),
        BeforeValidator(lambda given: [] if given is None else given),
    ] = ()
    cron: Annotated[str, Field(max_length=CRON_EXPRESSION_CHARACTERS), BeforeValidator(_to_text)] = ""


def read_deta_json(text: str | None) -> tuple[DetaJson, list[str]]:
    """Read deta.json, None when there is none; give it and what was assumed.

    Raises: ClientError (422), a line a field.
    """
    if text is None:
        return DetaJson(), []
    try:
        read = DetaJson.model_validate(_parse(text))
    except ValidationError as error:
        raise _refused([_sentence(each) for each in error.errors(include_url=False)]) from None
    preset = [each.key for each in read.env if each.key in PRESET]
    mistakes = _check_keys(read)
    if mistakes:
        raise _refused(mistakes)
    notes = [f"'{key}' of deta.json is left out: the host sets it itself." for key in preset]
    return read.model_copy(update={"env": tuple(each for each in read.env if each.key not in PRESET)}), notes


def _parse(text: str) -> Any:
    lenient = TOKEN.sub(lambda found: "" if found[0] == "," else found[0], text.removeprefix("\ufeff"))
    try:
        return json.loads(lenient, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise _refused(
            [f"deta.json is not JSON: {error.msg} in line {error.lineno}, column {error.colno}."]
        ) from None
    except RecursionError:
        raise _refused(["deta.json is not what was wanted: it is nested too deeply."]) from None


def _check_keys(read: DetaJson) -> list[str]:
    mistakes = []
    seen: set[str] = set()
    for number, each in enumerate(read.env):
        if each.key in seen:
            mistakes.append(f"deta.json: 'env.{number}.key' is {each.key[:80]!r} once more; name it once.")
        seen.add(each.key)
        if each.key not in PRESET:
            try:
                check_change(each.key, each.value)
            except ClientError as error:
                mistakes.append(f"deta.json: 'env.{number}': {error.message}")
    return mistakes


def _sentence(mistake: Any) -> str:
    place = ".".join(str(part) for part in mistake["loc"]) or "its content"
    place = re.sub(r"\.default$", ".value", place)
    context = mistake.get("ctx", {})
    if mistake["type"] == "string_too_long":
        said = f"is longer than {context['max_length']:,} characters"
    elif mistake["type"] == "too_long":
        said = f"has more than {context['max_length']:,} entries"
    else:
        said = WORDS.get(mistake["type"], f"will not do: {mistake['msg']}")
    return f"deta.json: '{place}' {said}."


def _refused(sentences: list[str]) -> ClientError:
    if len(sentences) > MISTAKES_SHOWN:
        left = len(sentences) - MISTAKES_SHOWN
        sentences = [*sentences[:MISTAKES_SHOWN], f"deta.json: there are {left:,} more mistakes."]
    return ClientError("\n".join(sentences), status=422)
