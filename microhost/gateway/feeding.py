"""Feed a connection's bytes to the parser, with request targets as it wants them.

Theory of operation
    Clients send names raw in the target (`?name=größe.txt`); the parser refuses bytes beyond ASCII there. So these are
    percent-encoded on their way, in the request line and nowhere else. Where a line begins is known only from the
    parser's own callbacks: a packet is therefore cut where a message may end (after its length, after an empty line), and
    after each request line. The cuts change nothing of what the parser sees, and what is not known for sure to be a
    request line is left as it came. Most packets need no look at all: they are ASCII, and end with a line or inside a body.
    Source: RFC 9112, 3 and 3.2; RFC 3986, 2.1.
"""

from __future__ import annotations

import httptools

LINE_FEED = b"\n"
EMPTY_LINE = b"\n\r\n"
ENCODED = tuple(bytes([each]) if each < 0x80 else b"%%%02X" % each for each in range(256))


class Feeder:
    """Know where one connection's parser stands. `began`, `measured`, `took` and `ended` are its callbacks' notes."""

    __slots__ = ("_body_bytes", "_is_between", "_is_in_line", "_parser", "is_done")

    def __init__(self, parser: httptools.HttpRequestParser) -> None:
        """Feed `parser`, until `is_done`."""
        self._parser = parser
        self._is_between = True
        self._is_in_line = False
        self._body_bytes = 0
        self.is_done = False

    def began(self) -> None:
        """Note that a message has begun."""
        self._is_between = False
        self._is_in_line = True

    def measured(self, length: int | None) -> None:
        """Note how long a message's body will be; None when only its end will tell."""
        self._body_bytes = length or 0

    def took(self, count: int) -> None:
        """Note bytes of a body."""
        if self._body_bytes:
            self._body_bytes -= count

    def ended(self) -> None:
        """Note that a message has ended."""
        self._is_between = True

    def feed(self, data: bytes) -> None:
        """Feed a packet. Raises: what the parser raises; an upgrade's offset is one into `data`."""
        if data.isascii() and (len(data) <= self._body_bytes or data.endswith(LINE_FEED)):
            self._parser.feed_data(data)
            self._is_in_line = False
            return
        at = 0
        while at < len(data) and not self.is_done:
            end = self._find_cut(data, at)
            try:
                self._feed_piece(data[at:end])
            except httptools.HttpParserUpgrade as upgrade:
                raise httptools.HttpParserUpgrade(at + upgrade.args[0]) from None
            at = end

    def _feed_piece(self, piece: bytes) -> None:
        is_line = self._is_between or self._is_in_line
        self._parser.feed_data(encode_target(piece) if is_line else piece)
        if not is_line or piece.endswith(LINE_FEED):
            self._is_in_line = False

    def _find_cut(self, data: bytes, at: int) -> int:
        """Give the end of the piece that begins at `at`."""
        if self._body_bytes:
            return at + self._body_bytes
        if self._is_between or self._is_in_line:
            found = data.find(LINE_FEED, at)
            return found + 1 or len(data)
        found = data.find(LINE_FEED, at, at + 2)  # of an empty line whose beginning came before
        if found >= 0:
            return found + 1
        found = data.find(EMPTY_LINE, at)
        return found + len(EMPTY_LINE) if found >= 0 else len(data)


def encode_target(line: bytes) -> bytes:
    """Percent-encode what is not ASCII in a request line, or in a piece of one."""
    return line if line.isascii() else b"".join(map(ENCODED.__getitem__, line))
