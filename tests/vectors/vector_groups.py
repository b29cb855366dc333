"""A second computation of groups: ``protocol/groups.md`` and nothing of ours."""

import hashlib
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from vector_content2 import Reader, write
from vector_reference2 import Rejected, sha256, verify

NOTHING: Final = bytes(32)
ROLES: Final = {"member": 1, "admin": 2}
FIELDS: Final = ("version", "group", "revision", "previous", "at", "author", "authorKey")
OPS: Final[dict[str, tuple[str, ...]]] = {
    "add": ("person", "role"),
    "remove": ("person",),
    "role": ("person", "role"),
    "name": ("text",),
    "timer": ("ms",),
    "rights": ("invite", "write"),
    "picture": ("data",),
    "close": (),
}
OF_PEOPLE: Final = ("add", "remove", "role")


PICTURE: Final = re.compile(rb"(?=.{12,4096}\Z)(\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP)", re.DOTALL)


class Refused(Exception):
    """``code``: the one that the document names."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Change(NamedTuple):
    """A change that has a good form and signature; ``ops`` is None for a later version."""

    encoded: bytes
    fields: dict[str, Any]
    ops: list[dict[str, Any]] | None

    @property
    def digest(self) -> bytes:
        return sha256(b"phantom/1 group-hash\n" + self.encoded)


def _is_integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 32


def _is_op(op: object) -> bool:
    if not isinstance(op, dict) or op.get("op") not in OPS or set(op) != {"op", *OPS[op["op"]]}:
        return False
    text, data = op.get("text", "x"), op.get("data", b"")
    return (
        _is_bytes(op.get("person", NOTHING))
        and all(op.get(name, "member") in ("member", "admin") for name in ("role", "invite", "write"))
        and isinstance(text, str)
        and 1 <= len(text.encode()) <= 128
        and isinstance(data, bytes)
        and (not data or PICTURE.match(data) is not None)
        and _is_integer(op.get("ms", 0), 0, 31_536_000_000)
    )


def read(encoded: bytes) -> Change:
    """ "Readers check in this order"."""
    if not 65 <= len(encoded) <= 8_192:
        raise Refused("size")
    signed, signature = encoded[:-64], encoded[-64:]
    reader = Reader(signed)
    try:
        fields = reader.value(1)
    except Rejected:
        raise Refused("form") from None
    if not isinstance(fields, dict) or not reader.is_done or not _has_form(fields):
        raise Refused("form")
    if fields["author"] != sha256(b"phantom/1 user-id\n" + fields["authorKey"]):
        raise Refused("key")
    try:
        verify(fields["authorKey"], signature, b"phantom/1 group-change\n" + signed)
    except Rejected:
        raise Refused("signature") from None
    return Change(encoded, fields, fields["ops"] if fields["version"] == 1 else None)


def _has_form(fields: dict[str, Any]) -> bool:
    good = (
        all(name in fields for name in FIELDS)
        and _is_integer(fields["version"], 1, 2**64)
        and _is_integer(fields["revision"], 1, 2**32 - 1)
        and _is_integer(fields["at"], 0, 253_370_764_800_000)
        and all(_is_bytes(fields[name]) for name in ("group", "previous", "author", "authorKey"))
    )
    if not good or fields["version"] > 1:
        return good
    ops = fields.get("ops")
    return (
        set(fields) == {*FIELDS, "ops"}
        and isinstance(ops, list)
        and 1 <= len(ops) <= 64
        and all(_is_op(op) for op in ops)
    )


@dataclass
class State:
    """A group; roles are numbers."""

    group: bytes
    revision: int = 0
    timer: int = 0
    invite: int = 2
    write: int = 1
    closed: int = 0
    name: str = ""
    picture: bytes = b""
    members: dict[bytes, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        name = self.name.encode()
        form = b"\2" if self.picture else b"\1"
        start = form + self.group + self.revision.to_bytes(4, "big") + self.timer.to_bytes(8, "big")
        rest = bytes((self.invite, self.write, self.closed, len(name))) + name + self.picture
        rest += bytes((len(self.members),))
        return start + rest + b"".join(one + bytes((self.members[one],)) for one in sorted(self.members))

    def is_within_bounds(self) -> bool:
        admins = list(self.members.values()).count(2)
        return len(self.members) <= 100 and 1 <= admins <= 16

    def after(self, change: Change) -> "State":
        """ "Applying a change to a state"."""
        fields = change.fields
        first, last = (1, 1) if self.revision == 0 else (self.revision + 1, self.revision + 1_024)
        if fields["group"] != self.group:
            raise Refused("group")
        if self.closed:
            raise Refused("closed")
        if not first <= fields["revision"] <= last:
            raise Refused("revision")
        if self.revision and self.members.get(fields["author"]) != 2:
            raise Refused("author")
        if change.ops is None:
            raise Refused("newer")
        people = [op["person"] for op in change.ops if op["op"] in OF_PEOPLE]
        others = [op["op"] for op in change.ops if op["op"] not in OF_PEOPLE]
        if len(set(people)) != len(people) or len(set(others)) != len(others):
            raise Refused("ops")
        if any((op["person"] in self.members) == (op["op"] == "add") for op in change.ops if op["op"] in OF_PEOPLE):
            raise Refused("ops")
        new = State(**{**self.__dict__, "revision": fields["revision"], "members": dict(self.members)})
        for op in change.ops:
            new._apply(op)
        if self.revision == 0 and new.members.get(fields["author"]) != 2:
            raise Refused("author")
        if not new.is_within_bounds():
            raise Refused("bounds")
        return new

    def _apply(self, op: dict[str, Any]) -> None:
        match op["op"]:
            case "add" | "role":
                self.members[op["person"]] = ROLES[op["role"]]
            case "remove":
                del self.members[op["person"]]
            case "name":
                self.name = op["text"]
            case "picture":
                data = op["data"]
                self.picture = sha256(b"phantom/1 group-picture\n" + data) if data else b""
            case "timer":
                self.timer = op["ms"]
            case "rights":
                self.invite, self.write = ROLES[op["invite"]], ROLES[op["write"]]
            case "close":
                self.closed = 1


def read_state(encoded: bytes) -> State:
    """ "A reader refuses bytes that are not exactly such a state"."""
    if len(encoded) < 49 or encoded[0] not in (1, 2):
        raise Refused("state")
    invite, write_right, closed, length = encoded[45:49]
    count_at = 49 + length + (32 if encoded[0] == 2 else 0)
    people = encoded[count_at + 1 :]
    is_whole = len(encoded) > count_at and len(people) == 33 * encoded[count_at]
    if not is_whole or invite not in (1, 2) or write_right not in (1, 2) or closed > 1 or length > 128:
        raise Refused("state")
    ids = [people[at : at + 32] for at in range(0, len(people), 33)]
    roles = [people[at + 32] for at in range(0, len(people), 33)]
    timer, revision = int.from_bytes(encoded[37:45], "big"), int.from_bytes(encoded[33:37], "big")
    if sorted(set(ids)) != ids or not set(roles) <= {1, 2} or timer > 31_536_000_000 or not revision:
        raise Refused("state")
    try:
        name = encoded[49 : 49 + length].decode()
    except UnicodeDecodeError:
        raise Refused("state") from None
    members, picture = dict(zip(ids, roles, strict=True)), encoded[49 + length : count_at]
    found = State(encoded[1:33], revision, timer, invite, write_right, closed, name, picture, members)
    if not found.is_within_bounds():
        raise Refused("state")
    return found


def head_of(digest: bytes, state: State) -> bytes:
    """ "head"."""
    return sha256(b"phantom/1 group-head\n" + digest + state.encode()) if state.revision else NOTHING


class Group:
    """ "Chain"."""

    def __init__(self, state: State, digest: bytes = NOTHING) -> None:
        self.state, self.digest = state, digest
        self.taken: list[tuple[Change, State, bytes]] = []
        """Changes that were taken up, with the state and the head before them."""

    @property
    def head(self) -> bytes:
        return head_of(self.digest, self.state)

    def judge(self, encoded: bytes) -> tuple[str, str]:
        """The verdict, and the code of what is skipped."""
        try:
            change = read(encoded)
            if change.fields["group"] != self.state.group:
                raise Refused("group")
            if change.fields["revision"] <= self.state.revision:
                return self._past(change), ""
            if change.fields["previous"] != self.head:
                return self._elsewhere(change), ""
            after = self.state.after(change)
        except Refused as refused:
            return ("newer", "") if refused.code == "newer" else ("skipped", refused.code)
        self.taken.append((change, self.state, self.head))
        self.state, self.digest = after, change.digest
        return "applied", ""

    def _past(self, change: Change) -> str:
        if not self.taken or change.fields["revision"] <= self.taken[0][1].revision:
            return "stale"
        if verdict := self._there(change):
            return verdict
        raise Refused("previous")

    def _there(self, change: Change) -> str:
        """The verdict of a change that follows one of our earlier heads; '' if it does not."""
        for there, before, head in self.taken:
            if head == change.fields["previous"]:
                if there.encoded == change.encoded:
                    return "known"
                try:
                    before.after(change)
                except Refused as refused:
                    if refused.code != "newer":
                        raise
                return "fork"
        return ""

    def _elsewhere(self, change: Change) -> str:
        if self.state.closed:
            raise Refused("closed")
        if verdict := self._there(change):
            return verdict
        if change.fields["revision"] > self.state.revision + 1:
            return "behind"
        if self.state.members.get(change.fields["author"]) != 2:
            raise Refused("previous")
        return "fork"

    def compare(self, revision: int, head: bytes) -> str:
        """ "Every message names revision and head of its sender's state"."""
        if revision == self.state.revision:
            return "same" if head == self.head else "fork"
        if revision > self.state.revision:
            return "ahead"
        if not self.taken or revision < self.taken[0][1].revision:
            return "unknown"
        known = {before.revision: own for _, before, own in self.taken}
        return "older" if known.get(revision) == head else "fork"


def join(state: bytes, base: bytes, encoded: bytes) -> bytes:
    """ "Joining": the head that an invitation leads to."""
    change = read(encoded)
    group = Group(read_state(state), base) if state else Group(State(change.fields["group"]))
    if change.fields["previous"] != group.head:
        raise Refused("previous")
    return head_of(change.digest, group.state.after(change))


def digits(head: bytes) -> str:
    """ "For people"."""
    found = hashlib.sha512(b"phantom/1 group-digits\n" + head).digest()
    for _ in range(100_000):
        found = hashlib.sha512(found + head).digest()
    return " ".join(f"{int.from_bytes(found[at : at + 5], 'big') % 100_000:05d}" for at in (0, 5, 10, 15))


def rewritten(change: bytes) -> bytes:
    """What is signed, written anew in the order of the document and the shortest forms."""
    fields = read(change).fields
    ordered = {name: fields[name] for name in FIELDS} | {
        "ops": [{name: op[name] for name in ("op", *OPS[op["op"]])} for op in fields["ops"]]
    }
    return write(ordered)


LINK: Final = re.compile(r"phantom:join\?v=1&relay=([^&]+)&admin=(ph1[^&]+)&token=([A-Za-z0-9_-]{22})\Z")
CHARACTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def read_link(text: str) -> dict[str, str] | None:
    """ "Links"; None if it is none."""
    found = LINK.match(text)
    if found is None:
        return None
    relay, admin, token = unquote(found[1]), _written(found[2]), urlsafe_b64decode(found[3] + "==")
    if admin is None or not relay.startswith(("ws://", "wss://")) or found[3][-1] not in "AQgw":
        return None
    return {"admin": admin.hex(), "relay": relay, "token": token.hex()}


def read_asked(content: bytes) -> dict[str, str] | None:
    """ "Contents": one about a link; None if it must be refused."""
    reader = Reader(content)
    said = reader.value(1)
    token = said.get("token") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not reader.is_done or not isinstance(token, bytes) or len(token) != 16:
        return None
    return {"kind": str(said["kind"]), "token": token.hex()}


def _written(text: str) -> bytes | None:
    """BIP 350, of 61 characters that begin with ph1."""
    if len(text) != 61 or any(one not in CHARACTERS for one in text[3:]):
        return None
    groups = [CHARACTERS.index(one) for one in text[3:]]
    check = 1
    for value in [ord("p") >> 5, ord("h") >> 5, 0, ord("p") & 31, ord("h") & 31, *groups]:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if top >> place & 1 else 0
    if check != 0x2BC830A3:
        return None
    bits = "".join(f"{value:05b}" for value in groups[:-6])
    return int(bits[:256], 2).to_bytes(32, "big")
