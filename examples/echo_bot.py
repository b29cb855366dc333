"""A bot that answers whatever it is told, by persons and in groups.

    export PHANTOM_PASSPHRASE='some words of mine'
    python examples/echo_bot.py wss://relay.example/ws

It prints its id: give that to whoever is to write to it, or to invite it to a group. Ctrl-C ends it. While the relay is
away it waits, and goes on where it was.
"""

import asyncio
import contextlib
import logging
import sys

from phantom_messenger import Client, GroupEvent, GroupNews, PhantomError, UsageError, written_id

ANSWER = "you said: "


async def answer(me: Client) -> None:
    """Answer each message where it was said; one that was not handled comes again after a restart."""
    async for message in me.received():
        if message.text and not message.text.startswith(ANSWER):  # or two such bots would talk for ever
            try:
                await message.reply(ANSWER + message.text)
            except UsageError as error:  # for example too long with the words in front, or only admins write there
                logging.warning("a message stays without an answer: %s", type(error).__name__)
        await message.mark_read()


async def accept_invitations(me: Client) -> None:
    """Be in every group that one is invited to."""
    for group in me.groups.all():
        if group.relation == "invited":
            me.groups.accept(group.group)
    async for event in me.events():
        if isinstance(event, GroupEvent) and event.news is GroupNews.INVITED:
            me.groups.accept(event.group)


async def main(server: str) -> None:
    """Run until it is ended."""
    async with await Client.open_async("echo", server=server, strangers="accept") as me:
        print("write to", written_id(me.user_id), flush=True)
        await asyncio.gather(answer(me), accept_invitations(me))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)  # the client says there when the relay is away, and nothing of messages
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main(sys.argv[1]))
    except PhantomError as failure:
        sys.exit(f"echo_bot: {failure}")
