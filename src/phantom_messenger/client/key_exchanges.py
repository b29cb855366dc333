"""Key exchanges under way: a peer's prekeys are asked for, and a session is begun with them."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from phantom_messenger.client import notices
from phantom_messenger.client.bundles import bundle_of
from phantom_messenger.client.conversations import ChangedKey, PeerState, WeakBundle
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.notices import WARN_AGAIN_MS, PauseNotices
from phantom_messenger.client.pacing import SOON_MS, WRONG_KEYS_MS, Pacing, asked, reason_of
from phantom_messenger.client.refusals import unknown
from phantom_messenger.client.status import Contact, Event, WarningEvent
from phantom_messenger.client.stores import Stores
from phantom_messenger.crypto.errors import CryptoError, StaleBundle
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.frames import Feature
from phantom_messenger.wire.limits import MAX_FETCH_TARGETS, RateClass

KEEP_EXCHANGES: Final = 3
"""How many of a minute's exchanges messages to many leave to others: who is in a group may be made up by somebody."""

FETCH_AGAIN_MS: Final = 5_000
"""When it is looked again whether there is room for more."""

EXCHANGE_MS: Final = 20_000
"""How long a key exchange may stay unanswered before it is begun again."""

FIRST_EXCHANGE_MS: Final = 2_000
"""The same at first; it doubles. Somebody who begins at the same moment has published nothing yet."""

WEAK_AGAIN_MS: Final = 600_000
"""How long to wait before asking again for the keys of somebody of whom the relay gave weaker ones, or old ones."""


@dataclass(slots=True)
class Exchange:
    """A KEY_EXCHANGE_INIT or PREKEY_FETCH under way.

    Args:
        ephemeral: a key pair of its own.
        since: monotonic milliseconds.
        patience: how many of them it may stay unanswered.
        recovers: it is for what could not be read, although there is a session.
        introduces: the relay learns by it that we write to them.
        to_many: it is for a message to many, so a session of suite 1 is not enough.
    """

    ephemeral: KeyPair
    since: int
    patience: int
    recovers: bool
    introduces: bool = True
    to_many: bool = False


class KeyExchanges:
    """Asks for prekeys, and begins sessions.

    Args:
        stores: of the profile.
        identity: one's own.
        pacing: counts frames.
        pauses: warns of what waits.
        random: a source of random bytes.
    """

    def __init__(
        self,
        stores: Stores,
        identity: OwnIdentity,
        pacing: Pacing,
        pauses: PauseNotices,
        random: Callable[[int], bytes],
    ) -> None:
        self._stores = stores
        self._identity = identity
        self._pacing = pacing
        self._pauses = pauses
        self._random = random
        self._under_way: dict[str, Exchange] = {}
        self._requests: dict[str, str] = {}
        """Users by the request that is under way."""
        self._weak_until: dict[str, int] = {}
        """Users of whom the relay gave weaker keys than must be, or old ones: when they are asked for again."""
        self._fetches: dict[str, list[str]] = {}
        """The same, of those who were asked for together."""
        self._fetch_from = 0
        """When there may be room to ask for more of these."""
        self._strange: list[str] = []
        """Of whom the relay has said, since the last of these questions was open, that it does not know them."""
        self._older_until: dict[str, int] = {}
        """Users of whom the relay gave no keys of suite 2: when they are asked for again for a message to many."""
        self._told: dict[str, set[str]] = {}
        """Of which of these users what was said of that; until better keys come, or the user does something."""
        self._warned: set[str] = set()
        """Users whose changed key was told."""
        self._to_renew: set[str] = set()
        """Users who have lost the session that one writes to them in."""

    def disconnected(self) -> None:
        """What was under way will not be answered."""
        self._under_way.clear()
        self._requests.clear()
        self._fetches.clear()
        self._strange.clear()

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each exchange under way is begun again, if it is not answered; or more may be."""
        waits = [one.since + one.patience - now for one in self._under_way.values()] + [self._fetch_from - now]
        return [wait for wait in waits if wait > 0]

    def reset(self, peer: str) -> None:
        """Something about this user has changed: try again at once."""
        self._warned.discard(peer)
        self._older_until.pop(peer, None)
        self._no_longer_weak(peer)

    def drop(self, peer: str) -> None:
        """What was begun for this user is of no use any more."""
        self._under_way.pop(peer, None)
        self._to_renew.discard(peer)

    def renew(self, peer: str) -> None:
        """They have lost the session that one writes to them in: nothing is sent until there is a new one."""
        self._to_renew.add(peer)

    def to_renew(self) -> list[str]:
        """Users with whom a new session is to be begun."""
        return list(self._to_renew)

    def is_to_be_renewed(self, peer: str) -> bool:
        """Whether this is one of ``to_renew``."""
        return peer in self._to_renew

    def has_changed(self, peer: str) -> bool:
        """Whether the user was warned that this peer's key has changed, and has not decided yet."""
        return peer in self._warned

    def warn_if_changed(self, peer: Contact) -> list[WarningEvent]:
        """That the key of this user has changed, said once."""
        if peer.user_id in self._warned:
            return []
        self._warned.add(peer.user_id)
        return [notices.key_changed(peer)]

    def learn(self, link: Link, peer: str, now: Moment) -> None:
        """Ask a user with whom suite 1 is in use for dated prekeys, seldom: their program may have been updated."""
        record = self._stores.book.get(peer)
        if Feature.SUITE2 not in link.relay_features or not record.may_learn(now.persistent):
            return
        if self.want(link, peer, now):
            with self._stores.vault.transaction() as tx:
                self._stores.book.put(tx, replace(record, asked_at=now.persistent))

    def want(self, link: Link, peer: str, now: Moment, *, recovers: bool = False) -> bool:
        """Ask for the prekeys of a user, as soon as that may be; whether they are asked for now.

        Somebody whom the user does not know, and who is in a group with them, becomes no contact by it.
        """
        return self._want(link, peer, now, recovers=recovers) is not None

    def want_for_many(self, link: Link, peers: list[str], now: Moment) -> None:
        """Ask for the prekeys of users to whom there is a message to many: together, if the relay knows how."""
        peers = [peer for peer in peers if now.monotonic >= self._older_until.get(peer, now.monotonic)]
        if Feature.MANY not in link.relay_features:
            for peer in peers:
                exchange = self._want(link, peer, now)
                if exchange is not None:
                    exchange.to_many = True
            return
        asked_for = [peer for peer in peers if self._may_ask(peer, now) and not self.is_under_way(peer, now)]
        for start in range(0, len(asked_for), MAX_FETCH_TARGETS):
            if not self._leaves_some(link, now):
                self._fetch_from = now.monotonic + FETCH_AGAIN_MS
                return
            if not self._pacing.acquire(RateClass.KEY_EXCHANGE, link.limit(RateClass.KEY_EXCHANGE), now.monotonic):
                return
            targets = asked_for[start : start + MAX_FETCH_TARGETS]
            for peer in targets:
                self._began(peer, now, introduces=False).to_many = True
            self._fetch(link, targets, now)

    def _leaves_some(self, link: Link, now: Moment) -> bool:
        limit = link.limit(RateClass.KEY_EXCHANGE)
        free = self._pacing.free(RateClass.KEY_EXCHANGE, limit, now.monotonic)
        return limit is None or free > min(KEEP_EXCHANGES, limit // 2)

    def _fetch(self, link: Link, targets: list[str], now: Moment) -> None:
        """Ask for their prekeys so that the relay takes nobody for a contact."""
        frame = frames.PreKeyFetch(payload=frames.PreKeyFetchPayload(targets=targets), timestamp=0)
        self._fetches[link.send(frame, now.monotonic)] = targets

    def is_under_way(self, peer: str, now: Moment) -> bool:
        """Whether a user's prekeys were asked for, and may still come."""
        exchange = self._under_way.get(peer)
        return exchange is not None and now.monotonic - exchange.since < exchange.patience

    def _may_ask(self, peer: str, now: Moment) -> bool:
        is_weak = now.monotonic < self._weak_until.get(peer, now.monotonic)
        return not is_weak and self._pacing.may_reach(peer, now.monotonic)

    def _began(self, peer: str, now: Moment, *, recovers: bool = False, introduces: bool = True) -> Exchange:
        """Note that a user is asked for their prekeys; the more patiently, the more often it was in vain."""
        before = self._under_way.get(peer)
        patience = FIRST_EXCHANGE_MS if before is None else min(2 * before.patience, EXCHANGE_MS)
        ephemeral = KeyPair.from_private(self._random(32))
        exchange = Exchange(ephemeral, now.monotonic, patience, recovers, introduces)
        self._under_way[peer] = exchange
        return exchange

    def _want(self, link: Link, peer: str, now: Moment, *, recovers: bool = False) -> Exchange | None:
        """Ask for the prekeys of one user; None if that is not to be now, or was done already."""
        exchange = self._under_way.get(peer)
        if exchange is not None and self.is_under_way(peer, now):
            exchange.recovers = exchange.recovers or recovers
            return None
        if not self._may_ask(peer, now) or not self._pacing.acquire(
            RateClass.KEY_EXCHANGE, link.limit(RateClass.KEY_EXCHANGE), now.monotonic
        ):
            return None
        if not self._stores.book.is_known(peer) and Feature.MANY in link.relay_features:
            exchange = self._began(peer, now, recovers=recovers, introduces=False)
            self._fetch(link, [peer], now)
            return exchange
        exchange = self._began(peer, now, recovers=recovers)
        payload = frames.KeyExchangeInitPayload(
            ephemeral_key=base64.b64encode(exchange.ephemeral.public).decode(),
            identity_key=base64.b64encode(self._identity.peer.public).decode(),
            target_id=peer,
        )
        frame = frames.KeyExchangeInit(payload=payload, signature="", timestamp=0)
        for request in [request for request, user in self._requests.items() if user == peer]:
            del self._requests[request]  # it was never answered
        self._requests[link.send_signed(frame, now.monotonic)] = peer
        return exchange

    def fetched(self, frame: frames.PreKeyBundles, now: Moment) -> list[Event]:
        """Prekeys of several peers have come; of one whom nobody asked for, nothing follows."""
        targets = [] if frame.id is UNSET else self._fetches.pop(frame.id, [])
        events: list[Event] = []
        for payload in frame.payload.bundles:
            if payload.sender_id in targets:
                events += self.receive(payload, now)
        for peer in frame.payload.missing:
            is_asked = peer in targets and self._under_way.pop(peer, None) is not None
            if is_asked and self._pacing.unknown_peer(peer, now.monotonic):
                is_of_user = self._stores.book.is_known(peer) or self._stores.devices.is_own(peer)
                events += [unknown(self._stores, peer)] if is_of_user else []
                self._strange += [] if is_of_user else [peer]
        for peer in targets:  # those whom the answer passes over
            if self._under_way.pop(peer, None) is not None:
                self._pacing.unknown_peer(peer, now.monotonic)
        if self._strange and not self._fetches:  # who is in a group can be many, and is said once
            first, *others = self._strange
            events.append(notices.unknown_members(len(self._strange)) if others else unknown(self._stores, first))
            self._strange.clear()
        return events

    def receive(self, payload: frames.RoutedKeyExchangeResponsePayload, now: Moment) -> list[Event]:
        """Prekeys of a peer have come."""
        peer = payload.sender_id
        # Taken out whatever comes of it: a second answer must not begin a second session with the same key.
        exchange = self._under_way.pop(peer, None)
        if exchange is None:
            return []
        contact = self._stores.book.contact(peer)
        state = self._stores.conversations.load(peer)
        begins = False
        try:
            bundle = bundle_of(payload)
            begins = exchange.recovers or state.begins_with(bundle)
            self._begin(state, bundle if begins else None, exchange, now)
        except ChangedKey:
            return self._offered(payload, now)
        except WeakBundle as error:
            return self._put_off(notices.weak_bundle(contact, error.strength, had_better=error.had_better), peer, now)
        except StaleBundle:
            return self._put_off(notices.stale_bundle(contact), peer, now)
        except CryptoError as error:
            if exchange.recovers or exchange.to_many or state.sending is None:
                self._pacing.unknown_peer(peer, now.monotonic, WRONG_KEYS_MS)
            return [notices.wrong_bundle(contact, str(error))]
        self._pacing.exists(peer)
        self._pauses.accepted(peer)
        self._no_longer_weak(peer)
        events: list[Event] = []
        if begins:
            self._to_renew.discard(peer)
            events += notices.allowed_session(self._stores.book.contact(peer), self._stores.book.get(peer).floor)
        if exchange.to_many and bundle.dated is None:
            events += self._too_old(peer, now)
        return events

    def _too_old(self, peer: str, now: Moment) -> list[WarningEvent]:
        """No message to many can go to this user: ask again later, and say so the first time."""
        is_news = peer not in self._older_until
        self._older_until[peer] = now.monotonic + WEAK_AGAIN_MS
        return [notices.too_old(self._stores.book.contact(peer))] if is_news else []

    def _put_off(self, warning: WarningEvent, peer: str, now: Moment) -> list[Event]:
        """Keys have come that are not good enough now: ask again later, and say so the first time."""
        self._weak_until[peer] = now.monotonic + WEAK_AGAIN_MS
        told = self._told.setdefault(peer, set())
        if warning.code in told:
            return []
        told.add(warning.code)
        return [warning]

    def _no_longer_weak(self, peer: str) -> None:
        """This user may be asked for at once, and what is wrong then is news."""
        self._weak_until.pop(peer, None)
        self._told.pop(peer, None)

    def _begin(
        self,
        state: PeerState,
        bundle: PreKeyBundle | None,
        exchange: Exchange,
        now: Moment,
    ) -> None:
        """Note that the relay has seen the exchange, and begin a session if there is a bundle for that."""
        peer = state.contact.user_id
        with self._stores.vault.transaction() as tx:
            if bundle is not None:
                self._stores.conversations.begin(
                    tx, state, bundle, exchange.ephemeral, now=now.persistent, wall=now.wall
                )
            if exchange.recovers:
                self._stores.recovery.began(tx, peer, now.persistent, now.monotonic)
            if exchange.introduces and self._stores.book.is_known(peer):  # whoever is asked by itself is no contact
                self._stores.book.introduced(tx, peer)

    def _offered(self, payload: frames.RoutedKeyExchangeResponsePayload, now: Moment) -> list[Event]:
        """Another key has come under a claimed id: the user must look at it first."""
        peer = payload.sender_id
        with self._stores.vault.transaction() as tx:
            self._stores.conversations.note_offered(tx, peer, base64.b64decode(payload.identity_key))
        self._warned.add(peer)
        self._pacing.pause_peer(peer, now.monotonic + WARN_AGAIN_MS)
        return [notices.key_changed(self._stores.book.contact(peer))]

    def answered(self, request: Any) -> None:
        """A request was answered directly, so it will not be refused."""
        if request is not UNSET:
            self._requests.pop(request, None)

    def refused(self, error: frames.Error, now: Moment) -> list[Event] | None:
        """An error has come; None if it was for none of these."""
        if error.id in self._fetches:
            return self._fetch_refused(self._fetches.pop(error.id), error, now)
        peer = None if error.id is UNSET else self._requests.pop(error.id, None)
        if peer is None:
            return None
        self._under_way.pop(peer, None)
        wait = max(asked(error.payload.retry_after, EXCHANGE_MS), SOON_MS)
        if error.payload.code == ErrorCode.USER_NOT_FOUND:
            is_news = self._pacing.unknown_peer(peer, now.monotonic)
            return [unknown(self._stores, peer)] if is_news else []
        if error.payload.code == ErrorCode.RATE_LIMITED and reason_of(error) != "backlog":
            self._pacing.pause(RateClass.KEY_EXCHANGE, now.monotonic + wait)
        else:
            self._pacing.pause_peer(peer, now.monotonic + wait)
        waiting = self._stores.outbox.texts(peer)
        return list(self._pauses.refused(peer, waiting, wait, now.monotonic))

    def _fetch_refused(self, peers: list[str], error: frames.Error, now: Moment) -> list[Event]:
        """Nobody's prekeys have come: what is wrong is with the question, or with the relay."""
        wait = max(asked(error.payload.retry_after, EXCHANGE_MS), SOON_MS)
        self._pacing.pause(RateClass.KEY_EXCHANGE, now.monotonic + wait)
        for peer in peers:
            self._under_way.pop(peer, None)
        waiting = self._stores.many.count()
        return list(self._pauses.refused(peers[0], waiting, wait, now.monotonic))
