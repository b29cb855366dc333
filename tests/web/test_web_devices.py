"""Devices of one person, some with the browser's client and some with the SDK: linked, kept in step, removed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from web_peers import TIMEOUT, Line, Person, SdkPerson, WebPerson, meet, run, settled, until
from web_peers import made_once as _made  # noqa: F401 - a fixture
from web_peers import relay_of_all as _relay  # noqa: F401 - a fixture

from phantom_messenger.client.link import Link
from phantom_messenger.client.pacing import Pacing
from phantom_messenger.client.status import LinkingEvent, LinkingStep
from phantom_messenger.wire import frames
from support.people import base64_text
from support.relay_process import RelayProcess, StartRelay

pytestmark = pytest.mark.timeout(TIMEOUT)


class SdkDevice(SdkPerson):
    """Somebody with the SDK, with what linking says."""

    def __init__(self, home: Path, relay: RelayProcess) -> None:
        super().__init__(home, relay)
        self.linking: list[LinkingEvent] = []

    async def start(self, file: Path | None = None) -> None:
        await super().start(file)
        self._links = asyncio.create_task(self._hear_links())

    async def _hear_links(self) -> None:
        with contextlib.suppress(Exception):  # it ends with the client
            async for event in self.client.events():
                if isinstance(event, LinkingEvent):
                    self.linking.append(event)

    async def close(self) -> None:
        await super().close()
        self._links.cancel()


@contextlib.asynccontextmanager
async def people(
    made: Path, relay: RelayProcess, folder: Path
) -> AsyncIterator[tuple[WebPerson, SdkDevice, SdkPerson]]:
    """A browser and a program of the SDK that are to be one person's, and Bob."""
    web, sdk, bob = WebPerson(made, folder, relay), SdkDevice(folder / "sdk", relay), SdkPerson(folder / "bob", relay)
    try:
        for one in (web, sdk, bob):
            await one.start()
        await settled(web, sdk, bob)
        yield web, sdk, bob
    except BaseException:
        await web.kill()
        raise
    finally:
        await sdk.close()
        await bob.close()
    await web.close()


def step_of(web: WebPerson, step: str) -> dict[str, Any] | None:
    """What the browser was told of a step of linking."""
    return next((one for one in web.events if one["kind"] == "linking" and one["step"] == step), None)


async def waited_for(web: WebPerson, step: str) -> dict[str, Any]:
    async def is_there() -> bool:
        return step_of(web, step) is not None

    await until(is_there, lambda: [one for one in web.events if one["kind"] == "linking"])
    found = step_of(web, step)
    assert found is not None
    return found


async def heard(sdk: SdkDevice, step: LinkingStep) -> LinkingEvent:
    async def is_there() -> bool:
        return any(one.step is step for one in sdk.linking)

    await until(is_there, lambda: sdk.linking)
    return next(one for one in sdk.linking if one.step is step)


async def link_browser(web: WebPerson, sdk: SdkDevice, *, history: bool = False) -> None:
    """The SDK's is the first device, and the browser the new one."""
    sdk.client.devices.link(await web.do("showLinkCode", name="Browser"), history=history)
    shown = await waited_for(web, "digits")
    assert shown["person"] == sdk.id
    assert (await heard(sdk, LinkingStep.ANSWERED)).name == "Browser"
    assert sdk.client.devices.confirm(shown["digits"])
    await web.do("agreeToLink")
    await waited_for(web, "linked")
    await heard(sdk, LinkingStep.LINKED)


async def link_sdk(web: WebPerson, sdk: SdkDevice, *, history: bool = False) -> None:
    """The browser is the first device."""
    await web.do("linkDevice", line=sdk.client.devices.show_code("Laptop"), history=history)
    shown = await heard(sdk, LinkingStep.DIGITS)
    assert shown.person == web.id
    assert (await waited_for(web, "answered"))["name"] == "Laptop"
    assert await web.do("typeDigits", digits=shown.digits)
    sdk.client.devices.agree()
    await heard(sdk, LinkingStep.LINKED)
    await waited_for(web, "linked")


async def link_sdks(first: SdkDevice, new: SdkDevice) -> None:
    """Both have the SDK."""
    first.client.devices.link(new.client.devices.show_code("Laptop"), history=False)
    digits = (await heard(new, LinkingStep.DIGITS)).digits
    await heard(first, LinkingStep.ANSWERED)
    assert first.client.devices.confirm(digits)
    new.client.devices.agree()
    for one in (first, new):
        await heard(one, LinkingStep.LINKED)


def texts(lines: list[Line]) -> list[tuple[str, bool, str | None]]:
    """A conversation, in an order that does not depend on when what came."""
    return sorted((line.id, line.is_mine, line.text) for line in lines)


async def written(devices: tuple[Person, Person], peer: Person, person: str) -> None:
    """All write; both devices have the same afterwards, and the other side the same turned round, each once."""
    one, other = devices
    said = []
    for number in range(3):
        said += [await one.send(peer.id, f"one {number}"), await other.send(peer.id, f"other {number}")]
        said.append(await peer.send(person, f"peer {number}"))
    seen: list[list[tuple[str, bool, str | None]]] = [[], [], []]

    async def is_same() -> bool:
        mine, also = [texts(await device.history(peer.id)) for device in devices]
        theirs = texts(await peer.history(person))
        seen[:] = [[line for line in lines if line[0] in said] for lines in (mine, also, theirs)]
        turned = [(number, not is_mine, text) for number, is_mine, text in seen[2]]
        return len(seen[0]) == len(said) and seen[0] == seen[1] == turned

    await until(is_same, lambda: seen)
    assert set(await _contacts(devices[0])) == {peer.id}


async def _contacts(one: Person) -> list[str]:
    if isinstance(one, WebPerson):
        return [contact["userId"] for contact in await one.do("contacts")]
    assert isinstance(one, SdkPerson)
    return [contact.user_id for contact in one.client.contacts.everybody()]


async def call(web: WebPerson, what: str, **given: Any) -> Any:
    """What the page calls of groups."""
    return await web.do("call", name=what, given=given)


async def relation(one: Person, group: str) -> str:
    """What a group is to a person, '' if it is not known there."""
    if isinstance(one, WebPerson):
        found = [each for each in await call(one, "groups") if _id_of(each["key"]) == group]
        return str(found[0]["relation"]) if found else ""
    assert isinstance(one, SdkPerson)
    return one.client.groups.find(group).relation if one.client.groups.has(group) else ""


async def group_texts(one: Person, group: str) -> list[str]:
    """What was said in a group, in an order that does not depend on when what came."""
    if not await relation(one, group):
        return []
    if isinstance(one, WebPerson):
        items = (await call(one, "items", peer=f"group:{group}", before=None, limit=100))["items"]
        return sorted(item["text"] for item in items if item["kind"] == "text")
    assert isinstance(one, SdkPerson)
    return sorted(entry.text or "" for entry in one.client.groups.history(group))


async def write_in(one: Person, group: str, text: str) -> None:
    if isinstance(one, WebPerson):
        await call(one, "send", peer=f"group:{group}", text=text, burn=False, expiresIn=None)
    else:
        assert isinstance(one, SdkPerson)
        await one.client.groups.send(group, text)


async def make_group(one: Person, name: str, peer: Person) -> str:
    if isinstance(one, WebPerson):
        return _id_of(await call(one, "createGroup", name=name, people=[peer.id]))
    assert isinstance(one, SdkPerson)
    return one.client.groups.create(name, [peer.id]).group


async def do_with_group(one: Person, what: str, group: str, **given: str) -> None:
    """Accept or rename it, or leave."""
    if isinstance(one, WebPerson):
        await call(one, f"{what}Group", group=f"group:{group}", **given)
    else:
        assert isinstance(one, SdkPerson)
        getattr(one.client.groups, what)(group, **given)


async def says_in(one: Person, group: str, member: str) -> str:
    """What a member says that they are called, '' if that is not known to somebody."""
    if isinstance(one, WebPerson):
        found = [each for each in await call(one, "groups") if _id_of(each["key"]) == group]
        return "".join(each["says"] for one in found for each in one["members"] if each["peer"] == member)
    assert isinstance(one, SdkPerson)
    known = one.client.groups.find(group) if one.client.groups.has(group) else None
    return "".join(each.contact.says for each in known.members if each.contact.user_id == member) if known else ""


async def is_called(one: Person, group: str, member: Person, name: str) -> None:
    """Wait until a member says to somebody that they are called so."""
    seen: list[str] = []

    async def is_so() -> bool:
        seen[:] = [await says_in(one, group, member.id)]
        return seen == [name]

    await until(is_so, lambda: seen)


async def group_digits(one: Person, group: str) -> str:
    if isinstance(one, WebPerson):
        return " ".join(await call(one, "groupDigits", group=f"group:{group}"))
    assert isinstance(one, SdkPerson)
    return one.client.groups.digits(group)


async def is_soon(one: Person, group: str, expected: str) -> None:
    """Wait until a group is this to a person."""

    async def is_so() -> bool:
        return await relation(one, group) == expected

    await until(is_so, lambda: f"it is not {expected}")


def _id_of(key: str) -> str:
    return key.removeprefix("group:")


def test_browser_is_linked_to_a_phone_with_the_sdk(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            await meet(sdk, bob)
            await sdk.send(bob.id, "before")
            await settled(sdk, bob)
            await link_browser(web, sdk)
            assert await _contacts(web) == [bob.id]
            await settled(web, sdk, bob)
            await written((web, sdk), bob, sdk.id)
            # What was read on one is read on the other.
            await bob.send(sdk.id, "burns", burn=True)

            async def has_it() -> bool:
                return any(line.text == "burns" for line in await web.history(bob.id))

            await until(has_it, lambda: "it has not come")
            await settled(web, sdk, bob)
            await sdk.read_all(bob.id)

            async def is_gone() -> bool:
                return not any(line.text == "burns" for line in await web.history(bob.id))

            await until(is_gone, lambda: "it was not burned on the browser")
            sdk.client.devices.remove(web.id)

            async def is_removed() -> bool:
                return bool(await web.do("isRemoved"))

            await until(is_removed, lambda: "it does not know")
            await settled(bob)
            await bob.send(sdk.id, "without the browser")
            await settled(sdk, bob)
            assert any(line.text == "without the browser" for line in await sdk.history(bob.id))
            assert not any(line.text == "without the browser" for line in await web.history(bob.id))

    run(main())


def test_sdk_is_linked_to_a_browser(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            await meet(web, bob)
            await web.send(bob.id, "before")
            await settled(web, bob)
            await link_sdk(web, sdk)
            assert await _contacts(sdk) == [bob.id]
            await settled(web, sdk, bob)
            await written((web, sdk), bob, web.id)
            device = next(one for one in await web.do("devices") if not one["isFirst"])
            assert device["name"] == "Laptop"
            await web.do("removeDevice", device=device["userId"])

            async def is_removed() -> bool:
                return sdk.client._messenger.desk.is_removed

            await until(is_removed, lambda: "it does not know")
            assert [one["isFirst"] for one in await web.do("devices")] == [True]

    run(main())


@pytest.mark.parametrize("writer", ["browser", "sdk"])
def test_what_was_written_before_its_writer_knew_a_device_reaches_it(
    made: Path, relay: RelayProcess, tmp_path: Path, writer: str
) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            other: Person = web if writer == "browser" else bob
            laptop = SdkDevice(tmp_path / "laptop", relay)
            new: Person = laptop if writer == "browser" else web
            if writer == "browser":
                await laptop.start()
            try:
                await meet(sdk, other)
                group = await make_group(sdk, "Tea", other)
                await is_soon(other, group, "invited")
                await do_with_group(other, "accept", group)
                await settled(sdk, other, new)
                await other.offline()
                await (link_sdks(sdk, laptop) if writer == "browser" else link_browser(web, sdk))
                await is_soon(new, group, "member")
                await other.send(sdk.id, "to Alice")
                await write_in(other, group, "to all")
                await other.online()

                async def is_there(one: Person) -> bool:
                    lines = [line.text for line in await one.history(other.id)]
                    return lines == ["to Alice"] and await group_texts(one, group) == ["to all"]

                for one in (sdk, new):
                    await until(lambda one=one: is_there(one), lambda: "it has not come")  # type: ignore[misc]
                await settled(sdk, other, new)
                assert [await is_there(one) for one in (sdk, new)] == [True, True]
            finally:
                if writer == "browser":
                    await laptop.close()

    run(main())


@pytest.mark.parametrize("first", ["browser", "sdk"])
def test_what_was_said_before_goes_over(made: Path, relay: RelayProcess, tmp_path: Path, first: str) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            old: Person = web if first == "browser" else sdk
            new: Person = sdk if first == "browser" else web
            await meet(old, bob)
            for number in range(40):
                await old.send(bob.id, f"{number} mine")
                await bob.send(old.id, f"{number} theirs, Grüße, 你好 {'x' * 1_000}")
            await old.send(bob.id, "burns", burn=True)
            await settled(old, bob)
            await (link_sdk if first == "browser" else link_browser)(web, sdk, history=True)
            expected = [line for line in texts(await old.history(bob.id)) if line[2] != "burns"]
            assert len(expected) == 80
            seen: list[tuple[str, bool, str | None]] = []

            async def is_there() -> bool:
                seen[:] = texts(await new.history(bob.id))
                return seen == expected

            await until(is_there, lambda: f"{len(seen)} of {len(expected)}")

            async def is_over() -> bool:
                return not sdk.client.devices.is_history_coming and not await web.do("isHistoryComing")

            await until(is_over, lambda: "it waits for more")
            assert await new.read_all(bob.id) == [], "none of it is news"

    run(main())


@pytest.mark.parametrize("first", ["browser", "sdk"])
def test_new_device_allows_its_first_device_more_if_much_is_to_come(
    made: Path, start_relay: StartRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """More than 48 chunks of one text each, at a relay with limits, though not of those that would take minutes."""
    relay = start_relay("--rate-message", "100000", "--rate-recipients", "100000")
    told: list[tuple[str, int]] = []
    genuine = Pacing.allow

    def allow(self: Pacing, peer: str, messages: int, until: int, now: int) -> None:
        told.append((peer, messages))
        genuine(self, peer, messages, until, now)

    monkeypatch.setattr(Pacing, "allow", allow)
    asked: list[object] = []
    genuine_send = Link.send

    def send(self: Link, frame: Any, now: int) -> str:
        if isinstance(frame, frames.Allowance):
            asked.append(frame.payload.sender_id)
        return genuine_send(self, frame, now)

    monkeypatch.setattr(Link, "send", send)

    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            old: Person = web if first == "browser" else sdk
            await meet(old, bob)
            random = Random("much")  # noqa: S311 - so that a run can be repeated
            for _ in range(54):
                await old.send(bob.id, base64_text(random.randbytes(28_000)))
            await settled(old, bob)
            await (link_sdk if first == "browser" else link_browser)(web, sdk, history=True)

            async def is_over() -> bool:
                return not sdk.client.devices.is_history_coming and not await web.do("isHistoryComing")

            await until(is_over, lambda: "it waits for more")
            new: Person = sdk if first == "browser" else web
            assert len(await new.history(bob.id)) >= 54
            if first == "browser":
                assert set(asked) == {web.id}
            else:
                assert told == [(web.id, 256)]

    run(main())


@pytest.mark.parametrize("times", [2, 3, 4, 5])
def test_linking_and_history_go_on_after_the_browser_has_died(
    made: Path, relay: RelayProcess, tmp_path: Path, times: int
) -> None:
    """It dies once it has agreed: while it becomes a device, or while the history (of several chunks) comes."""

    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            await meet(sdk, bob)
            random = Random(times)  # noqa: S311 - so that a run can be repeated
            for _ in range(80):
                await sdk.send(bob.id, random.randbytes(1_500).hex())
            await settled(sdk, bob)
            sdk.client.devices.link(await web.do("showLinkCode", name="Browser"), history=True)
            shown = await waited_for(web, "digits")
            await heard(sdk, LinkingStep.ANSWERED)
            assert sdk.client.devices.confirm(shown["digits"])
            await web.do("die", point="after", times=times)
            with contextlib.suppress(ConnectionError):
                await web.do("agreeToLink")
            await web.died()
            await web.start()
            await heard(sdk, LinkingStep.LINKED)
            expected = texts(await sdk.history(bob.id))
            assert len(expected) == 80
            seen: list[tuple[str, bool, str | None]] = []

            async def is_there() -> bool:
                seen[:] = texts(await web.history(bob.id))
                return seen == expected

            await until(is_there, lambda: f"{len(seen)} of {len(expected)}")

    run(main())


def test_people_and_settings_are_kept_in_step(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            await meet(sdk, bob)
            await sdk.send(bob.id, "hello")
            await settled(sdk, bob)
            await link_browser(web, sdk)
            await web.add("Robert", bob.id)

            async def sdk_knows() -> bool:
                return sdk.client.contacts.find(bob.id).name == "Robert"

            await until(sdk_knows, lambda: "the SDK does not know")
            sdk.client.contacts.add("Bobby", bob.id)
            sdk.client.change_settings(read_receipts=False)

            async def web_knows() -> bool:
                settings = await web.do("settings", changes={})
                names = [one["name"] for one in await web.do("contacts")]
                return names == ["Bobby"] and settings["readReceipts"] is False

            await until(web_knows, lambda: "the browser does not know")
            await web.do("settings", changes={"typing": False})

            async def is_told() -> bool:
                return sdk.client.settings.typing is False

            await until(is_told, lambda: "the SDK does not know of the settings")

    run(main())


@pytest.mark.parametrize("first", ["browser", "sdk"])
def test_what_was_said_in_groups_before_goes_over(made: Path, relay: RelayProcess, tmp_path: Path, first: str) -> None:
    """Also in one that was left."""

    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            old: Person = web if first == "browser" else sdk
            new: Person = sdk if first == "browser" else web
            await bob.add("other", old.id)
            await old.add("Bob", bob.id)
            groups = [await make_group(one, "Tea", other) for one, other in ((old, bob), (bob, old))]
            for group, invited in zip(groups, (bob, old), strict=True):
                await is_soon(invited, group, "invited")
                await do_with_group(invited, "accept", group)
                for number in range(20):
                    await write_in(bob if number % 2 else old, group, f"{number} Grüße, 你好 {'x' * 500}")
            await settled(old, bob)
            expected = {group: await group_texts(old, group) for group in groups}
            assert [len(said) for said in expected.values()] == [20, 20]
            await do_with_group(old, "leave", groups[1])
            await settled(old, bob)
            await (link_sdk if first == "browser" else link_browser)(web, sdk, history=True)
            seen: dict[str, list[str]] = {}

            async def is_there() -> bool:
                seen.update({group: await group_texts(new, group) for group in groups})
                return seen == expected

            await until(is_there, lambda: seen)
            assert [await relation(new, group) for group in groups] == ["member", "left"]

    run(main())


@pytest.mark.parametrize("first", ["browser", "sdk"])
def test_linked_device_has_its_person_s_groups(made: Path, relay: RelayProcess, tmp_path: Path, first: str) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, bob):
            old: Person = web if first == "browser" else sdk
            new: Person = sdk if first == "browser" else web
            await bob.add("other", old.id)
            await old.send(bob.id, "hello")  # without a name for him, so that he is shown as he calls himself
            group = await make_group(old, "Tea", bob)
            await is_soon(bob, group, "invited")
            bob.client.groups.accept(group, own_name="Bobby")
            await is_called(old, group, bob, "Bobby")
            assert await says_in(new, group, bob.id) == "", "the control"
            await settled(old, bob)
            await (link_sdk if first == "browser" else link_browser)(web, sdk)
            await is_soon(new, group, "member")
            await is_called(new, group, bob, "Bobby")
            await do_with_group(old, "rename", group, name="Coffee")
            said: list[str] = []
            for one in (bob, new, old):
                said.append(f"text {len(said)}")
                await write_in(one, group, said[-1])
            seen: list[object] = []

            async def is_same() -> bool:
                texts_of = [await group_texts(one, group) for one in (old, new, bob)]
                digits = {await group_digits(one, group) for one in (old, new, bob)}
                seen[:] = [texts_of, digits]
                return texts_of == [said, said, said] and len(digits) == 1

            await until(is_same, lambda: seen)
            assert {one.sender.user_id for one in bob.client.groups.history(group)} == {old.id, bob.id}
            # One that is joined later comes, too, with what was said before.
            later = await make_group(bob, "Later", old)
            await is_soon(old, later, "invited")
            await write_in(bob, later, "before")
            await settled(web, sdk, bob)
            assert await relation(new, later) == ""
            await do_with_group(old, "accept", later)
            await is_soon(new, later, "member")

            async def has_it() -> bool:
                return await group_texts(new, later) == ["before"]

            await until(has_it, lambda: "what was said before has not come")
            await do_with_group(old, "leave", later)
            await is_soon(new, later, "left")

    run(main())


def test_control_wrong_digits_link_nothing(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (web, sdk, _):
            sdk.client.devices.link(await web.do("showLinkCode", name="Browser"), history=False)
            shown = await waited_for(web, "digits")
            await heard(sdk, LinkingStep.ANSWERED)
            wrong = f"{(int(shown['digits']) + 1) % 10**6:06d}"
            assert not sdk.client.devices.confirm(wrong)
            await web.do("agreeToLink")
            await settled(web, sdk)
            assert sdk.client.devices.everybody() == []
            assert await web.do("devices") == []

    run(main())
