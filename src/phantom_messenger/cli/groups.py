"""Groups of commands, which suggest the command that was meant."""

import difflib
from typing import Final

import click

ELSEWHERE: Final = {
    "contacts": ("add", "remove", "block", "unblock", "accept", "list", "verify"),
    "requests": ("show",),
}
"""Commands of groups that users look for one level higher."""


class Group(click.Group):
    """A group that answers an unknown command with the one that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See ``click.Group``."""
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            ctx.fail(f"No such command '{word}'{self._suggestion(ctx, word)}.")
        return super().resolve_command(ctx, args)

    def _suggestion(self, ctx: click.Context, word: str) -> str:
        known = self.list_commands(ctx)
        groups = [group for group, names in ELSEWHERE.items() if group in known and word in names]
        near = [f"{group} {word}" for group in groups] or difflib.get_close_matches(word, known, n=1)
        return f"; did you mean '{ctx.command_path} {near[0]}'?" if near else ""


def list_or_go_on(context: click.Context, profile: str, listing: click.Command) -> None:
    """What a group with ``--profile`` does by itself: list, or let its command have the profile.

    Args:
        context: of the group.
        profile: that was given to it.
        listing: the command that lists.
    """
    if context.invoked_subcommand is None:
        context.invoke(listing, profile=profile, as_json=False)
    else:
        context.default_map = {context.invoked_subcommand: {"profile": profile}}
