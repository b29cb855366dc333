"""Tables of cases that are one test: pytest takes longer to begin and end a test than most of them take."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

Name = Callable[[Any], object]
_LABELLED = type(pytest.param())


def each(
    names: str | Sequence[str], cases: Iterable[Any], *, ids: Name | Iterable[object] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with each of the cases, whatever becomes of the others; every one that fails is named.

    Like ``pytest.mark.parametrize``, of which it takes the place where no fixture is asked for. One may stand on
    another: then each case of the one is tried with each of the other. ``pytest.param`` may name a case.

    Args:
        names: of the test's arguments; a comma stands between them in a text.
        cases: a value for the only argument, or a sequence of one for each; there must be some.
        ids: says how a case is called, or its value; their own text if left out.
    """
    arguments = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    is_bare = isinstance(names, str) and len(arguments) == 1
    listed = [case if isinstance(case, _LABELLED) else _as_labelled(case, is_bare=is_bare) for case in cases]
    assert listed, "no cases"
    assert {len(case.values) for case in listed} == {len(arguments)}
    assert not any(case.marks for case in listed)
    rows = [case.values for case in listed]
    said = [_label(row, ids) for row in rows] if ids is None or callable(ids) else [*map(str, ids)]
    labels = [str(case.id) if case.id else label for case, label in zip(listed, said, strict=True)]

    def of_all(test: Callable[..., None]) -> Callable[..., None]:
        def run(**others: Any) -> None:
            failed: list[BaseException] = []
            for label, row in zip(labels, rows, strict=True):
                try:
                    test(**dict(zip(arguments, row, strict=True)), **others)
                except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - all are told
                    error.add_note(f"the case {label}")
                    failed.append(error)
            if failed:
                raise BaseExceptionGroup(f"{test.__name__}: {_told(failed)}", failed)

        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(run, name, getattr(test, name))
        vars(run)["place_as"] = vars(test).get("place_as", test)  # where pytest says that it stands
        return run

    return of_all


def _as_labelled(case: Any, *, is_bare: bool) -> Any:
    return pytest.param(case) if is_bare else pytest.param(*case)


def _label(row: Sequence[Any], name: Name | None) -> str:
    return ", ".join(_short(one if name is None else _called(name(one), one)) for one in row)


def _called(name: object, value: object) -> object:
    return value if name is None else name


def _short(value: object) -> str:
    text = value if isinstance(value, str) else getattr(value, "__name__", None) or repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _told(failed: Sequence[BaseException]) -> str:
    return f"{len(failed)} failed: " + "; ".join(error.__notes__[-1].removeprefix("the case ") for error in failed)
