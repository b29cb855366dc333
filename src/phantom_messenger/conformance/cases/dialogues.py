"""The dialogues that are printed in the protocol, word by word.

Each frame is the next of its type that comes, and no other one may: what is stored and what is told of somebody's
presence can overtake each other, at several relays on one store for example.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from phantom_messenger.conformance import script, wire
from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.script import Step, Values, Way
from phantom_messenger.conformance.stage import MOST_WAITS, Stage
from phantom_messenger.conformance.verdict import Failure, Group, NotJudgedError, Play
from phantom_messenger.conformance.wire import Frame, Identity

dialogues: Final = Group("dialogues", "The Phantom WebSocket protocol, version 1", "Example Flow")


_OPTIONAL: Final = frozenset({"many", "allowance"})
"""Features that a relay need not know."""


class _PutOffError(Exception):
    """The relay wants a login to wait."""

    def __init__(self, wait_ms: int) -> None:
        super().__init__()
        self.wait_ms = wait_ms


class _Performance:
    """One play of a dialogue, by users of its own.

    Args:
        stage: where it is played.
        steps: the dialogue.
    """

    def __init__(self, stage: Stage, steps: Sequence[Step]) -> None:
        self._stage = stage
        self._steps = steps
        self._people = {step.actor: Identity() for step in steps}
        self._values = Values(self._people)
        self._clients: dict[str, Client] = {}

    async def play(self) -> None:
        """Play every step; then nobody may be sent more than is printed."""
        for step in {step.actor: step for step in reversed(self._steps)}.values():
            await self._client(step)
        for number, step in enumerate(self._steps, start=1):
            try:
                for _ in range(step.times):
                    await self._play(step)
            except Failure as failure:
                raise Failure(f"step {number}, {step}: {failure}") from None
        for actor, client in self._clients.items():
            await client.send("PREKEY_STATUS" if client.is_in else "PING", id="end")
            if (last := await client.next()).get("id") != "end":
                raise Failure(f"{actor} is sent more than is printed: {last}")

    async def _client(self, step: Step) -> Client:
        """The actor's connection; a new one is logged in, unless the step is part of a login."""
        client = self._clients.get(step.actor)
        if client is None:
            identity = self._people[step.actor]
            if step.type in {"CONNECTION_ACK", "AUTH"}:
                client = await self._stage.connect(identity)
            else:
                client = await self._stage.user(identity=identity)
            self._clients[step.actor] = client
        return client

    async def _play(self, step: Step) -> None:
        client = await self._client(step)
        match step.way:
            case Way.SEND:
                await client.send_frame(self._values.fill(step.body, client))
            case Way.RECEIVE if step.type == "CONNECTION_ACK":
                self._values.match(step.body, _as_printed(client.hello, step.body), client)
            case Way.RECEIVE:
                await self._compare(step, client)
            case Way.CLOSED:
                await client.closes(step.body)
                if client.socket.pending:
                    raise Failure(f"{client.socket.pending[0]['type']} comes before the close")
                self._clients.pop(step.actor)
                if step.body == 1000:
                    self._stage.deleted(client)
            case Way.LEAVE:
                await client.leave()
                self._clients.pop(step.actor)

    async def _compare(self, step: Step, client: Client) -> None:
        is_login = step.type in {"AUTH_SUCCESS", "AUTH_FAILURE"}
        frame = await (client.next() if is_login else client.take(step.type))
        if frame["type"] == "AUTH_FAILURE" and frame["payload"]["details"].get("reason") == "rate":
            raise _PutOffError(frame["payload"]["retryAfter"])
        if step.type == "AUTH_SUCCESS":
            for feature in _OPTIONAL & (set(_features(step.body)) - set(_features(frame))):
                raise NotJudgedError(f"this relay does not know {feature}")
        self._values.match(step.body, frame, client)
        sender = frame.get("payload", {}).get("senderId")
        for identity in self._people.values():
            if identity.id == sender and "signature" in frame and not wire.verifies(identity.public, frame):
                raise Failure("what is passed on is not what its sender has signed")


def _features(login: Frame) -> list[str]:
    """Those that the relay has taken up."""
    found: list[str] = login["payload"].get("features", [])
    return found


def _as_printed(hello: Frame, printed: Frame) -> Frame:
    """A CONNECTION_ACK without what each relay says for itself: its name, and what it is set to."""
    payload = {**hello["payload"], "serverName": printed["payload"]["serverName"]}
    payload["limits"] = {**payload["limits"], "messagesPerMinute": printed["payload"]["limits"]["messagesPerMinute"]}
    if "unsignedAuth" not in printed["payload"]:
        payload.pop("unsignedAuth", None)
    elif not payload.get("unsignedAuth"):
        raise NotJudgedError("this relay takes no clients that are written from the reference alone")
    return {**hello, "payload": payload}


def _dialogue(steps: Sequence[Step]) -> Play:
    async def play(stage: Stage) -> None:
        for _ in range(MOST_WAITS):
            try:
                await _Performance(stage, steps).play()
            except _PutOffError as put_off:
                await asyncio.sleep(put_off.wait_ms / 1_000 + 1)
            else:
                return
        raise Failure("AUTH_FAILURE 1003 comes again and again, after every retryAfter")

    return play


for _name, _steps in script.scripts(script.PATH.read_text()).items():
    dialogues.add(_name, "A block marked `dialogue NAME` is an example. It is played in order", _dialogue(_steps))
