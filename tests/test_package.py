"""What is built and published: the wheel in clean environments, the sdist, the two names of the command, the clash.

hatchling build ─▶ wheel, sdist ─▶ a fresh environment per Python at hand ─▶ version, init, capabilities, run
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.promises import NIGHTLY
from support.server import running

import framehelm
from reactor_runtime import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: The others under `make nightly`, where they are at hand.
PYTHONS = ("3.11", "3.12", "3.13") if NIGHTLY else (f"{sys.version_info.major}.{sys.version_info.minor}",)


def call(*command: str | Path, cwd: Path | None = None, within_s: float = 100) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        # What the developer's shell says of paths must not reach a clean environment.
        env={
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


# The clash --------------------------------------------------------------------------------------------


def installed(folder: Path, name: str, *, editable: bool = False) -> Path:
    """Write what pip leaves of a distribution, and return the folder for sys.path."""
    info = folder / f"{name.replace('-', '_')}-3.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.2.3\n")
    if editable:
        (info / "direct_url.json").write_text(
            json.dumps({"url": "file:///a/checkout", "dir_info": {"editable": True}})
        )
    return folder


def test_a_distribution_that_owns_the_same_package_is_found_and_the_fix_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path, "reactor-runtime"))
    monkeypatch.setitem(sys.modules, "reactor_runtime.cli", None)  # it is not to be trusted, nor imported
    with pytest.raises(SystemExit) as left:
        framehelm.main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "reactor-runtime 3.2.3 are both installed" in said
    assert "Fix: pip uninstall -y reactor-runtime framehelm" in said


@pytest.mark.parametrize("editable", [True, False])
def test_a_checkout_installed_under_the_old_name_and_other_packages_are_no_clash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    name = "reactor-runtime" if editable else "reactor-sdk"
    monkeypatch.syspath_prepend(installed(tmp_path, name, editable=editable))
    assert framehelm.clash() is None


def test_the_name_is_the_same_everywhere() -> None:
    assert PROJECT["name"] == "framehelm"
    assert PROJECT["scripts"] == {"framehelm": "framehelm:main", "reactor": "framehelm:main"}
    assert (ROOT / "README.md").read_text().startswith("# Framehelm\n")
    page = (ROOT / "src" / "reactor_runtime" / "server" / "page" / "index.html").read_text()
    assert "<title>Framehelm</title>" in page
    npm = json.loads((ROOT / "create-reactor-app" / "package.json").read_text())
    assert "framehelm" in npm["description"]
    assert "framehelm" in npm["keywords"]
    # Where someone is told to install this, it is by this name.
    told = re.compile(r"pip install[^\n`]*reactor-runtime")
    files = [
        path
        for folder in ("src", "docs", "examples", "create-reactor-app")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".js", ".txt", ".json"} and "node_modules" not in path.parts
    ]
    assert len(files) > 100
    wrong = [
        str(path.relative_to(ROOT)) for path in [*files, ROOT / "README.md"] if told.search(path.read_text())
    ]
    assert wrong == []


# Built ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    call(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.slow
def test_the_sdist_builds_the_very_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    (again,) = tmp_path.glob("*.whl")
    assert again.name == wheel.name == f"framehelm-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {each.filename: each.CRC for each in first.infolist()} == {
            each.filename: each.CRC for each in second.infolist()
        }


@pytest.mark.slow
def test_the_wheel_has_all_that_the_checkout_has_and_nothing_else(built: tuple[Path, Path]) -> None:
    tracked = call("git", "ls-files", "--cached", "--others", "--exclude-standard", "src", cwd=ROOT).split()
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = wheel.read(f"framehelm-{__version__}.dist-info/METADATA").decode()
    assert names == {name.removeprefix("src/") for name in tracked if (ROOT / name).exists()}
    assert "reactor_runtime/server/page/index.html" in names
    assert "reactor_runtime/cli/template/model.py" in names
    assert "License-Expression: Apache-2.0" in metadata


def python_of(version: str) -> str:
    """Return a Python of this version, or skip."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for found in [*map(str, kept), shutil.which(f"python{version}")]:
        if (
            found
            and subprocess.run([found, "-c", "import venv"], capture_output=True, timeout=20).returncode == 0
        ):
            return found
    pytest.skip(f"there is no Python {version} on this machine")


def link_what_it_needs(packages: Path) -> None:
    """Put the dependencies into an environment that the tests' own has, and theirs, and nothing else."""
    wanted, found = [Requirement(text) for text in PROJECT["dependencies"]], set[str]()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        distribution = Distribution.from_name(name)
        assert distribution.version in requirement.specifier
        wanted += map(Requirement, distribution.requires or ())
        for file in distribution.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                link, source = packages / file, Path(file.locate())
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(source)
                # What was compiled of it.
                compiled = link.parent / "__pycache__"
                if not compiled.is_symlink() and (source.parent / "__pycache__").is_dir():
                    compiled.symlink_to(source.parent / "__pycache__")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_in_a_clean_environment(
    built: tuple[Path, Path], tmp_path: Path, version: str
) -> None:
    """Its own dependencies and no others: both commands, `init`, the model that it makes, the page."""
    environment = tmp_path / "environment"
    call(python_of(version), "-m", "venv", "--without-pip", environment, within_s=60)
    bin_ = environment / "bin"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", bin_ / "python", "install")
    (packages,) = environment.glob("lib/python*/site-packages")
    if NIGHTLY:
        call(*pip, "--quiet", "--no-compile", "--only-binary=:all:", built[0], within_s=300)
    else:
        link_what_it_needs(packages)
        call(*pip, "--quiet", "--no-compile", "--no-index", "--no-deps", built[0])
    for name in ("framehelm", "reactor"):
        assert call(bin_ / name, "--version") == f"framehelm {__version__}\n"
    call(bin_ / "framehelm", "init", "my-model", cwd=tmp_path)
    project = tmp_path / "my-model"
    assert f"framehelm=={__version__}" in (project / "requirements.txt").read_text()
    assert json.loads(call(bin_ / "reactor", "capabilities", cwd=project))["model"]["name"] == "my-model"
    with running(project, command=bin_ / "framehelm") as server:
        page = server.get("/").text
        linked = re.findall(r'(?:src|href)="([^":]+\.(?:js|css|svg|png|ico))"', page)
        assert linked
        for path in linked:
            answer = httpx.get(httpx.URL(server.url + "/").join(path), timeout=10)
            assert answer.status_code == 200, path
        assert server.health()

    # And then the other distribution is installed over it.
    installed(packages, "reactor-runtime")
    (packages / "reactor_runtime" / "__init__.py").write_text("raise SystemExit('of another runtime')\n")
    for name in ("framehelm", "reactor"):
        done = subprocess.run([bin_ / name, "--version"], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (2, "")
        assert "reactor-runtime 3.2.3 are both installed" in done.stderr


@pytest.mark.slow
def test_packing_the_front_ends_without_their_libraries_fails_and_says_why(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    copy = tmp_path / "create-reactor-app"
    shutil.copytree(ROOT / "create-reactor-app", copy, ignore=shutil.ignore_patterns("node_modules", "*.tgz"))
    done = subprocess.run([npm, "pack"], cwd=copy, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "node_modules/picocolors is missing" in done.stderr
    assert "Fix: npm ci" in done.stderr
    assert not list(copy.glob("*.tgz"))
