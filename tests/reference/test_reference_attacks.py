"""Whoever signs loses nothing by a relay that takes reference clients: attacks, each with its control."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from support.letter import PLAIN, STRICT, Letter, MakeLetter, Sign, fresh_key, random_uuid, reason, stringify
from support.people import Frame, Person, base64_text, canonical, wall_ms
from support.reference_client import Connect
from support.relay_process import RelayProcess, StartRelay, patched
from support.sdk_clients import first, friends, run

# --- logins -----------------------------------------------------------------------


def login_of(client: Letter, **payload: Any) -> str:
    """The reason of a refusal; empty if it is let in."""
    client.send(client.auth(**payload))
    answer = client.wire.receive()
    return "" if answer["type"] == "AUTH_SUCCESS" else str(answer["payload"]["details"]["reason"])


UNCHECKED: Final = """
import inspect
from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
from phantom_messenger.relay.handlers import login
source = inspect.getsource(login._check_proof)
assert "if certified and not signed:" in source
exec(source.replace("if certified and not signed:", "if False:"), login.__dict__)
bind = SQLiteDirectory.bind
SQLiteDirectory.bind = lambda self, user, key, *, certified, **rest: bind(self, user, key, certified=certified)
SQLiteDirectory.signs = lambda self, user: False
"""
"""A relay that does not mark who has proved a key."""


@pytest.mark.parametrize("user_id", ["", base64_text(bytes(range(16)))], ids=["certified", "claimed"])
@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
def test_nobody_gets_the_account_of_one_who_signs(
    start_relay: StartRelay, letter: MakeLetter, connect: Connect, user_id: str, protected: bool
) -> None:
    command = {} if protected else {"command": patched(UNCHECKED)}
    relay = start_relay("--limits", "off", "--reference-clients", "on", **command)
    alice = connect(relay, Person(user_id=user_id or None)).login()
    mallory = letter(relay=relay, login=False, user_id=alice.person.id)
    assert login_of(mallory, publicKey=alice.person.public_key) == ("unsigned" if protected else "")
    other = letter(relay=relay, login=False, user_id=alice.person.id)
    assert login_of(other) == "identity"
    if protected:
        assert alice.settle() == []
    else:
        assert alice.closed()[0] == 1008


def test_key_of_one_who_signs_serves_nobody_under_another_id(
    lenient: RelayProcess, letter: MakeLetter, connect: Connect
) -> None:
    alice = connect(lenient).login()
    client = letter(login=False)
    assert login_of(client, publicKey=alice.person.public_key) == "unsigned"
    assert login_of(letter(login=False), publicKey=Person().public_key) == "", "the control: nobody has signed with it"


def test_certified_id_is_nobodys_who_does_not_sign_even_before_its_owner_comes(letter: MakeLetter) -> None:
    owner = Person()
    mallory = letter(login=False, user_id=owner.id)
    assert login_of(mallory, publicKey=owner.public_key) == "unsigned"


def test_owner_takes_the_id_from_whoever_claimed_it_and_with_it_no_mail_and_no_contact(
    lenient: RelayProcess, letter: MakeLetter, connect: Connect
) -> None:
    owner = Person()
    mallory, friend = letter(user_id=owner.id), letter()
    mallory.make_contacts(friend)
    mallory.wire.cut()
    friend.send(friend.message(owner.id))
    friend.wire.settle()
    client = connect(lenient, owner).login()
    assert client.settle() == []
    assert login_of(letter(login=False, user_id=owner.id)) == "identity"


def test_first_login_that_proves_the_key_begins_the_account_anew(letter: MakeLetter) -> None:
    user_id, seed = base64_text(os.urandom(16)), os.urandom(32)
    unproved, friend = letter(user_id=user_id, seed=seed), letter()
    unproved.make_contacts(friend)
    signs = letter(user_id=user_id, seed=seed, login=False).login_signed()
    assert unproved.wire.closed()[0] == 1008
    friend.send(friend.frame("PRESENCE", {"status": "idle"}))
    friend.wire.settle()
    assert signs.wire.settle() == [], "who wrote to whom was of whoever could name the key"
    assert login_of(letter(user_id=user_id, seed=seed, login=False)) == "unsigned"


@pytest.mark.parametrize("sign", [PLAIN, stringify, canonical], ids=["payload", "envelope", "canonical"])
def test_signed_login_has_one_reading(letter: MakeLetter, sign: Sign) -> None:
    client = letter(login=False, user_id=base64_text(os.urandom(16)))
    known = {"challenge": client.wire.acknowledgement["payload"]["challenge"], "audience": client.wire.audience}
    bare = client.auth(**known)
    client.send({**bare, "signature": client.signature(sign(bare))})
    code, [answer] = client.wire.closed()
    assert (code, answer["payload"]["details"]["reason"]) == (4001, "signature")


def test_signed_login_behind_an_unsigned_one_changes_nothing(letter: MakeLetter) -> None:
    client, other = letter(), letter()
    known = {"challenge": client.wire.acknowledgement["payload"]["challenge"], "audience": client.wire.audience}
    bare = client.auth(userId=base64_text(os.urandom(16)), **known)
    answer = client.ask({**bare, "signature": client.signature(STRICT(bare))})
    assert reason(answer) == "already-authenticated"
    client.send(client.message(other.id))
    assert other.wire.until("MESSAGE")["payload"]["senderId"] == client.id


# --- signatures for something else --------------------------------------------------

CAPTURED: dict[str, Callable[[Letter, Letter], Frame]] = {
    "message": lambda me, other: me.message(other.id),
    "init": lambda me, other: me.init(other.id),
    "init with prekeys": lambda me, other: me.init(
        other.id, preKeyBundle={"signedPreKey": fresh_key(), "signature": me.signature(b"")}
    ),
    "response": lambda me, other: me.response(targetId=other.id),
}
TYPES: Final = {"MESSAGE": "message", "KEY_EXCHANGE_INIT": "init", "KEY_EXCHANGE_RESPONSE": "response"}


@pytest.mark.parametrize("kind", [*TYPES, "ACCOUNT_DELETE", "PREKEY_PUBLISH"])
@pytest.mark.parametrize("captured", CAPTURED)
def test_signature_over_a_payload_serves_for_no_other_type(letter: MakeLetter, captured: str, kind: str) -> None:
    if captured.startswith(TYPES.get(kind, "no type")):
        kind = "AUTH"
    alice, bob = letter(), letter()
    sent = CAPTURED[captured](alice, bob)
    assert reason(alice.ask({**sent, "type": kind})) in {"field", "signature", "already-authenticated"}
    assert bob.wire.settle() == []


def test_deletion_needs_the_whole_signature(letter: MakeLetter) -> None:
    """Its payload says nothing of its purpose."""
    alice, bob = letter(), letter()
    known = {"challenge": alice.wire.acknowledgement["payload"]["challenge"], "audience": alice.wire.audience}
    for sign in (PLAIN, stringify, canonical):
        bare = alice.frame("ACCOUNT_DELETE", known)
        assert reason(alice.ask({**bare, "signature": alice.signature(sign(bare))})) == "signature"
    bob.send(bob.message(alice.id))
    assert alice.wire.until("MESSAGE")
    bare = alice.frame("ACCOUNT_DELETE", known)
    alice.send({**bare, "signature": alice.signature(STRICT(bare))})
    assert alice.wire.closed()[0] == 1000, "the control"


def test_id_that_looks_like_json_stays_an_id(letter: MakeLetter) -> None:
    bob = letter()
    mallory = letter(user_id=f'x","senderId":"{bob.id}')
    mallory.send(mallory.message(bob.id, name='m","seq":1,"x":"'))
    got = bob.wire.until("MESSAGE")["payload"]
    assert (got["senderId"], got["messageId"]) == (mallory.id, 'm","seq":1,"x":"')


# --- what reaches those who sign ----------------------------------------------------


def strictly(me: Letter, to: str) -> Frame:
    payload = {"recipientId": to, "encrypted": "c2VjcmV0", "messageId": random_uuid(), "conversationId": "c"}
    bare = me.frame("MESSAGE", payload)
    return {**bare, "signature": me.signature(STRICT(bare))}


LOOSE: dict[str, Callable[[Letter, str], Frame]] = {
    "signature over the payload": lambda me, to: me.message(to),
    "time with a fraction": lambda me, to: {**me.message(to), "timestamp": wall_ms() + 0.5},
    "unknown member": lambda me, to: me.message(to, colour="red"),
    "message id of another form": lambda me, to: me.message(to, name="m-1"),
    "key exchange": lambda me, to: me.init(to),
    "response": lambda me, to: me.response(targetId=to),
    "sender whose id is none of ours": strictly,
}
UNMARKED: Final = """
from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
SQLiteDirectory.signs = lambda self, user: False
"""


@pytest.fixture(scope="module")
def unmarked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The control: a relay that does not know who signs."""
    process = RelayProcess(
        tmp_path_factory.mktemp("unmarked"), "--limits", "off", "--reference-clients", "on", command=patched(UNMARKED)
    )
    yield process
    process.stop()


@pytest.mark.parametrize("loose", LOOSE.values(), ids=LOOSE)
def test_nothing_loose_reaches_one_who_signs(
    lenient: RelayProcess, unmarked: RelayProcess, letter: MakeLetter, connect: Connect, loose: Callable[..., Frame]
) -> None:
    bob, mallory = connect(lenient).login(["ack"]), letter()
    assert reason(mallory.ask(loose(mallory, bob.person.id))) == "signature"
    assert bob.settle() == []
    bob, mallory = connect(unmarked).login(["ack"]), letter(relay=unmarked)
    mallory.send(loose(mallory, bob.person.id))
    assert bob.receive()["payload"]["senderId"] == mallory.id, "the control"


def test_reference_client_that_signs_as_we_do_reaches_one_who_signs(
    lenient: RelayProcess, letter: MakeLetter, connect: Connect
) -> None:
    bob, alice = connect(lenient).login(), letter(user_id=base64_text(os.urandom(16)))
    alice.send(strictly(alice, bob.person.id))
    got = bob.until("MESSAGE")
    payload = {name: value for name, value in got["payload"].items() if name != "senderId"}
    bare = {"type": "MESSAGE", "timestamp": got["timestamp"], "payload": payload}
    assert alice.signature(STRICT(bare)) == got["signature"]


def test_typing_of_a_reference_client_is_told_to_one_who_signs_by_the_strict_rules(
    lenient: RelayProcess, letter: MakeLetter, connect: Connect
) -> None:
    bob, alice = connect(lenient).login(), letter(user_id=base64_text(os.urandom(16)))
    alice.send(strictly(alice, bob.person.id))
    bob.send(bob.person.message(alice.id, conversation="c"))
    alice.wire.until("MESSAGE")
    bob.settle()
    for payload in ({}, {"conversationId": "another"}, {"conversationId": "c"}):
        alice.send(alice.frame("PRESENCE", {"status": "typing", **payload}))
    assert [frame["payload"].get("conversationId") for frame in bob.settle() if frame["type"] == "PRESENCE"] == ["c"]


def test_two_people_with_the_sdk_notice_nothing(lenient: RelayProcess, letter: MakeLetter, tmp_path: Path) -> None:
    async def talk() -> str:
        async with friends(tmp_path, lenient) as (alice, bob):
            for user_id in (base64_text(os.urandom(5)), base64_text(os.urandom(16)), base64_text(os.urandom(32))):
                mallory = letter(user_id=user_id)
                for sent in LOOSE.values():
                    mallory.send(sent(mallory, bob.user_id))
                mallory.send(strictly(mallory, bob.user_id))
                mallory.wire.settle()
            await alice.send("bob", "still here?")
            return (await first(bob)).text

    assert run(talk()) == "still here?"


# --- what it stores ---------------------------------------------------------------


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
def test_what_is_loose_counts_with_all_that_stands_in_it(
    start_relay: StartRelay, letter: MakeLetter, protected: bool
) -> None:
    """A key exchange with 60 KB of unknown members is not counted as one of four."""
    uncounted = "from phantom_messenger.relay import commands\ncommands.ExchangeKeys.size = commands.EXCHANGE_BYTES"
    command = {} if protected else {"command": patched(uncounted)}
    settings = ("--reference-clients", "on", "--address-megabytes-a-day", "1", "--rate-auth", "100")
    relay = start_relay(*settings, **command)
    people = [letter(relay=relay) for _ in range(5)]
    answers: list[Frame] = []
    for one in people:
        for other in people:
            if other is not one:
                answers += one.answered(one.init(other.id, unknown="x" * 60_000))
    reasons = {reason(answer) for answer in answers} - {""}
    assert reasons == ({"quota"} if protected else set())
