"""What is committed is what the sources give, small, licensed, and in the wheel."""

import gzip
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from phantom_messenger.web.files import PageFile, load
from support.node import WEB, node

ROOT: Final = WEB.parent
FILES: Final = load()
BUDGET: Final = 100 * 1_024
"""Bytes of a first load, compressed: all that is fetched until somebody begins or unlocks."""

PAGE_BUDGET: Final = 42 * 1_024
"""The same without the worker."""

CORE_BUDGET: Final = 94 * 1_024 + 512
"""What is fetched then, while a passphrase is stretched, which takes seconds."""

LATER_BUDGET: Final = 68 * 1_024
"""What is fetched beside it: groups, devices, and what else only some people use."""

LATER: Final = re.compile(r"assets/(core|shared|later|part|qr|panels|groups|devices)\.|\.png$|LICENSES\.txt$")
"""What is fetched when it is needed, or by the system that installs the page."""


def differences(committed: Iterable[PageFile], built: Iterable[PageFile]) -> list[str]:
    one, other = ({file.name: file.content for file in files} for files in (committed, built))
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def test_page_is_what_its_sources_give(tmp_path: Path) -> None:
    made = node("build.mjs", str(tmp_path / "dist"))
    assert made.returncode == 0, made.stderr
    found = differences(FILES, load(tmp_path / "dist"))
    assert found == [], "run 'make web' and commit src/phantom_messenger/web/dist"


def test_types_hold() -> None:
    """What is built is not looked at for types."""
    checked = node("node_modules/typescript/bin/tsc", "--noEmit")
    assert checked.returncode == 0, checked.stdout


def test_control_type_that_does_not_hold_is_seen(tmp_path: Path) -> None:
    (tmp_path / "wrong.ts").write_text('export const one: number = "1";\n')
    checked = node("node_modules/typescript/bin/tsc", "--noEmit", "--ignoreConfig", str(tmp_path / "wrong.ts"))
    assert "TS2322" in checked.stdout


def test_byte_that_differs_is_seen() -> None:
    """The control."""
    one = PageFile("/", "index.html", b"a")
    assert differences([one], [PageFile("/", "index.html", b"b")]) == ["index.html"]
    assert differences([one], []) == differences([], [one]) == ["index.html"]
    assert differences([one], [one]) == []


def size(files: Iterable[PageFile]) -> int:
    return sum(len(gzip.compress(file.content)) for file in files)


def test_first_load_is_small() -> None:
    first = [file for file in FILES if not LATER.search(file.name)]
    assert {Path(file.name).suffix for file in first} == {".html", ".js", ".css", ".svg", ".webmanifest"}
    assert size(first) <= BUDGET
    page = [file for file in first if not file.name.startswith("assets/worker.")]
    assert size(page) <= PAGE_BUDGET, {file.name: size([file]) for file in page}
    assert size(file for file in FILES if re.match(r"assets/(core|shared)\.", file.name)) <= CORE_BUDGET
    assert size(file for file in FILES if file.name.startswith("assets/later.")) <= LATER_BUDGET


def test_every_file_has_a_media_type_and_is_spoken_of() -> None:
    everything = b"".join(file.content for file in FILES)
    for file in FILES:
        assert file.media_type
        name = Path(file.name).name.encode()
        assert file.path == "/" or file.name == "LICENSES.txt" or name in everything, f"nothing leads to {file.name}"


def test_index_names_the_hashes_of_what_it_runs() -> None:
    [index] = [file for file in FILES if file.path == "/"]
    text = index.content.decode()
    run = re.findall(r'<(?:script|link rel="(?:stylesheet|modulepreload)")[^>]*>', text)
    assert len(run) >= 2
    assert [one for one in run if not re.search(r'integrity="sha384-[A-Za-z0-9+/]{64}"', one)] == []
    assert not re.search(r"<(script|style)[^>]*>[^<]", text), "nothing that the policy would refuse"
    assert not re.search(r"\b(style|on[a-z]+)=", text)
    assert not re.search(r'(src|href)="(https?:)?//', text)


def test_licences_of_all_parts_are_shipped() -> None:
    [licences] = [file for file in FILES if file.name == "LICENSES.txt"]
    lock = json.loads((WEB / "package-lock.json").read_text())["packages"]
    text = licences.content.decode()
    named = re.findall(r"^-{80}\n(\S+) (\S+), (.+)\n-{80}$", text, re.MULTILINE)
    assert named
    for name, version, licence in named:
        entry = lock[f"node_modules/{name}"]
        assert (entry["version"], entry["license"]) == (version, licence)
        assert not entry.get("dev")
    assert text.count("Copyright") + text.count("copyright (c)") >= len(named)


def test_wheel_has_the_page(tmp_path: Path) -> None:
    script = "import sys; from flit_core import buildapi; print(buildapi.build_wheel(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / made.stdout.strip()) as wheel:
        prefix = "phantom_messenger/web/dist/"
        inside = {name.removeprefix(prefix): wheel.read(name) for name in wheel.namelist() if name.startswith(prefix)}
    assert inside == {file.name: file.content for file in FILES}


# --- the sources ------------------------------------------------------------------

FORBIDDEN: Final = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|setHTMLUnsafe|srcdoc|createContextualFragment)\b"
    r"|\beval\s*\(|\bnew\s+Function\b|\bdocument\.write|\bset(Timeout|Interval)\s*\(\s*[\"'`]|javascript:"
)
"""What makes code or markup of text. Not every browser refuses it by the policy."""


def text_into_code(text: str) -> list[str]:
    return [found[0] for found in FORBIDDEN.finditer(text)]


INTERFACE: Final = (WEB / "api.ts", WEB / "devices_api.ts", WEB / "groups_api.ts")
"""What the page and its worker say to each other."""


def sources() -> list[Path]:
    found = [path for folder in ("ui", "worker", "core") for path in (WEB / folder).rglob("*.ts*")]
    return [*found, *INTERFACE]


def test_no_source_makes_code_of_text() -> None:
    assert len(sources()) > 50
    assert {str(path): found for path in sources() if (found := text_into_code(path.read_text()))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "node.innerHTML = text",
        "node.insertAdjacentHTML('x', text)",
        "<p dangerouslySetInnerHTML={text} />",
        "eval (text)",
        "new Function(text)",
        "document.write(text)",
        'setTimeout("run()", 1)',
        '<a href="javascript:run()">',
    ],
)
def test_source_that_makes_code_of_text_is_seen(line: str) -> None:
    """The control."""
    assert text_into_code(line)


_NAMED: Final = {path.name for path in INTERFACE}
IMPORTS: Final = {
    "core/wire": {"core/wire", "core/labels.ts", "core/bytes.ts"},
    "core/crypto": {"core/crypto", "core/wire", "core/labels.ts", "core/bytes.ts", "core/msgpack.ts"},
    "core/client": {"core", *_NAMED},
    "core": {"core"},
    "worker": {"core", "worker", *_NAMED},
    "ui": {"ui", *_NAMED},
}
"""What each folder may import of ours (web/README.md)."""


def wrong_imports(path: Path, text: str) -> list[str]:
    name = path.relative_to(WEB).as_posix()
    folder = next(folder for folder in IMPORTS if name.startswith(f"{folder}/"))
    found = []
    for target in re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", text):
        place = (path.parent / target).resolve().relative_to(WEB).as_posix()
        if not any(place == allowed or place.startswith(f"{allowed}/") for allowed in IMPORTS[folder]):
            found.append(target)
    return found


def test_sources_import_one_way() -> None:
    named = [path for path in sources() if path not in INTERFACE]
    assert {str(path): found for path in named if (found := wrong_imports(path, path.read_text()))} == {}


def test_wrong_import_is_seen() -> None:
    """The control."""
    assert wrong_imports(WEB / "ui/chat/x.tsx", 'import { a } from "../../core/bytes.ts";') == ["../../core/bytes.ts"]
    assert wrong_imports(WEB / "ui/chat/x.tsx", 'import type { a } from "../../api.ts";') == []
    assert wrong_imports(WEB / "core/wire/x.ts", 'import { a } from "../client/y.ts";') == ["../client/y.ts"]


IMPURE: Final = re.compile(
    r"\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bcrypto\.(subtle|getRandomValues|randomUUID)\b|\bawait\b|\basync\b"
    r"|\bset(Timeout|Interval)\b|\b(indexedDB|localStorage|fetch|performance|document|navigator)\b[.(]"
)


def code_of(text: str) -> str:
    """Without comments and texts."""
    text = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", text, flags=re.DOTALL)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`', '""', text)


def test_core_has_no_clock_no_chance_and_no_io() -> None:
    core = list((WEB / "core").rglob("*.ts"))
    found = {str(path): [hit[0] for hit in IMPURE.finditer(code_of(path.read_text()))] for path in core}
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_impure_core_is_seen() -> None:
    """The control."""
    assert IMPURE.search(code_of("const now = Date.now();"))
    assert IMPURE.search(code_of("await idb.get(x);"))
    assert not IMPURE.search(code_of('throw new Error("await it"); // await'))
