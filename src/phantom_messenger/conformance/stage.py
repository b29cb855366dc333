"""What a case gets to play with: connections and users, whose accounts are deleted afterwards."""

import asyncio
import ipaddress
import random
import socket as net
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.socket import Response, Socket, Target
from phantom_messenger.conformance.verdict import Failure, NotJudgedError, UnreachableError
from phantom_messenger.conformance.wire import Frame, Identity, show

MOST_WAITS: Final = 6
"""How often a login is tried again that the relay puts off, because its address has made enough accounts."""

MINUTE: Final = 61.0
_CROWDED_SECONDS: Final = 1.0
_LONGEST_WAIT_MS: Final = 60_000
_MOST_ERRORS: Final = 7
"""A connection with more is not used again: the tenth malformed message in a minute closes it."""

_MOST_LOGINS: Final = 4
_RATE_LIMITED: Final = 4002


class Addresses:
    """Where connections come from.

    A relay counts connections and new accounts by address. On a loopback interface there are millions of
    them, and each case has one for itself; elsewhere all cases share one, and wait for each other.

    Args:
        first: of the loopback addresses to use; '' if there is one address only.
    """

    def __init__(self, first: str = "") -> None:
        self.are_many = bool(first)
        self._next = int(ipaddress.IPv4Address(first)) if first else 0

    @classmethod
    async def found(cls, target: Target) -> "Addresses":
        """Those from which this relay can be reached."""
        if not await target.loopback():
            return cls()
        first = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.1"  # noqa: S311 - others may run, too
        with net.socket() as probe:
            try:
                probe.bind((first, 0))
            except OSError:  # this system has one loopback address
                return cls()
        return cls(first)

    def new(self) -> str | None:
        """One that nobody has used; None if there is one only."""
        if not self.are_many:
            return None
        self._next += 1
        return str(ipaddress.IPv4Address(self._next))


class Accounts:
    """The accounts that the run has made, until they are deleted."""

    def __init__(self, target: Target, addresses: Addresses) -> None:
        self.target = target
        self.addresses = addresses
        self._made: dict[str, list[Client]] = {}
        self._idle: list[tuple[Client, int]] = []

    def __len__(self) -> int:
        return len(self._made)

    def note(self, client: Client) -> None:
        """A login has been answered, or may have been."""
        self._made.setdefault(client.id, []).append(client)

    def forget(self, user_id: str) -> None:
        """It was deleted."""
        self._made.pop(user_id, None)

    def idle(self) -> tuple[Client, int] | None:
        """A client that is logged in and that nobody uses, and how often it has logged in."""
        while self._idle:
            client, logins = self._idle.pop()
            if client.socket.closed is None:
                return client, logins
        return None

    def lend(self, client: Client, logins: int) -> None:
        """Let others use it."""
        client.forget()
        self._idle.append((client, logins))

    async def delete(self, user_ids: Sequence[str]) -> None:
        """Ask the relay to delete these accounts; those that it does not are kept for ``delete_all``."""
        for user_id in user_ids:
            with suppress(Failure, UnreachableError):
                await self._delete(self._made[user_id])
                self.forget(user_id)

    async def delete_all(self) -> None:
        """Delete what is left; who had too many logins or requests is tried once more, a minute later."""
        self._idle = []
        for pause in (0.0, MINUTE):
            if not self._made:
                return
            await asyncio.sleep(pause)
            try:
                await (await connect(self.target, self.addresses.new())).leave()
            except (Failure, UnreachableError):
                return  # nobody is there
            await self.delete(list(self._made))

    async def delete_idle(self) -> None:
        """Delete those that cases have shared: what follows needs their connections."""
        idle, self._idle = self._idle, []
        await self.delete([client.id for client, _ in idle])

    async def _delete(self, clients: list[Client]) -> None:
        """Delete the account that these have logged in to, or tried to."""
        await asyncio.gather(*(client.settle() for client in clients))
        client = next((client for client in reversed(clients) if client.is_in), None)
        try:
            if client is None:
                client = await connect(self.target, self.addresses.new(), clients[0].identity)
                clients.append(client)
                await client.send("AUTH", client.claim())
                await client.expect("AUTH_SUCCESS")
            client.forget()
            await client.send("ACCOUNT_DELETE", client.binding)
            await client.closes(1000)
        except (Failure, UnreachableError):
            await _drop(clients)
            raise
        await _drop(clients)  # not if it was interrupted: what is on its way there is waited for when it is tried again


async def _drop(clients: Sequence[Client]) -> None:
    for client in clients:
        await client.socket.drop()


async def connect(target: Target, source: str | None, identity: Identity | None = None, **fields: str) -> Client:
    """Open a WebSocket and take its CONNECTION_ACK; again, while the address has too many.

    Raises:
        UnreachableError: there is no relay.
        Failure: it does not begin with CONNECTION_ACK.
    """
    for _ in range(MOST_WAITS):
        socket = Socket(target, source)
        await socket.dial()
        try:
            await socket.upgrade(**fields)
            return Client(identity or Identity(), socket, await _hello(socket))
        except (Failure, UnreachableError):
            await socket.drop()
            if socket.closed is None or socket.closed.code != _RATE_LIMITED:
                raise
            await asyncio.sleep(_CROWDED_SECONDS)
    raise Failure("close 4002 comes instead of CONNECTION_ACK: the address has too many connections")


async def _hello(socket: Socket) -> Frame:
    """The first frame, which is CONNECTION_ACK."""
    hello = await socket.first("CONNECTION_ACK")
    if hello["type"] != "CONNECTION_ACK":
        raise Failure(f"CONNECTION_ACK is expected, and this comes: {show(hello)}")
    return hello


class Stage:
    """The relay as one case sees it; what it opened is closed afterwards, and its accounts are deleted."""

    def __init__(self, target: Target, addresses: Addresses, accounts: Accounts) -> None:
        self.target = target
        self.addresses = addresses
        self._accounts = accounts
        self._source = addresses.new()
        self._sockets: list[Socket] = []
        self._clients: list[Client] = []
        self._users: list[str] = []
        self._borrowed: tuple[Client, int] | None = None

    # --- connections --------------------------------------------------------------

    async def dial(self) -> Socket:
        """A connection on which nothing was said yet."""
        socket = Socket(self.target, self._source)
        self._sockets.append(socket)
        await socket.dial()
        return socket

    async def http(self, request: bytes) -> Response:
        """The answer to an HTTP request."""
        return await (await self.dial()).ask(request)

    async def connect(self, identity: Identity | None = None) -> Client:
        """A WebSocket that has not logged in."""
        client = await connect(self.target, self._source, identity)
        self._sockets.append(client.socket)
        self._clients.append(client)
        return client

    async def new_address(self) -> None:
        """Come from an address that has done nothing in the last minute."""
        if self.addresses.are_many:
            self._source = self.addresses.new()
        else:
            await asyncio.sleep(MINUTE)

    def needs_addresses(self) -> None:
        """Leave out what needs several addresses, if there is one only."""
        if not self.addresses.are_many:
            raise NotJudgedError("it needs several addresses, as a loopback interface has them")

    # --- users --------------------------------------------------------------------

    async def user(self, *features: str, user_id: str = "", identity: Identity | None = None) -> Client:
        """A user who is logged in: a new one, unless it has an identity already.

        Args:
            features: of its AUTH; ``ack`` if none is named, none at all if one is ''.
            user_id: to claim; the certified one if there is none.
            identity: of a user who comes back.
        """
        identity = identity or Identity(user_id)
        wanted = [feature for feature in features or ("ack",) if feature]
        for _ in range(MOST_WAITS):
            client = await self.connect(identity)
            self._noted(client)
            name = client.new_id()
            await client.send("AUTH", client.claim(features=wanted), id=name)
            if not (wait := await self.put_off(client)):
                answer = await client.expect("AUTH_SUCCESS", id=name)
                client.features = answer["payload"].get("features", [])
                return client
            await asyncio.sleep(wait)
        raise Failure("AUTH_FAILURE 1003 comes again and again, after every retryAfter")

    def _noted(self, client: Client) -> None:
        self._accounts.note(client)
        if client.id not in self._users:
            self._users.append(client.id)

    async def put_off(self, client: Client) -> float:
        """Seconds to wait, if the relay says that this address has logged in too often; 0 if a login was answered."""
        until = asyncio.get_running_loop().time() + client.patience
        while not (found := [frame for frame in client.socket.pending if frame["type"].startswith("AUTH_")]):
            client.socket.check()
            if client.socket.closed is not None or not await client.socket.news(until):
                return 0.0
        client.socket.check()
        payload = found[0]["payload"]
        if found[0]["type"] == "AUTH_FAILURE" and payload["details"].get("reason") == "rate":
            await client.socket.drop()
            if payload["retryAfter"] > _LONGEST_WAIT_MS:
                raise Failure(f"a login is put off for {payload['retryAfter']} ms, which is longer than a minute")
            return float(payload["retryAfter"]) / 1000 + _CROWDED_SECONDS
        return 0.0

    async def refused_login(
        self, *reasons: str, identity: Identity | None = None, signature: str | None = "", **claim: Any
    ) -> Frame:
        """Log in with a claim that must be refused for one of these reasons.

        Args:
            reasons: that are right.
            identity: whose login it is.
            signature: the right one if it is ''; none at all if it is None.
            claim: members that replace those of a right claim; those that are None are left out.
        """
        for _ in range(MOST_WAITS):
            client = await self.connect(identity)
            name = client.new_id()
            payload = {member: value for member, value in client.claim(**claim).items() if value is not None}
            frame = client.make("AUTH", payload, id=name)
            if signature != "":
                frame["signature"] = signature
            await client.send_frame({member: value for member, value in frame.items() if value is not None})
            if not (wait := await self.put_off(client)):
                return await client.login_refused(*reasons, id=name)
            await asyncio.sleep(wait)
        raise Failure("AUTH_FAILURE 1003 comes again and again, after every retryAfter")

    async def users(self, count: int = 2) -> list[Client]:
        """New users."""
        return [await self.user() for _ in range(count)]

    async def contacts(self, *features: str) -> tuple[Client, Client]:
        """Two new users who are contacts; ``features`` are those of the second."""
        alice, bob = await self.user(), await self.user(*features)
        await make_contacts(alice, bob)
        return alice, bob

    async def anyone(self) -> Client:
        """A logged-in user whom other cases have used, and will use: for what leaves no trace."""
        found = self._accounts.idle()
        if found is None:
            client = await self.user()
            self._give_up(client)
            found = client, 1
        elif found[0].socket.errors > _MOST_ERRORS:
            found = await self._renewed(*found)
        self._borrowed = found
        return found[0]

    async def _renewed(self, client: Client, logins: int) -> tuple[Client, int]:
        await client.leave()
        if logins >= _MOST_LOGINS:
            await self._accounts.delete([client.id])
            fresh = await self.user()
            logins = 0
        else:
            fresh = await self.user(identity=client.identity)
        self._give_up(fresh)
        return fresh, logins + 1

    def _give_up(self, client: Client) -> None:
        """It stays when the case is over."""
        self._users.remove(client.id)
        self._sockets.remove(client.socket)
        self._clients.remove(client)

    def deleted(self, client: Client) -> None:
        """The case has deleted this account itself."""
        self._accounts.forget(client.id)
        self._users.remove(client.id)

    # --- the end ------------------------------------------------------------------

    def problems(self) -> Iterator[str]:
        """What was wrong with the form of what arrived, whether the case looked at it or not."""
        borrowed = [self._borrowed[0].socket] if self._borrowed else []
        return (socket.problem for socket in [*self._sockets, *borrowed] if socket.problem)

    async def close(self) -> None:
        """Close what was opened, and delete the accounts."""
        if self._borrowed is not None:
            self._accounts.lend(*self._borrowed)
        await asyncio.gather(*(client.settle() for client in self._clients))
        for client in self._clients:
            if client.is_in and client.id not in self._users:  # although the case did not expect it
                self._noted(client)
        await self._accounts.delete(self._users)
        await asyncio.gather(*(socket.leave() for socket in self._sockets))


async def make_contacts(alice: Client, bob: Client) -> None:
    """Make contacts of two users who are connected, by a key exchange."""
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
    asked = await bob.expect("KEY_EXCHANGE_INIT", {"senderId": alice.id})
    await bob.acknowledge(asked)
    await bob.send("KEY_EXCHANGE_RESPONSE", bob.response(alice.id))
    await alice.acknowledge(await alice.expect("KEY_EXCHANGE_RESPONSE", {"senderId": bob.id}))
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "online"})
    await bob.expect("PRESENCE", {"userId": alice.id, "status": "online"})
    await alice.ping()
    await bob.ping()
