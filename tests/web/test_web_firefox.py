"""The page in Firefox: the same files and header fields, another engine. The journeys that everything else rests on."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from support.amounts import LONG
from support.bidi import Firefox, Tab, firefox
from support.relay_process import SERVE, RelayProcess
from support.waiting import eventually
from support.web_server import QUICK_PAGE

PASSPHRASE: Final = "seven green bottles"
Journey = Callable[[Firefox, str], Awaitable[None]]


async def at(browser: Firefox, url: str) -> Tab:
    """Somebody with a browser profile of their own, at the page."""
    tab = await browser.tab()
    await tab.go(url)
    return tab


async def started(browser: Firefox, url: str, name: str) -> Tab:
    """The same, who has begun."""
    tab = await at(browser, url)
    await start(tab, name)
    return tab


async def start(tab: Tab, name: str) -> None:
    await tab.run(
        f"await write('Your name', '{name}'); await write('Passphrase', '{PASSPHRASE}'); await press('Start');"
        "await shown(() => exact('button', 'New conversation'));"
    )


async def unlock(tab: Tab) -> None:
    await tab.run(
        f"await write('Passphrase', '{PASSPHRASE}'); await press('Unlock');"
        "await shown(() => exact('button', 'New conversation'));"
    )


async def own(tab: Tab, pattern: str) -> str:
    """What one gives to others: that of the id and the link which a pattern finds."""
    return str(
        await tab.run(
            "await press('my ID and link');"
            f"const found = await shown(() => all('dd').find((one) => /{pattern}/.test(one.textContent)));"
            "await press('Close'); return found.textContent;"
        )
    )


async def add(tab: Tab, who: str, name: str) -> None:
    await tab.run(
        f"await press('New conversation'); await write('Contact ID or link', '{who}');"
        f"await write('What you call them', '{name}');"
        "(await shown(() => exact('button', 'Add'))).click();"
        f"await shown(() => named('textarea', 'Write to {name}'));"
    )


async def pair(browser: Firefox, url: str) -> tuple[Tab, Tab]:
    """Two people who know each other, each with the other's conversation open."""
    alice, bob = await started(browser, url, "Alice"), await started(browser, url, "Bob")
    await add(alice, await own(bob, "^ph1"), "Bob")
    await add(bob, await own(alice, "^ph1"), "Alice")
    return alice, bob


async def sees(tab: Tab, pattern: str) -> None:
    """Wait for a text in the conversation that is open."""
    await tab.run(f"await shown(() => text(/{pattern}/, '[role=log] [role=listitem]'));")


async def reads(tab: Tab, pattern: str, kind: str = "body") -> None:
    """Wait for words on the screen."""
    await tab.run(f"await shown(() => text(/{pattern}/, '{kind}'));")


async def lacks(tab: Tab, word: str) -> None:
    """A word is nowhere in the page, seen or not."""
    assert await tab.run(f"return String(document.documentElement.outerHTML.includes('{word}'));") == "false"


async def write(tab: Tab, name: str, text: str) -> None:
    await tab.run(f"await write('Write to {name}', '{text}'); await press('Send');")


async def confirm(tab: Tab, name: str, kind: str = "dialog button") -> None:
    """Press a button of this name, of the dialog that is open unless something else is said."""
    await tab.run(f"(await shown(() => exact('{kind}', '{name}'))).click();")


async def first_run(browser: Firefox, url: str) -> None:
    alice = await at(browser, url)
    await reads(alice, "Phantom at 127", "h1")
    await reads(alice, "This page runs code from")
    await start(alice, "Alice")
    user_id = await own(alice, "^ph1")
    assert re.fullmatch("ph1[0-9a-z]{58}", user_id)
    assert user_id in await own(alice, "#c=")
    await alice.go(url)
    await reads(alice, "Welcome back, Alice", "h1")
    await alice.run("await write('Passphrase', 'not the right one'); await press('Unlock');")
    await reads(alice, "passphrase is wrong", "[role=alert]")
    await unlock(alice)
    assert await own(alice, "^ph1") == user_id


async def two_people_write(browser: Firefox, url: str) -> None:
    alice, bob = await pair(browser, url)
    await write(alice, "Bob", "Can anybody else see this?")
    await sees(bob, "Can anybody else see this")
    await sees(alice, "Can anybody else see this[^]*(delivered|read)")
    await write(bob, "Alice", "Only you and I.")
    await sees(alice, "Only you and I")
    await sees(bob, "Only you and I[^]*(delivered|read)")


async def safety_number(browser: Firefox, url: str) -> None:
    alice, bob = await pair(browser, url)
    numbers = []
    for tab, name in (alice, "Alice"), (bob, "Bob"):
        await write(tab, "Bob" if name == "Alice" else "Alice", f"I am {name}")
    await sees(alice, "I am Bob")
    await sees(bob, "I am Alice")
    for tab in (alice, bob):
        await tab.run("await press('Compare');")
        numbers.append(await tab.run("return (await shown(() => all('[aria-label=\"Safety number\"]')[0])).innerText;"))
    assert re.fullmatch(r"(\d{5}\s*){12}", numbers[0])
    assert numbers[0] == numbers[1]
    await confirm(alice, "They match")
    await reads(alice, "Bob[^]*, verified", "nav button")


async def request_and_block(browser: Firefox, url: str) -> None:
    alice = await started(browser, url, "Alice")
    carol = await at(browser, await own(alice, "#c="))
    await start(carol, "Carol")
    await reads(carol, "Add this contact", "h2")
    await carol.run("await write('What you call them', 'Alice'); (await shown(() => exact('button', 'Add'))).click();")
    await write(carol, "Alice", "It is me")
    await sees(carol, "It is me[^]*sent")
    await alice.run("await press('Wants to write to you');")
    await sees(alice, "It is me")
    await alice.run("await write('What you call them', 'Carol'); await press('Accept');")
    await sees(carol, "It is me[^]*(delivered|read)")
    await alice.run("await press('More'); (await shown(() => exact('.sheet button', 'Block'))).click();")
    await confirm(alice, "Block")
    await reads(alice, "You have blocked Carol")
    await write(carol, "Alice", "unwanted")
    await sees(carol, "unwanted[^]*sent")
    await lacks(alice, "unwanted")
    await alice.run("await press('Unblock');")
    await write(carol, "Alice", "wanted again")
    await sees(alice, "wanted again")


async def backup_and_restore(browser: Firefox, url: str) -> None:
    alice, bob = await pair(browser, url)
    await write(alice, "Bob", "from the old browser")
    await sees(bob, "from the old browser")
    user_id = await own(alice, "^ph1")
    await alice.run("await press('Settings');")
    await confirm(alice, "Save a backup")
    await alice.run(f"await write('Passphrase', '{PASSPHRASE}');")
    await confirm(alice, "Save a backup")
    await reads(alice, "The backup is saved", "h2")
    # A download that is under way has an empty file of that name, and another one.
    assert await asyncio.to_thread(eventually, lambda: bool(saved(browser.downloads)))
    [file] = saved(browser.downloads)
    await alice.go("about:blank")
    again = await at(browser, url)
    await again.run("await press('I have a backup file'); await shown(() => named('input', 'Backup file'));")
    await again.choose_file("input[type=file]", file)
    await again.run(
        f"await write('Passphrase of the file', '{PASSPHRASE}'); await write('Your name', 'Alice');"
        f"await write('New passphrase for this browser', '{PASSPHRASE}'); await press('Restore');"
    )
    assert await own(again, "^ph1") == user_id
    await again.run("await press('Bob');")
    await sees(again, "from the old browser")
    await write(again, "Bob", "from the new browser")
    await sees(bob, "from the new browser")
    await write(bob, "Alice", "are you back")
    await sees(again, "are you back")


def saved(folder: Path) -> list[Path]:
    """The files that are there as a whole."""
    found = list(folder.iterdir())
    return [] if any(file.suffix == ".part" for file in found) else [file for file in found if file.stat().st_size]


async def reload_and_lock(browser: Firefox, url: str) -> None:
    alice, bob = await pair(browser, url)
    await write(alice, "Bob", "a secret for Bob")
    await sees(bob, "a secret for Bob")
    await alice.run("await press('Settings');")
    await confirm(alice, "Lock now")
    await reads(alice, "Welcome back, Alice", "h1")
    await lacks(alice, "a secret")
    await alice.run(
        "(await shown(() => named('input[type=checkbox]', 'Stay signed in here'))).click();"
        f"await write('Passphrase', '{PASSPHRASE}'); await press('Unlock'); await press('Bob');"
    )
    await sees(alice, "a secret for Bob")
    await alice.go("about:blank")
    await alice.go(url)
    # The key that no script can read has stayed in this browser: nothing is asked.
    await alice.run("await press('Bob');")
    await sees(alice, "a secret for Bob")
    await write(bob, "Alice", "there you are")
    await sees(alice, "there you are")
    await alice.run("await press('Settings');")
    await confirm(alice, "Lock now")
    await reads(alice, "Welcome back, Alice", "h1")
    await alice.go("about:blank")
    await alice.go(url)
    await reads(alice, "Welcome back, Alice", "h1")
    await lacks(alice, "there you are")


async def group(browser: Firefox, url: str) -> None:
    alice, bob = await pair(browser, url)
    await alice.run(
        "await press('New group'); await write('Name of the group', 'Tea');"
        "(await shown(() => named('input[type=checkbox]', 'Bob'))).click(); await press('Create group');"
        "await shown(() => named('textarea', 'Write to Tea'));"
    )
    await bob.run("await press('Tea');")
    await confirm(bob, "Accept", "button")
    await write(bob, "Tea", "I bring the cake")
    await sees(alice, "I bring the cake")
    await write(alice, "Tea", "Come at four")
    await sees(bob, "Come at four")
    await alice.run("await press('Members and settings'); (await shown(() => named('dialog button', 'Bob'))).click();")
    await confirm(alice, "Remove")
    await reads(alice, "Remove Bob", "h2")
    await confirm(alice, "Remove")
    await reads(bob, "You were removed from this group")


JOURNEYS: Final = {
    one.__name__: one
    for one in (
        first_run,
        two_people_write,
        safety_number,
        request_and_block,
        backup_and_restore,
        reload_and_lock,
        group,
    )
}
LESS_OFTEN: Final = (first_run, two_people_write, safety_number)
"""Journeys of ``make test-long`` alone: most of each is a part of another one, and the rest is played in Chromium."""


@pytest.fixture(scope="module")
def quick_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A relay without limits; its page costs little in the short form."""
    process = RelayProcess(tmp_path_factory.mktemp("relay"), "--limits", "off", command=SERVE if LONG else QUICK_PAGE)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """The event loop in which the browser is spoken to, from one journey to the next."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def browser(loop: asyncio.Runner) -> Iterator[Firefox]:
    """A Firefox for all journeys: it takes as long to start as one of them."""
    running = firefox()
    yield loop.run(running.__aenter__())
    loop.run(running.__aexit__(None, None, None))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name, one in JOURNEYS.items() if LONG or one not in LESS_OFTEN])
def test_journey_in_firefox(name: str, loop: asyncio.Runner, browser: Firefox, quick_relay: RelayProcess) -> None:
    async def walk() -> None:
        try:
            await JOURNEYS[name](browser, f"http://127.0.0.1:{quick_relay.port}/")
        finally:
            await browser.forget()

    loop.run(walk())
    assert browser.errors == []
