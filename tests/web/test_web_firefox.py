"""The page in Firefox: the same files and header fields, another engine."""

import asyncio

import pytest

from support.bidi import Tab, firefox
from support.relay_process import RelayProcess

PASSPHRASE = "seven green bottles"


async def started(tab: Tab, name: str) -> str:
    """Somebody who has begun; returns their id."""
    await tab.run(
        f"await write('Your name', '{name}'); await write('Passphrase', '{PASSPHRASE}'); await press('Start');"
    )
    return str(
        await tab.run(
            "await press('my ID and link');"
            "const id = await shown(() => all('dd').find((one) => /^ph1/.test(one.textContent)));"
            "await press('Close'); return id.textContent;"
        )
    )


async def add(tab: Tab, who: str, name: str) -> None:
    await tab.run(
        f"await press('New conversation'); await write('Contact id or link', '{who}');"
        f"await write('What you call them', '{name}');"
        "(await shown(() => all('button').find((one) => nameOf(one) === 'Add'))).click();"
        f"await shown(() => named('textarea', 'Write to {name}'));"
    )


async def sees(tab: Tab, pattern: str) -> None:
    """Waits for a text in the conversation that is open."""
    await tab.run(
        f"await shown(() => all('[role=log] [role=listitem]').find((one) => /{pattern}/.test(one.textContent)));"
    )


async def write(tab: Tab, name: str, text: str) -> None:
    await tab.run(f"await write('Write to {name}', '{text}'); await press('Send');")


async def journey(url: str) -> None:
    async with firefox() as browser:
        alice, bob = await browser.tab(), await browser.tab()
        for tab in (alice, bob):
            await tab.go(url)
        alice_id, bob_id = await started(alice, "Alice"), await started(bob, "Bob")
        await add(alice, bob_id, "Bob")
        await add(bob, alice_id, "Alice")
        await write(alice, "Bob", "Can anybody else see this?")
        await sees(bob, "Can anybody else see this")
        await write(bob, "Alice", "Only you and I.")
        await sees(alice, "Only you and I")
        await sees(bob, "Only you and I.*(delivered|read)")
        await alice.go(url)
        await alice.run(f"await write('Passphrase', '{PASSPHRASE}'); await press('Unlock'); await press('Bob');")
        await sees(alice, "Only you and I")
        assert browser.errors == []


@pytest.mark.timeout(600)
def test_two_people_chat_in_firefox(relay: RelayProcess) -> None:
    asyncio.run(journey(f"http://127.0.0.1:{relay.port}/"))
