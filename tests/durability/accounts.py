"""Know what each key may hold after what was sent and what was acknowledged. Pure.

A state is a text that names content (an item's serial number, a file's sha256), or None for nothing. Between a
request and its answer a key may hold the state from before or the one asked for; an answer leaves one of them; a
request that was never answered leaves both, until somebody looks. What was seen once stays: it was committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

State = str | None
INCREMENT = "+1"


def apply(act: State, states: set[State]) -> set[State]:
    """Give what a key may hold once an act was done on it."""
    if act == INCREMENT:
        return {str(int(state or 0) + 1) for state in states}
    return {act}


@dataclass
class Account:
    """Hold the states that each key may have. Every answer but `begin`'s tells whether it fits."""

    may: dict[str, set[State]] = field(default_factory=dict)
    before: dict[str, set[State]] = field(default_factory=dict)

    def states(self, key: str) -> set[State]:
        """Give what a key may hold; at first nothing."""
        return self.may.get(key, {None})

    def note(self, event: str, key: str, state: State) -> bool:
        """Take note of one line of the record: `begun`, `kept`, `seen`, `absent` or `present`."""
        if event == "begun":
            self.before[key] = self.states(key)
            self.may[key] = self.before[key] | apply(state, self.before[key])
            return True
        if event == "kept":
            self.may[key] = apply(state, self.before[key])
            return True
        if event == "seen":
            return self._narrow(key, {state}, self.states(key))
        before = self.before[key]  # a refusal: nothing was done, and it tells what was there
        return self._narrow(key, {None} if event == "absent" else before - {None}, before)

    def _narrow(self, key: str, seen: set[State], allowed: set[State]) -> bool:
        self.may[key] = seen & allowed or seen
        return bool(seen & allowed)
