"""Read the two ways to write a schedule, and tell when it fires next. Pure; all times are UTC.

A rate:        `1 minute`, `2 hours`, `5 days`. It counts from the moment it was set, rounded up to the whole
               minute, and that minute is its first firing.
An expression: six fields, minutes hours day-of-month month day-of-week year, such as `0 10 * * ? *`.

Where the docs leave room, this module decides:

* Names and letters are read in any case. Every item of a list stands for itself: `1,15,L` and `MON,5L` work.
* A range may wrap (`22-2`, `FRI-MON`, `NOV-FEB`, `25-5`), but not in the years.
* `n/s` steps from `n` to the end of the field, `a-b/s` inside the range, `*/s` from the field's first value.
  A step must be smaller than the field's span: `0/90` in the minutes would not mean every 90 minutes.
* `?` stands in exactly one of day-of-month and day-of-week, alone.
* `L` alone is the last day of the month, and Saturday in day-of-week. `L-3` is three days before the last,
  `LW` the last weekday, `L-3W` the weekday nearest to `L-3`, `5L` and `THUL` the last Thursday of the month.
* `15W` is the weekday nearest to the 15th and never leaves the month; a month without that day has none.
* An expression that never meets a real day (`0 0 31 2 ? *`) is refused.

Source: Deta docs, Micros > Cron > Set Cron
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from microhost.errors import ClientError
from microhost.limits import CRON_EXPRESSION_CHARACTERS, CRON_RATE_DAYS_MAX

MINUTE = timedelta(minutes=1)
EXAMPLES = "a rate such as '10 minutes', or six fields such as '0 10 * * ? *'"

_UNITS = {"minute": MINUTE, "hour": timedelta(hours=1), "day": timedelta(days=1)}
_SATURDAY, _SUNDAY = 7, 1
# A day-of-month rule and a day-of-week rule alike: the days of one month on which the schedule fires.
_DayRule = Callable[[int, int], frozenset[int]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Fire every `period`, counted from the minute in which the rate was set (rounded up)."""

    text: str
    period: timedelta

    def next_after(self, moment: datetime, *, anchored_at: datetime) -> datetime | None:
        """Give the first tick after `moment`; None when the calendar ends before it."""
        anchor = _round_up(anchored_at.astimezone(UTC))
        try:
            if moment < anchor:
                return anchor
            periods = (moment - anchor) // self.period + 1
            return (anchor + periods * self.period).astimezone(UTC)
        except OverflowError:
            return None

    def describe(self) -> str:
        """Say in words when it fires."""
        return f"Every {self.text.removeprefix('1 ')}, counted from when it was set"


@dataclass(frozen=True, slots=True)
class Expression:
    """Fire in every minute that all six fields match."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    day_rules: tuple[_DayRule, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]

    def next_after(self, moment: datetime, *, anchored_at: datetime | None = None) -> datetime | None:
        """Give the first tick after `moment`, None when there is none any more."""
        moment = moment.astimezone(UTC)
        if moment.year > self.years[-1]:
            return None
        start = moment.replace(second=0, microsecond=0) + MINUTE
        for day in self._days_from(start.date()):
            found = self._first_time(start if day == start.date() else None)
            if found is not None:
                return datetime(day.year, day.month, day.day, *found, tzinfo=UTC)
        return None

    def describe(self) -> str:
        """Say in words when it fires."""
        return _describe(self.text)

    def _days_from(self, first: date) -> Iterator[date]:
        for year in self.years:
            if year < first.year:
                continue
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                for day in sorted(frozenset().union(*(rule(year, month) for rule in self.day_rules))):
                    if (found := date(year, month, day)) >= first:
                        yield found

    def _first_time(self, start: datetime | None) -> tuple[int, int] | None:
        if start is None:
            return self.hours[0], self.minutes[0]
        for hour in self.hours:
            if hour > start.hour:
                return hour, self.minutes[0]
            if hour == start.hour:
                for minute in self.minutes:
                    if minute >= start.minute:
                        return hour, minute
        return None


Cron = Rate | Expression


def parse(expression: str) -> Cron:
    """Read a rate or a six-field expression.

    Raises: ClientError that names the wrong part and what would be right.
    """
    if len(expression) > CRON_EXPRESSION_CHARACTERS:
        raise ClientError(
            f"An expression may have at most {CRON_EXPRESSION_CHARACTERS} characters, not {len(expression)}."
        )
    words = expression.split()
    if not words:
        raise ClientError(f"An expression is required: {EXAMPLES}.")
    if len(words) == 2:
        return _parse_rate(*words)
    if len(words) != len(_FIELDS):
        raise ClientError(_wrong_count(words))
    return _parse_fields(words)


def latest_until(cron: Cron, first: datetime, now: datetime, *, anchored_at: datetime) -> datetime:
    """Give the last tick that is not after `now`, where `first` is a tick that is not after `now` either.

    Halves the span instead of walking it, so that a year's downtime costs some 20 steps.
    """
    earliest, latest = first, now
    while latest - earliest >= MINUTE:
        middle = earliest + (latest - earliest) / 2
        tick = cron.next_after(middle, anchored_at=anchored_at)
        if tick is not None and tick <= now:
            earliest = tick
        else:
            latest = middle
    return earliest


def next_times(cron: Cron, moment: datetime, count: int, *, anchored_at: datetime) -> list[datetime]:
    """Give the next `count` ticks after `moment`, fewer when the schedule ends before."""
    found: list[datetime] = []
    tick = cron.next_after(moment, anchored_at=anchored_at)
    while tick is not None and len(found) < count:
        found.append(tick)
        tick = cron.next_after(tick, anchored_at=anchored_at)
    return found


def _round_up(moment: datetime) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + MINUTE


# Rates


def _parse_rate(value: str, unit: str) -> Rate:
    text = f"{value} {unit}"
    singular = unit.lower().removesuffix("s")
    if singular == "second":
        raise ClientError(f"'{text}' is faster than a minute; the fastest rate is '1 minute'.")
    if singular not in _UNITS or unit.lower() not in (singular, singular + "s"):
        raise ClientError(
            f"'{text}' is not a rate; the unit must be minute, hour or day, or minutes, hours or days."
        )
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) == 0:
        raise ClientError(f"'{text}' is not a rate; the value must be a whole number from 1.")
    wanted = singular if int(value) == 1 else singular + "s"
    if unit.lower() != wanted:
        raise ClientError(f"'{text}' is not a rate; after {int(value)} write '{wanted}'.")
    period = int(value) * _UNITS[singular]
    if period > timedelta(days=CRON_RATE_DAYS_MAX):
        raise ClientError(f"'{text}' is too long; a rate may be at most {CRON_RATE_DAYS_MAX} days.")
    return Rate(text=f"{int(value)} {wanted}", period=period)


# Expressions


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: Mapping[str, int]
    wraps: bool = True

    @property
    def span(self) -> int:
        return self.last - self.first + 1

    def allowed(self) -> str:
        """Say which values there are, for a message."""
        named = f" or {next(iter(self.names))}-{list(self.names)[-1]}" if self.names else ""
        return f"{self.first}-{self.last}{named}"


_MONTH_NAMES = {
    **{"JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6},
    **{"JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11, "DEC": 12},
}
_DAY_NAMES = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}

_MINUTES = _Field("minutes", 0, 59, {})
_HOURS = _Field("hours", 0, 23, {})
_DAY_OF_MONTH = _Field("day-of-month", 1, 31, {})
_MONTH = _Field("month", 1, 12, _MONTH_NAMES)
_DAY_OF_WEEK = _Field("day-of-week", _SUNDAY, _SATURDAY, _DAY_NAMES)
_YEAR = _Field("year", 1970, 2199, {}, wraps=False)
_FIELDS = (_MINUTES, _HOURS, _DAY_OF_MONTH, _MONTH, _DAY_OF_WEEK, _YEAR)


def _parse_fields(words: list[str]) -> Expression:
    minutes, hours, day_of_month, month, day_of_week, year = (word.upper() for word in words)
    _check_question_marks(day_of_month, day_of_week)
    rules = _parse_days_of_week(day_of_week) if day_of_month == "?" else _parse_days_of_month(day_of_month)
    parsed = Expression(
        text=" ".join(words).upper(),
        minutes=_parse_values(_MINUTES, minutes),
        hours=_parse_values(_HOURS, hours),
        day_rules=rules,
        months=_parse_values(_MONTH, month),
        years=_parse_values(_YEAR, year),
    )
    if parsed.next_after(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) is None:
        raise ClientError(f"'{parsed.text}' never fires: no month of its years has such a day.")
    return parsed


def _check_question_marks(day_of_month: str, day_of_week: str) -> None:
    marks = [day_of_month, day_of_week].count("?")
    if marks == 2:
        raise ClientError(
            "'?' stands in both day-of-month and day-of-week; write '*' in one of them for every day."
        )
    if marks == 0:
        raise ClientError(
            "Day-of-month and day-of-week cannot both be given; write '?' in the one that does not matter."
        )


def _parse_values(field: _Field, word: str) -> tuple[int, ...]:
    found: set[int] = set()
    for item in word.split(","):
        found.update(_parse_item(field, item))
    return tuple(sorted(found))


def _parse_item(field: _Field, item: str) -> Iterator[int]:
    base, slash, step_text = item.partition("/")
    step = _parse_step(field, item, step_text) if slash else 1
    if base == "*":
        first, last = field.first, field.last
    elif "-" in base:
        first, last = (_parse_value(field, each, item) for each in base.split("-", 1))
    else:
        first = _parse_value(field, base, item)
        last = field.last if slash else first
    if first > last and not field.wraps:
        raise ClientError(f"'{item}' in {field.name} runs backwards; write the smaller year first.")
    stop = last if first <= last else last + field.span
    return ((value - field.first) % field.span + field.first for value in range(first, stop + 1, step))


def _parse_step(field: _Field, item: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) < field.span:
        raise ClientError(
            f"'{item}' in {field.name}: after '/' comes a whole number from 1 to {field.span - 1}."
        )
    return int(text)


def _parse_value(field: _Field, text: str, item: str) -> int:
    if text in field.names:
        return field.names[text]
    if re.fullmatch(r"[0-9]{1,4}", text) and field.first <= int(text) <= field.last:
        return int(text)
    if text == "?":
        raise ClientError(
            f"'?' cannot stand in {field.name}; it belongs alone in day-of-month or day-of-week."
        )
    raise ClientError(
        f"'{item}' in {field.name} is not understood; allowed are {field.allowed()} with {_wildcards(field)}."
    )


def _wildcards(field: _Field) -> str:
    special = {"day-of-month": "? L W", "day-of-week": "? L #"}.get(field.name)
    return f", - * / {special}" if special else ", - * /"


def _wrong_count(words: list[str]) -> str:
    text = " ".join(words)
    message = f"'{text}' has {len(words)} field{'s' if len(words) != 1 else ''}; wanted is {EXAMPLES}"
    suggestion = _from_unix(words) if len(words) == 5 else None
    return f"{message}. Did you mean '{suggestion}'?" if suggestion else f"{message}."


def _from_unix(words: list[str]) -> str | None:
    """Guess what five fields of the Unix form mean here, where the days are not counted differently."""
    minutes, hours, day_of_month, month, day_of_week = words
    if day_of_week == "*":
        guess = f"{minutes} {hours} {day_of_month} {month} ? *"
    elif day_of_month == "*" and not re.search(r"[0-9]", day_of_week):
        guess = f"{minutes} {hours} ? {month} {day_of_week} *"
    else:
        return None
    try:
        _parse_fields(guess.split())
    except ClientError:
        return None
    return guess


# Days


@lru_cache(maxsize=4096)
def _month_shape(year: int, month: int) -> tuple[int, int]:
    """Give the day of the week of the first (1 = Sunday) and the number of days."""
    monday_based, length = calendar.monthrange(year, month)
    return (monday_based + 1) % 7 + 1, length


def _day_of_week(year: int, month: int, day: int) -> int:
    return (_month_shape(year, month)[0] - 1 + day - 1) % 7 + 1


def _parse_days_of_month(word: str) -> tuple[_DayRule, ...]:
    return tuple(_parse_day_of_month(item) for item in word.split(","))


def _parse_day_of_month(item: str) -> _DayRule:
    if last := re.fullmatch(r"L(?:-([0-9]{1,2}))?(W?)", item):
        offset = int(last[1] or 0)
        if offset > 30:
            raise ClientError(f"'{item}' in day-of-month: at most 30 days can lie before the last one.")
        return _nearest_weekday_to_last(offset) if last[2] else _days_before_last(offset)
    if near := re.fullmatch(r"([0-9]{1,2})W", item):
        return _nearest_weekday(_parse_value(_DAY_OF_MONTH, near[1], item))
    if item == "W":
        raise ClientError(
            "'W' in day-of-month needs a day before it, such as '15W'; for every weekday use '? * MON-FRI'."
        )
    return _fixed_days(frozenset(_parse_item(_DAY_OF_MONTH, item)))


def _parse_days_of_week(word: str) -> tuple[_DayRule, ...]:
    return tuple(_parse_day_of_week(item) for item in word.split(","))


def _parse_day_of_week(item: str) -> _DayRule:
    if item == "L":
        return _weekdays(frozenset({_SATURDAY}))
    if last := re.fullmatch(r"([0-9]|[A-Z]{3})L", item):
        return _last_of_month(_parse_value(_DAY_OF_WEEK, last[1], item))
    if "#" in item:
        day, _, which = item.partition("#")
        if not re.fullmatch(r"[1-5]", which):
            raise ClientError(f"'{item}' in day-of-week: after '#' comes 1 to 5, the week of the month.")
        return _instance_of_month(_parse_value(_DAY_OF_WEEK, day, item), int(which))
    return _weekdays(frozenset(_parse_item(_DAY_OF_WEEK, item)))


def _fixed_days(days: frozenset[int]) -> _DayRule:
    return lambda year, month: frozenset(day for day in days if day <= _month_shape(year, month)[1])


def _days_before_last(offset: int) -> _DayRule:
    def rule(year: int, month: int) -> frozenset[int]:
        day = _month_shape(year, month)[1] - offset
        return frozenset({day}) if day >= 1 else frozenset()

    return rule


def _nearest_weekday_to_last(offset: int) -> _DayRule:
    last = _days_before_last(offset)
    return lambda year, month: frozenset(_move_to_weekday(year, month, day) for day in last(year, month))


def _nearest_weekday(day: int) -> _DayRule:
    def rule(year: int, month: int) -> frozenset[int]:
        if day > _month_shape(year, month)[1]:
            return frozenset()
        return frozenset({_move_to_weekday(year, month, day)})

    return rule


def _move_to_weekday(year: int, month: int, day: int) -> int:
    """Move a Saturday to Friday and a Sunday to Monday; the other way where that would leave the month."""
    match _day_of_week(year, month, day):
        case 7:
            return day - 1 if day > 1 else day + 2
        case 1:
            return day + 1 if day < _month_shape(year, month)[1] else day - 2
        case _:
            return day


def _weekdays(days: frozenset[int]) -> _DayRule:
    def rule(year: int, month: int) -> frozenset[int]:
        first, length = _month_shape(year, month)
        return frozenset(day for day in range(1, length + 1) if (first + day - 2) % 7 + 1 in days)

    return rule


def _last_of_month(day_of_week: int) -> _DayRule:
    return lambda year, month: frozenset({max(_weekdays(frozenset({day_of_week}))(year, month))})


def _instance_of_month(day_of_week: int, which: int) -> _DayRule:
    def rule(year: int, month: int) -> frozenset[int]:
        days = sorted(_weekdays(frozenset({day_of_week}))(year, month))
        return frozenset(days[which - 1 : which])

    return rule


# Words


def _describe(text: str) -> str:
    # Imported late: it is needed only when somebody looks.
    from cron_descriptor import (
        ExpressionDescriptor,
        FormatError,
        MissingFieldError,
        Options,
        WrongArgumentError,
    )

    options = Options()
    options.day_of_week_start_index_zero = False  # 1 is Sunday, as in the docs
    options.use_24hour_time_format = True
    fields = text.split()
    options.verbose = fields[0].isdigit() and fields[1].isdigit()  # adds "every day"
    # These it reads wrongly or not at all: a bare L among the week days, and L inside a list.
    fields[4] = "SAT" if fields[4] == "L" else fields[4]
    readable = not re.search(
        r",.*[LW#]|[LW#].*,|L-[0-9]+W", fields[2] + " " + re.sub(r"[A-Z]{3}", "", fields[4])
    )
    try:
        words = ExpressionDescriptor("0 " + " ".join(fields), options).get_description() if readable else ""
    except (FormatError, MissingFieldError, WrongArgumentError, ValueError, IndexError):
        words = ""
    return f"{words} (UTC)" if words else f"In every minute that '{text}' matches (UTC)"
