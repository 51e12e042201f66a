"""The API's own description, tried on the API: every case that its schema allows, and many that it does not."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.crowd import Crowd
from support.memory_runtime import serving
from support.promises import long_form

#: /events never ends.
ARGUMENTS = """--exclude-path /events --request-timeout 6 --no-color --workers 1
--checks not_a_server_error,content_type_conformance,response_schema_conformance,response_headers_conformance"""
#: 503 is an answer of ours: no room, no model.
CONFIGURATION = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
"""


@pytest.mark.slow
async def test_every_answer_is_as_the_api_describes_it(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs schemathesis, which is among the dev dependencies")
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    crowd = Crowd()
    async with serving() as live:
        await live.call("POST", "/start_session", json={})
        process = await asyncio.create_subprocess_exec(
            *(program, "--config-file", str(configuration), "run", live.server.url + "/openapi.json"),
            *("--max-time", str(long_form(5, 300)), *ARGUMENTS.split()),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    cases = re.search(r"(\d+) generated", told)
    assert cases is not None, told
    record_property("measured", f"{cases[1]} cases of the schema")
    assert int(cases[1]) > (20 if crowd.crowded else 100)
    assert not re.search(r"Traceback|site-packages|/src/", told)


async def test_the_description_refers_to_nothing_that_it_does_not_have() -> None:
    async with serving() as live:
        document = (await live.call("GET", "/openapi.json")).json()

    def references(part: Any) -> list[str]:
        if isinstance(part, list):
            return [found for each in part for found in references(each)]
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [found for each in part.values() for found in references(each)]
        return []

    for reference in references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
