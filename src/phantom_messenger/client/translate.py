"""The boundary of the SDK: only errors of its own tree leave it, whatever a library or the system has raised."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import apsw
import msgspec

from phantom_messenger.client.errors import PhantomError, UsageError, VaultDamaged, VaultError
from phantom_messenger.crypto.errors import CryptoError

C = TypeVar("C", bound=type)
_ALSO: Final = frozenset({"__init__", "__aenter__", "__aexit__"})


def translated(error: BaseException) -> PhantomError | None:
    """An error of a library or the system as one of the SDK; None if it is one already, or a fault of the program."""
    match error:
        case PhantomError() | TimeoutError():
            return None
        case apsw.CorruptError() | apsw.NotADBError() | msgspec.MsgspecError() | CryptoError() | UnicodeDecodeError():
            return VaultDamaged("the profile is damaged; restore it from a backup")
        case apsw.FullError():
            return VaultError("the profile's disk is full; free some space")
        case apsw.Error():
            return VaultError(f"the profile cannot be used ({error}); check its disk and permissions")
        case UnicodeError():
            return UsageError("a name or a message contains half a character (a lone surrogate); remove it")
        case ValueError() if "null byte" in str(error):
            return UsageError("a path contains a NUL character; remove it")
        case OSError():
            return VaultError(f"the system says '{error.strerror or error}'; check the profile's disk and permissions")
        case _:
            return None


@contextmanager
def own_errors_alone() -> Iterator[None]:
    """What is raised inside leaves as an error of the SDK."""
    try:
        yield
    except Exception as error:
        own = translated(error)
        if own is None:
            raise
        raise own from error


def guarded(kind: C) -> C:
    """Let all public methods and properties of a class raise errors of the SDK alone, those of later versions too."""
    for name, found in list(vars(kind).items()):
        if name.startswith("_") and name not in _ALSO:
            continue
        match found:
            case classmethod():
                setattr(kind, name, classmethod(_wrapped(found.__func__)))
            case property():
                setattr(kind, name, property(_wrapped(found.fget), doc=found.__doc__))
            case _ if inspect.isfunction(found):
                setattr(kind, name, _wrapped(found))
            case _:
                pass
    return kind


def _wrapped(function: Any) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapper(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
            generator = function(*arguments, **options)
            try:
                while True:
                    with own_errors_alone():
                        try:
                            item = await anext(generator)
                        except StopAsyncIteration:
                            return
                    yield item
            finally:
                await generator.aclose()

        return wrapper
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def waiting(*arguments: Any, **options: Any) -> Any:
            with own_errors_alone():
                return await function(*arguments, **options)

        return waiting

    @functools.wraps(function)
    def plain(*arguments: Any, **options: Any) -> Any:
        with own_errors_alone():
            return function(*arguments, **options)

    return plain
