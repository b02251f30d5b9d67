"""Keep Micros' schedules, and which of their ticks is being fired."""

from __future__ import annotations

from datetime import datetime

from microhost.errors import NotFoundError
from microhost.records import Schedule
from microhost.storage.database import Database, IntegrityError
from microhost.storage.moments import to_us
from microhost.storage.rows import SCHEDULE, to_schedule


class ScheduleStore:
    """Answer for schedules."""

    def __init__(self, database: Database) -> None:
        """Work on the meta database."""
        self._database = database

    def list_schedules(self) -> list[Schedule]:
        """Give every Micro's schedule."""
        rows = self._database.rows(f"SELECT {SCHEDULE} FROM schedules ORDER BY micro_id")  # noqa: S608
        return [to_schedule(row) for row in rows]

    def put_schedule(self, schedule: Schedule) -> None:
        """Keep a Micro's schedule, replacing its former one. Raises: NotFoundError when the Micro is gone."""
        values = (
            *(schedule.micro_id, schedule.expression, to_us(schedule.anchored_at), to_us(schedule.next_at)),
            *(schedule.running, to_us(schedule.running_tick)),
        )
        try:
            with self._database.write() as sql:
                sql.execute(
                    f"INSERT OR REPLACE INTO schedules ({SCHEDULE}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                    values,
                )
        except IntegrityError as error:
            raise NotFoundError("There is no such Micro.") from error

    def claim_tick(self, micro_id: str, tick: datetime, event_id: str, next_at: datetime | None) -> None:
        """Note that `tick` is being fired as `event_id`, before it is. Raises: NotFoundError when there is
        no schedule.
        """
        with self._database.write() as sql:
            sql.execute(
                "UPDATE schedules SET running = ?, running_tick = ?, next_at = ? WHERE micro_id = ?",
                (event_id, to_us(tick), to_us(next_at), micro_id),
            )
            if sql.changes() == 0:
                raise NotFoundError("There is no such schedule.")

    def finish_tick(self, micro_id: str, event_id: str) -> None:
        """Note that the firing `event_id` has ended; nothing happens when another one has been claimed
        since.
        """
        with self._database.write() as sql:
            sql.execute(
                "UPDATE schedules SET running = NULL, running_tick = NULL WHERE micro_id = ? AND running = ?",
                (micro_id, event_id),
            )

    def delete_schedule(self, micro_id: str) -> None:
        """Forget a Micro's schedule; nothing happens when it has none."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM schedules WHERE micro_id = ?", (micro_id,))
