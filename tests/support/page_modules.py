"""The page's modules that know no document, run in node: quicker than a browser, and the same language.

    pytestmark = pytest.mark.usefixtures("node")
    total = run("breakdown", "return m.PARTS.length + x;", 1)

One node answers every test, because its start takes twenty times as long as most of what is asked. Modules are
loaded once, as in a page that stays, and what `body` adds to globalThis ends with it.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import reactor_runtime

PAGE = Path(reactor_runtime.__file__).parent / "server" / "page"
NODE = Path(sys.executable).with_name("node")
WITHIN_S = 60
_ANSWER = """
import { createInterface } from "node:readline";
globalThis.console = new console.Console(process.stderr);
const AsyncFunction = (async () => {}).constructor;
const own = new Set(Reflect.ownKeys(globalThis));
process.stdout.write("ready\\n");
for await (const line of createInterface({ input: process.stdin })) {
  const { modules, body, argument } = JSON.parse(line);
  let answer;
  try {
    const m = Object.assign({}, ...(await Promise.all(modules.map((address) => import(address)))));
    answer = { value: (await new AsyncFunction("m", "x", body)(m, argument)) ?? null };
  } catch (error) {
    answer = { error: error.stack };
  }
  // What one test puts into the world, a document say, is not there for the next.
  for (const name of Reflect.ownKeys(globalThis)) if (!own.has(name)) Reflect.deleteProperty(globalThis, name);
  process.stdout.write(`${JSON.stringify(answer)}\\n`);
}
"""
_nodes: list[subprocess.Popen[str]] = []


@contextmanager
def node() -> Iterator[None]:
    """Let `run` have a node to ask, until the block ends."""
    command = [str(NODE), "--no-warnings", "--input-type=module", "-e", _ANSWER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        _nodes.append(process)
        try:
            _next(process)  # it has its name by now, which tests are compared by
            yield
        finally:
            _nodes.remove(process)
            process.kill()


def run(modules: str, body: str, argument: object = None) -> Any:
    """Run `body` with the exports of `modules` (names, comma-separated) as `m` and `argument` as `x`."""
    (process,) = _nodes
    assert process.stdin is not None
    addresses = [(PAGE / f"{name.strip()}.js").as_uri() for name in modules.split(",")]
    process.stdin.write(json.dumps({"modules": addresses, "body": body, "argument": argument}) + "\n")
    process.stdin.flush()
    answer = json.loads(_next(process))
    assert "value" in answer, answer["error"]
    return answer["value"]


def _next(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, *_ = select.select([process.stdout], [], [], WITHIN_S)
    assert ready, f"no answer within {WITHIN_S} s"
    return process.stdout.readline()
