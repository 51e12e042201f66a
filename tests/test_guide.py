"""docs/convert-your-model.md, followed to the letter: every block is written, run and served in order.

By what stands after the three backticks:
    python NAME, json NAME   written to that file of the project; a model.py then has to stream
    python                   executed in the project's folder, after the ones before it
    bash                     run in the folder where the one before ended
    bash, `reactor run`      started, asked for its page, and stopped
    text                     not code
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.audience import watching
from support.server import running

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "convert-your-model.md"
BLOCK = re.compile(r"^```(\w*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MANIFEST = """{"class": "model:CoralModel", "model_name": "coral"}"""


@dataclass(frozen=True)
class Block:
    language: str
    file: str
    text: str
    line: int


def blocks() -> list[Block]:
    guide = GUIDE.read_text()
    return [
        Block(found[1], found[2], found[3], guide.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(guide)
    ]


def run_bash(text: str, cwd: Path) -> Path:
    """Run a block with this Python's commands first on the path; return the folder it ended in."""
    script = f"set -euo pipefail\n{text}\npwd > {shlex.quote(str(cwd / '.pwd'))}"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return Path((cwd / ".pwd").read_text().strip())


def run_python(block: Block, namespace_file: Path, cwd: Path) -> None:
    """Execute a fragment after those before it, in one fresh interpreter."""
    with namespace_file.open("a") as file:
        file.write(block.text)
    done = subprocess.run(
        [sys.executable, str(namespace_file)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"line {block.line}:\n{block.text}\n{done.stderr}"


def serve(command: str, project: Path) -> None:
    """`reactor run` as printed, plus a free port, until it answers."""
    _, verb, *flags = shlex.split(command)
    assert verb == "run"
    with running(project, *flags) as server:
        assert httpx.get(server.url + "/health", timeout=10).status_code == 200
        page = httpx.get(server.url + "/", timeout=10)
        assert page.status_code == 200
        assert "<html" in page.text.lower()
        assert "set_prompt" in httpx.get(server.url + "/schema", timeout=10).text


async def watch(project: Path) -> None:
    """Look at some frames of model.py as it stands now; the guide comes to the manifest later."""
    manifest = project / "not-yet.json"
    manifest.write_text(MANIFEST)
    async with watching(manifest) as user:
        first = await user.look()
        assert first.shape == (480, 640, 3)
        if user.info.commands:
            assert (await user.say("set_prompt", prompt="xyzzy")).code == "unknown_words"
            await user.tell("set_prompt", prompt="moss at night")
        assert np.abs(first.astype(int) - await user.look(8)).mean() > 0.5


@pytest.mark.slow
async def test_the_guide_works_as_it_is_printed(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    cwd = tmp_path
    done: list[str] = []
    for block in blocks():
        done.append(f"{block.language} {block.file}".strip())
        if block.file:
            (cwd / block.file).write_text(block.text)
            if block.file == "model.py":
                await watch(cwd)
                for module in ("model", "live", "coral"):
                    sys.modules.pop(module, None)
        elif block.language == "python":
            run_python(block, tmp_path / "fragments.py", cwd)
        elif block.language == "bash" and block.text.startswith("reactor run"):
            serve(block.text, cwd)
        elif block.language == "bash":
            cwd = run_bash(block.text, cwd)
    assert cwd == tmp_path / "coral"
    assert (cwd / "reef.mp4").stat().st_size > 10_000
    assert done.count("python model.py") == 3
    assert {"python live.py", "json manifest.json", "python test_model.py", "bash"} <= set(done)


def test_every_block_of_the_guide_is_of_a_kind_that_is_run() -> None:
    found = blocks()
    assert len(found) == GUIDE.read_text().count("\n```") // 2
    for block in found:
        assert block.language in ("python", "json", "bash", "text"), f"line {block.line}"
        assert block.file or block.language != "json", f"line {block.line}"


def test_the_guides_links_lead_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", GUIDE.read_text()):
        page = (GUIDE.parent / target).read_text()
        headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, f"{target}#{anchor}"


def test_what_the_guide_quotes_is_what_the_runtime_says() -> None:
    said = "".join(path.read_text() for path in (ROOT / "src" / "reactor_runtime").rglob("*.py"))
    for words in (
        "get_ctx() was called while no session runs",
        "the model stopped responding",
        "the runtime calls reset() between users",
        "there is no module",
        "accepted are",
    ):
        assert words in GUIDE.read_text()
        assert words in said
