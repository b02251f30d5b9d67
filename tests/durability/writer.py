"""Be the process that writes to a host which is being killed, and keep what was acknowledged in a file.

    python writer.py PORT PROJECT KEY RECORD SEED THREADS

RECORD only grows, one JSON line `[writer, event, key, state]` an event (accounts.py), and `[writer, "lost", key, text]`
for what contradicts an acknowledgement. Each thread has keys of its own, so what its keys may hold is known exactly.
After a failed request it looks at all of them, as soon as the host is back. SIGTERM ends it after the current request.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from urllib.parse import quote

from accounts import INCREMENT, Account, State
from reaching import Project, Refused, batch_names, make_item, read_state

from tests.slowness import slow

ITEMS, FILES = 4, 4
BACK_WITHIN_S = slow(60.0)


class Record:
    """Be the file that only grows."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def add(self, *line: object) -> None:
        """Add a line, by one write."""
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


class Writer(threading.Thread):
    """Write to keys of its own until told to stop."""

    def __init__(
        self, number: int, project: Project, record: Record, chance: random.Random, stop: threading.Event
    ) -> None:
        super().__init__(name=f"writer {number}")
        self._number = number
        self._project = project
        self._record = record
        self._chance = chance
        self._stop_asked = stop
        self._account = Account()
        self._serial = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Act, and look after each failure."""
        acts: list[Callable[[], None]] = [
            *[self.put_item, self.insert_item, self.update_item, self.delete_item, self.put_batch] * 2,
            *[self.count, self.put_file, self.put_chunked, self.delete_file],
        ]
        try:
            while not self._stop_asked.is_set():
                try:
                    self._chance.choice(acts)()
                except Refused:
                    self._look()
        except BaseException as error:
            self.failure = error
            self._stop_asked.set()
            raise

    def put_item(self) -> None:
        """Put an item in place of whatever is there."""
        name, serial = self._item(), self._next()
        body = {"items": [make_item(name, serial, self._chance)]}
        self._do(f"item/{name}", serial, lambda: self._project.send("PUT", "base/things/items", body))

    def insert_item(self) -> None:
        """Insert an item, which is refused when there is one."""
        name, serial = self._item(), self._next()
        body = {"item": make_item(name, serial, self._chance)}
        self._do(f"item/{name}", serial, lambda: self._project.send("POST", "base/things/items", body))

    def update_item(self) -> None:
        """Change every field of an item, which is refused when there is none."""
        name, serial = self._item(), self._next()
        fields = {key: value for key, value in make_item(name, serial, self._chance).items() if key != "key"}
        path = f"base/things/items/{name}"
        self._do(f"item/{name}", serial, lambda: self._project.send("PATCH", path, {"set": fields}))

    def delete_item(self) -> None:
        """Delete an item."""
        name = self._item()
        self._do(f"item/{name}", None, lambda: self._project.call("DELETE", f"base/things/items/{name}"))

    def put_batch(self) -> None:
        """Put items that must come together or not at all."""
        name, serial = f"w{self._number}-batch", self._next()
        body = {"items": [make_item(each, serial, self._chance) for each in batch_names(name)]}
        self._do(f"batch/{name}", serial, lambda: self._project.send("PUT", "base/things/items", body))

    def count(self) -> None:
        """Increment a number, which must happen once."""
        name = f"w{self._number}-count"
        key = f"count/{name}"
        if None in self._account.states(key):
            body = {"items": [{"key": name, "count": 0}]}
            self._do(key, "0", lambda: self._project.send("PUT", "base/things/items", body))
            return
        change = {"increment": {"count": 1}}
        self._do(key, INCREMENT, lambda: self._project.send("PATCH", f"base/things/items/{name}", change))

    def put_file(self) -> None:
        """Put a file whole."""
        name, content = self._file(), self._chance.randbytes(self._chance.randrange(200_000))
        path = f"drive/box/files?name={name}"
        digest = hashlib.sha256(content).hexdigest()
        self._do(f"file/{name}", digest, lambda: self._project.call("POST", path, content))

    def put_chunked(self) -> None:
        """Put a file in three parts, the last one first."""
        name, content = self._file(), self._chance.randbytes(self._chance.randrange(200_000, 300_000))
        digest = hashlib.sha256(content).hexdigest()
        self._do(f"file/{name}", digest, lambda: self._upload(name, content))

    def delete_file(self) -> None:
        """Delete a file."""
        name = self._file()
        body = {"names": [name]}
        self._do(f"file/{name}", None, lambda: self._project.send("DELETE", "drive/box/files", body))

    def _upload(self, name: str, content: bytes) -> tuple[int, bytes]:
        status, answer = self._project.call("POST", f"drive/box/uploads?name={name}")
        upload = f"drive/box/uploads/{json.loads(answer)['upload_id']}" if status == 202 else ""
        for part in (3, 1, 2):
            piece = content[(part - 1) * 100_000 : part * 100_000]
            status, answer = self._project.call("POST", f"{upload}/parts?name={name}&part={part}", piece)
            if status != 200:
                raise ValueError(f"a part was answered {status} {answer!r}")
        return self._project.call("PATCH", f"{upload}?name={quote(name)}")

    def _do(self, key: str, state: State, call: Callable[[], tuple[int, bytes]]) -> None:
        self._note("begun", key, state)
        status, answer = call()
        events = {200: "kept", 201: "kept", 207: "kept", 404: "absent", 409: "present"}
        if status not in events:
            raise ValueError(f"'{key}' was answered {status} {answer[:300]!r}")
        self._note(events[status], key, state)

    def _look(self) -> None:
        """Read all keys of this writer, as soon as there is a host again."""
        deadline = time.monotonic() + BACK_WITHIN_S
        for key in list(self._account.may):
            while True:
                try:
                    state = read_state(self._project, key)
                    break
                except Refused as refusal:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"'{key}' cannot be read: {refusal}") from refusal
                    if str(refusal).startswith("5"):  # the host is there, and says that it has lost it
                        state = str(refusal)
                        break
                    time.sleep(0.02)  # nobody listens
            self._note("seen", key, state)

    def _note(self, event: str, key: str, state: State) -> None:
        self._record.add(self._number, event, key, state)
        allowed = self._account.states(key)
        if not self._account.note(event, key, state):
            self._record.add(self._number, "lost", key, f"{event} {state}, allowed was {allowed}")

    def _next(self) -> str:
        self._serial += 1
        return str(self._serial)

    def _item(self) -> str:
        return f"w{self._number}-i{self._chance.randrange(ITEMS)}"

    def _file(self) -> str:
        return f"w{self._number}-f{self._chance.randrange(FILES)}"


def main() -> int:
    """Write until SIGTERM; tell whether every writer came to its end."""
    port, project, key, path, seed, count = sys.argv[1:]
    record, stop = Record(path), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    writers = [
        Writer(number, Project(int(port), project, key), record, random.Random(f"{seed} {number}"), stop)
        for number in range(int(count))
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return int(any(writer.failure for writer in writers))


if __name__ == "__main__":
    sys.exit(main())
