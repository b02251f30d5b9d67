"""Find the project that a program works on."""

from __future__ import annotations

import os


def _get_project_key_id(project_key: str | None = None, project_id: str | None = None) -> tuple[str, str]:
    """Give the project's key and id; the key from DETA_PROJECT_KEY unless given, the id from the key.

    Raises: AssertionError without a key, or with one that has no underscore (clients look for these words).
    """
    # a key out of a file often ends with the line's end
    key = (project_key or os.environ.get("DETA_PROJECT_KEY") or "").strip()
    if not key:
        raise AssertionError("No project key defined")
    if not project_id:
        project_id, underscore, _ = key.partition("_")
        if not underscore or not project_id:
            raise AssertionError("Bad project key provided")
    return key, project_id
