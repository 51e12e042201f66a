"""A runtime in this process, behind real HTTP and real WebRTC, with the model on a thread of its own.

async with served(folder, MODEL, orphan_s=1) as runtime:
    async with watching(runtime.url) as visitor:
        ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from reactor_runtime.config import Settings
from reactor_runtime.server.runtime import Runtime

from .server import write_model

MODEL = """
    import threading
    import time
    from typing import Annotated

    import numpy as np
    from PIL.Image import Image as Picture
    from pydantic import BaseModel, Field
    from reactor_runtime import CommandError, Image, VideoModel, command, get_ctx

    class Layer(BaseModel):
        picture: Image
        opacity: float = 1.0

    class Model(VideoModel):
        fps = 30

        def __init__(self):
            self.order = []
            self.go_on = threading.Event()
            self.go_on.set()
            self.pause_s = 0.0

        def start_session(self):
            picture = np.full((120, 160, 3), 90, np.uint8)
            for n in range(10_000_000):
                picture[:, n % 160] = n % 256
                get_ctx().emit_frame(picture)
                if self.pause_s:
                    time.sleep(self.pause_s)

        def reset(self):
            self.__init__()

        @command("note", description="Remember a number")
        def note(self, number: int = Field(..., ge=0, le=1000)):
            self.order.append(number)
            return {"order": self.order}

        @command("shout", description="Tell everyone")
        def shout(self, text: str):
            get_ctx().send({"text": text}, type="shouted")

        @command("block", description="Take long")
        def block(self, seconds: float = 0.0):
            self.go_on.wait(seconds)

        @command("hold", description="Let block block")
        def hold(self):
            self.go_on.clear()

        @command("slow", description="Sleep after every frame")
        def slow(self, seconds: float):
            self.pause_s = seconds

        @command("refuse", description="Never does it")
        def refuse(self):
            raise CommandError("too_dark", "there is not enough light", field="lamp")

        @command("boom", description="Fails")
        def boom(self):
            raise ValueError("/srv/secret/path")

        @command("nothing_fits", description="Reply with more than a message holds")
        def nothing_fits(self):
            return {"text": "x" * 300_000}

        @command("brink", description="Reply with what just fits")
        def brink(self):
            return {"text": "x" * 262_040}

        @command("use", description="Use a picture")
        def use(self, picture: Image):
            return {"size": list(picture.size)}

        @command("stack", description="Use pictures inside arguments")
        def stack(self, layers: list[Layer]):
            return {"sizes": [list(layer.picture.size) for layer in layers]}

        def on_frame(self, frame):
            pass
"""


@asynccontextmanager
async def served(folder: Path, source: str, **settings: Any) -> AsyncIterator[Runtime]:
    """Serve a model's source until the block ends; `settings` are those of Settings."""
    write_model(folder, source)
    runtime = Runtime(folder, {}, Settings(**{"port": 0, "inline": True, **settings}))
    try:
        await runtime.start()
        await runtime.ready()
        yield runtime
    finally:
        await runtime.close()


async def state(runtime: Runtime) -> str:
    async with httpx.AsyncClient(verify=False) as http:
        return str((await http.get(runtime.url + "/session")).json()["state"])


async def until_state(runtime: Runtime, wanted: str, within_s: float = 10) -> float:
    """Wait for a state; return how long it took."""
    began_s = time.monotonic()
    while (now := await state(runtime)) != wanted:
        assert time.monotonic() - began_s < within_s, f"still {now}"
        await asyncio.sleep(0.01)
    return time.monotonic() - began_s


async def metrics(runtime: Runtime) -> dict[str, float]:
    async with httpx.AsyncClient(verify=False) as http:
        text = (await http.get(runtime.url + "/metrics")).text
    return {
        sample.name
        + "".join(f"[{value}]" for label, value in sample.labels.items() if label != "slot"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
