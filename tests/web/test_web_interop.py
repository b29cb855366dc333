"""The browser's client and the SDK at one relay: whoever writes, and whatever happens, both end with one history."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest
from web_peers import TIMEOUT, Person, SdkPerson, WebPerson, agree, meet, older, run, settled, until
from web_peers import made_once as _made  # noqa: F401 - a fixture
from web_peers import relay_of_all as _relay  # noqa: F401 - a fixture
from web_stories import Story

from phantom_messenger.client import content2
from support.amounts import replayed, seeds
from support.relay_process import RelayProcess

pytestmark = pytest.mark.timeout(TIMEOUT)

AT_ONCE: Final = 6
"""Conversations that are played side by side: each waits for two thirds of its time, even on a core of its own."""

KINDS_OF_TEXT: Final = {
    "plain": "hello",
    "scripts": "Grüße, 你好, Здравствуйте, नमस्ते, สวัสดี, שלום, مرحبا",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 e\u0301",
    "direction": "abc \u202e cba \u2066x\u2069",
    "lines": "one\n\ttwo\r\n\n three\u2028four\u0000five",
    "blank": "   ",
    "empty": "",
    "json": '{"a": "\\u0041", "b": [1, 2]} \\ " / \ufeff \uffff \U0010ffff',
    "longest": "ä" * 20_000,
}


Pair = Callable[..., contextlib.AbstractAsyncContextManager[tuple[WebPerson, SdkPerson]]]


@pytest.fixture
def pair(made: Path, relay: RelayProcess, tmp_path: Path) -> Pair:
    """Makes two people who are online and have published their prekeys."""

    @contextlib.asynccontextmanager
    async def pairing(*, knows: bool = True) -> AsyncIterator[tuple[WebPerson, SdkPerson]]:
        web, sdk = WebPerson(made, tmp_path, relay), SdkPerson(tmp_path / "home", relay)
        try:
            await web.start()
            await sdk.start()
            await settled(web, sdk)
            if knows:
                await meet(web, sdk)
            yield web, sdk
        except BaseException:
            await web.kill()
            raise
        finally:
            await sdk.close()
        await web.close()

    return pairing


async def requested(one: Person, other: Person) -> None:
    """Wait until a stranger's text waits, and let them in."""

    async def is_there() -> bool:
        return other.id in await one.requests()

    await until(is_there, lambda: "nobody has asked")
    await one.accept(other.id)


async def reads(one: Person, other: Person, *texts: str) -> None:
    """Wait until somebody has read these texts of somebody, in this order."""
    read: list[str] = []

    async def has_read() -> bool:
        read.extend(await one.read_all(other.id))
        return len(read) >= len(texts)

    await until(has_read, lambda: f"read {read}")
    assert read == list(texts)


async def reaches(one: Person, other: Person, message_id: str, state: str) -> None:
    async def has() -> bool:
        return await one.state(other.id, message_id) == state

    async def now() -> str:
        return await one.state(other.id, message_id)

    try:
        await until(has, lambda: "")
    except AssertionError:
        raise AssertionError(f"it is {await now()}, not {state}") from None


# --- first contact ----------------------------------------------------------------


def test_browser_writes_first(pair: Pair) -> None:
    async def main() -> None:
        async with pair(knows=False) as (web, sdk):
            await web.add("sdk", sdk.id)
            await web.send(sdk.id, "may I?")
            await requested(sdk, web)
            await reads(sdk, web, "may I?")
            await sdk.send(web.id, "yes")
            await reads(web, sdk, "yes")
            await agree(web, sdk, texts=2)

    run(main())


def test_sdk_writes_first(pair: Pair) -> None:
    async def main() -> None:
        async with pair(knows=False) as (web, sdk):
            await sdk.add("web", web.id)
            await sdk.send(web.id, "may I?")
            await requested(web, sdk)
            await reads(web, sdk, "may I?")
            await web.send(sdk.id, "yes")
            await reads(sdk, web, "yes")
            await agree(web, sdk, texts=2)

    run(main())


def test_both_write_first(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await web.offline()
            await sdk.offline()
            for number in range(3):
                await web.send(sdk.id, f"web {number}")
                await sdk.send(web.id, f"sdk {number}")
            await asyncio.gather(web.online(), sdk.online())
            await agree(web, sdk, texts=6)
            await web.send(sdk.id, "and one more")
            await sdk.send(web.id, "and one more")
            await agree(web, sdk, texts=8)
            assert web.warnings + sdk.warnings == []

    run(main())


def test_safety_numbers_are_the_same(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await web.send(sdk.id, "hello")
            await reads(sdk, web, "hello")
            assert await web.do("safetyNumber", peer=sdk.id) == sdk.client.contacts.safety_number(web.id)

    run(main())


# --- what is said, and what becomes of it -----------------------------------------


def test_every_kind_of_text_arrives_as_it_was_written(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            for text in KINDS_OF_TEXT.values():
                await web.send(sdk.id, text)
                await sdk.send(web.id, text)
            await reads(sdk, web, *KINDS_OF_TEXT.values())
            await reads(web, sdk, *KINDS_OF_TEXT.values())
            await agree(web, sdk, texts=2 * len(KINDS_OF_TEXT))

    run(main())


def test_receipts_go_both_ways(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            from_web, from_sdk = await web.send(sdk.id, "to the SDK"), await sdk.send(web.id, "to the browser")
            await reaches(web, sdk, from_web, "delivered")
            await reaches(sdk, web, from_sdk, "delivered")
            await sdk.read_all(web.id)
            await web.read_all(sdk.id)
            await reaches(web, sdk, from_web, "read")
            await reaches(sdk, web, from_sdk, "read")
            await settled(web, sdk)

    run(main())


def test_what_burns_is_erased_on_both_sides(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            from_web = await web.send(sdk.id, "burn after reading", burn=True)
            from_sdk = await sdk.send(web.id, "burn this, too", burn=True)
            await reads(sdk, web, "burn after reading")
            await reads(web, sdk, "burn this, too")
            await reaches(web, sdk, from_web, "burned")
            await reaches(sdk, web, from_sdk, "burned")
            for one, other in ((web, sdk), (sdk, web)):
                assert [line.text for line in await one.history(other.id)] == [None, None]

    run(main())


def test_what_expires_is_erased_on_both_sides(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            read: set[tuple[Person, str]] = set()

            async def have_read() -> bool:
                for one, other in ((web, sdk), (sdk, web)):
                    read.update((one, text) for text in await one.read_all(other.id))
                return {(web, text), (sdk, text)} <= read

            for seconds in (2, 10, 50):  # a text can be gone before a busy machine has read it
                text = f"for {seconds} seconds"
                await asyncio.gather(
                    web.send(sdk.id, text, expires_in=seconds), sdk.send(web.id, text, expires_in=seconds)
                )
                with contextlib.suppress(AssertionError):
                    await until(have_read, lambda: "", seconds)
                    break
            assert await have_read()

            async def is_gone() -> bool:
                lines = await web.history(sdk.id) + await sdk.history(web.id)
                return len(lines) >= 4 and not any(line.text for line in lines)

            await until(is_gone, lambda: "something is still there")

    run(main())


def test_what_expires_at_the_relay_never_arrives(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await web.send(sdk.id, "hello")
            await reads(sdk, web, "hello")
            await sdk.offline()
            message_id = await web.send(sdk.id, "for a second", expires_in=1)
            await reaches(web, sdk, message_id, "expired")
            await sdk.online()
            await web.send(sdk.id, "later")
            await reads(sdk, web, "later")

    run(main())


def test_content_of_a_newer_version_is_kept(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await sdk.send(web.id, "hello")
            await reads(web, sdk, "hello")
            encode = content2.encode
            with monkeypatch.context() as patch:
                newer = (b"\xa4text", b"\xa4song")
                patch.setattr(content2, "encode", lambda *given: encode(*given).replace(*newer))
                message_id = await sdk.send(web.id, "la la la")
                await reaches(sdk, web, message_id, "delivered")
            found = await web.do("history", peer=sdk.id)
            assert [one["isNewer"] for one in found] == [False, True]
            assert found[-1]["text"] is None

    run(main())


# --- the network and the devices --------------------------------------------------


def test_who_was_offline_gets_everything_in_order(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            for away, writer in ((web, sdk), (sdk, web), (web, sdk)):
                await away.offline()
                texts = [f"{number}" for number in range(5)]
                for text in texts:
                    await writer.send(away.id, text)
                await away.send(writer.id, "written without a network")
                await away.online()
                await reads(away, writer, *texts)
                await reads(writer, away, "written without a network")
            await agree(web, sdk, texts=18)

    run(main())


def test_what_arrives_out_of_order_is_read(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await sdk.send(web.id, "first")
            await reads(web, sdk, "first")
            await web.do("mix", on=True)
            for number in range(5):
                await sdk.send(web.id, f"{number}")
            await agree(web, sdk, texts=6, ordered=False)
            assert "late" in web.warnings
            await web.do("mix", on=False)
            await web.send(sdk.id, "last")
            await agree(web, sdk, texts=7, ordered=False)
            assert await web.do("status") | {"unreadable": 0, "damaged": 0} == await web.do("status")

    run(main())


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_process_is_killed_while_it_sends(pair: Pair, point: str, times: int) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await web.send(sdk.id, "hello")
            await reads(sdk, web, "hello")
            await settled(web, sdk)
            await web.do("die", point=point, times=times)
            with contextlib.suppress(ConnectionError):
                for number in range(5):
                    await web.send(sdk.id, f"{number}")
            await web.died()
            await web.start()
            sent = [line.text for line in await web.history(sdk.id)]
            await agree(web, sdk)
            assert [line.text for line in await sdk.history(web.id)] == sent
            if times == 1:
                assert sent == (["hello"] if point == "before" else ["hello", "0"])

    run(main())


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_process_is_killed_while_it_receives(pair: Pair, point: str, times: int) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await sdk.send(web.id, "hello")
            await reads(web, sdk, "hello")
            await settled(web, sdk)
            await web.do("die", point=point, times=times)
            sent = 1
            while sent <= 5 or not web.is_dead:  # what comes together is stored together
                await sdk.send(web.id, f"{sent}")
                await asyncio.sleep(0 if sent < 5 else 0.2)
                sent += 1
            await web.died()
            await web.start()
            await agree(web, sdk, texts=sent)

    run(main())


def test_disk_that_forgets_is_noticed(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    """The control: of a client that acknowledges what it has not stored, the histories differ once it was killed."""
    forgetful = tmp_path / "forgetful.mjs"
    stored = "store(path, batch);"
    assert made.read_text().count(stored) == 1
    told = tmp_path / "forget"
    forgetful.write_text(
        'import { existsSync as isToForget } from "node:fs";\n'
        + made.read_text().replace(stored, f"if (!isToForget({json.dumps(str(told))})) {stored}")
    )

    async def main() -> None:
        web, sdk = WebPerson(forgetful, tmp_path, relay), SdkPerson(tmp_path / "home", relay)
        await web.start()
        await sdk.start()
        await settled(web, sdk)
        await meet(web, sdk)
        told.touch()
        await sdk.send(web.id, "forgotten")
        await agree(web, sdk, texts=1)
        await web.kill()
        await web.start()
        with pytest.raises(AssertionError):
            await agree(web, sdk, patience=3)
        await web.kill()
        await sdk.close()

    run(main())


# --- restored ---------------------------------------------------------------------


def test_browser_is_restored_from_its_backup(pair: Pair, tmp_path: Path) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await web.send(sdk.id, "hello")
            await reads(sdk, web, "hello")
            await sdk.send(web.id, "hello yourself")
            await reads(web, sdk, "hello yourself")
            await settled(web, sdk)
            await web.export_to(tmp_path / "file")
            await web.kill()
            web.path.unlink()
            await sdk.send(web.id, "in a session that is lost")
            await web.start(tmp_path / "file")
            await agree(web, sdk, texts=3)
            await web.send(sdk.id, "in a new one")
            await agree(web, sdk, texts=4)

    run(main())


def test_sdk_is_restored_from_its_backup(pair: Pair, tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await sdk.send(web.id, "hello")
            await reads(web, sdk, "hello")
            await web.send(sdk.id, "hello yourself")
            await reads(sdk, web, "hello yourself")
            await settled(web, sdk)
            await sdk.export_to(tmp_path / "file")
            await sdk.close()
            await web.send(sdk.id, "in a session that is lost")
            restored = SdkPerson(tmp_path / "new home", relay)
            await restored.start(tmp_path / "file")
            try:
                await agree(web, restored, texts=3)
                await restored.send(web.id, "in a new one")
                await agree(web, restored, texts=4)
            finally:
                await restored.close()

    run(main())


def test_profile_moves_from_the_browser_to_the_sdk_and_back(
    pair: Pair, made: Path, tmp_path: Path, relay: RelayProcess
) -> None:
    async def main() -> None:
        async with pair() as (web, friend):
            await web.send(friend.id, "from the browser")
            await reads(friend, web, "from the browser")
            await settled(web, friend)
            await web.export_to(tmp_path / "file")
            await web.kill()
            moved = SdkPerson(tmp_path / "new home", relay)
            await moved.start(tmp_path / "file")
            assert moved.id == web.id
            await friend.send(moved.id, "to the SDK")
            await agree(moved, friend, texts=2)
            await moved.send(friend.id, "from the SDK")
            await agree(moved, friend, texts=3)
            await settled(moved, friend)
            await moved.export_to(tmp_path / "file back")
            await moved.close()
            (tmp_path / "new").mkdir()
            back = WebPerson(made, tmp_path / "new", relay)
            await back.start(tmp_path / "file back")
            assert back.id == web.id
            await friend.send(back.id, "back in the browser")
            await agree(back, friend, texts=4)
            await back.close()

    run(main())


@pytest.mark.parametrize("loser", ["web", "sdk", "both"])
def test_lost_sessions_heal(pair: Pair, loser: str) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await web.send(sdk.id, "hello")
            await reads(sdk, web, "hello")
            await sdk.send(web.id, "hello yourself")
            await reads(web, sdk, "hello yourself")
            await settled(web, sdk)
            if loser in {"web", "both"}:
                await web.lose_sessions(sdk.id)
            if loser in {"sdk", "both"}:
                await sdk.lose_sessions(web.id)
            await web.send(sdk.id, "from the browser")
            await sdk.send(web.id, "from the SDK")
            await agree(web, sdk, texts=4, ordered=False)
            await settled(web, sdk)

    run(main())


# --- older programs, and people one does not want ---------------------------------


def test_older_program_is_written_to_as_the_user_allows(pair: Pair) -> None:
    async def main() -> None:
        with older():
            async with pair() as (web, old):
                await old.allow_older(web.id)
                await old.send(web.id, "in suite 1")
                await reads(web, old, "in suite 1")
                waits = await web.send(old.id, "this waits")

                async def is_told() -> bool:
                    return bool(web.warnings)

                await until(is_told, lambda: "it is not told")
                assert await web.state(old.id, waits) == "queued"
                assert set(web.warnings) == {"older"}
                await web.allow_older(old.id)
                await reads(old, web, "this waits")
                await agree(web, old, texts=2)

    run(main())


def test_blocked_user_is_not_heard(pair: Pair) -> None:
    async def main() -> None:
        async with pair() as (web, sdk):
            await sdk.send(web.id, "hello")
            await reads(web, sdk, "hello")
            await web.do("block", peer=sdk.id)
            await settled(web)
            await sdk.send(web.id, "are you there?")
            await sdk.client.flush(10)
            await web.do("unblock", peer=sdk.id)
            await web.send(sdk.id, "here again")
            await reads(sdk, web, "here again")
            assert [line.text for line in await web.history(sdk.id)] == ["hello", "here again"]

    run(main())


# --- from seeds -------------------------------------------------------------------


@pytest.mark.timeout(14_400)
def test_random_conversations_end_with_one_history(made: Path, relay: RelayProcess, tmp_path: Path) -> None:
    chosen = replayed()
    left = iter(range(seeds(2, 200)) if chosen is None else [chosen])

    async def play() -> None:
        for seed in left:
            await Story(seed, made, tmp_path / f"{seed}", relay).play()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(play())

    asyncio.run(main())
