"""The dialogues and tables of protocol/phantom.md, and how the dialogues are played against a relay.

A dialogue is a fenced block ``dialogue NAME`` of steps: ``alice > relay {...}``, ``relay > alice {...}``,
``relay closes alice 1000`` or ``alice closes relay 1000``. A frame is a template: texts in angle brackets
stand for values that differ from run to run.
"""

import base64
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from websockets.exceptions import ConnectionClosed

from phantom_messenger.wire import codec
from phantom_messenger.wire.codes import RequestError
from support.people import KEM_PREKEY, SIGNED_PREKEY, Frame, Person, base64_text, canonical, is_signed_by
from support.reference_client import PATIENCE, ReferenceClient

AUDIENCE: Final = "relay.example"
"""The name under which the dialogues reach the relay."""

RELAY: Final = "relay"
NEAR_MS: Final = 10_000
"""How far ``<now>`` may be from the clock of whoever plays."""

QUIET: Final = 0.2
"""Seconds in which nothing comes any more."""

_FENCE: Final = re.compile(r"^```(?P<info>.+)\n(?P<body>(?:(?!```).*\n)*)```$", re.MULTILINE)
_STEP: Final = re.compile(r"([a-z]+) (>|closes) ([a-z]+)(?: x (\d+))? (.+)")
_PLACEHOLDER: Final = re.compile(r"<[a-z0-9' -]+>")
_NOW: Final = "<now>"


class Mismatch(Exception):
    """The relay does not do what the document says; the message names the line."""


class Way(Enum):
    """What a step does."""

    SEND = "client > relay"
    RECEIVE = "relay > client"
    CLOSED = "relay closes client"
    LEAVE = "client closes relay"


_WAYS: Final = {
    (False, ">"): Way.SEND,
    (True, ">"): Way.RECEIVE,
    (True, "closes"): Way.CLOSED,
    (False, "closes"): Way.LEAVE,
}


class Block(NamedTuple):
    """A fenced block; ``line`` is that of its fence."""

    line: int
    info: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a dialogue; ``body`` is the template of a frame, or a close code."""

    line: int
    dialogue: str
    actor: str
    way: Way
    body: Any
    times: int = 1

    @property
    def type(self) -> str:
        """The frame's type; empty for the end of a connection."""
        return str(self.body["type"]) if isinstance(self.body, dict) else ""


# --- reading ----------------------------------------------------------------------


def blocks(document: str) -> list[Block]:
    """All fenced blocks."""
    return [
        Block(document.count("\n", 0, found.start()) + 1, found["info"], found["body"])
        for found in _FENCE.finditer(document)
    ]


def dialogues(document: str) -> dict[str, list[Step]]:
    """The steps of each dialogue, in their order.

    Raises:
        Mismatch: a line cannot be read.
    """
    found: dict[str, list[Step]] = {}
    for block in blocks(document):
        kind, _, name = block.info.partition(" ")
        if kind == "dialogue":
            texts: list[tuple[int, str]] = []
            for line, text in enumerate(block.body.splitlines(), start=block.line + 1):
                if text.startswith(" ") and texts:
                    texts[-1] = (texts[-1][0], texts[-1][1] + text)
                else:
                    texts.append((line, text))
            found.setdefault(name, []).extend(_step(line, name, text) for line, text in texts)
    return found


def _step(line: int, dialogue: str, text: str) -> Step:
    found = _STEP.fullmatch(text)
    if found is None or (found[1] == RELAY) == (found[3] == RELAY):
        raise Mismatch(f"line {line}: not a step of a dialogue: {text[:40]}")
    source, verb, to, times, body = found.groups()
    by_relay = source == RELAY
    way = _WAYS[by_relay, verb]
    try:
        template = json.loads(body)
    except json.JSONDecodeError as error:
        raise Mismatch(f"line {line}: not JSON: {error}") from None
    return Step(
        line=line, dialogue=dialogue, actor=to if by_relay else source, way=way, body=template, times=int(times or 1)
    )


def tables(document: str) -> dict[str, list[list[str]]]:
    """The first table under each heading: the cells of its rows below the header, without backticks."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for is_table, group in groupby(document.splitlines(), key=lambda line: line.startswith("|")):
        lines = list(group)
        if is_table:
            found.setdefault(heading, [_cells(line) for line in lines[2:]])
        else:
            heading = next((line.lstrip("# ") for line in reversed(lines) if line.startswith("#")), heading)
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.removeprefix("|").removesuffix("|").split("|")]


# --- values -----------------------------------------------------------------------


class Values:
    """What the placeholders of a dialogue stand for."""

    def __init__(self, people: Mapping[str, Person]) -> None:
        self._bound: dict[str, Any] = {}
        for name, person in people.items():
            self._bound |= {f"<{name}>": person.id, f"<{name} key>": person.public_key}

    def bind(self, name: str, value: Any) -> None:
        """Say what a placeholder stands for from now on."""
        self._bound[name] = value

    def match(self, template: Any, value: Any, path: str = "frame") -> None:
        """Compare what came with what is printed, and learn the values of new placeholders.

        Raises:
            Mismatch: they differ; the message names the place.
        """
        if is_placeholder(template):
            if template == _NOW:
                if not isinstance(value, int) or abs(value - now_ms()) > NEAR_MS:
                    raise Mismatch(f"{path} is {value!r} and not the time")
            elif self._bound.setdefault(template, value) != value:
                raise Mismatch(f"{path} is {value!r} and not {template}, which is {self._bound[template]!r}")
        elif isinstance(template, dict) and isinstance(value, dict):
            if template.keys() != value.keys():
                raise Mismatch(f"{path} has the members {sorted(value)} and not {sorted(template)}")
            for name, part in template.items():
                self.match(part, value[name], f"{path}.{name}")
        elif isinstance(template, list) and isinstance(value, list) and len(template) == len(value):
            for index, part in enumerate(template):
                self.match(part, value[index], f"{path}[{index}]")
        elif type(template) is not type(value) or template != value:
            raise Mismatch(f"{path} is {value!r} and not {template!r}")

    def fill(self, template: Any, person: Person, path: tuple[str, ...] = (), parent: Frame | None = None) -> Any:
        """Make what a person sends; ``path`` and ``parent`` say where the part stands.

        Raises:
            Mismatch: a placeholder is new, and its field does not say how to make it.
        """
        if isinstance(template, dict):
            if not path and template.get("type") == "MESSAGE_MANY":
                self._sign_copies(template, person)
            found: Frame = {}
            # Signatures last, for they cover their siblings.
            for name in sorted(template, key=lambda name: name.lower().endswith("signature")):
                found[name] = self.fill(template[name], person, (*path, name), found)
            return found
        if isinstance(template, list):
            return [self.fill(part, person, path) for part in template]
        if not is_placeholder(template):
            return template
        if template == _NOW:
            return now_ms()
        if template not in self._bound:
            self._bound[template] = _made(path, parent or {}, person)
        return self._bound[template]

    def _sign_copies(self, template: Frame, person: Person) -> None:
        """Sign what the relay makes of a message to many for each recipient, as far as that is not printed before."""
        payload = {
            name: self.fill(part, person, ("payload", name))
            for name, part in template["payload"].items()
            if name in {"common", "conversationId", "messageId", "metadata"}
        }
        common, sent = payload.pop("common"), self.fill(template["timestamp"], person, ("timestamp",))
        for printed in template["payload"]["recipients"]:
            user = self.fill(printed["recipientId"], person)
            whole = {**payload, "encrypted": printed.get("head", "") + common, "recipientId": user}
            message = person.signed({"type": "MESSAGE", "timestamp": sent, "payload": whole})
            self._bound.setdefault(printed["signature"], message["signature"])


def _made(path: tuple[str, ...], parent: Frame, person: Person) -> Any:
    """A new value for a field of a frame that somebody sends."""
    match path:
        case ("timestamp",) | (*_, "madeAt"):
            return now_ms()
        case ("signature",):
            return person.signed(parent)["signature"]
        case (*_, "userId"):
            return base64_text(os.urandom(16))
        case (*_, "messageId"):
            return person.new_message_id()
        case (*_, "preKeySignature") | (*_, "preKeyBundle", "signature"):
            return person.sign_prekey(parent["signedPreKey"])
        case (*_, "bundleSignature"):
            return person.dating(parent["madeAt"], parent["signedPreKey"], parent["lastResortKemPreKey"])[path[-1]]
        case (*_, "kemPreKeySignature") | (*_, "kemPreKeys" | "lastResortKemPreKey", "signature"):
            return _signed(person, KEM_PREKEY, parent["kemPreKey" if path[-1] == "kemPreKeySignature" else "key"])
        case (*_, "signedPreKey", "signature"):
            return _signed(person, SIGNED_PREKEY, parent["key"])
        case (*_, "kemPreKey") | (*_, "kemPreKeys" | "lastResortKemPreKey", "key"):
            return base64_text(os.urandom(1_184))
        case (*_, "key" | "name" | "ephemeralKey" | "signedPreKey" | "oneTimePreKey"):
            return base64_text(os.urandom(32))
        case _:
            raise Mismatch(f"nothing says what {'.'.join(path)} is")


def _signed(person: Person, purpose: bytes, key: str) -> str:
    return person.sign(purpose + base64.b64decode(key))


def is_placeholder(template: object) -> bool:
    """Whether a part of a template stands for a value that differs from run to run."""
    return isinstance(template, str) and _PLACEHOLDER.fullmatch(template) is not None


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


# --- playing ----------------------------------------------------------------------


class Player:
    """One run of a dialogue, with people of its own.

    Args:
        steps: the dialogue.
        url: of the relay, whose public name is ``AUDIENCE``.
        patience: seconds to wait for a frame.
    """

    def __init__(self, steps: Sequence[Step], url: str, *, patience: float = PATIENCE) -> None:
        self._steps = steps
        self._url = url
        self._patience = patience
        self._people = {step.actor: Person() for step in steps}
        self._values = Values(self._people)
        self._connections: dict[str, ReferenceClient] = {}
        self._strangers: set[str] = set()
        """Whose login is printed and not yet through."""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def play(self) -> None:
        """Play every step, then see that nobody was sent more than is printed.

        Raises:
            Mismatch: something is not as printed.
        """
        for step in {step.actor: step for step in reversed(self._steps)}.values():
            self._connection(step)
        for step in self._steps:
            with _as_mismatch(f"line {step.line}: {step.type or step.way.value}"):
                self._play(step)
        for actor, client in self._connections.items():
            with _as_mismatch(f"the end of {self._steps[0].dialogue}"):
                self._see_no_more(actor, client)

    def _play(self, step: Step) -> None:
        client = self._connection(step)
        match step.way:
            case Way.RECEIVE if step.type == "CONNECTION_ACK":
                self._compare(step, client.acknowledgement)
            case Way.RECEIVE:
                for _ in range(step.times):
                    self._compare(step, client.receive(self._patience))
                if step.type == "AUTH_SUCCESS":
                    self._strangers.discard(step.actor)
            case Way.SEND:
                self._values.bind("<challenge>", client.acknowledgement["payload"]["challenge"])
                for _ in range(step.times):
                    client.send(self._values.fill(step.body, client.person))
            case Way.CLOSED:
                end = client.closed(self._patience)
                if end != (step.body, []):
                    raise Mismatch(f"closed with {end[0]} after {end[1]}")
                del self._connections[step.actor]
            case Way.LEAVE:
                client.close()
                del self._connections[step.actor]

    def _connection(self, step: Step) -> ReferenceClient:
        """The actor's connection; a new one is logged in unless the step is part of a login."""
        client = self._connections.get(step.actor)
        if client is None:
            client = self._open.enter_context(ReferenceClient(self._url, self._people[step.actor]))
            client.audience = AUDIENCE
            self._connections[step.actor] = client
            match step.type:
                case "CONNECTION_ACK":
                    self._strangers.add(step.actor)
                case "AUTH":
                    self._strangers.add(step.actor)
                case _:
                    client.login(["ack"])
        return client

    def _compare(self, step: Step, frame: Frame) -> None:
        self._values.match(step.body, frame)
        try:
            codec.decode_relay(canonical(frame))
        except RequestError as refused:
            raise Mismatch(f"the project's own client does not read it: {refused.details}") from None
        sender = frame.get("payload", {}).get("senderId")
        for person in self._people.values():
            if person.id == sender and "signature" in frame and not is_signed_by(frame, person.public_key):
                raise Mismatch("what was passed on is not what its sender signed")

    def _see_no_more(self, actor: str, client: ReferenceClient) -> None:
        # PREKEY_STATUS is answered behind all that was stored before; without a login only PING is legal.
        stranger = actor in self._strangers
        client.send(client.person.ping(id="end") if stranger else client.person.prekey_status(id="end"))
        frames = [client.receive(self._patience)]
        if stranger:
            with suppress(TimeoutError):
                frames.append(client.receive(QUIET))
        if [frame.get("id") for frame in frames] != ["end"] or frames[0]["type"] not in {"PONG", "PREKEY_STATUS"}:
            raise Mismatch(f"{actor} was sent more than is printed: {frames}")


@contextmanager
def _as_mismatch(place: str) -> Iterator[None]:
    """Whatever goes wrong is a mismatch, and says where."""
    try:
        yield
    except Mismatch as found:
        raise Mismatch(f"{place}: {found}") from None
    except TimeoutError:
        raise Mismatch(f"{place} does not come") from None
    except ConnectionClosed as end:
        raise Mismatch(f"{place}: the connection has ended: {end}") from None


def missing(steps: Iterable[Step], sent: Iterable[str], received: Iterable[str]) -> set[tuple[Way, str]]:
    """Of the frame types that clients send and that they receive, those that no step shows."""
    shown = {(step.way, step.type) for step in steps}
    return ({(Way.SEND, name) for name in sent} | {(Way.RECEIVE, name) for name in received}) - shown
