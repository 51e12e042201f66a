"""Opening engines by name, what importing them costs, and leaving the process with peers alive."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, cast

import pytest

from reactor_runtime.errors import SettingError
from reactor_runtime.webrtc.engines import open_engine

OFFER = Path(__file__).parent / "data" / "chromium-offer.sdp"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )


def test_an_unknown_engine_is_a_setting_error() -> None:
    with pytest.raises(SettingError, match="choose reactor or aiortc"):
        open_engine(cast(Any, "gstreamer"))


@pytest.mark.slow
def test_an_engine_is_imported_only_when_it_is_opened() -> None:
    done = run("""
        import sys
        import reactor_runtime.webrtc.engines, reactor_runtime.webrtc.offer
        print([name for name in ("aiortc", "reactor_webrtc", "av", "cv2") if name in sys.modules])
    """)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_a_missing_engine_says_how_to_install_it() -> None:
    done = run("""
        import sys
        sys.modules["aiortc"] = None
        from reactor_runtime.errors import SettingError
        from reactor_runtime.webrtc.engines import open_engine
        try:
            open_engine("aiortc")
        except SettingError as error:
            print(error)
    """)
    assert "framehelm[aiortc]" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reactor", "aiortc"])
@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "raise RuntimeError('boom')"])
def test_a_process_that_ends_with_peers_alive_ends_in_order(name: str, ending: str) -> None:
    done = run(f"""
        import asyncio
        from pathlib import Path
        from reactor_runtime.types import Track
        from reactor_runtime.webrtc.engines import open_engine

        class Deaf:
            def __getattr__(self, name):
                return lambda *arguments: None

        async def main():
            engine = open_engine({name!r})
            peer = engine.create(Deaf(), [Track("main_video", "video", "out")], codecs=["h264"])
            await peer.answer(Path({str(OFFER)!r}).read_bytes().decode(), ())
            {ending}

        asyncio.run(main())
    """)
    assert done.returncode == {"": 0, "raise SystemExit(3)": 3}.get(ending, 1), done.stderr
    assert "panicked" not in done.stderr
