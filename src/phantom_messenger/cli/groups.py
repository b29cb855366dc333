"""How groups of commands list them, and what they answer to a word that is none."""

import difflib
from typing import Final

import click

ELSEWHERE: Final = {
    "contacts": ("add", "remove", "block", "unblock", "accept", "list", "verify"),
    "requests": ("show",),
}
"""Commands of groups that people look for one level higher."""


class Group(click.Group):
    """A group whose list says a whole sentence of each command, and which knows what was meant."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; a sentence that is too long goes on in the next line."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first_sentence(command)) for name, command in found if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a word that is no command is answered with the one that was meant."""
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            ctx.fail(f"No such command '{word}'{self._meant(ctx, word)}.")
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, word: str) -> str:
        known = self.list_commands(ctx)
        groups = [group for group, names in ELSEWHERE.items() if group in known and word in names]
        near = [f"{group} {word}" for group in groups] or difflib.get_close_matches(word, known, n=1)
        return f"; did you mean '{ctx.command_path} {near[0]}'?" if near else ""


def _first_sentence(command: click.Command) -> str:
    paragraph = " ".join((command.help or "").split("\n\n")[0].split())
    sentence, dot, _ = paragraph.partition(". ")
    return sentence + dot.strip() if dot else paragraph
