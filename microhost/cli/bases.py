"""Store items in a Base and read them all, call by call: nothing that was given or stored is passed over silently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from microhost.cli.asking_again import patiently
from microhost.cli.failures import CliError
from microhost.cli.items import Found, Item, Refused, batches
from microhost.cli.products import Answer, Product

BAD, TOO_LARGE = 400, 413
EMPTY_NAME = "the Base does not take it: an attribute may have no empty name"


class Storing:
    """Put items, 25 a call. An item that is refused is told, and the others are stored."""

    def __init__(self, base: Product, tell: Callable[[Refused], None]) -> None:
        """Store in `base`; `tell` hears of each item that is refused."""
        self.stored_count = 0
        self.refused_count = 0
        self.keyless_count = 0
        self._base = base
        self._tell = tell

    def run(self, found: Iterable[Found]) -> Iterator[list[Any]]:
        """Store items as they come; gives what each call stored, as the server has it.

        Raises: CliError for what is no item's fault; the items given until then are stored.
        """
        for batch in batches(self._items(found)):
            yield from self._put(batch)

    def _items(self, found: Iterable[Found]) -> Iterator[Item]:
        for each in found:
            if isinstance(each, Item):
                yield each
            else:
                self._refuse(each)

    def _put(self, batch: list[Item]) -> Iterator[list[Any]]:
        body = {"items": [each.content for each in batch]}
        answer = patiently(lambda: self._base.call("PUT", "items", body=body, also=(BAD, TOO_LARGE)))
        if answer.status in (BAD, TOO_LARGE):
            yield from self._put_singly(batch, answer)
            return
        stored, failed = _items_of(answer, "processed"), _items_of(answer, "failed")
        if len(stored) + len(failed) != len(batch):
            raise CliError(
                f"The server was given {len(batch)} items and tells of {len(stored) + len(failed)}.",
                "Look which are there: deta base query",
            )
        self.stored_count += len(stored)
        self.keyless_count += sum(each.key is None for each in batch) if stored else 0
        for each in batch:
            if each.content in failed:
                self._refuse(Refused(each.title, EMPTY_NAME))
        yield stored

    def _put_singly(self, batch: list[Item], answer: Answer) -> Iterator[list[Any]]:
        """Find out which of them are refused: the server takes all of a call or none."""
        if len(batch) == 1:
            self._refuse(Refused(batch[0].title, _reason(answer)))
            return
        for each in batch:
            yield from self._put([each])

    def _refuse(self, refused: Refused) -> None:
        self.refused_count += 1
        self._tell(refused)


def read_all(
    base: Product, query: list[Any] | None = None, *, limit: int | None = None, descending: bool = False
) -> Iterator[Any]:
    """Give the items that match, page after page, at most `limit` of them. Raises: CliError."""
    left, last = limit, None
    while left is None or left > 0:
        body = {
            **({"query": query} if query else {}),
            **({"limit": left} if left is not None else {}),
            **({"last": last} if last is not None else {}),
            **({"sort": "desc"} if descending else {}),
        }
        content = base.call("POST", "query", body=body).content
        yield from content["items"] if left is None else content["items"][:left]
        left = None if left is None else left - len(content["items"])
        before, last = last, content["paging"].get("last")
        if last is None:
            return
        if last == before:
            raise CliError(
                f"The server gives the page after {last!r} again and again.", "Not every item was read."
            )


def _items_of(answer: Answer, name: str) -> list[Any]:
    part = answer.content.get(name) or {}
    return list(part.get("items") or ())


def _reason(answer: Answer) -> str:
    errors = answer.content.get("errors") if isinstance(answer.content, dict) else None
    return str(errors[0]) if errors else f"the server answered {answer.status}"
