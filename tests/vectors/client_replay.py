"""Plays one client's part of ``clients.json``: it gets what is listed, and must do what is expected."""

from collections import deque
from pathlib import Path

from client_record import Facts, Json, changes, facts, obey, sends, tells, watched
from client_samples import KEY

from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.vault import Vault


class Part:
    """A client that lives through its steps of a scene.

    Args:
        steps: all of the scene's.
        name: whose part it is.
        path: of its vault.
        suite: the greatest that it knows.
        many: whether it knows how to write to many.
        devices: whether it knows lists of devices.
    """

    def __init__(
        self, steps: list[Json], name: str, path: Path, *, suite: int, many: bool = False, devices: bool = False
    ) -> None:
        self._suite = suite
        self._many = many
        self._devices = devices
        self._steps = [step for step in steps if step["client"] == name]
        self._path = path
        self._at = self._began = self._steps[0]["at"]
        self._draws: deque[Json] = deque()
        self._encrypted: list[Json] = []
        self._facts: Facts = {}

    def play(self) -> None:
        """Live through all of it; an assertion fails where the client does something else."""
        first, *rest = self._steps
        assert first["do"] == "open"
        vault = Vault(self._path, KEY)
        try:
            self._begin(first)
            with watched(self._draw, self._encrypted, suite=self._suite, many=self._many, devices=self._devices):
                messenger = Messenger(
                    vault,
                    wall=lambda: self._at,
                    monotonic=lambda: 1_000_000 + self._at - self._began,
                    random=lambda size: self._draw(size, ""),
                )
                self._compare(first, messenger, vault)
                for step in rest:
                    self._begin(step)
                    obey(messenger, vault, step)
                    self._compare(step, messenger, vault)
        finally:
            vault.close()

    def _begin(self, step: Json) -> None:
        self._at = step["at"]
        self._draws.extend(step["randomness"])
        self._encrypted.clear()

    def _draw(self, size: int, purpose: str) -> bytes:
        assert self._draws, "something is drawn that is not listed"
        drawn = self._draws.popleft()
        value = bytes.fromhex(drawn["value"])
        assert len(value) == size
        assert purpose in {"", drawn["purpose"]}
        return value

    def _compare(self, step: Json, messenger: Messenger, vault: Vault) -> None:
        before, self._facts = self._facts, facts(vault, suite=self._suite)
        found = {
            "sends": sends(messenger.drain(), self._encrypted),
            "stores": changes(before, self._facts),
            "tells": tells(messenger.drain_events()),
        }
        assert {name: value for name, value in found.items() if value} == step["expect"], step
        assert not self._draws, step
