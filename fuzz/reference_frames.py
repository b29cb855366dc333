"""The plainest reader of RFC 6455 for a server: one function, written from the RFC, shared with nothing."""

from dataclasses import dataclass, field


@dataclass
class Read:
    """What a stream of a client says.

    ``codes``: with which a server may close after it; None among them if it need not.
    ``broken``: whether it ends in something that no client may send.
    """

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    codes: set[int | None] = field(default_factory=lambda: {None})
    broken: bool = False

    def end(self, *codes: int) -> "Read":
        """Close here."""
        self.codes = set(codes)
        self.broken = True
        return self


def read_frames(data: bytes, max_bytes: int, max_fragments: int, max_controls: int) -> Read:
    """Read until the stream ends, closes or breaks; a header is judged when it is whole."""
    read, at = Read(), 0
    kind: int | None = None
    parts: list[bytes] = []
    controls = 0
    while len(data) - at >= 2:
        first, second = data[at], data[at + 1]
        opcode, fin, length = first & 15, first >> 7, second & 127
        if first & 0x70 or opcode not in (0, 1, 2, 8, 9, 10) or not second & 128:
            return read.end(1002)
        if opcode >= 8 and (not fin or length > 125):
            return read.end(1002)
        start = at + 2
        if length > 125:
            width = 2 if length == 126 else 8
            if len(data) - start < width:
                return read
            length = int.from_bytes(data[start : start + width])
            if length < (126 if width == 2 else 65_536) or length >> 63:
                return read.end(1002)
            start += width
        if len(data) - start < 4:
            return read
        controls += opcode >= 8
        if controls > max_controls:
            return read.end(1008)
        if opcode < 8:
            if (opcode == 0) != (kind is not None):
                return read.end(1002)
            if sum(map(len, parts)) + length > max_bytes or len(parts) >= max_fragments:
                return read.end(1009)
        if len(data) - start < 4 + length:
            return read
        mask, payload = data[start : start + 4], data[start + 4 : start + 4 + length]
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        at = start + 4 + length
        if opcode == 8:
            return _closed(read, payload)
        if opcode == 9:
            read.pings.append(payload)
        elif opcode != 10:
            kind = kind if opcode == 0 else opcode
            parts.append(payload)
            if fin:
                message, done, kind, parts = b"".join(parts), kind, None, []
                if done == 1 and not _is_text(message):
                    return read.end(1007)
                read.messages.append((done or 0, message))
    return read


def _closed(read: Read, payload: bytes) -> Read:
    """RFC 6455 sections 5.5.1 and 7.4: what answers a close."""
    code = int.from_bytes(payload[:2])
    if not payload:
        return read.end(1000)
    if len(payload) == 1 or not (code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code < 5000):
        return read.end(1002) if _is_text(payload[2:]) else read.end(1002, 1007)
    return read.end(code if _is_text(payload[2:]) else 1007)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
