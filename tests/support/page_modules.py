"""The page's modules that know no document, run in node: quicker than a browser, and the same language.

total = run("breakdown", "return m.PARTS.length + x;", 1)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import reactor_runtime

PAGE = Path(reactor_runtime.__file__).parent / "server" / "page"
NODE = Path(sys.executable).with_name("node")


def run(modules: str, body: str, argument: object = None) -> Any:
    """Run `body` with the exports of `modules` (names, comma-separated) as `m` and `argument` as `x`."""
    imports = ", ".join(
        f"await import({json.dumps((PAGE / f'{name.strip()}.js').as_uri())})" for name in modules.split(",")
    )
    program = f"""
    const m = Object.assign({{}}, {imports});
    const x = {json.dumps(argument)};
    const value = await (async () => {{ {body} }})();
    console.log(JSON.stringify(value ?? null));
    """
    done = subprocess.run(
        [NODE, "--no-warnings", "--input-type=module", "-e", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
