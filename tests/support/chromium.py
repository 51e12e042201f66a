"""Debian's headless Chromium through playwright, and a page that is a WebRTC viewer.

    async with chromium() as browser:
        async with page_viewer(browser) as viewer:
            answer = await peer.answer(await viewer.offer(), viewer.mapping)
            await viewer.accept(answer)
            await viewer.frames(60)

The page reads the number that `stamps.draw_stamp` drew into each displayed picture. Its addresses are on this
machine's own interface; Chromium gathers none on loopback.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from reactor_runtime.webrtc.peer import TrackMapping

from .promises import NIGHTLY
from .stamps import READ_STAMP_JS

#: Gives a page `window.reactorPage`, by which tests hold on to its parts.
HOOKS = Path(__file__).parents[2] / "tools" / "page" / "hooks.js"
#: The browser that people have, and what it is without windows of its own: the same engine, codecs and WebRTC of the
#: same release, of which a page costs a third.
WHOLE = "/usr/bin/chromium"
SHELL = "/usr/bin/chromium-headless-shell"
#: Each change is tested in the shell, nights are in the browser.
CHROMIUM = os.environ.get("CHROMIUM") or (WHOLE if NIGHTLY else SHELL)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

_PAGE = f"""
{READ_STAMP_JS}
const video = document.createElement('video');
video.muted = true; video.autoplay = true; video.playsInline = true;
document.body.append(video);
const canvas = document.createElement('canvas');
const context = canvas.getContext('2d', {{willReadFrequently: true}});
window.shown = [];
window.messages = [];
window.opened = [];
window.states = [];
function look(now, about) {{
  video.requestVideoFrameCallback(look);
  const side = Math.floor(video.videoWidth / 32);
  canvas.width = video.videoWidth; canvas.height = side;
  context.drawImage(video, 0, 0);
  const number = readStamp(context.getImageData(0, 0, canvas.width, side).data, canvas.width);
  window.shown.push({{number, rtp: about.rtpTimestamp, wall: performance.timeOrigin + performance.now(),
    display: performance.timeOrigin + about.expectedDisplayTime, width: video.videoWidth}});
}}
video.requestVideoFrameCallback(look);
window.makeOffer = async ({{sending, codec}}) => {{
  const pc = window.pc = new RTCPeerConnection();
  pc.onconnectionstatechange = () => window.states.push(pc.connectionState);
  pc.ontrack = event => {{ video.srcObject = new MediaStream([event.track]); }};
  const receiving = pc.addTransceiver('video', {{direction: 'recvonly'}});
  if (codec) {{
    const all = RTCRtpReceiver.getCapabilities('video').codecs;
    receiving.setCodecPreferences(all.filter(c => c.mimeType.toLowerCase() === 'video/' + codec));
  }}
  if (sending) {{
    const source = document.createElement('canvas');
    source.width = 320; source.height = 240;
    const draw = source.getContext('2d');
    let n = 0;
    setInterval(() => {{ draw.fillStyle = 'rgb(220,30,40)'; draw.fillRect(0, 0, 320, 240);
                         draw.fillStyle = 'black'; draw.fillRect(n++ % 320, 200, 9, 9); }}, 33);
    pc.addTransceiver(source.captureStream(30).getVideoTracks()[0], {{direction: 'sendonly'}});
  }}
  window.channels = {{}};
  for (const label of ['control', 'data']) {{
    const channel = window.channels[label] = pc.createDataChannel(label);
    channel.binaryType = 'arraybuffer';
    channel.onopen = () => window.opened.push(label);
    channel.onmessage = event => window.messages.push([label, typeof event.data === 'string' ? event.data
      : Array.from(new Uint8Array(event.data))]);
  }}
  await pc.setLocalDescription();
  if (pc.iceGatheringState !== 'complete') await new Promise(done => {{
    pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
    setTimeout(done, 2000);
  }});
  return pc.localDescription.sdp;
}};
window.accept = async sdp => pc.setRemoteDescription({{type: 'answer', sdp}});
window.inbound = async () => {{
  for (const s of (await pc.getStats()).values()) if (s.type === 'inbound-rtp' && s.kind === 'video')
    return Object.fromEntries(Object.entries(s).filter(([, value]) => typeof value === 'number'));
  return {{}};
}};
"""


@asynccontextmanager
async def chromium(*extra: str, executable: Path | str = CHROMIUM) -> AsyncIterator[Browser]:
    """Launch one browser; close it and its processes on the way out. `executable` may wrap it: `net.relay`."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=[*ARGUMENTS, *extra])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(frozen=True)
class Shown:
    """One displayed picture: its stamp, its RTP timestamp, and when, in seconds since the epoch."""

    number: int | None
    rtp: int
    wall_s: float
    width: int


class PageViewer:
    """A viewer in a page: one received video track, both channels, and a sent one if asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.mapping: list[TrackMapping] = []

    async def offer(self, *, sending: bool = False, codec: str = "") -> str:
        self.mapping = [TrackMapping("0", "main_video")] + ([TrackMapping("1", "webcam")] if sending else [])
        sdp: str = await self.page.evaluate("o => makeOffer(o)", {"sending": sending, "codec": codec})
        return sdp

    async def accept(self, answer: str) -> None:
        await self.page.evaluate("sdp => accept(sdp)", answer)

    async def shown(self) -> list[Shown]:
        rows: list[dict[str, Any]] = await self.page.evaluate("shown")
        return [Shown(row["number"], row["rtp"], row["wall"] / 1000, row["width"]) for row in rows]

    async def forget(self) -> None:
        await self.page.evaluate("shown.length = 0")

    async def frames(self, count: int, *, within_s: float = 20) -> list[Shown]:
        """Wait until so many pictures with a readable stamp were displayed."""
        async with asyncio.timeout(within_s):
            while True:
                shown = [picture for picture in await self.shown() if picture.number is not None]
                if len(shown) >= count:
                    return shown
                await asyncio.sleep(0.05)

    async def inbound(self) -> dict[str, float]:
        numbers: dict[str, float] = await self.page.evaluate("inbound()")
        return numbers


@asynccontextmanager
async def page_viewer(browser: Browser) -> AsyncIterator[PageViewer]:
    page = await browser.new_page()
    try:
        await page.evaluate(f"() => {{ {_PAGE} }}")
        yield PageViewer(page)
    finally:
        await page.close()
