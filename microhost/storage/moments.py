"""Turn aware UTC moments into whole microseconds and back, exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@overload
def to_us(moment: datetime) -> int: ...
@overload
def to_us(moment: None) -> None: ...
def to_us(moment: datetime | None) -> int | None:
    """Count the microseconds since 1970."""
    return None if moment is None else (moment - EPOCH) // MICROSECOND


@overload
def from_us(count: int) -> datetime: ...
@overload
def from_us(count: None) -> None: ...
def from_us(count: int | None) -> datetime | None:
    """Give the moment that many microseconds after 1970."""
    return None if count is None else EPOCH + timedelta(microseconds=count)
