"""Groups of people with the browser's client and with the SDK at one relay: made, changed, written to and restored."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from web_peers import TIMEOUT, SdkPerson, WebPerson, run, settled, until
from web_peers import made_once as _made  # noqa: F401 - a fixture
from web_peers import relay_of_all as _relay  # noqa: F401 - a fixture

from phantom_messenger.client.groups.contents import GroupHello
from phantom_messenger.client.groups.state import digits_of
from phantom_messenger.client.groups.store import raw_of
from phantom_messenger.client.groups.views import GroupInfo
from support.relay_process import RelayProcess

pytestmark = pytest.mark.timeout(TIMEOUT)

DAY_MS: Final = 86_400_000
PICTURE: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(64))


async def once(what: Callable[[], bool | Awaitable[bool]], why: object) -> None:
    """Wait until something is so."""

    async def is_so() -> bool:
        found = what()
        return found if isinstance(found, bool) else await found

    await until(is_so, lambda: why)


class Page:
    """Somebody with the browser's client, and what the page calls of groups."""

    def __init__(self, web: WebPerson) -> None:
        self.web = web

    @property
    def id(self) -> str:
        return self.web.id

    async def call(self, what: str, **given: Any) -> Any:
        return await self.web.do("call", name=what, given=given)

    async def group(self, key: str) -> dict[str, Any] | None:
        return next((one for one in await self.call("groups") if one["key"] == key), None)

    async def relation(self, key: str) -> str:
        found = await self.group(key)
        return "" if found is None else str(found["relation"])

    async def items(self, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.call("items", peer=key, before=None, limit=1_000))["items"]
        return found

    async def texts(self, key: str) -> list[str]:
        return sorted(one["text"] for one in await self.items(key) if one["kind"] == "text")

    async def events(self, key: str) -> list[str]:
        sentences = [one["text"] for one in await self.items(key) if one["kind"] == "event"]
        return [sentence.replace("\u2068", "").replace("\u2069", "") for sentence in sentences]

    async def send(self, key: str, text: str) -> str:
        sent = await self.call("send", peer=key, text=text, burn=False, expiresIn=None)
        return str(sent["id"])

    async def digits(self, key: str) -> str:
        return " ".join(await self.call("groupDigits", group=key))

    async def copies(self, key: str, message_id: str) -> dict[str, int]:
        found = next(one for one in await self.items(key) if one["id"] == message_id)
        return dict(found["group"]["copies"])


def key_of(group: str) -> str:
    return f"group:{group}"


def id_of(key: str) -> str:
    return key.removeprefix("group:")


def info(person: SdkPerson, group: str) -> GroupInfo | None:
    return person.client.groups.find(group) if person.client.groups.has(group) else None


def relation(person: SdkPerson, group: str) -> str:
    found = info(person, group)
    return "" if found is None else found.relation


def texts(person: SdkPerson, group: str) -> list[str]:
    return sorted(entry.text or "" for entry in person.client.groups.history(group))


def members(found: GroupInfo | None) -> set[str]:
    return set() if found is None else {one.contact.user_id for one in found.members}


@contextlib.asynccontextmanager
async def people(made: Path, relay: RelayProcess, folder: Path) -> AsyncIterator[tuple[Page, SdkPerson, SdkPerson]]:
    """Somebody with the browser's client, Ada and Ben with the SDK; all of them know each other."""
    web, ada, ben = WebPerson(made, folder, relay), SdkPerson(folder / "ada", relay), SdkPerson(folder / "ben", relay)
    try:
        for one in (web, ada, ben):
            await one.start()
        for name, one in (("Web", web), ("Ada", ada), ("Ben", ben)):
            for other in (web, ada, ben):
                if other is not one:
                    await other.add(name, one.id)
        await settled(web, ada, ben)
        yield Page(web), ada, ben
    except BaseException:
        await web.kill()
        raise
    finally:
        await ada.close()
        await ben.close()
    await web.close()


async def together(page: Page, ada: SdkPerson, ben: SdkPerson) -> str:
    """A group that the page has made, and that all have accepted; its id."""
    key = str(await page.call("createGroup", name="Tea", people=[ada.id, ben.id]))
    group = id_of(key)
    for one in (ada, ben):
        await once(lambda one=one: relation(one, group) == "invited", "an invitation")  # type: ignore[misc]
        one.client.groups.accept(group)

    async def all_there() -> bool:
        found = await page.group(key)
        return found is not None and all(member["hasJoined"] for member in found["members"])

    await once(all_there, "all have accepted")
    return group


async def same_head(page: Page, group: str, *others: SdkPerson) -> None:
    """Wait until all have the same group."""
    seen: list[str] = []

    async def is_same() -> bool:
        seen[:] = [await page.digits(key_of(group)), *(one.client.groups.digits(group) for one in others)]
        return len(set(seen)) == 1

    await once(is_same, seen)


async def all_have(page: Page, group: str, expected: list[str], *others: SdkPerson) -> None:
    """Wait until all have these texts, each once."""
    seen: list[list[str]] = []

    async def is_same() -> bool:
        seen[:] = [await page.texts(key_of(group)), *(texts(one, group) for one in others)]
        return all(found == sorted(expected) for found in seen)

    await once(is_same, seen)


def test_page_makes_a_group_with_people_of_the_sdk(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (page, ada, ben):
            group = await together(page, ada, ben)
            key = key_of(group)
            message_id = await page.send(key, "from the page")
            await ada.client.groups.send(group, "from Ada")
            await ben.client.groups.send(group, "from Ben")
            await all_have(page, group, ["from the page", "from Ada", "from Ben"], ada, ben)
            await same_head(page, group, ada, ben)

            async def is_delivered() -> bool:
                return (await page.copies(key, message_id))["delivered"] == 2

            await once(is_delivered, "both have said that they have it")
            async for message in ada.client.groups.messages(group):
                await message.mark_read()
                if message.text == "from the page":
                    break

            async def is_read() -> bool:
                return (await page.copies(key, message_id))["read"] == 1

            await once(is_read, "Ada has said that she has read it")
            unread = [one["id"] for one in await page.items(key) if one["isUnread"]]
            assert len(unread) == 2
            await page.call("read", peer=key, ids=unread)
            found = await page.group(key)
            assert found is not None
            assert found["unread"] == 0
            await other_history(page, ada, group)

    run(main())


async def other_history(page: Page, ada: SdkPerson, group: str) -> None:
    """Ada names another head: the page shows the digits of both, until its user goes on."""
    key, head = key_of(group), bytes(range(32))
    assert await page.call("rivalDigits", group=key) is None
    messenger = ada.client._messenger
    found = info(ada, group)
    assert found is not None
    hello = GroupHello(group=raw_of(group), revision=found.revision, head=head)
    messenger.groups._speaking.say(hello.group, [page.id], hello, messenger._now())

    async def is_forked() -> bool:
        shown = await page.group(key)
        return shown is not None and shown["doubt"] == "forked"

    await once(is_forked, "the page knows of two histories")
    assert " ".join(await page.call("rivalDigits", group=key)) == digits_of(head) != await page.digits(key)
    await page.call("goOnInGroup", group=key)
    assert await page.call("rivalDigits", group=key) is None


def test_all_change_a_group(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (page, ada, ben):
            group = await together(page, ada, ben)
            key = key_of(group)
            await page.call("changeRole", group=key, person=ada.id, role="admin")
            await once(lambda: bool((found := info(ada, group)) and found.is_admin), "Ada is an admin")
            ada.client.groups.rename(group, "Coffee")
            await page.call("groupTimer", group=key, expiresIn=DAY_MS)
            await page.call("groupRights", group=key, invite="member", write="member")
            ada.client.groups.set_picture(group, PICTURE)

            async def is_changed() -> bool:
                found, at_ben = await page.group(key), info(ben, group)
                assert found is not None
                assert at_ben is not None
                shown = (found["name"], found["expiresIn"], found["invite"], found["picture"] is not None)
                theirs = (at_ben.name, at_ben.timer, at_ben.invite, at_ben.picture == PICTURE)
                return shown == theirs == ("Coffee", DAY_MS, "member", True)

            await once(is_changed, "all changes are everybody's")
            await same_head(page, group, ada, ben)
            await ben.client.groups.send(group, "gone in a day")
            await all_have(page, group, ["gone in a day"], ada, ben)
            assert [one["expiresAt"] is not None for one in await page.items(key) if one["kind"] == "text"] == [True]

            ada.client.groups.remove(group, [ben.id])
            await once(lambda: relation(ben, group) == "removed", "Ben is removed")
            await page.send(key, "without Ben")
            await all_have(page, group, ["gone in a day", "without Ben"], ada)
            assert "without Ben" not in texts(ben, group)
            await page.call("leaveGroup", group=key)
            await once(lambda: members(info(ada, group)) == {ada.id}, "Ada's client takes out who has left")
            assert await page.relation(key) == "left"
            said = await page.events(key)
            assert said[0] == "You created the group"
            assert "Ada removed Ben" in said

    run(main())


def test_sdk_makes_a_group_and_links_serve_both_ways(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (page, ada, ben):
            group = ada.client.groups.create("Tea", [page.id]).group
            key = key_of(group)

            async def is_invited() -> bool:
                return await page.relation(key) == "invited"

            await once(is_invited, "an invitation")
            found = await page.group(key)
            assert found is not None
            assert (found["inviter"]["name"], found["last"], found["unread"]) == ("Ada", None, 0)
            await page.call("acceptGroup", group=key)
            await once(
                lambda: bool((at_ada := info(ada, group)) and all(one.has_joined for one in at_ada.members)), "hello"
            )
            ada.client.groups.set_role(group, page.id, "admin")

            async def is_admin() -> bool:
                shown = await page.group(key)
                return shown is not None and shown["role"] == "admin"

            await once(is_admin, "the page is an admin")
            link = await page.call("groupLink", group=key, uses=1, lasts=DAY_MS)
            ben.client.groups.join(link["text"])
            await once(lambda: relation(ben, group) == "member", "Ben has joined by the page's link")
            await ben.client.groups.send(group, "here I am")
            await all_have(page, group, ["here I am"], ada, ben)

            other = ben.client.groups.create("Cake").group
            joined = await page.call("joinGroup", link=ben.client.groups.link(other))
            assert joined == ben.id

            async def is_in() -> bool:
                return await page.relation(key_of(other)) == "member"

            await once(is_in, "the page has joined by Ben's link")
            await page.send(key_of(other), "cake?")
            await all_have(page, other, ["cake?"], ben)
            await same_head(page, other, ben)

    run(main())


def said_names(person: SdkPerson, group: str) -> dict[str, str]:
    """What others have said that they are called."""
    found = person.client._messenger._stores.groups.get(group)
    return {} if found is None else found.record.names


def test_group_goes_from_the_page_to_the_sdk_and_back(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    """In exported files: what was said, who is in it, and that one goes on."""

    async def main() -> None:
        async with people(made, relay, tmp_path) as (page, ada, ben):
            group = await together(page, ada, ben)
            key = key_of(group)
            await page.send(key, "before")
            await ada.client.groups.send(group, "unread")
            await all_have(page, group, ["before", "unread"], ada, ben)
            await page.call("callMe", group=key, name="Paige")
            ada.client.groups.call_me(group, "Ada A.")
            await once(lambda: said_names(ben, group) == {page.id: "Paige", ada.id: "Ada A."}, "both have said a name")
            await settled(page.web, ada, ben)
            await page.web.export_to(tmp_path / "file")
            await page.web.kill()

            sdk = SdkPerson(tmp_path / "restored", relay)
            try:
                await sdk.start(tmp_path / "file")
                assert sdk.id == page.id
                assert texts(sdk, group) == ["before", "unread"]
                found = info(sdk, group)
                assert found is not None
                assert (found.name, found.is_admin, found.unread) == ("Tea", True, 1)
                assert (found.own_name, said_names(sdk, group)) == ("Paige", {ada.id: "Ada A."})
                await sdk.client.groups.send(group, "from the SDK")
                sdk.client.groups.rename(group, "Moved")
                await once(lambda: bool((at_ben := info(ben, group)) and at_ben.name == "Moved"), "it goes on")
                await settled(sdk, ada, ben)
                await sdk.export_to(tmp_path / "back")
            finally:
                await sdk.close()

            again = WebPerson(made, tmp_path / "again", relay)
            (tmp_path / "again").mkdir()
            await again.start(tmp_path / "back")
            back = Page(again)
            try:
                shown = await back.group(key)
                assert shown is not None
                assert (shown["name"], shown["role"], shown["unread"]) == ("Moved", "admin", 1)
                await ben.client.groups.send(group, "welcome back")
                await all_have(back, group, ["before", "unread", "from the SDK", "welcome back"], ada, ben)
                await same_head(back, group, ada, ben)
            finally:
                await again.kill()

    run(main())


def test_stranger_s_invitation_waits_with_their_request(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with people(made, relay, tmp_path) as (page, ada, ben):
            eve = SdkPerson(tmp_path / "eve", relay)
            try:
                await eve.start()
                await eve.add("Web", page.id)
                group = eve.client.groups.create("Tea", [page.id, ada.id]).group

                async def is_asked() -> bool:
                    return bool(await page.call("invitationsOf", peer=eve.id))

                await once(is_asked, "a request")
                [invitation] = await page.call("invitationsOf", peer=eve.id)
                assert (invitation["name"], invitation["members"]) == ("Tea", 3)
                assert [one["name"] for one in invitation["known"]] == ["Ada"]
                assert await page.relation(key_of(group)) == ""
                await page.web.accept(eve.id)

                async def is_invited() -> bool:
                    return await page.relation(key_of(group)) == "invited"

                await once(is_invited, "an invitation")
                await page.call("leaveGroup", group=key_of(group))
                await once(lambda: page.id not in members(info(eve, group)), "it was declined")
            finally:
                await eve.close()
            assert ben.id

    run(main())
