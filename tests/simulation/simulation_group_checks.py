"""What must be so of a group in the simulation, during a run and at its end.

As ``simulation_checks``: this hears what people did, what the relay stored and what devices told, and never steers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import apsw
from simulation_checks import Change, Owner, Sent
from simulation_extra import copies_stored
from simulation_network import Setting

from phantom_messenger.client.groups.chain import Standing
from phantom_messenger.client.groups.state import GroupState
from phantom_messenger.client.groups.store import INVITED, LEFT, MEMBER, Group, GroupStore, raw_of, written
from phantom_messenger.client.groups.views import GroupEntry
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.status import (
    DeliveryEvent,
    DeliveryState,
    Event,
    GroupEvent,
    GroupMessageEvent,
    GroupNews,
    WarningEvent,
)
from phantom_messenger.client.vault import Vault


@dataclass(slots=True)
class Hearing:
    """What became of a text with one of its recipients."""

    is_announced: bool = False
    handed_in: int | None = None
    done: bool = False
    read: bool = False


@dataclass(slots=True)
class GroupText:
    """A text to the group: where its sender stood, who was to get it, and what became of it with whom."""

    number: str
    sender: str
    body: str
    place: int
    revision: int
    head: bytes
    recipients: frozenset[str]
    is_timed: bool
    heard: dict[str, Hearing] = field(default_factory=dict)


class GroupChecker:
    """The book of a group.

    Args:
        setting: the run's.
        names: of people, by their ids.
        wrong: called with each fault that is found.
        kept: called when a mailbox has got something.
    """

    def __init__(
        self,
        setting: Setting,
        names: dict[str, str],
        *,
        wrong: Callable[[str], None],
        kept: Callable[[Sent, str], None],
    ) -> None:
        self._setting = setting
        self._names = names
        self._wrong = wrong
        self._kept = kept
        self.group = ""
        self.texts: dict[str, GroupText] = {}
        self._places: dict[str, int] = {}
        self._copies: dict[str, dict[str, Sent]] = {}
        """Of each message to many, what each recipient is to get."""
        self._handed: dict[tuple[str, str], int] = {}

    def called(self, text: GroupText) -> str:
        """A text, for people."""
        return f"group text {text.place} of {self._names[text.sender]}"

    # --- what people do ---------------------------------------------------------------

    def watch(self, messenger: Messenger) -> None:
        """Hear of all messages to many that this program sends."""
        genuine = messenger.many.send

        def send(recipients: Iterable[str], said: bytes, *rest: Any, **named: Any) -> str:
            whom = list(recipients)
            number = genuine(whom, said, *rest, **named)
            for kind in (b"group-ask", b"group-changes", b"group-leave"):
                self._setting.counts[f"sent: {kind.decode()}"] += kind in said
            self._copies[number] = {one: Sent(number, messenger.user_id, one) for one in whom}
            return number

        messenger.many.send = send  # type: ignore[method-assign] # of this messenger alone

    def wrote(self, sender: str, number: str, body: str, group: Group) -> None:
        """A text is in the outbox, written in this state of the group."""
        place = self._places[sender] = self._places.get(sender, -1) + 1
        self.texts[number] = GroupText(
            number,
            sender,
            body,
            place,
            group.state.revision,
            group.chain.head,
            frozenset(self._copies[number]),
            is_timed=group.state.timer > 0,
        )
        self._setting.note(f"{self.called(self.texts[number])} is written in revision {group.state.revision}")

    def handed_out(self, user: str, entry: GroupEntry, life: int) -> None:
        """A device has given a text to its application."""
        text = self.texts.get(entry.message_id)
        if text is None or (text.sender, text.body) != (entry.sender.user_id, entry.text):
            self._wrong(f"{self._names[user]} was handed a group text that nobody wrote: {entry.message_id}")
            return
        about = f"{self.called(text)} for {self._names[user]}"
        self._setting.note(f"{about} is handed out")
        heard = self._hearing(text, user, about)
        if heard.done or heard.handed_in == life:
            self._wrong(f"{about} was handed out twice")
        if heard.handed_in is None and text.place <= self._handed.get((text.sender, user), -1):
            self._wrong(f"{about} was handed out behind a later one")
        self._handed[text.sender, user] = max(self._handed.get((text.sender, user), -1), text.place)
        heard.handed_in = life
        self._setting.counts["group text handed out"] += 1

    def _hearing(self, text: GroupText, user: str, about: str) -> Hearing:
        if user not in text.recipients:
            self._wrong(f"{about} was not for them")
        return text.heard.setdefault(user, Hearing())

    def handled(self, user: str, number: str, *, read: bool) -> None:
        """The application is done with a text."""
        heard = self.texts[number].heard[user]
        heard.done, heard.read = True, heard.read or read

    # --- what the relay and devices say -------------------------------------------------

    def committed(self, change: Change) -> bool:
        """Whether the store has committed something of a message to many, which is checked then."""
        copies = self._copies.get(change.name)
        if copies is None:
            return False
        copy = copies.get(change.recipient)
        about = f"a message of {self._names[change.sender]} to many"
        if copy is None or copy.sender != change.sender:
            self._wrong(f"{about} is in the mailbox of {self._names[change.recipient]}, for whom it was not")
        elif change.what == "kept":
            self._kept(copy, about)
        elif change.what in {"taken", "expired", "gave way"}:
            copy.is_stored, copy.left_at = False, self._setting.now
            if change.what != "taken":
                self._setting.happened(f"message to many {change.what}")
        elif change.what == "duplicate" and not copy.was_stored:
            self._wrong(f"{about} is called a duplicate, and was never stored")
        elif change.what == "full":
            self._setting.happened("mailbox full for a message to many")
        return True

    def relay_wrote(self, frame: bytes) -> bool:
        """Whether what the relay has written is of a message to many; it may not tell of what it has not stored."""
        if b'"reason":"order"' in frame:
            self._setting.happened("group change that came second")
        if b'"type":"MANY_RESULT"' not in frame:
            return False
        number, told = copies_stored(frame)
        if sum(copy.was_stored for copy in self._copies.get(number, {}).values()) < told:
            self._wrong("the relay told how many have a message before it was stored for them")
        return True

    def heard(self, user: str, event: Event) -> bool:
        """Whether what a device has told its application was about the group, and is checked."""
        match event:
            case GroupMessageEvent():
                text = self.texts[event.message_id]
                about = f"{self.called(text)} for {self._names[user]}"
                heard = self._hearing(text, user, about)
                if heard.is_announced:
                    self._wrong(f"{about} was announced twice")
                heard.is_announced = True
            case GroupEvent():
                self._setting.happened(f"group: {event.news}", self._names[user])
                if event.news in {GroupNews.FORKED, GroupNews.NEWER}:
                    self._wrong(f"{self._names[user]} is told: {event.message}")
            case WarningEvent(code="missing"):
                self._missing(user, event)
            case DeliveryEvent(peer=peer):
                return peer.user_id == self.group
            case _:
                return False
        return True

    def _missing(self, user: str, event: WarningEvent) -> None:
        """Texts are said to be missing: none may be that was for this user, and can still be there."""
        assert event.peer is not None
        self._setting.happened("group texts said to be missing")
        of_peer = [text for text in self.texts.values() if text.sender == event.peer.user_id]
        if all(user in text.recipients and not text.is_timed for text in of_peer):
            self._wrong(f"{self._names[user]} is told: {event.message}")

    def compare(self, user: str, messenger: Messenger, vault: Vault) -> None:
        """What a program remembers of groups must be what is on its disk."""
        known, kept = messenger._stores.groups, GroupStore(vault)
        for what, remembered, stored in (
            ("which groups there are", list(known._groups), list(kept._groups)),
            ("what they are", [_whole(one) for one in known.all()], [_whole(one) for one in kept.all()]),
        ):
            if remembered != stored:
                self._wrong(f"{self._names[user]} remembers other than is on disk {what}")

    # --- the end ------------------------------------------------------------------------

    def unsettled(self, owners: Iterable[Owner]) -> list[str]:
        """What is still under way, in words."""
        found = []
        for owner in owners:
            group = owner.messenger._stores.groups.get(self.group)
            if group is None or group.record.relation != MEMBER:
                continue
            name, core = self._names[owner.id], owner.messenger.groups
            found += [f"{name} wants changes"] * (core.wanted > 0)
            found += [f"{name} is behind"] * core.find(self.group).is_behind
            to_tell = owner.messenger._stores.groups.told()
            found += [f"{name} has receipts to tell the group"] * (self.group in to_tell)
        return found

    def finish(self, owners: list[Owner], connection: apsw.Connection) -> None:
        """All are online and nothing is under way: one history, and every text with exactly those whom it was for."""
        known = {owner.id: owner.messenger._stores.groups.get(self.group) for owner in owners}
        live = {user: group for user, group in known.items() if group is not None and group.is_live}
        # Who is only invited asks nobody for what they lack, until they accept.
        first, *others = sorted(live.values(), key=lambda group: group.record.relation == INVITED)
        for user, group in live.items():
            is_late = group.record.relation == INVITED and self._is_past(group, first)
            if group.chain.head != first.chain.head and not is_late:
                self._wrong(f"{self._names[user]} knows another history of the group than others do")
            if group.record.doubt:
                self._wrong(f"{self._names[user]} doubts the group")
        inside = {written(person) for person in first.state.members}
        if not set(live) <= inside:
            self._wrong("somebody takes themselves for a member who is none")
        left = {user for user, group in known.items() if group is not None and group.record.relation == LEFT}
        if inside - set(live) - left:
            self._wrong("a member does not know that they are one")
        row: Any = connection.execute("SELECT max(revision) FROM orders").fetchone()
        if row[0] is not None and row[0] > first.state.revision:
            self._wrong("the relay has stored a change that nobody has")
        self._setting.counts["group changes"] += first.state.revision
        self._setting.counts["groups with two members or more in the end"] += len(others) > 0
        history = History(first)
        for text in self.texts.values():
            self._check_text(text, history, known, owners)

    @staticmethod
    def _is_past(group: Group, first: Group) -> bool:
        """Whether it is what the others have had before."""
        return first.chain.compare(group.state.revision, group.chain.head) is Standing.OLDER

    def _check_text(
        self, text: GroupText, history: "History", known: dict[str, Group | None], owners: list[Owner]
    ) -> None:
        about = self.called(text)
        if history.heads.get(text.revision) != text.head:
            self._wrong(f"{about} was written in a state that the others never had")
            return
        if history.members(text.revision) - {text.sender} != text.recipients:
            self._wrong(f"{about} was for others than the members of its revision")
        for owner in owners:
            group = known[owner.id]
            stored = None if group is None else owner.messenger._stores.groups.text(group, text.sender, text.number)
            if stored is not None and owner.id not in text.recipients:
                self._wrong(f"{about} is with {self._names[owner.id]}, for whom it was not")
            must = (
                owner.id in text.recipients
                and group is not None
                and group.record.relation == MEMBER
                and history.stayed(owner.id, text.revision)
                and history.stayed(text.sender, text.revision)
                and not text.is_timed
            )
            if must:
                self._setting.counts["group text that had to arrive"] += 1
                self._check_arrived(text, owner, stored is not None, owners)

    def _check_arrived(self, text: GroupText, owner: Owner, is_stored: bool, owners: list[Owner]) -> None:
        about, heard = f"{self.called(text)} for {self._names[owner.id]}", text.heard.get(owner.id, Hearing())
        if not is_stored:
            self._wrong(f"{about} is lost")
        elif not heard.done and heard.handed_in != owner.life:
            self._wrong(f"{about} was never handed out")
        sender = next(one for one in owners if one.id == text.sender)
        told = sender.messenger.groups.progress(text.number).get(owner.id)
        true = DeliveryState.READ if heard.read else DeliveryState.DELIVERED
        if told is not true:
            self._wrong(f"{about} is {told} in the end, not {true}")


class History:
    """All states of the group, by one who knows them."""

    def __init__(self, group: Group) -> None:
        chain = group.chain
        self._states: dict[int, GroupState] = {step.before.revision: step.before for step in chain.steps}
        self._states[chain.state.revision] = chain.state
        self.heads: dict[int, bytes] = {step.before.revision: step.change.previous for step in chain.steps}
        self.heads[chain.state.revision] = chain.head

    def members(self, revision: int) -> set[str]:
        """Who was in it."""
        return {written(person) for person in self._states[revision].members}

    def stayed(self, user: str, revision: int) -> bool:
        """Whether somebody was in it from a revision on until the end."""
        return all(raw_of(user) in state.members for number, state in self._states.items() if number >= revision)


def _whole(group: Group) -> tuple[Any, ...]:
    return group.record, group.chain.head, [step.change.encoded for step in group.chain.steps]
