"""``phantom web``: the page in the browser, looked at from outside, and written for another host."""

import json
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from phantom_messenger.cli.common import count, one_line
from phantom_messenger.cli.groups import Group
from phantom_messenger.version import __version__
from phantom_messenger.web.export import caddy, for_relay, nginx
from phantom_messenger.web.fetch import NotFetched, Site
from phantom_messenger.web.files import PageFile, load, page_hash
from phantom_messenger.web.headers import OWN_ORIGIN, security_headers
from phantom_messenger.web.verify import FileResult, Outcome, compare
from phantom_messenger.wire.names import join_name, split_name

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_WEBSOCKET: Final = "/ws"


@click.group(cls=Group, short_help="Check a relay's page, or write it for another host.")
def web() -> None:
    """Check the page in the browser that a relay serves, or write it for another host."""


def _origin(value: str, schemes: Collection[str], example: str) -> tuple[str, str]:
    """The scheme and the origin, ``scheme://host[:port]``, of a URL.

    Raises:
        click.BadParameter: it is none.
    """
    parts = urlsplit(value)
    try:
        if parts.scheme not in schemes or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(value)
        return parts.scheme, f"{parts.scheme}://{join_name(*split_name(parts.netloc))}"
    except ValueError:
        raise click.BadParameter(f"'{one_line(value)}' is not an address like {example}") from None


def _site(ctx: click.Context, param: click.Parameter, value: str) -> str:  # noqa: ARG001 - click's signature
    """The address of a page: also from that of its relay."""
    scheme, origin = _origin(value, _SCHEMES, "https://chat.example.org/")
    path = urlsplit(value).path
    if scheme in {"ws", "wss"}:
        path = path.removesuffix(_WEBSOCKET)
    return f"{_SCHEMES[scheme]}{origin.removeprefix(scheme)}{path.rstrip('/')}/"


def _relay(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001 - as above
    """The URL of a relay with its path, which may be left out."""
    if value is None:
        return None
    _, origin = _origin(value, ("ws", "wss"), "wss://chat.example.org/ws")
    path = urlsplit(value).path
    return origin + (_WEBSOCKET if path in {"", "/"} else path)


def _connect(relay: str | None) -> str:
    return OWN_ORIGIN if relay is None else "{0.scheme}://{0.netloc}".format(urlsplit(relay))


def _files(relay: str | None) -> tuple[PageFile, ...]:
    files = load()
    if not files:
        raise click.ClickException("the page is not part of this installation; build it with: make web")
    return files if relay is None else for_relay(files, relay)


@web.command(short_help="Compare the page that a relay serves with this release.")
@click.argument("url", callback=_site)
@click.option("--relay", callback=_relay, metavar="URL", help="the relay that an exported page is for")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def verify(url: str, relay: str | None, as_json: bool) -> None:
    """Fetch the page at URL, a page's address or a relay's, and compare every file with this release.

    It sees what is sent to you, now: run it again, and from elsewhere. Exit code 0: all of it is the same.
    """
    files = _files(relay)
    with Site(url) as site:
        results = compare(site.get, files, security_headers(_connect(relay)))
        is_same = all(result.is_same for result in results)
        version = "" if is_same else _version_of(site)
    if as_json:
        click.echo(json.dumps(_as_json(url, files, results, version)))
    elif is_same:
        click.echo(f"{url} is the same as release {__version__} ({len(results)} files)")
        click.echo(f"page {page_hash(files)}")
    else:
        for line in _differences(url, results, version):
            click.echo(one_line(line))
    sys.exit(0 if is_same else 1)


def _version_of(site: Site) -> str:
    """What the relay says that its version is; '' if it does not say."""
    try:
        found = json.loads(site.get("/health").content)
        return str(found["version"])
    except (NotFetched, ValueError, TypeError, KeyError):
        return ""


def _differences(url: str, results: Sequence[FileResult], version: str) -> list[str]:
    if all(result.outcome is Outcome.UNREADABLE for result in results):
        return [f"{url} {results[0].detail}"]
    lines = [f"{url} is not the page of release {__version__}:"]
    lines += [f"  {result.name} {result.detail}" for result in results if result.detail]
    odd = defaultdict(list)
    for result in results:
        for field in result.fields:
            odd[field].append(result.name)
    for (name, value), files in odd.items():
        what = files[0] if len(files) == 1 else f"{files[0]} and {count(len(files) - 1, 'other file')}"
        lines.append(f"  without {name}: {what}" if not value else f"  with {name} {value}: {what}")
    if version not in {"", __version__}:
        lines.append(f"it says that it is release {version}: compare it with 'phantom' of that release")
    return lines


def _as_json(url: str, files: Sequence[PageFile], results: Sequence[FileResult], version: str) -> dict[str, object]:
    return {
        "type": "web",
        "url": url,
        "same": all(result.is_same for result in results),
        "version": __version__,
        "page": page_hash(files),
        "servedVersion": version or None,
        "files": [
            {
                "name": result.name,
                "outcome": str(result.outcome),
                "expected": result.expected,
                "found": result.found or (result.expected if result.outcome is Outcome.SAME else None),
                "detail": result.detail,
                "fields": dict(result.fields),
            }
            for result in results
        ],
    }


@web.command(short_help="Write the page for another host than the relay.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--relay", callback=_relay, required=True, metavar="URL", help="the relay that the page connects to")
def export(folder: Path, relay: str) -> None:
    """Write the page to DIR, a new or empty folder, for a host that somebody else runs than the relay's.

    DIR/site has the files; DIR/nginx.conf and DIR/Caddyfile have the header fields that they have to be served with.
    """
    files = _files(relay)
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"'{folder}' is not empty; name a new folder")
    site, connect = folder.absolute() / "site", _connect(relay)
    for file in files:
        place = site / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.content)
    (folder / "nginx.conf").write_text(nginx(str(site), connect))
    (folder / "Caddyfile").write_text(caddy(str(site), connect))
    click.echo(f"{len(files)} files are in {site}")
    click.echo(f"page {page_hash(files)}")
    click.echo(f"serve them with the header fields in {folder / 'nginx.conf'} or {folder / 'Caddyfile'}, and start")
    click.echo("the relay with the page's origin: --allowed-origins https://HOST")
    click.echo(f"then check it: phantom web verify https://HOST/ --relay {relay}")
