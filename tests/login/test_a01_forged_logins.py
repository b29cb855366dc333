"""A thousand logins that nobody may have: replayed, relayed, tampered with, and made up. None gets in."""

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.server import ServerConnection, serve

from support.people import USER_ID, Frame, Person, base64_text, canonical
from support.raw_socket import TEXT, RawSocket, frame
from support.relay_process import RelayProcess, StartRelay, patched
from support.sdk_clients import opened, run

COUNT: Final = 1_000
PURPOSES: Final = [b"", *(f"phantom/1 {word}\n".encode() for word in ("signed-prekey", "kem-prekey", "user-id"))]
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
IDENTITY: Final = bytes([1]) + bytes(31)
"""The neutral point: under it as key, R = S*B is a signature of every message."""

SMALL: Final = [
    IDENTITY,
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes(32),
    bytes.fromhex("0000000000000000000000000000000000000000000000000000000000000080"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),  # 1 + p: not canonical
]


class Attack:
    """One connection of somebody who wants to be the victim, and what such people have at hand.

    Args:
        relay: under attack.
        victim: has an account; its key signs only what a victim signs by itself.
        chance: of this attempt.
    """

    def __init__(self, relay: RelayProcess, victim: Person, chance: random.Random) -> None:
        self.victim = victim
        self.mallory = Person()
        self.chance = chance
        self.audience = "{}:{}".format(*relay.address)
        self._relay = relay
        self.raw = RawSocket(relay.address)
        self.hello = self._greeted(self.raw)

    @staticmethod
    def _greeted(raw: RawSocket) -> Frame:
        raw.upgrade()
        hello: Frame = json.loads(raw.read().payload)
        return hello

    def other_hello(self) -> Frame:
        """The greeting of another connection to the same relay."""
        with RawSocket(self._relay.address) as other:
            return self._greeted(other)

    def honest(self, **payload: Any) -> Frame:
        """What the victim would send on this very connection."""
        return self.victim.auth(self.hello, self.audience, **payload)

    def succeeds(self, sent: bytes) -> bool:
        """Whether it is let in."""
        try:
            self.raw.send(frame(TEXT, sent))
            answer: str = json.loads(self.raw.read().payload)["type"]
        finally:
            self.raw.__exit__(None, None, None)
        assert answer in {"AUTH_SUCCESS", "AUTH_FAILURE", "ERROR"}
        return answer == "AUTH_SUCCESS"


def resigned(attack: Attack, signature: bytes) -> bytes:
    return canonical({**attack.honest(), "signature": base64_text(signature)})


def signature_of(made: Frame) -> bytes:
    return base64.b64decode(made["signature"])


def replayed(attack: Attack) -> bytes:
    return canonical(attack.victim.auth(attack.other_hello(), attack.audience))


def another_challenge(attack: Attack) -> bytes:
    return canonical(attack.honest(challenge=base64_text(attack.chance.randbytes(32))))


def for_another_relay(attack: Attack) -> bytes:
    other = attack.chance.choice(["evil.test", "127.0.0.1", f"{attack.audience}.evil.test", "", attack.audience + "0"])
    return canonical(attack.victim.auth(attack.hello, other))


def without(name: str) -> Callable[[Attack], bytes]:
    def made(attack: Attack) -> bytes:
        whole = attack.honest()
        bare = {key: value for key, value in whole.items() if key != "signature"}
        payload = {key: value for key, value in whole["payload"].items() if key != name}
        return canonical(attack.victim.signed({**bare, "payload": payload}))

    return made


def with_own_key(attack: Attack) -> bytes:
    return canonical(attack.mallory.auth(attack.hello, attack.audience, userId=attack.victim.id))


def with_the_victims_key(attack: Attack) -> bytes:
    made = attack.mallory.auth(
        attack.hello, attack.audience, userId=attack.victim.id, publicKey=attack.victim.public_key
    )
    return canonical(made)


def of_another_type(attack: Attack) -> bytes:
    whole = attack.honest()
    other = attack.chance.choice(["MESSAGE", "ACCOUNT_DELETE", "PREKEY_PUBLISH", "KEY_EXCHANGE_INIT"])
    bare = {key: value for key, value in whole.items() if key != "signature"}
    return canonical({**whole, "signature": attack.victim.signed({**bare, "type": other})["signature"]})


def for_another_purpose(attack: Attack) -> bytes:
    bare = {key: value for key, value in attack.honest().items() if key != "signature"}
    purpose = attack.chance.choice(
        [b"", b"phantom/1 signed-prekey\n", b"phantom/1 kem-prekey\n", b"phantom/1 user-id\n"]
    )
    return resigned(attack, base64.b64decode(attack.victim.sign(purpose + canonical(bare))))


def cut(attack: Attack) -> bytes:
    whole = signature_of(attack.honest())
    return resigned(attack, attack.chance.choice([whole[:63], whole + b"\0", whole[:32], b"", whole * 2]))


def flipped_bit(attack: Attack) -> bytes:
    whole = bytearray(signature_of(attack.honest()))
    whole[attack.chance.randrange(64)] ^= 1 << attack.chance.randrange(8)
    return resigned(attack, bytes(whole))


def malleable(attack: Attack) -> bytes:
    whole = signature_of(attack.honest())
    scalar = int.from_bytes(whole[32:], "little") + ORDER
    return resigned(attack, whole[:32] + scalar.to_bytes(32, "little"))


def universal(attack: Attack) -> bytes:
    """A key of small order, and a signature that holds for every message under it."""
    raw = attack.chance.choice(SMALL)
    key = base64_text(raw)
    weak = Person(user_id=base64_text(hashlib.sha256(USER_ID + raw).digest()))
    weak.public_key = key
    made = weak.auth(attack.hello, attack.audience, publicKey=key)
    basepoint = bytes.fromhex("58" + "66" * 31)
    signature = basepoint + (1).to_bytes(32, "little") if attack.chance.random() < 0.5 else IDENTITY + bytes(32)
    return canonical({**made, "signature": base64_text(signature)})


def unsigned(attack: Attack) -> bytes:
    return canonical({key: value for key, value in attack.honest().items() if key != "signature"})


def twice_named(attack: Attack) -> bytes:
    """Signed over the attacker's id, and then the victim's stands there too."""
    text = canonical(attack.mallory.auth(attack.hello, attack.audience)).decode()
    name = f'"userId":"{attack.victim.id}"'
    own = f'"userId":"{attack.mallory.id}"'
    both = f"{name},{own}" if attack.chance.random() < 0.5 else f"{own},{name}"
    return text.replace(own, both).encode()


def id_written_otherwise(attack: Attack) -> bytes:
    """Ids that a careless decoder takes for the victim's."""
    raw = base64.b64decode(attack.victim.id)
    ways = [
        attack.victim.id.rstrip("="),
        attack.victim.id + "=",
        attack.victim.id + "\n",
        " " + attack.victim.id,
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        attack.victim.id[:-2] + chr(ord(attack.victim.id[-2]) + 1) + "=",  # stray bits
    ]
    return canonical(attack.mallory.auth(attack.hello, attack.audience, userId=attack.chance.choice(ways)))


def at_another_time(attack: Attack) -> bytes:
    off = attack.chance.choice([-1, 1]) * attack.chance.randrange(310_000, 10**9)
    bare = {key: value for key, value in attack.honest().items() if key != "signature"}
    return canonical(attack.victim.signed({**bare, "timestamp": bare["timestamp"] + off}))


def changed_afterwards(attack: Attack) -> bytes:
    whole = attack.honest()
    change: Frame = attack.chance.choice(
        [
            {"payload": {**whole["payload"], "features": ["ack"]}},
            {"payload": {**whole["payload"], "userId": attack.mallory.id}},
            {"payload": {**whole["payload"], "publicKey": attack.mallory.public_key}},
            {"timestamp": whole["timestamp"] + 1},
            {"id": "1"},
        ]
    )
    return canonical({**whole, **change})


def of_random_bytes(attack: Attack) -> bytes:
    return resigned(attack, attack.chance.randbytes(64))


def of_another_message(attack: Attack) -> bytes:
    """A true signature of the victim, of something else that it has sent."""
    return resigned(attack, signature_of(attack.victim.message(attack.mallory)))


KINDS: Final[dict[str, Callable[[Attack], bytes]]] = {
    "replayed": replayed,
    "another challenge": another_challenge,
    "for another relay": for_another_relay,
    "without challenge": without("challenge"),
    "without audience": without("audience"),
    "own key": with_own_key,
    "the victim's key": with_the_victims_key,
    "of another type": of_another_type,
    "for another purpose": for_another_purpose,
    "cut": cut,
    "flipped bit": flipped_bit,
    "malleable": malleable,
    "universal": universal,
    "unsigned": unsigned,
    "twice named": twice_named,
    "id written otherwise": id_written_otherwise,
    "at another time": at_another_time,
    "changed afterwards": changed_afterwards,
    "random bytes": of_random_bytes,
    "of another message": of_another_message,
}


def victim_of(relay: RelayProcess) -> Person:
    victim = Person()
    attack = Attack(relay, victim, random.Random(0))  # noqa: S311 - the same in every run
    assert attack.succeeds(canonical(attack.honest())), "what is honest gets in"
    return victim


def successes(relay: RelayProcess, kinds: list[str], count: int) -> dict[str, int]:
    """How many attempts of each kind get in."""
    victim = victim_of(relay)
    found = dict.fromkeys(kinds, 0)
    for seed in range(count):
        kind = kinds[seed % len(kinds)]
        attack = Attack(relay, victim, random.Random(seed))  # noqa: S311 - the same in every run
        found[kind] += attack.succeeds(KINDS[kind](attack))
    return found


def test_none_of_a_thousand_forged_logins_succeeds(relay: RelayProcess) -> None:
    assert successes(relay, list(KINDS), COUNT) == dict.fromkeys(KINDS, 0)


def test_none_succeeds_where_reference_clients_log_in_unsigned(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off", "--reference-clients", "on")
    assert successes(relay, list(KINDS), 5 * len(KINDS)) == dict.fromkeys(KINDS, 0)


def unchecked(text: str) -> str:
    """A relay whose login lacks one check."""
    return f"""
import inspect
from phantom_messenger.relay.handlers import login
source = inspect.getsource(login.check_binding)
assert {text!r} in source
exec(source.replace({text!r}, "False"), login.__dict__)
"""


NO_CHALLENGE: Final = (
    unchecked("challenge != session.challenge")
    + """
source = inspect.getsource(login._check_proof)
assert "payload.challenge is UNSET or" in source
exec(source.replace("payload.challenge is UNSET or", ""), login.__dict__)
"""
)
NO_AUDIENCE: Final = unchecked("not audience or (audience not in names and normal_or_none(audience) not in names)")
NO_SIGNATURE: Final = """
from phantom_messenger.relay import signatures
signatures.verify = lambda batch: [True] * len(batch)
"""
LENIENT: Final = """
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from phantom_messenger.relay import public_keys, signatures
def holds(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
signatures.verify = lambda batch: [holds(*check) for check in batch]
public_keys.is_usable_ed25519 = lambda key: True
"""
UNPROVED: Final = """
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
CONTROLS: Final = {
    "the challenge": (NO_CHALLENGE, [], ["replayed", "another challenge", "without challenge"]),
    "the audience": (NO_AUDIENCE, [], ["for another relay", "without audience"]),
    "the signature": (NO_SIGNATURE, [], ["the victim's key", "flipped bit", "of another type", "changed afterwards"]),
    "strictness": (LENIENT, [], ["universal"]),
    "signing at all": (UNPROVED, ["--reference-clients", "on"], ["unsigned"]),
}


@pytest.mark.parametrize(("patch", "arguments", "kinds"), CONTROLS.values(), ids=CONTROLS)
def test_forged_logins_succeed_without(
    start_relay: StartRelay, patch: str, arguments: list[str], kinds: list[str]
) -> None:
    """The controls: each check is needed."""
    relay = start_relay("--limits", "off", *arguments, command=patched(patch))
    found = successes(relay, kinds, 12 * len(kinds))
    assert min(found.values()) > 0, found


# --- a relay in the middle ---------------------------------------------------------


async def passed_on(relay: RelayProcess, home: Path) -> str:
    """The answer of a relay to a login that its client sent to another one, which passes it on.

    That one gives itself out for what its client has dialled: the header is its own to write.
    """
    answers: asyncio.Queue[str] = asyncio.Queue()

    async def evil(victim: ServerConnection) -> None:
        assert victim.request is not None
        with RawSocket(relay.address) as upstream:
            upstream.upgrade([("Host", victim.request.headers["Host"])])
            await victim.send(upstream.read().payload.decode())
            upstream.send(frame(TEXT, str(await victim.recv()).encode()))
            answers.put_nowait(json.loads(upstream.read().payload)["type"])

    async with serve(evil, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with opened(home, "victim", f"ws://127.0.0.1:{port}/ws"):
            return await answers.get()


@pytest.mark.parametrize("names", [[], ["--public-names", "relay.test"]], ids=["as it comes", "with a name"])
def test_login_at_another_relay_is_worthless_here(start_relay: StartRelay, names: list[str], tmp_path: Path) -> None:
    assert run(passed_on(start_relay(*names), tmp_path)) == "AUTH_FAILURE"


def test_login_at_another_relay_is_good_where_any_name_is(start_relay: StartRelay, tmp_path: Path) -> None:
    """A control, and what the setting's warning means."""
    relay = start_relay("--public-names", "any")
    assert run(passed_on(relay, tmp_path)) == "AUTH_SUCCESS"
    assert [line for line in relay.doubts if "any-name" in line]


def test_login_at_another_relay_would_be_good_without_an_audience(start_relay: StartRelay, tmp_path: Path) -> None:
    """The control."""
    assert run(passed_on(start_relay(command=patched(NO_AUDIENCE)), tmp_path)) == "AUTH_SUCCESS"
