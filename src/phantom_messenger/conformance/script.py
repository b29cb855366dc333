"""The dialogues of protocol/phantom.md as scripts: what is sent, what must come next, and what stands for what.

``dialogues.txt`` beside this file holds their blocks; ``scripts/copy-dialogues`` copies them from the document.
"""

import base64
import json
import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.verdict import Failure
from phantom_messenger.conformance.wire import Frame, Identity, base64_text

PATH: Final = Path(__file__).with_name("dialogues.txt")
RELAY: Final = "relay"
_AUDIENCE: Final = "relay.example"
_NOW: Final = "<now>"
_NEAR_MS: Final = 60_000

_FENCE: Final = re.compile(r"^```dialogue ([a-z-]+)\n((?:(?!```).*\n)*)```$", re.MULTILINE)
_STEP: Final = re.compile(r"([a-z]+) (>|closes) ([a-z]+)(?: x (\d+))? (.+)")
_PLACEHOLDER: Final = re.compile(r"<[a-z0-9' -]+>")


class Way(Enum):
    """What a step does."""

    SEND = "sends"
    RECEIVE = "receives"
    CLOSED = "is closed with"
    LEAVE = "closes with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a dialogue; ``body`` is the template of a frame, or a close code."""

    actor: str
    way: Way
    body: Any
    times: int

    @property
    def type(self) -> str:
        """The frame's type; '' for the end of a connection."""
        return str(self.body["type"]) if isinstance(self.body, dict) else ""

    def __str__(self) -> str:
        return f"{self.actor} {self.way.value} {self.type or self.body}"


def blocks(document: str) -> str:
    """All dialogues of the protocol's document, and nothing else of it."""
    return "\n\n".join(found[0] for found in _FENCE.finditer(document)) + "\n"


def scripts(text: str) -> dict[str, list[Step]]:
    """The steps of each dialogue: those of several blocks of one name follow each other."""
    found: dict[str, list[Step]] = {}
    for name, body in _FENCE.findall(text):
        lines = body.replace("\n ", " ").splitlines()
        found.setdefault(name, []).extend(_step(line) for line in lines)
    return found


def _step(line: str) -> Step:
    found = _STEP.fullmatch(line)
    assert found is not None, line  # noqa: S101 - a test reads them all
    source, verb, to, times, body = found.groups()
    if verb == ">":
        way = Way.RECEIVE if source == RELAY else Way.SEND
    else:
        way = Way.CLOSED if source == RELAY else Way.LEAVE
    return Step(actor=to if source == RELAY else source, way=way, body=json.loads(body), times=int(times or 1))


class Values:
    """What the texts in angle brackets stand for, in one play of a dialogue.

    Args:
        people: by name.
    """

    def __init__(self, people: dict[str, Identity]) -> None:
        self._bound: dict[str, Any] = {}
        for name, identity in people.items():
            self._bound |= {f"<{name}>": identity.id, f"<{name} key>": identity.public_text}

    # --- what came ----------------------------------------------------------------

    def match(self, template: Any, value: Any, client: Client, path: str = "frame") -> None:
        """Compare what came with what is printed, and learn what new names stand for.

        Raises:
            Failure: they differ.
        """
        if template == _NOW:
            if not isinstance(value, int) or abs(value - client.now()) > _NEAR_MS:
                raise Failure(f"{path} is {value!r} and not the time")
        elif isinstance(template, str) and _PLACEHOLDER.fullmatch(template):
            if self._bound.setdefault(template, value) != value:
                raise Failure(f"{path} is {value!r} and not {self._bound[template]!r}")
        elif isinstance(template, dict) and isinstance(value, dict):
            if template.keys() != value.keys():
                raise Failure(
                    f"{path} has the members {', '.join(sorted(value))} and not {', '.join(sorted(template))}"
                )
            for name, part in template.items():
                self.match(part, value[name], client, f"{path}.{name}")
        elif isinstance(template, list) and isinstance(value, list) and len(template) == len(value):
            for index, part in enumerate(template):
                self.match(part, value[index], client, f"{path}[{index}]")
        elif type(template) is not type(value) or template != value:
            raise Failure(f"{path} is {value!r} and not {template!r}")

    # --- what is sent -------------------------------------------------------------

    def fill(self, template: Any, client: Client, path: tuple[str, ...] = (), parent: Frame | None = None) -> Any:
        """What a client sends; ``path`` and ``parent`` say where the part stands, and what is there already."""
        if isinstance(template, dict):
            if not path and template.get("type") == "MESSAGE_MANY":
                self._sign_copies(template, client)
            found: Frame = {}
            # Signatures last: they cover what stands beside them.
            for name in sorted(template, key=lambda name: name.lower().endswith("signature")):
                found[name] = self.fill(template[name], client, (*path, name), found)
            return found
        if isinstance(template, list):
            return [self.fill(part, client, path) for part in template]
        if template in {_NOW, "<challenge>", _AUDIENCE}:
            return {_NOW: client.now(), "<challenge>": client.binding["challenge"]}.get(
                template, client.binding["audience"]
            )
        if isinstance(template, str) and _PLACEHOLDER.fullmatch(template) and template not in self._bound:
            self._bound[template] = _made(path, parent or {}, client)
        return self._bound.get(template, template) if isinstance(template, str) else template

    def _sign_copies(self, template: Frame, client: Client) -> None:
        """Sign the message that each recipient is to get, as far as its signature is not printed before."""
        payload = {
            name: self.fill(part, client, ("payload", name))
            for name, part in template["payload"].items()
            if name in {"common", "conversationId", "messageId", "metadata"}
        }
        common, sent = payload.pop("common"), self.fill(template["timestamp"], client, ("timestamp",))
        for printed in template["payload"]["recipients"]:
            user = self.fill(printed["recipientId"], client)
            whole = {**payload, "encrypted": printed.get("head", "") + common, "recipientId": user}
            message = client.identity.signed({"type": "MESSAGE", "timestamp": sent, "payload": whole})
            self._bound.setdefault(printed["signature"], message["signature"])


def _made(path: tuple[str, ...], parent: Frame, client: Client) -> Any:
    """A new value of a member that a client sends."""
    identity = client.identity
    match path:
        case ("timestamp",) | (*_, "madeAt"):
            return client.now()
        case ("signature",):
            return identity.signed(parent)["signature"]
        case (*_, "userId"):
            return base64_text(os.urandom(16))
        case (*_, "messageId"):
            return wire.new_uuid()
        case (*_, "bundleSignature"):
            return identity.dated(parent, parent["madeAt"])["bundleSignature"]
        case (*_, "preKeySignature") | (*_, "preKeyBundle", "signature"):
            return identity.sign(wire.SIGNED_PREKEY + base64.b64decode(parent["signedPreKey"]))
        case (*_, "signedPreKey", "signature"):
            return identity.sign(wire.SIGNED_PREKEY + base64.b64decode(parent["key"]))
        case (*_, "kemPreKeys" | "lastResortKemPreKey", "signature"):
            return identity.sign(wire.KEM_PREKEY + base64.b64decode(parent["key"]))
        case (*_, "kemPreKeys" | "lastResortKemPreKey", "key"):
            return base64_text(wire.new_kem())
        case _:
            return base64_text(wire.new_x25519())
