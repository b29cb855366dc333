"""``phantom devices``: your other devices."""

import asyncio
import contextlib
import json
import platform
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import click

from phantom_messenger.cli.asking import is_so, line
from phantom_messenger.cli.common import (
    check_quoted,
    column,
    confirmed,
    count,
    one_line,
    open_client,
    print_qr,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    shell_word,
)
from phantom_messenger.cli.groups import Group, list_or_go_on
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.devices.front import OwnDevice, label
from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.client.errors import NoProfile, PhantomError, UsageError
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.profile import checked_url
from phantom_messenger.client.status import LinkingEvent, LinkingStep

ONLINE_SECONDS = 20.0
FETCH_SECONDS = 10.0
"""For which a removal waits for what the device has sent."""

LINK_SECONDS = 300.0
QUIET_SECONDS = 150.0
SHOW_SECONDS = 3.0
HERE = "this one"
BEGIN = 11
"""Characters of an id that tell devices of one name apart."""

TELL_SECONDS = 10.0
"""For which it is tried to tell the other device that a link has ended here."""

LEAVE_SECONDS = 1.0
"""The same once it is linked: what is still to be sent is on disk, and goes on when both are connected again."""

HINT_SECONDS = 10.0
OLD_CODE = "a code is good for five minutes: if the new device shows another one by now, or none, begin again with that"
"""What is said if no new device answers for so long."""

T = TypeVar("T")


@click.group(cls=Group, invoke_without_command=True, short_help="Use several devices: list, link and remove them.")
@profile_option
@click.pass_context
def devices(context: click.Context, profile: str) -> None:
    """Use several devices: list, link and remove them.

    All of them send and receive as you. The first one, on which you began, links and removes the others.
    """
    list_or_go_on(context, profile, list_devices)


@devices.command("list", short_help="List your devices.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
@reports_errors
def list_devices(profile: str, as_json: bool) -> None:
    """List your devices."""
    client, flag = open_client(profile), profile_flag(profile)
    found = client.devices.everybody()
    alone = OwnDevice(user_id=client.user_id, name="", added=0, is_first=True, is_this=True)
    for one in found or [alone]:
        if as_json:
            row = {"type": "device", "userId": one.user_id, "name": one.name, "added": one.added or None}
            click.echo(json.dumps({**row, "isFirst": one.is_first, "isThis": one.is_this}))
        elif found:
            click.echo(device_line(one, found))
    if as_json:
        return
    if client.devices.is_restored:
        renew_it = f"phantom devices renew{flag}"
        click.echo(f"restored from a backup: remove what is not yours any more, then run: {renew_it}", err=True)
    if not found:
        click.echo(
            "this is your only device; to use another one, run there, in a new profile: "
            f"phantom devices link -p NAME --server {one_line(client.server)}",
            err=True,
        )


def device_line(one: OwnDevice, found: list[OwnDevice]) -> str:
    """One of these devices as a line. What it is stands before its name, which may be anything."""
    is_alone = [other.name for other in found].count(one.name) == 1
    begin = "" if is_alone else f" ({written_id(one.user_id)[:BEGIN]})"
    name = column("(first)" if one.is_first and not one.name else one_line(label(one)) + begin, 20)
    since = "" if one.is_first else f" since {moment(one.added)}"  # it got its date when it linked another one
    return f"{HERE if one.is_this else '':{len(HERE) + 2}}{name}{since}".rstrip()


@devices.command(short_help="Link a new device.")
@click.argument("code", required=False)
@profile_option
@click.option("--name", default=platform.node, help="what the new device is called; its host name if not given")
@click.option("--no-qr", is_flag=True, help="show the code as a line only")
@click.option("--no-history", is_flag=True, help="with CODE: do not hand over what was said before")
@click.option("--server", metavar="URL", help="without CODE: make the profile, at the relay of your first device")
@reports_errors
def link(  # noqa: PLR0917 - click passes them by name
    code: str | None, profile: str, name: str, no_qr: bool, no_history: bool, server: str | None
) -> None:
    """Link a new device: run it there without CODE, and on your first device with the CODE that the new one shows.

    The new device gets your contacts and settings, what was said before, but for what burns or expires, and everything
    that is sent and received from then on.
    """
    flag = profile_flag(profile)
    client = open_client(profile) if code is not None else _new_device(profile, server, flag)
    if code is None:
        run(_show(client, name[:64] or "device", flag, has_qr=not no_qr))
    else:
        check_quoted(code, "the code")
        run(_link(client, code, history=not no_history))


def _new_device(profile: str, server: str | None, flag: str) -> Client:
    """The profile of a device that is to be linked; it is made if it is said at which relay.

    Raises:
        NoProfile: it is not said.
        UsageError: there is one, at another relay.
    """
    try:
        client = open_client(profile)
    except NoProfile:
        if server is None:
            raise NoProfile(
                f"profile '{profile}' does not exist; to make it and link it, run: "
                f"phantom devices link{flag} --server URL, with the relay of your first device, which "
                "'phantom id --json' shows there"
            ) from None
        return open_client(profile, server=server, create=True)
    if server is not None and checked_url(server) != client.server:
        raise UsageError(
            f"the profile '{profile}' is at {client.server}; to use another relay, run: "
            f"phantom init{flag} --server {shell_word(server)}"
        )
    return client


class NotLinked(PhantomError):
    """Nothing has come of a link."""


Steps = asyncio.Queue[LinkingEvent | PhantomError]


@contextlib.asynccontextmanager
async def _steps(client: Client) -> AsyncIterator[Steps]:
    """How the link goes on, from now on; at the end why nothing more comes."""
    steps: Steps = asyncio.Queue()

    async def follow() -> None:
        try:
            async for event in client.events():
                if isinstance(event, LinkingEvent):
                    steps.put_nowait(event)
        except PhantomError as error:
            steps.put_nowait(error)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)  # so that it sees every event
    try:
        yield steps
    finally:
        following.cancel()


@contextlib.asynccontextmanager
async def _or_tell(client: Client) -> AsyncIterator[None]:
    """Have the other device learn of it if this one does not go on."""
    try:
        yield
    except BaseException:
        seconds = TELL_SECONDS if client.devices.is_linking else LEAVE_SECONDS
        client.devices.cancel()
        with contextlib.suppress(PhantomError):
            await client.flush(seconds)
        raise


async def _show(client: Client, name: str, flag: str, *, has_qr: bool) -> None:
    """On the new device."""
    async with client, _steps(client) as steps:
        await client.wait_published(ONLINE_SECONDS)
        async with _or_tell(client):
            shown = client.devices.show_code(name)
            if has_qr:
                print_qr(shown, error="l")
            click.echo(shown)
            click.echo("On your first device, run: phantom devices link 'CODE'", err=True)
            asked = await _next(steps)
            click.echo(f"Digits to type on your first device: {asked.digits[:3]} {asked.digits[3:]}")
            question = (
                f"This device will belong to {written_id(asked.person)}; "
                "is that your ID, as your first device shows it now?"
            )
            if not await _asked(is_so(question), steps):
                raise click.Abort
            with _not_linked():
                client.devices.agree()
        click.echo("waiting for your first device", err=True)
        await _next(steps)
        click.echo(f"linked; to read and write, run: phantom listen{flag}, phantom chat{flag} WHO")
        await _hand_over(steps, lambda: client.devices.is_history_coming)
        await client.flush(ONLINE_SECONDS)


async def _link(client: Client, code: str, *, history: bool) -> None:
    """On the first device."""
    client.devices.link(code, history=history)  # a code that is none needs no question
    sees = "all your contacts, and what was said so far" if history else "all your contacts"
    click.echo(f"The new device will send and receive as you, and see {sees}.", err=True)
    click.echo("Only go on if you are holding it, and its code was shown by 'phantom devices link' just now.", err=True)
    relay = LinkCode.parse(code).relay
    if relay != client.server:
        click.echo(f"It is found only if {one_line(relay)} is the same relay as yours, {client.server}.", err=True)
    if not await is_so("Link it?"):
        raise click.Abort
    click.echo("waiting for the new device", err=True)
    async with client, _steps(client) as steps, _or_tell(client):
        await client.wait_online(ONLINE_SECONDS)
        hint = asyncio.get_running_loop().call_later(HINT_SECONDS, click.echo, OLD_CODE, None, True, True)
        try:
            answered = await _next(steps)
        finally:
            hint.cancel()
        click.echo(f"'{one_line(answered.name)}' has answered. It asks whether this is your ID:", err=True)
        click.echo(f"  {written_id(client.user_id)}", err=True)
        while not await _is_confirmed(client, steps):
            click.echo("phantom: these are not the digits; look again", err=True)
        if client.devices.is_linking:
            click.echo("waiting for the new device: answer the question that it asks", err=True)
            await _next(steps)
        click.echo(f"linked '{one_line(answered.name)}'")
        await _hand_over(steps, lambda: client.devices.is_history_going)
        await client.flush(ONLINE_SECONDS)


async def _is_confirmed(client: Client, steps: Steps) -> bool:
    """Ask for the digits until they are six, which count as a try; whether they are right."""
    while True:
        typed = await _asked(line("The six digits that it shows: "), steps)
        digits = re.sub(r"[\s-]", "", typed)
        if re.fullmatch("[0-9]{6}", digits):
            with _not_linked():
                return client.devices.confirm(digits)
        click.echo("phantom: type the six digits that the new device shows", err=True)


@contextlib.contextmanager
def _not_linked() -> Iterator[None]:
    """What ends a link is no fault of the call."""
    try:
        yield
    except UsageError as error:
        raise NotLinked(str(error)) from None


async def _next(steps: Steps) -> LinkingEvent:
    """The next step of linking.

    Raises:
        NotLinked: there will be none.
        PhantomError: the client has ended.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINK_SECONDS):
            while True:
                step = await steps.get()
                if isinstance(step, PhantomError):
                    raise step
                if step.step is LinkingStep.ENDED:
                    raise NotLinked(step.reason)
                if step.step not in {LinkingStep.HISTORY, LinkingStep.COMPLETE}:
                    return step
    raise NotLinked("the new device was not linked within five minutes; begin again, with a new code")


async def _asked(question: Coroutine[Any, Any, T], steps: Steps) -> T:
    """The answer to a question; as ``_next`` if the link ends before there is one."""
    asking = asyncio.create_task(question)
    ending = asyncio.create_task(_next(steps))
    try:
        while not asking.done():
            if ending.done():
                ending.result()
                ending = asyncio.create_task(_next(steps))
            await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
        return asking.result()
    finally:
        for task in (asking, ending):
            task.cancel()
        await asyncio.gather(asking, ending, return_exceptions=True)


async def _hand_over(steps: Steps, goes_on: Callable[[], bool]) -> None:
    """Wait until what was said before is on the new device, and show how far it is."""
    shown = time.monotonic()
    while goes_on():
        event: LinkingEvent | PhantomError | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                event = await steps.get()
        if not isinstance(event, LinkingEvent):
            click.echo("phantom: the other device is silent; it goes on when both are connected again", err=True)
            return
        if event.step is LinkingStep.COMPLETE:
            click.echo(f"{count(event.texts, 'message')} from before", err=True)
        elif event.step is LinkingStep.HISTORY and time.monotonic() - shown >= SHOW_SECONDS:
            shown = time.monotonic()
            click.echo(f"{count(event.texts, 'message')} from before, about {event.left:,} to go", err=True)


@devices.command(short_help="Remove one of your devices.")
@click.argument("device")
@profile_option
@click.option("--yes", is_flag=True, help="do not ask for confirmation")
@reports_errors
def remove(device: str, profile: str, yes: bool) -> None:
    """Remove DEVICE, its name or ID, from your first device: it receives nothing more, and erases its profile."""
    client = open_client(profile)
    found = client.devices.find(device)
    is_here = any(one.is_first and one.is_this for one in client.devices.everybody())
    if found.is_first or not is_here:
        raise UsageError("your first device removes others, and is not removed itself; run this there")
    name = one_line(label(found))
    if not yes and not confirmed(f"Remove '{name}'? It erases its profile, with all messages there."):
        raise click.Abort
    run(_remove(client, device, name))


@devices.command(short_help="Confirm your devices after a restore.")
@profile_option
@reports_errors
def renew(profile: str) -> None:
    """Confirm that the devices listed are yours, after your first one was restored from a backup."""
    client = open_client(profile)
    client.devices.renew()
    run(_tell(client, "confirmed"))


async def _remove(client: Client, device: str, name: str) -> None:
    """Take in what it has sent so far, for that can be read no more afterwards, and remove it in any case."""
    async with client:
        has_all = False
        with contextlib.suppress(PhantomError):
            has_all = await client.fetch(FETCH_SECONDS)
        client.devices.remove(device)
        await _tell(client, f"removed '{name}'", lost="" if has_all else name)


async def _tell(client: Client, done: str, *, lost: str = "") -> None:
    """Let everybody know what was done, or say that it is still to come; ``lost``: whose messages may be missing."""
    click.echo(done)
    if lost:
        click.echo(f"phantom: what '{lost}' has sent and has not come here yet will be missing here", err=True)
    async with client:
        if await client.flush(ONLINE_SECONDS):
            click.echo("phantom: not everybody was told yet; that goes on the next time you connect", err=True)
