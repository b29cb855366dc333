"""What is installed is what was locked: hashes, wheels, a bill of materials, and a workflow that nobody can bend."""

import base64
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LOCKS: Final = sorted((ROOT / "requirements").glob("*.txt"))
SCRIPTS: Final = [ROOT / "Makefile", ROOT / ".ci/run", *(one for one in (ROOT / "scripts").iterdir() if one.is_file())]
PAGE_LOCK: Final = ROOT / "web/package-lock.json"
WORKFLOWS: Final = sorted((ROOT / ".github/workflows").glob("*.yml"))
PACKAGE: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ;.*)? \\$")
DIGEST: Final = re.compile(r"^    --hash=sha256:([0-9a-f]{64})(?: \\)?$")


def packages(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package; every other line must be a comment."""
    found: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in lock.read_text().splitlines():
        if package := PACKAGE.match(line):
            name = package[1]
            found[name] = (package[2], [])
        elif digest := DIGEST.match(line):
            found[name][1].append(digest[1])
        else:
            assert re.match(r"^(    )?#", line), f"{lock.name}: {line}"
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_is_locked_with_hashes_and_from_nowhere_else(lock: Path) -> None:
    found = packages(lock)
    assert found
    assert [name for name, (_, hashes) in found.items() if not hashes] == []
    assert "://" not in lock.read_text()


def test_line_without_a_hash_is_seen(tmp_path: Path) -> None:
    """The control."""
    lock = tmp_path / "lock.txt"
    lock.write_text("one==1 \\\n    --hash=sha256:" + "0" * 64 + "\ntwo==2 \\\n")
    assert [name for name, (_, hashes) in packages(lock).items() if not hashes] == ["two"]
    lock.write_text("one @ git+https://example.test/one\n")
    with pytest.raises(AssertionError):
        packages(lock)


def test_what_the_project_needs_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for names, lock in (
        (project["dependencies"], "run.txt"),
        (project["optional-dependencies"]["dev"], "dev.txt"),
        (project["optional-dependencies"]["build"], "run.txt"),
    ):
        locked = {canonical(name) for name in packages(ROOT / "requirements" / lock)}
        wanted = {canonical(re.split(r"[<>=!~ \[;]", need)[0]) for need in names}
        assert wanted <= locked, wanted - locked


def installs(text: str) -> list[str]:
    """Each way in which a script has packages installed."""
    return [
        line for line in text.splitlines() if re.search(r"pip\b.* install\b|pip install\b|npm (ci|install)\b", line)
    ]


def test_packages_are_installed_by_hash_and_as_wheels_alone() -> None:
    own = "--no-deps --no-build-isolation --editable ."
    every = [line for script in SCRIPTS for line in installs(script.read_text())]
    found = [line for line in every if "npm" not in line]
    assert len(found) == 2, found
    assert [line for line in found if own not in line and "--require-hashes --only-binary :all:" not in line] == []
    # The project itself is built by what was locked, and brings nothing with it.
    assert sum(own in line for line in found) == 1
    # What builds the page runs no program of a package while it is installed.
    page = [line for line in every if "npm" in line]
    assert len(page) == 1, page
    assert "npm ci --ignore-scripts" in page[0]


def unlocked(lock: dict[str, Any]) -> list[str]:
    """Packages of a lock file of npm that have no hash, or come from a place of their own."""
    packages = {name: package for name, package in lock["packages"].items() if name}
    return [
        name
        for name, package in packages.items()
        if "resolved" in package or not package.get("integrity", "").startswith("sha512-")
    ]


def test_what_the_page_is_made_of_is_locked_with_hashes() -> None:
    lock = json.loads(PAGE_LOCK.read_text())
    manifest = json.loads((ROOT / "web/package.json").read_text())
    assert len(lock["packages"]) > len(manifest["dependencies"])
    assert unlocked(lock) == []
    wanted = {**manifest["dependencies"], **manifest["devDependencies"]}
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_package_of_the_page_without_a_hash_is_seen() -> None:
    """The control."""
    sound = {"version": "1.0.0", "integrity": "sha512-AA=="}
    elsewhere = {**sound, "resolved": "git+https://example.test/two"}
    lock = {"packages": {"": {}, "node_modules/one": {"version": "1.0.0"}, "two": elsewhere, "three": sound}}
    assert unlocked(lock) == ["node_modules/one", "two"]


def test_other_ways_to_install_are_seen() -> None:
    """The control."""
    assert installs("python -m pip install left-pad\nnpm install x\necho pipe") == [
        "python -m pip install left-pad",
        "npm install x",
    ]


# --- the bill of materials ------------------------------------------------------------


def bill(tmp_path: Path) -> Any:
    place = tmp_path / "sbom.cdx.json"
    script, lock = ROOT / "scripts/make-sbom", ROOT / "requirements/run.txt"
    subprocess.run([sys.executable, script, lock, PAGE_LOCK, place], check=True, capture_output=True)
    return json.loads(place.read_text())


def test_bill_lists_what_is_locked_and_nothing_else(tmp_path: Path) -> None:
    made = bill(tmp_path)
    listed = {
        part["name"]: (part["version"], [digest["content"] for digest in part["hashes"]])
        for part in made["components"]
        if part["purl"].startswith("pkg:pypi/")
    }
    assert listed == packages(ROOT / "requirements/run.txt")
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert {part["purl"] for part in made["components"]} == set(made["dependencies"][0]["dependsOn"])


def test_bill_lists_what_the_page_is_made_of(tmp_path: Path) -> None:
    listed = {part["name"]: part for part in bill(tmp_path)["components"] if part["purl"].startswith("pkg:npm/")}
    lock = json.loads(PAGE_LOCK.read_text())["packages"]
    shipped = {path.removeprefix("node_modules/"): entry for path, entry in lock.items() if not entry.get("dev")}
    assert listed.keys() == shipped.keys() - {""}
    assert {"preact", "@noble/curves"} <= listed.keys()
    for name, part in listed.items():
        [digest] = part["hashes"]
        locked = base64.b64decode(shipped[name]["integrity"].removeprefix("sha512-"))
        assert (digest["alg"], digest["content"]) == ("SHA-512", locked.hex())
        assert part["licenses"] == [{"expression": shipped[name]["license"]}]
    assert listed["@noble/curves"]["purl"] == f"pkg:npm/%40noble/curves@{listed['@noble/curves']['version']}"


def test_bill_is_the_same_each_time(tmp_path: Path) -> None:
    assert bill(tmp_path) == bill(tmp_path)


# --- the workflow -----------------------------------------------------------------------


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_workflow_has_pinned_actions_and_no_permissions(workflow: Path) -> None:
    text = workflow.read_text()
    assert problems(text) == []
    assert ".ci/run" in text or "make fuzz" in text


def problems(text: str) -> list[str]:
    """What somebody could bend a workflow by."""
    actions = re.findall(r"uses: *(\S+)", text)
    pinned = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
    found = [f"not pinned: {action}" for action in actions if not pinned.fullmatch(action)]
    if re.findall(r"^ *permissions:.*$", text, re.MULTILINE) != ["permissions: {}"]:
        found.append("permissions")
    found += [word for word in ("pull_request_target", "secrets.", "${{", "curl ", "wget ") if word in text]
    if "uses: actions/checkout" in text and "persist-credentials: false" not in text:
        found.append("the token stays in the checkout")
    return found


@pytest.mark.parametrize(
    "text",
    [
        "permissions: {}\nuses: actions/checkout@v4\n with:\n persist-credentials: false",
        "permissions: write-all\n",
        "on: push\n",
        "permissions: {}\n run: echo ${{ github.event.issue.title }}",
        "permissions: {}\non: pull_request_target",
        "permissions: {}\njob:\n  permissions: write-all\n",
    ],
)
def test_workflow_that_can_be_bent_is_seen(text: str) -> None:
    """The control."""
    assert problems(text)


def test_security_policy_says_how_to_report_and_what_is_supported() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert "## Reporting" in text
    assert f"| {version.rpartition('.')[0]}.x | yes |" in text
    assert "make sbom" in text
