"""Runs several actions that belong together."""

from collections.abc import Callable, Iterable


def run_all(actions: Iterable[Callable[[], None]]) -> None:
    """Run all of them, whatever becomes of one: memory would follow half of what is stored. Raise the first error."""
    errors: list[BaseException] = []
    for action in actions:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            errors.append(error)
    if errors:
        raise errors[0]
