"""What a client does for its groups by itself, when it is time: asks for what it lacks, answers, and reports receipts.

Nothing here must survive: what is lost with the program is asked for again. Times are monotonic milliseconds unless
stated.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from msgspec import UNSET

from phantom_messenger.client.groups.answer_budget import AnswerBudget
from phantom_messenger.client.groups.change import MAX_REVISION
from phantom_messenger.client.groups.contents import (
    MAX_CHANGES,
    MAX_CHANGES_BYTES,
    MAX_RECEIPTS,
    GroupAsk,
    GroupChanges,
    GroupReceipt,
)
from phantom_messenger.client.groups.records import GroupToldRecord
from phantom_messenger.client.groups.speaking import Speaking
from phantom_messenger.client.groups.state import order_of
from phantom_messenger.client.groups.store import INVITED, MEMBER, Group, raw_of
from phantom_messenger.client.many.store import ANSWER
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.presence import Presence
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.rate_window import Window
from phantom_messenger.wire.orders import digest

ASK_AFTER_MS: Final = 5_000
"""How long changes that are missing are waited for, before somebody is asked."""

ASK_AGAIN_MS: Final = 60_000
MAX_ASKS: Final = 10
WAITING_TOLD_MS: Final = 5_000
"""How long an answer of who has written what is missing is waited for before the user is told."""

MAX_ASKS_OF_ALL: Final = 3
ASK_SELDOM_MS: Final = 3_600_000
"""How often all are asked after that for what the relay has put in order: whoever has it may be away for long."""

ANSWER_AGAIN_MS: Final = 10_000
"""How often one member is answered."""

ANSWERS: Final = 12
"""How many answers are given in ``ANSWERS_MS``: the relay takes 60 messages a minute, and most are to be texts."""

ANSWERS_MS: Final = 60_000
BELIEVED_ASKS: Final = 2
"""How many members are asked for changes that somebody claims to know, before one's own changes wait no longer."""

CLAIMED_ASKS: Final = 3
"""How many members are asked, once in ``ASK_SELDOM_MS``, if only somebody who is no member claims to know changes."""

MAX_REMOVED_TOLD: Final = 3
"""How often somebody who was removed and speaks is told."""

WELCOMES: Final = 64
"""How many who join are told in ``WELCOMES_MS`` what this user is called, each once: an admin can add and remove people
without end, and the relay takes 60 messages a minute."""

WELCOMES_MS: Final = 3_600_000

GATHER_MS: Final = 5_000
"""How long receipts of a group are gathered: else each text would cost each member a message."""

RECEIPTS: Final = 24
"""In how many messages of a minute groups are told that texts have come or were read: others are to be texts."""


@dataclass
class Lack:
    """A group whose changes up to ``revision`` are missing since a time.

    ``whom``: who says that they have them. ``asked``: who was asked. ``without``: who has said that there is none of
    what the relay has in order. ``is_claimed``: only somebody who is no member says that there are any; they may have
    been added by one, and nothing waits for it.
    """

    since: int
    revision: int
    whom: list[str]
    asks: int = 0
    due: int = field(default=0)
    asked: set[str] = field(default_factory=set)
    without: set[str] = field(default_factory=set)
    is_claimed: bool = False


class _Question(NamedTuple):
    """From which revision on somebody lacks changes, up to which one they may know, and if they lack the picture.

    ``ordered``: the revision of the relay that they lack, if it has told them.
    """

    since: int
    until: int
    picture: bool
    ordered: int = 0


class Duties:
    """Does it.

    Args:
        stores: of the profile.
        speaking: says things.
        presence: whether this user appears offline, and tells nobody anything by itself.
    """

    def __init__(self, stores: Stores, speaking: Speaking, presence: Presence) -> None:
        self._stores = stores
        self._store = stores.groups
        self._speaking = speaking
        self._presence = presence
        self._lacks: dict[str, Lack] = {}
        self._to_answer: dict[tuple[str, str], _Question] = {}
        """By group, and who has asked."""
        self._without_picture: dict[str, Lack] = {}
        """Groups whose pictures are not here: nothing but the picture waits for that."""
        self._answered: dict[tuple[str, str], int] = {}
        self._answers: list[int] = []
        """When the last answers were given."""
        self._budget, self._own_budget = AnswerBudget(), AnswerBudget()
        """Of others, and of own devices: neither takes anything away from the other."""
        self._removed_told: dict[tuple[str, str], int] = {}
        self._void: dict[str, set[str]] = {}
        """Members who have claimed to know changes and did not show them: by group, until there is a change."""
        self._claims_from: dict[str, int] = {}
        """From when on the word of somebody who is no member has others asked again, by group."""
        self._to_greet: dict[str, None] = {}
        self._newcomers: dict[tuple[str, str], None] = {}
        """Who has just said that they are there, by group: they do not know yet what this user is called."""
        self._welcomed: dict[tuple[str, str], int] = {}
        """Who was told, and when."""
        self._receipts_due: dict[str, int] = {}
        self._receipts = Window(RECEIPTS)
        self._receipts_from = 0
        """When there is room for one more."""
        self._is_flushing = False
        self._shown: set[str] = set()
        """Groups whose members may see, in the next step, that a user is there who appears offline."""
        self._confirmed: dict[str, int] = {}
        """Up to which revision of the relay a member has said, since, that there is nothing more."""
        self._doubted: dict[str, int] = {}
        """Revisions of the relay that are not known here, and for which somebody was asked."""

    # --- who may see that one is there --------------------------------------------

    @property
    def is_hidden(self) -> bool:
        """Whether this user appears offline."""
        return self._presence.looks_absent

    def is_silent(self, name: str) -> bool:
        """Whether nothing is said in a group that its user has not caused: nobody can ask them for a sign of life."""
        if not self.is_hidden or name in self._shown:
            return False
        group = self._store.get(name)
        return group is None or not group.own_wishes

    def _may_ask(self, name: str) -> bool:
        """Whether somebody may be asked, once one has accepted: nobody hides from their own devices."""
        return not self._is_invited(name) and self._may_be_seen(name)

    def _may_be_seen(self, name: str) -> bool:
        return bool(self._stores.devices.own_others()) or not self.is_silent(name)

    def _may_answer(self, name: str, sender: str, now: int) -> bool:
        """Whether somebody may be answered; who has had much waits."""
        has_room = self._budget_of(sender).has_room(self._stores.devices.person_of(sender), now)
        return has_room and self._may_be_seen_by(name, sender)

    def _budget_of(self, sender: str) -> AnswerBudget:
        return self._own_budget if self._stores.devices.is_own(sender) else self._budget

    def _had(self, sender: str) -> int:
        """How much somebody has been told in this hour, on all devices."""
        return self._budget_of(sender).had(self._stores.devices.person_of(sender))

    def _may_be_seen_by(self, name: str, sender: str) -> bool:
        return self._stores.devices.is_own(sender) or not self.is_silent(name)

    def show(self, group: str) -> None:
        """The user has said something in a group: what waits there may be said, too."""
        self._shown.add(group)

    # --- what is noted --------------------------------------------------------------

    def asked(self, group: str, sender: str, said: GroupAsk, now: Moment) -> None:
        """A member lacks changes, or the picture."""
        found = self._store.get(group)
        if found is not None and found.record.relation == MEMBER:
            question = _Question(said.since, MAX_REVISION, said.picture, said.ordered)
            self._note_question(group, sender, question, now)

    def tell_removed(self, group: Group, sender: str, since: int, now: Moment) -> None:
        """Somebody speaks who was removed: they may not know, and are told all up to that; nothing to anybody else.

        ``since``: the revision that they name. Who names a later one may live where nobody has removed them.
        """
        person = raw_of(sender)
        removed = group.chain.removal_of(person, since) or group.chain.last_removal_of(person)
        if removed is not None and self._removed_told.get((group.id, sender), 0) < MAX_REMOVED_TOLD:
            self._note_question(group.id, sender, _Question(min(since, removed - 1), removed, False), now)

    def _note_question(self, group: str, sender: str, question: _Question, now: Moment) -> None:
        last = self._answered.get((group, sender))
        if last is None or now.monotonic - last >= ANSWER_AGAIN_MS:
            self._to_answer[group, sender] = question

    def behind(self, group: Group, whom: str, revision: int, now: Moment) -> None:
        """Somebody knows changes that are not known here, or says so; of who is no member little follows."""
        if whom in self._void.get(group.id, ()):
            return
        if raw_of(whom) in group.state.members:
            self._believe(group.id, whom, revision, now)
        elif group.id not in self._lacks and now.monotonic >= self._claims_from.get(group.id, now.monotonic):
            self._claims_from[group.id] = now.monotonic + ASK_SELDOM_MS
            self._lack(group.id, revision, now).is_claimed = True

    def _believe(self, group: str, whom: str, revision: int, now: Moment) -> None:
        if self._believed(group) is None:
            self._lacks.pop(group, None)
        lack = self._lack(group, revision, now)
        if whom not in lack.whom:
            lack.whom.append(whom)

    def _believed(self, group: str) -> Lack | None:
        """What is missing of a group, unless only somebody who is no member says so."""
        lack = self._lacks.get(group)
        return None if lack is not None and lack.is_claimed else lack

    def _lack(self, group: str, revision: int, now: Moment) -> Lack:
        lack = self._lacks.setdefault(group, Lack(now.monotonic, revision, [], due=now.monotonic + ASK_AFTER_MS))
        lack.revision = max(lack.revision, revision)
        return lack

    def caught_up(self, group: str, revision: int) -> None:
        """Changes up to a revision are known."""
        self._void.pop(group, None)
        lack = self._lacks.get(group)
        if lack is None:
            return
        if revision >= lack.revision:
            self.goes_on(group)
        elif revision >= self._doubted.get(group, MAX_REVISION + 1):
            # The rest is what somebody claims, who need not be believed for as long as the relay is.
            del self._doubted[group]
            self._lacks[group] = Lack(lack.since, lack.revision, lack.whom, due=lack.since + ASK_AFTER_MS)

    def answered(self, group: Group, device: str, said: GroupChanges, now: Moment) -> None:
        """Somebody has said which changes there are.

        That there is none of what the relay has in order is known once all say so: its author may have been restored
        from a backup, and anybody may be the only one who has it.
        """
        doubted, lack = self._doubted.get(group.id), self._lacks.get(group.id)
        if doubted is None or lack is None or said.ordered < doubted or device not in group.people:
            return
        if said.changes:  # there may be more than fits one answer
            lack.due = min(lack.due, now.monotonic + ANSWER_AGAIN_MS + 1_000)
            return
        lack.without.add(device)
        if lack.asks == 1:  # only the author was asked until now
            lack.due = now.monotonic
        if lack.without.issuperset(self._who_may_know(group)):
            self._confirmed[group.id] = self._doubted.pop(group.id)
            self._lacks.pop(group.id, None)

    def _who_may_know(self, group: Group) -> list[str]:
        """Of whom each may be the only one who has a change: all who have accepted, if there is anybody."""
        others = self._others(group)
        return [one for one in others if one not in group.record.absent] or others

    @staticmethod
    def _digest(group: Group, person: str) -> bytes:
        return digest(order_of(group.record.group), person)

    def missing_author(self, group: Group) -> str:
        """Who has written the relay's last revision, perhaps this user; '' if that is not known."""
        return next((one for one in group.people if self._digest(group, one) == group.record.ordered_by), "")

    def knows_all(self, group: Group, now: Moment) -> bool:
        """Whether everything is known that the relay has put in order; if not, a member is asked.

        A revision may be missing because it is this device's own, of which it does not know that it was stored: one
        that goes beyond it without having it would follow a head that the others have left.
        """
        ordered, lack = group.record.ordered, self._believed(group.id)
        if lack is not None and (lack.asks <= BELIEVED_ASKS or group.id in self._doubted):
            return False
        if max(group.state.revision, self._confirmed.get(group.id, 0), group.record.passed) >= ordered:
            return True
        self._doubted[group.id] = ordered
        lack = self._lacks[group.id] = Lack(now.monotonic, ordered, lack.whom if lack else [], due=now.monotonic)
        return False

    def goes_on(self, group: str) -> None:
        """What is missing is waited for no longer: it has come, or the user does not want to."""
        self._doubted.pop(group, None)
        self._lacks.pop(group, None)

    def waits_long(self, group: Group, now: Moment) -> bool:
        """Whether an answer about the relay's last revision has not come for a while."""
        lack = self._lacks.get(group.id)
        is_asked = lack is not None and group.id in self._doubted and lack.asks > 0
        return is_asked and lack is not None and (lack.asks > 1 or now.monotonic >= _told_at(lack))

    def is_behind(self, group: str) -> bool:
        """Whether changes are missing."""
        return self._believed(group) is not None

    def greet(self, group: str) -> None:
        """Say to all members that one is there."""
        self._to_greet[group] = None

    def accepted(self, group: Group, now: Moment) -> None:
        """The user accepts: say so to all members, and ask for the changes that were not taken up before."""
        self.greet(group.id)
        if group.is_full:
            self._believe(group.id, group.record.inviter, group.state.revision + 1, now)

    def welcome(self, group: str, newcomer: str) -> None:
        """Tell somebody what one is called, who has just joined."""
        self._newcomers[group, newcomer] = None

    def flush(self) -> None:
        """Gather receipts no longer: the program is about to leave."""
        self._is_flushing = True

    # --- what is done ---------------------------------------------------------------

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time."""
        pictures = [(name, lack) for name, lack in self._without_picture.items() if lack.asks < MAX_ASKS]
        lacking = [*self._lacks.items(), *pictures]
        times = [lack.due for name, lack in lacking if self._may_ask(name)]
        times += [_told_at(lack) for name, lack in self._lacks.items() if lack.asks == 1 and _told_at(lack) > now]
        times += [max(due, self._receipts_from) for due in self._receipts_due.values()]
        if self._answers and any(self._may_answer(*question, now) for question in self._to_answer):
            times.append(self._answers[0] + ANSWERS_MS)
        return [max(0, at - now) for at in times]

    def step(self, now: Moment) -> None:
        """Do what is due."""
        for group in list(self._to_greet):
            del self._to_greet[group]
            self._greet(group, None, now)
        self._welcome_all(now)
        self._answer_all(now)
        for name, lack in list(self._lacks.items()):
            if now.monotonic >= lack.due and self._may_ask(name):
                self._ask(name, lack, now)
        self._ask_for_pictures(now)
        self._tell(now)
        self._shown.clear()

    def _others(self, group: Group) -> list[str]:
        own = self._stores.devices.person
        return [person for person in group.people if person != own]

    def _askable(self, group: Group) -> list[str]:
        """All others, those last who have not accepted yet: they do not answer."""
        return sorted(self._others(group), key=lambda one: one in group.record.absent)

    def _greet(self, name: str, whom: str | None, now: Moment) -> None:
        """Say to all members that one is there, or to one of them alone."""
        group = self._store.get(name)
        others = [] if group is None else self._others(group)
        if group is None or group.record.relation != MEMBER or not others or (whom and whom not in others):
            return
        self._speaking.greet(group, [whom] if whom else others, group.record.own_name or UNSET, now)

    def _welcome_all(self, now: Moment) -> None:
        self._welcomed = {one: at for one, at in self._welcomed.items() if now.monotonic - at < WELCOMES_MS}
        for one in [one for one in self._newcomers if not self.is_silent(one[0])]:
            del self._newcomers[one]
            if one not in self._welcomed and len(self._welcomed) < WELCOMES:
                self._welcomed[one] = now.monotonic
                self._greet(*one, now)

    def _answer_all(self, now: Moment) -> None:
        self._answers = [at for at in self._answers if now.monotonic - at < ANSWERS_MS]
        while len(self._answers) < ANSWERS:
            ready = [one for one in self._to_answer if self._may_answer(*one, now.monotonic)]
            if not ready:
                return
            # Who has had least, or one with many groups or devices would keep all others waiting.
            name, sender = min(ready, key=lambda one: self._had(one[1]))
            question = self._to_answer.pop((name, sender))
            if self._answer(name, sender, question, now):
                self._answers.append(now.monotonic)

    def _answer(self, name: str, sender: str, question: _Question, now: Moment) -> bool:
        """Whether there is anything to say."""
        group = self._store.get(name)
        if group is None or group.record.relation != MEMBER:
            return False
        if self._stores.devices.person_of(sender) not in group.people and question.until == MAX_REVISION:
            return False
        found = group.chain.since(question.since, until=question.until, most=MAX_CHANGES_BYTES)[:MAX_CHANGES]
        self._answered[name, sender] = now.monotonic
        if question.until != MAX_REVISION:
            self._removed_told[name, sender] = self._removed_told.get((name, sender), 0) + 1
        picture = group.record.picture if question.picture else b""
        about = group.record.group
        size = sum(map(len, found)) + len(picture)
        self._budget_of(sender).count(self._stores.devices.person_of(sender), size, now.monotonic)
        answer = GroupChanges(group=about, changes=found, picture=picture, ordered=question.ordered)
        self._speaking.say(group.record.group, [sender], answer, now, purpose=ANSWER, alone=True)
        return True

    def _ask(self, name: str, lack: Lack, now: Moment) -> None:
        group = self._store.get(name)
        if group is None or not group.is_live:
            del self._lacks[name]
        elif name in self._doubted:
            self._ask_all(group, lack, now)
        else:
            self._void.setdefault(name, set()).update(lack.asked.intersection(lack.whom))
            if lack.asks >= (CLAIMED_ASKS if lack.is_claimed else MAX_ASKS):
                del self._lacks[name]
            else:
                self._say_ask(group, lack, now, picture=False)

    def _say_ask(self, group: Group, lack: Lack, now: Moment, *, picture: bool) -> None:
        others = [] if self.is_silent(group.id) else self._askable(group)
        # Who is no member has no change that members lack, whatever they say. An own device is asked like a member.
        has_own = bool(self._stores.devices.own_others())
        mates = [*others, *([self._stores.devices.person] if has_own else [])]
        claimed = [one for one in lack.whom if one in mates]
        askable = claimed + [one for one in others or mates if one not in claimed]
        whom = askable[lack.asks % len(askable)] if askable else ""
        lack.asks += 1
        lack.due = now.monotonic + ASK_AGAIN_MS
        if not whom:  # those who have claimed something are gone, and nobody else is there
            return
        lack.asked.add(whom)
        asking = GroupAsk(group=group.record.group, since=group.state.revision, picture=picture)
        self._speaking.say(group.record.group, [whom], asking, now)

    def _ask_all(self, group: Group, lack: Lack, now: Moment) -> None:
        """Ask for what the relay has in order: its author first, who is most likely to have it, then everybody."""
        author, others = self.missing_author(group), [] if self.is_silent(group.id) else self._others(group)
        whom = [one for one in others if one not in lack.without]
        if lack.asks == 0 and author in whom:
            whom = [author]
        lack.asks += 1
        lack.due = now.monotonic + (ASK_AGAIN_MS if lack.asks < MAX_ASKS_OF_ALL else ASK_SELDOM_MS)
        self._doubted[group.id] = group.record.ordered
        if self._stores.devices.own_others():
            whom.append(self._stores.devices.person)
        if whom:
            since, ordered = group.state.revision, group.record.ordered
            asking = GroupAsk(group=group.record.group, since=since, ordered=ordered)
            self._speaking.say(group.record.group, whom, asking, now)

    def _ask_for_pictures(self, now: Moment) -> None:
        """Members who were added since it was set did not get it with a change."""
        for group in self._store.all():
            if not group.lacks_picture or group.record.relation != MEMBER or not self._others(group):
                self._without_picture.pop(group.id, None)
                continue
            lack = self._without_picture.setdefault(group.id, Lack(now.monotonic, 0, [], due=now.monotonic))
            if now.monotonic >= lack.due and lack.asks < MAX_ASKS and self._may_ask(group.id):
                self._say_ask(group, lack, now, picture=True)

    # --- receipts -------------------------------------------------------------------

    def _tell(self, now: Moment) -> None:
        waiting = {name: found for name, found in self._store.told().items() if not self._is_invited(name)}
        self._receipts_due = {name: self._receipts_due.get(name, now.monotonic + GATHER_MS) for name in waiting}
        if self.is_hidden:
            self._receipts_due.clear()
            return
        for due, name in sorted((due, name) for name, due in self._receipts_due.items()):
            if not self._is_flushing:
                if now.monotonic < max(due, self._receipts_from):
                    break
                if wait := self._receipts.acquire(now.monotonic):
                    self._receipts_from = now.monotonic + wait
                    break
            del self._receipts_due[name]
            self._tell_group(name, waiting[name][:MAX_RECEIPTS], now)
        self._is_flushing = False

    def _is_invited(self, name: str) -> bool:
        """Whoever has not accepted tells nothing yet."""
        group = self._store.get(name)
        return group is not None and group.record.relation == INVITED

    def _tell_group(self, name: str, found: list[GroupToldRecord], now: Moment) -> None:
        group = self._store.get(name)

        def forget(tx: Transaction) -> None:
            for told in found:
                self._store.was_told(tx, told)

        if group is None or group.record.relation != MEMBER:
            with self._stores.vault.transaction() as tx:
                forget(tx)
            return
        senders = {told.sender for told in found} & set(group.people)
        if not senders:
            with self._stores.vault.transaction() as tx:
                forget(tx)
            return
        receipt = GroupReceipt(
            group=group.record.group,
            delivered=[told.message_id for told in found if told.status == "delivered"],
            read=[told.message_id for told in found if told.status == "read"],
        )
        self._speaking.say(group.record.group, sorted(senders), receipt, now, also=forget)


def _told_at(lack: Lack) -> int:
    """When the user is told that the first answer has not come."""
    return lack.due - ASK_AGAIN_MS + WAITING_TOLD_MS
