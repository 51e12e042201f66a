"""What the documents say is so: code blocks run, links lead somewhere, tables match the code."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import reference
import settings_table
from support.seats import ushered
from written_part import WrittenPart

from reactor_runtime.author.manifest import Manifest
from reactor_runtime.cli import app
from reactor_runtime.host import HostCounters
from reactor_runtime.running.frames import FrameNormalizer
from reactor_runtime.server.places import Places
from reactor_runtime.server.routes_operator import metrics_of_places
from reactor_runtime.session.metrics import Snapshot, Totals, text_of, text_of_counters
from reactor_runtime.testing import LiveSession, assert_users_kept_apart, loaded

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / "examples").glob("*/*.md"),
    ]
)
#: `<!-- test: NAME -->` above a fenced block: the block is the file NAME.
BLOCK = re.compile(r"<!-- test: (?P<name>\S+) -->\n```\w+\n(?P<text>.*?)```\n", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.split("\0")[:-1]


def test_the_model_in_the_readme_runs_as_printed(tmp_path: Path) -> None:
    blocks = {match["name"]: match["text"] for match in BLOCK.finditer((ROOT / "README.md").read_text())}
    assert set(blocks) == {"model.py", "manifest.json"}
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)

    manifest = Manifest.read(tmp_path)
    model_class = manifest.load_class()
    (command,) = manifest.info(model_class).commands
    assert command.name == "set_speed"
    assert command.parameters["properties"]["speed"]["maximum"] == 5

    model = manifest.construct(model_class)
    session = model.start_session()
    assert session is not None
    first, second = itertools.islice(session, 2)
    assert (first != second).any()
    assert float(np.min(first)) >= -1
    (picture,) = FrameNormalizer().normalize(first)
    assert picture.shape == (360, 640, 3)


def test_the_readme_model_keeps_its_users_apart(tmp_path: Path) -> None:
    for match in BLOCK.finditer((ROOT / "README.md").read_text()):
        (tmp_path / match["name"]).write_text(match["text"])

    def first_user(session: LiveSession) -> None:
        session.frame()
        session.send("set_speed", speed=5)

    with loaded(tmp_path, size=(36, 64)) as model:
        assert_users_kept_apart(model, first_user)


def test_the_readme_model_is_as_short_as_it_says() -> None:
    blocks = {match["name"]: match["text"] for match in BLOCK.finditer((ROOT / "README.md").read_text())}
    assert len([line for line in blocks["model.py"].splitlines() if line.strip()]) <= 20


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = [each.name or each.callback.__name__ for each in app.registered_commands if each.callback]
    assert commands
    for name in commands:
        assert f"| `reactor {name}" in readme


def test_the_settings_table_matches_the_settings() -> None:
    text = settings_table.PART.read()
    assert settings_table.PART.put(text, settings_table.table()) == text, "run tools/settings_table.py"


def test_a_part_is_written_between_its_marks_and_nowhere_else() -> None:
    part = WrittenPart("docs/page.md", "figures", "Made by hand.")
    begin, end = "<!-- figures: begin. Made by hand. -->", "<!-- figures: end -->"
    assert part.put(f"a\n{begin}\nold\n{end}\nz", "1\n2") == f"a\n{begin}\n1\n2\n{end}\nz"
    for wrong in ("a\nz", f"{begin}\n", f"{end}\n{begin}\n", f"{begin}\n{end}{begin}\n{end}"):
        with pytest.raises(ValueError, match=r"docs/page\.md must have each of these once"):
            part.put(wrong, "new")


def test_the_reference_page_is_what_the_docstrings_say() -> None:
    text = reference.page()
    assert text == reference.PAGE.read_text(encoding="utf-8"), "run python tools/reference.py"
    for name in ("emit_frame", "emit_block", "should_stop", "input_frame", "wait", "report", "send"):
        assert f"#### `{name}`" in text
    assert "For the runner" not in text


def test_what_a_hosted_ci_and_a_contributor_run_is_what_ci_runs() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "- run: .ci/run\n" in workflow
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = (ROOT / "CONTRIBUTING.md").read_text() + workflow
    named = set(re.findall(r"(?:run: |^|`)make ([a-z]+)", told, re.MULTILINE))
    assert named >= {"setup", "check", "test", "nightly", "coverage", "bench"}
    assert named <= targets
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for path in re.findall(r"tests/\w+\.py", hooks):
        assert (ROOT / path).is_file()


def test_every_example_is_in_the_list_of_examples() -> None:
    listed = (ROOT / "examples" / "README.md").read_text()
    folders = {path.parent.name for path in (ROOT / "examples").glob("*/README.md")}
    assert folders == set(re.findall(r"\]\((\w+)/README\.md\)", listed))


def test_nothing_names_a_package_registrys_host() -> None:
    hosts = [
        "pypi" + ".org",
        "files.python" + "hosted.org",
        "registry.npm" + "js.org",
        "registry.yarn" + "pkg.com",
    ]
    found = [
        path.relative_to(ROOT)
        for path in (ROOT / name for name in tracked())
        if path.suffix not in {".npz", ".jpg", ".png"}
        and path.is_file()
        and any(host in path.read_text(encoding="utf-8", errors="ignore") for host in hosts)
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (page.parent / match["target"]).resolve()
        assert target.exists(), f"{page.name}: {match['target']}"


def test_the_files_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.(?:py|js))`", text))
    assert len(named) > 20
    package = ROOT / "src" / "reactor_runtime"
    missing = [name for name in sorted(named) if not (package / name).exists() and not (ROOT / name).exists()]
    assert not missing


def test_the_modules_in_the_architecture_s_pictures_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {
        name
        for picture in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"[\w/]+\.py", picture)
    }
    assert len(drawn) > 10
    modules = {path.as_posix() for path in (ROOT / "src" / "reactor_runtime").rglob("*.py")}
    assert {name for name in drawn if sum(module.endswith(f"/{name}") for module in modules) != 1} == set()


def test_the_metrics_that_the_operators_page_names_exist() -> None:
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(reactor_\w+_total)`", text))
    assert named
    snapshot = Snapshot(0, "ready", 0, restarts=0, host=HostCounters(), totals=Totals(), session={})
    text = text_of([snapshot]) + metrics_of_places(Places())
    text += text_of_counters(ushered(lambda: 0.0)[0].counters())
    assert named <= set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE))
