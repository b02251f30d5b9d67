"""Describe the API from the very table that serves it (OpenAPI 3.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from microhost.accounts.browsers import SECURE_COOKIE
from microhost.console.models import Refusal
from microhost.console.routes import Endpoint, Policy

REFERENCE = "#/components/schemas/{model}"


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Give the OpenAPI document of these endpoints."""
    models: list[type[BaseModel]] = [Refusal]
    for endpoint in endpoints:
        models += [
            model for model in (endpoint.takes, endpoint.gives) if model is not None and model not in models
        ]
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path.replace(":path}", "}"), {})[endpoint.method.lower()] = _operation(
            endpoint
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "microhost", "version": version("microhost")},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": SECURE_COOKIE},
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', endpoint.path).strip('_')}",
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {str(endpoint.status): _answer(endpoint), "default": _refusal()},
        "security": [] if endpoint.policy is Policy.PUBLIC else [{"token": []}, {"session": []}],
    }
    if endpoint.takes is not None or endpoint.takes_media != "application/json":
        schema = _reference(endpoint.takes) if endpoint.takes else {"type": "string", "format": "binary"}
        operation["requestBody"] = {"required": True, "content": {endpoint.takes_media: {"schema": schema}}}
    return operation


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)(?::path)?\}", endpoint.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": {"type": "string"}} for name in endpoint.query]


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.gives is not None:
        return {
            "description": "Done",
            "content": {"application/json": {"schema": _reference(endpoint.gives)}},
        }
    if endpoint.gives_media != "application/json":
        return {"description": "Done", "content": {endpoint.gives_media: {"schema": {"type": "string"}}}}
    return {"description": "Done"}


def _refusal() -> dict[str, Any]:
    return {"description": "Refused", "content": {"application/json": {"schema": _reference(Refusal)}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}
