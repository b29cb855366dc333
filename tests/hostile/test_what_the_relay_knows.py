"""docs/what-the-relay-knows.md, row by row: people talk through a relay, then its memory, disk and log are searched."""

import asyncio
import base64
import gc
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from phantom_messenger import Client
from phantom_messenger.client.status import LinkingEvent, LinkingStep
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.prekeys import SQLitePreKeys
from phantom_messenger.engines.sqlite.tables import Tables
from support.people import Person, base64_text, key_text
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess, patched
from support.sdk_clients import PASSPHRASE, PATIENCE, event, opened, reached, run
from support.simulated import MINUTE, MakeWorld, World
from support.waiting import eventually

DOCUMENT: Final = (Path(__file__).parents[2] / "docs/what-the-relay-knows.md").read_text()
TEXT: Final = "a text that nobody but Bob may read"
PROFILE: Final = "profile-zelda"
CONTACT: Final = "contact-yorick"
ADDRESS: Final = "203.0.113.77"
AGENT: Final = "SomeBodysBrowser/7.1"
COOKIE: Final = "cookie-of-somebody"
QUERY: Final = "query-of-somebody"
CONVERSATION: Final = "conversation-of-carol-and-dave"
GROUP: Final = "group-of-dave-and-carol"
TITLE: Final = "title-of-what-alice-and-bob-are-in"
PICTURE: Final = b"\x89PNG\r\n\x1a\npicture of what Alice and Bob are in"
OWN_NAME: Final = "own-name-xanthippe"
DEVICE: Final = "device-walter"
DEVICES: Final = base64_text(b"the devices of Carol, as she has signed them")
METADATA: Final = "metadata-of-dave"
CIPHERTEXT: Final = base64_text(b"ciphertext of Dave for Eve, who is away")
SCRUBS: Final = "from phantom_messenger.relay import server\nserver.SCRUB_SECONDS = 0.3"


@dataclass(slots=True)
class Traces:
    """What was found at the relay at one moment."""

    memory: bytes
    disk: bytes
    log: bytes
    folder: Path

    def count(self, question: str) -> int:
        """Of rows in its database."""
        connection = apsw.Connection(str(self.folder / "relay.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return int(connection.execute(f"SELECT count(*) FROM {question}").get)  # noqa: S608 - a test's own words
        finally:
            connection.close()


@dataclass(slots=True)
class Story:
    """What people did, and what the relay had of it while they did and a moment after they had gone."""

    during: Traces
    after: Traces
    alice_seed: bytes
    people: dict[str, Person]
    message_id: str
    exchange: str


def memory_of(pid: int) -> bytes:
    """All that a process can write to: its heap and its stacks."""
    parts = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if rights.startswith("rw"):
                begin, end = (int(number, 16) for number in place.split("-"))
                try:
                    memory.seek(begin)
                    parts.append(memory.read(end - begin))
                except OSError:
                    continue
    return b"\0".join(parts)


def traces(relay: RelayProcess) -> Traces:
    files = [path.read_bytes() for path in sorted(relay.data.rglob("*")) if path.is_file()]
    return Traces(memory_of(relay.pid), b"\0".join(files), relay.log.encode(), relay.data)


async def meet(alice: Client, bob: Client) -> None:
    """They are in a group with a name and a picture, and Bob is called something there."""
    group = alice.groups.create(TITLE, [CONTACT]).group
    assert await bob.groups.wait_known(group, PATIENCE)
    bob.groups.accept(group, own_name=OWN_NAME)
    alice.groups.set_picture(group, PICTURE)
    await bob.groups.send(group, TEXT)  # with the name
    await reached(lambda: bool(bob.groups.find(group).picture and alice.groups.history(group)))


async def link(alice: Client, other: Client) -> None:
    """The other one becomes a device of Alice's, which has a name."""
    line = other.devices.show_code(DEVICE)
    shown = asyncio.create_task(event(other, LinkingEvent, lambda: None, step=LinkingStep.DIGITS))
    await event(alice, LinkingEvent, lambda: alice.devices.link(line, history=False), step=LinkingStep.ANSWERED)
    digits = (await shown).digits
    other.devices.agree()
    assert alice.devices.confirm(digits)
    await reached(lambda: DEVICE in [one.name for one in other.devices.everybody()])


async def talk(alice: Client, bob: Client) -> None:
    """Alice's text is read by Bob."""
    await alice.send(CONTACT, TEXT)
    async for message in bob.messages():
        assert message.text == TEXT
        await message.mark_read()
        return


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("knows")
    options = ["--log-level", "debug", "--log-format", "json", "--limits", "off"]
    options += ["--trusted-proxies", "127.0.0.0/8", "--public-names", "any"]
    relay = RelayProcess(folder, *options, command=patched(SCRUBS))
    try:
        yield played(relay, folder)
    finally:
        relay.kill()


def played(relay: RelayProcess, folder: Path) -> Story:
    people = {name: Person() for name in ("carol", "dave", "eve")}
    carol, dave, eve = people.values()
    headers = {"X-Forwarded-For": ADDRESS, "User-Agent": AGENT, "Cookie": COOKIE}

    def connected(person: Person) -> ReferenceClient:
        client = ReferenceClient(f"{relay.url}?{QUERY}", person, headers=headers)
        client.audience = f"127.0.0.1:{relay.port}"
        return client.login(["ack", "many", "devices"])

    seeds = []

    async def sdk() -> None:
        async with opened(folder, PROFILE, relay) as alice, opened(folder, "other", relay) as bob:
            await alice.wait_published(PATIENCE)
            await bob.wait_published(PATIENCE)
            alice.contacts.add(CONTACT, bob.user_id)
            bob.contacts.add("somebody", alice.user_id)
            await alice.wait_key(CONTACT, PATIENCE)
            seeds.append(alice._messenger._identity.seed)
            await talk(alice, bob)
            await meet(alice, bob)
            async with opened(folder, "second", relay) as second:
                await second.wait_published(PATIENCE)
                await link(alice, second)

    connected(eve).close()
    with connected(carol) as at_carol, connected(dave) as at_dave:
        run(sdk())
        at_carol.send(carol.publish([1, 2], deviceList=DEVICES))
        at_carol.expect("PREKEY_STATUS")
        exchange = dave.init(carol)
        at_dave.send(exchange)
        at_dave.expect("KEY_EXCHANGE_RESPONSE")
        at_carol.send(carol.presence("idle"))
        at_carol.send(carol.block(eve))
        at_carol.until("BLOCK")
        at_dave.send(dave.message_many([eve], group=True, order=dave.order(7, dave, carol, name=GROUP)))
        at_dave.expect("MANY_RESULT")
        message = dave.message(eve, conversation=CONVERSATION, encrypted=CIPHERTEXT, metadata={"of": METADATA})
        at_dave.send(message)
        at_dave.expect("MESSAGE_ACK")
        during = traces(relay)
    with connected(eve) as at_eve:
        at_eve.send(eve.ack(at_eve.expect("MESSAGE")))
        routed = at_eve.expect("MESSAGE")
        at_eve.send(eve.ack(routed, "burned"))
        at_eve.send(eve.ping())
        at_eve.until("PONG")
    time.sleep(1.5)
    gone = [text.encode() for text in (CIPHERTEXT, METADATA)]
    eventually(lambda: not any(text in traces(relay).disk for text in gone))
    return Story(
        during=during,
        after=traces(relay),
        alice_seed=seeds[0],
        people=people,
        message_id=message["payload"]["messageId"],
        exchange=exchange["signature"],
    )


Look = Callable[[Story], list[bytes]]


def keys_of(story: Story) -> list[bytes]:
    seeds = [story.alice_seed, *(bytes(person.key) for person in story.people.values())]
    return [form for seed in seeds for form in (seed, base64.b64encode(seed))]


def both(text: str) -> list[bytes]:
    """As base64 and as what that stands for."""
    return [text.encode(), base64.b64decode(text)]


NEEDLES: Final[dict[str, Look]] = {
    "text of a message": lambda _: [TEXT.encode(), TEXT.encode("utf-16-le")],
    "name of a contact": lambda _: [CONTACT.encode()],
    "name of a profile": lambda _: [PROFILE.encode()],
    "name of a group": lambda _: [TITLE.encode()],
    "picture of a group": lambda _: [PICTURE],
    "name of a member of a group": lambda _: [OWN_NAME.encode()],
    "name of a device": lambda _: [DEVICE.encode()],
    "passphrase": lambda _: [PASSPHRASE.encode()],
    "private key": keys_of,
    "user id": lambda story: [story.people["carol"].id.encode()],
    "public key": lambda story: [story.people["carol"].public_key.encode()],
    "address of a client": lambda _: [ADDRESS.encode()],
    "address of a stranger who has mail waiting": lambda _: [ADDRESS.encode()],
    "User-Agent, cookies, query string": lambda _: [AGENT.encode(), COOKIE.encode(), QUERY.encode()],
    "conversation id": lambda _: [CONVERSATION.encode()],
    "message id": lambda story: [story.message_id.encode()],
    "ciphertext, size, metadata, times, whether it burns or expires": lambda _: [
        CIPHERTEXT.encode(),
        METADATA.encode(),
    ],
    "signature of a key exchange": lambda story: [story.exchange.encode()],
    "published prekeys": lambda story: [key_text(f"2 of {story.people['carol'].id}").encode()],
    "list of devices": lambda _: [DEVICES.encode()],
    "which messages are one, to many": lambda _: [],
    "present, away": lambda _: [],
    "typing": lambda _: [],
    "who lets whom send more messages, for a while": lambda _: [],
}
ROWS_OF_THE_DATABASE: Final = {
    "who wrote to whom": "written",
    "who wrote to whom in a group": "written_in_groups",
    "who may change a group, and who did last, at which revision": "orders WHERE revision = 7",
    "whom somebody has blocked": "blocks",
    "receipts": "sqlite_schema WHERE name = 'items'",
    "who took whose prekeys": "handouts",
    "on which day somebody was here last": "accounts WHERE active_on BETWEEN 1 AND 1000000",
    "when a session last ended, to the minute": "accounts WHERE last_seen % 60000 = 0",
}
TABLE: Final = {
    row[0]: row[1:4]
    for row in re.findall(
        r"^\| ([^|`]+) \| (yes|no|passing) \| (yes|no|passing) \| (yes|no) \| .+ \|$", DOCUMENT, re.MULTILINE
    )
}


def test_every_row_is_looked_for() -> None:
    assert set(TABLE) == set(NEEDLES) | set(ROWS_OF_THE_DATABASE)


@pytest.mark.parametrize("row", NEEDLES)
def test_relay_holds_what_the_page_says_and_nothing_else(story: Story, row: str) -> None:
    for needle in NEEDLES[row](story):
        for place, word in zip(("memory", "disk", "log"), TABLE[row], strict=True):
            found = needle in getattr(story.during, place)
            assert found == (word == "yes") or word == "passing", (row, place, needle)


@pytest.mark.parametrize("row", ROWS_OF_THE_DATABASE)
def test_what_is_no_text_is_in_the_database(story: Story, row: str) -> None:
    assert TABLE[row][1:] == ("yes", "no")
    assert story.after.count(ROWS_OF_THE_DATABASE[row]) > 0


def test_what_was_burned_is_gone_from_disk(story: Story) -> None:
    for gone in (CIPHERTEXT, METADATA):
        assert gone.encode() in story.during.disk
        assert gone.encode() not in story.after.disk
    eve = story.people["eve"].id
    assert story.after.count(f"items JOIN accounts ON account = recipient WHERE kind = 1 AND user_id = '{eve}'") == 0


def test_log_holds_events_alone(story: Story) -> None:
    assert b'"event": "started"' in story.after.log
    for person in story.people.values():
        assert person.id.encode() not in story.after.log
    assert b"127.0.0.1" not in story.after.log


def test_every_column_is_on_the_page(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "data")
    store.close()
    connection = apsw.Connection(str(tmp_path / "data" / "relay.db"))
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    expected = {
        name: ", ".join(column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")) for name in tables
    }
    connection.close()
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCUMENT, re.MULTILINE)) == expected
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"relay.db", "reserve", "lock"}


# --- for how long -----------------------------------------------------------------


def held(world: World) -> str:
    """Every text that can be reached from a relay, but not through its store."""
    seen: set[int] = {id(world.store), id(world.writer), id(world.clock), id(world.turns)}
    waiting: list[Any] = [world.relay]
    texts = []
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type) or type(thing).__name__ in {"module", "function", "code"}:
            continue
        seen.add(id(thing))
        if isinstance(thing, (str, bytes)):
            texts.append(thing if isinstance(thing, str) else thing.decode("latin-1"))
        waiting += gc.get_referents(thing)
        if isinstance(thing, dict):
            waiting += thing  # the collector passes over keys that are texts
    return "\n".join(texts)


def test_nothing_is_held_of_people_who_have_gone(make_world: MakeWorld) -> None:
    world = make_world()
    alice = world.login("alice", address="198.51.100.7")
    bob = world.login("bob", address="198.51.100.8")
    world.make_contacts(alice, bob)
    exchange = alice.person.init(bob.person)
    alice.send(exchange)
    alice.send(alice.person.message(bob.person, conversation=CONVERSATION), alice.person.presence("idle"))
    present = held(world)
    traces_of_people = [alice.person.id, bob.person.id, "198.51.100.7", exchange["signature"]]
    assert [trace in present for trace in traces_of_people] == [True] * 4, "the control"
    alice.drop()
    bob.drop()
    assert alice.person.id in held(world), "for ten seconds, as somebody who may come back"
    world.pass_time(12 * MINUTE, step=MINUTE // 4)
    absent = held(world)
    assert [trace in absent for trace in traces_of_people] == [False] * 4


def test_who_lets_whom_send_more_is_known_for_ten_minutes(make_world: MakeWorld) -> None:
    """After that there is a hash of who did, for a day, so that nobody does it all the time."""
    world = make_world()
    alice = world.login("alice", features=["allowance"], address="198.51.100.7")
    bob = world.login("bob", features=["allowance"], address="198.51.100.8")
    bob.send(bob.person.allowance(alice.person))
    alice.drop()
    bob.drop()
    world.pass_time(9 * MINUTE, step=MINUTE // 4)
    box, traces_of_it = world.relay._core.admission.allowances, [alice.person.id, bob.person.id, "198.51.100.8"]
    assert [trace in held(world) for trace in traces_of_it] == [True] * 3, "the control"
    world.pass_time(2 * MINUTE, step=MINUTE // 4)
    assert [trace in held(world) for trace in traces_of_it] == [False] * 3
    assert [len(name) for name in box._given] == [16]
    world.pass_time(24 * 60 * MINUTE, step=10 * MINUTE)
    assert not box._given


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
def test_who_took_whose_prekeys_is_known_for_an_hour(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, protected: bool
) -> None:
    """Also if nobody asks for anybody's again: the control has what that alone removed."""
    if not protected:
        monkeypatch.setattr(SQLitePreKeys, "forget_handouts", lambda *_: None)
    world = make_world()
    alice, bob = world.login("alice"), world.login("bob")
    bob.send(bob.person.publish([1, 2], last_resort=True))
    alice.send(alice.person.init(bob.person))

    def count() -> int:
        def job(tx: Tables) -> Any:
            assert isinstance(tx.prekeys, SQLitePreKeys)
            return tx.prekeys._connection.execute("SELECT count(*) FROM handouts").get

        return int(world.peek(job))

    assert count() == 1
    world.pass_time(59 * MINUTE, step=MINUTE)
    assert count() == 1
    world.pass_time(2 * MINUTE, step=MINUTE)
    assert count() == (0 if protected else 1)


def test_search_finds_a_text_that_is_in_a_process(tmp_path: Path) -> None:
    """The control of the search itself: what a relay is made to hold is found."""
    secret = f"held on purpose {tmp_path.name}"
    patch = f"import base64\nheld = base64.b64decode({base64.b64encode(secret.encode()).decode()!r}) * 2"
    relay = RelayProcess(tmp_path, command=patched(patch))
    try:
        assert secret.encode() * 2 in memory_of(relay.pid)
    finally:
        relay.kill()
