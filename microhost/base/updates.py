"""Change an item by set, increment, append, prepend and delete. An item is changed as a whole or not at all.

* A path is names divided by dots and leads through maps. All but its last name must exist; the last may be new
  for `set`, and may be missing for `delete`, which then changes nothing.
* What is incremented must be a number, what is appended or prepended to a list; they must exist.
* No path may stand twice, nor inside another: the outcome would hang on an order that nobody wrote down.
* `key` cannot be touched.

Source: Deta docs, Base > HTTP > Update Item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microhost.base.items import check_value
from microhost.errors import ClientError
from microhost.storage.comparing import is_number

SECTIONS = ("set", "increment", "append", "prepend", "delete")
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """Do one thing at one path."""

    section: str
    path: Path
    value: Any = None


@dataclass(frozen=True, slots=True)
class Updates:
    """Hold checked updates, and what was sent, to be echoed."""

    acts: tuple[Act, ...]
    sent: Mapping[str, Any]


def parse(document: object) -> Updates:
    """Read the body of an update. Raises: ClientError."""
    if not isinstance(document, dict):
        raise ClientError("The body must be an object.")
    unknown = sorted(set(document) - set(SECTIONS))
    if unknown:
        raise ClientError(f"'{unknown[0][:64]}' is not one of {', '.join(SECTIONS)}.")
    sent = {name: document[name] for name in document if document[name] is not None}
    acts = tuple(act for name in sent for act in _read_section(name, sent[name]))
    if not acts:
        raise ClientError("There is nothing to update.")
    _refuse_overlaps(acts)
    return Updates(acts, sent)


def apply(updates: Updates, item: Mapping[str, Any]) -> dict[str, Any]:
    """Give the changed item; `item` itself stays as it is. Raises: ClientError when one act is impossible."""
    changed = dict(item)
    copied: set[Path] = set()
    for act in updates.acts:
        _act(_open_parent(changed, act.path, copied), act)
    return changed


def _read_section(section: str, content: object) -> list[Act]:
    if section == "delete":
        if not isinstance(content, list) or not all(isinstance(each, str) for each in content):
            raise ClientError("'delete' must be a list of names.")
        return [Act(section, _read_path(each)) for each in content]
    if not isinstance(content, dict):
        raise ClientError(f"'{section}' must be an object.")
    return [_read_act(section, name, value) for name, value in content.items()]


def _read_act(section: str, name: str, value: object) -> Act:
    path = _read_path(name)
    check_value(value)
    if section == "increment" and not is_number(value):
        raise ClientError(f"'{_shown(path)}' can only be incremented by a number.")
    if section in ("append", "prepend") and not isinstance(value, list):
        raise ClientError(f"What is to {section} to '{_shown(path)}' must be a list.")
    return Act(section, path, value)


def _read_path(name: str) -> Path:
    path = tuple(name.split("."))
    if not all(path):
        raise ClientError(f"'{name[:64]}' is not a path: a name in it is empty.")
    if path[0] == "key":
        raise ClientError("The key cannot be updated or deleted.")
    if "\0" in name:
        raise ClientError("The name of an attribute holds a NUL character.")
    return path


def _refuse_overlaps(acts: tuple[Act, ...]) -> None:
    """Sorted, a path stands directly before one of those inside it."""
    paths = sorted(act.path for act in acts)
    for one, other in zip(paths, paths[1:], strict=False):
        if other[: len(one)] == one:
            raise ClientError(f"'{_shown(one)}' and '{_shown(other)}' are conflicting attributes.")


def _open_parent(item: dict[str, Any], path: Path, copied: set[Path]) -> dict[str, Any]:
    """Copy the maps on the way to the path's last name into `item`, each once; give the innermost."""
    for depth, name in enumerate(path[:-1], start=1):
        inner = item.get(name)
        if not isinstance(inner, dict):
            raise ClientError(
                f"'{_shown(path)}' cannot be updated: the item has no map '{_shown(path[:depth])}'."
            )
        if path[:depth] not in copied:
            copied.add(path[:depth])
            item[name] = dict(inner)
        item = item[name]
    return item


def _act(parent: dict[str, Any], act: Act) -> None:
    name = act.path[-1]
    if act.section == "set":
        parent[name] = act.value
    elif act.section == "delete":
        parent.pop(name, None)
    elif act.section == "increment":
        if not is_number(parent.get(name)):
            raise ClientError(f"'{_shown(act.path)}' is not a number and cannot be incremented.")
        parent[name] += act.value
    else:
        found = parent.get(name)
        if not isinstance(found, list):
            raise ClientError(f"'{_shown(act.path)}' is not a list.")
        parent[name] = found + act.value if act.section == "append" else act.value + found


def _shown(path: Path) -> str:
    text = ".".join(path)
    return text if len(text) <= 64 else f"{text[:64]}..."
