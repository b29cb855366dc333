"""Notices in a chat: each after the messages that were there before it."""

from collections.abc import Callable, Iterable


class Notices:
    """Holds notices back until what came before them is printed: messages are printed one after the other, and slower.

    Args:
        unread: ids of messages that wait to be printed as the chat begins.
    """

    def __init__(self, unread: Iterable[str]) -> None:
        self._waiting = set(unread)
        self._printed: set[str] = set()
        self._held: list[tuple[set[str], Callable[[], None]]] = []

    def arrived(self, message_id: str) -> None:
        """A message has come; it may have been printed before this is said."""
        if message_id not in self._printed:
            self._waiting.add(message_id)

    def printed(self, message_id: str) -> None:
        """A message is printed, and with it what was only waiting for that."""
        self._printed.add(message_id)
        self._waiting.discard(message_id)
        for before, _ in self._held:
            before.discard(message_id)
        while self._held and not self._held[0][0]:
            self._held.pop(0)[1]()

    def say(self, tell: Callable[[], None]) -> None:
        """Print a notice by ``tell``, now or then."""
        if self._waiting or self._held:
            self._held.append((set(self._waiting), tell))
        else:
            tell()

    def release(self) -> None:
        """What is held back is printed now: messages that would have to be first may never come, as expired ones."""
        self._waiting.clear()
        held, self._held = self._held, []
        for _, tell in held:
            tell()
