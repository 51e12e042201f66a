"""The control page: the files of `page/`, read once at the start and served from memory.

    /                index.html, which names the next three; with ?source as it is written. Whoever may ask for the
                     overview has it in there: on a long line that is a round trip
    /begin.HASH.js   what connects, and /app.HASH.js, all other modules (`page_bundle.py`): browsers keep them for
                     good, as the next; HASH is that of all files
    /style.HASH.css
    /NAME.HASH.js    a module that is loaded when it is needed, with what it imports; NAME.HASH.css: its style
    /*               the files themselves, asked for again each time

A request's path is looked up among the names found then, so it never becomes a path of the file system.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.responses import Response

from ..session.grants import Right
from .access import GRANT
from .packing import CODINGS, QUICKLY, coding_of
from .page_bundle import bundles, squeezed
from .routes_connect import overview_of

PAGE: Final = Path(__file__).parent / "page"

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

#: The page runs its own modules and styles only, talks to its own server only, and is framed by nobody whom
#: the operator does not name.
#: Pictures and clips of the user's own come as blob: and data:.
_HEADERS: Final = {
    # What may frame it is added.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; manifest-src 'self'; "
        "font-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors "
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    # The token may stand in the address.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


#: Where the overview has its place in a page.
_OVERVIEW: Final = b'<script id="overview" type="application/json">'
#: What the page's address asks for when its files are to be read as they are written.
SOURCE: Final = "source"
_INDEX, _ICON = "index.html", "icon.svg"
#: In the order in which a visitor gets them.
_ENTRIES: Final = ("begin.js", "app.js")
_PRELOAD: Final = re.compile(r'^<link rel="modulepreload"[^>]*>\n', re.M)
_STYLE: Final = re.compile(r'^<link rel="stylesheet" href="([^"]*)">\n', re.M)


@dataclass(frozen=True, slots=True)
class PageFile:
    """`lasting`: the address holds this content for good. `_packed` is filled as it is asked for."""

    content: bytes
    media_type: str
    etag: str
    lasting: bool = False
    _packed: dict[str, bytes] = field(default_factory=dict)

    async def packed(self, coding: str) -> bytes:
        """Return the content in a coding of `CODINGS`, packed once, beside the event loop."""
        if (made := self._packed.get(coding)) is None:
            made = self._packed[coding] = await asyncio.to_thread(CODINGS[coding], self.content)
        return made


@cache
def own_files() -> dict[str, PageFile]:
    """Return the files of the page that comes with this package; the servers of one process share them."""
    return page_files(PAGE)


def page_files(folder: Path) -> dict[str, PageFile]:
    """Return URL path → file for everything that a browser can use.

    That is each file of `folder`, and where it has a page, what that is when it is put together.
    """
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES and path.is_file() and not path.name.startswith(".")
    }
    files = {"/" + name: _file(name, content) for name, content in found.items()}
    if _INDEX in found:
        files |= _together({name: content.decode() for name, content in found.items() if _is_text(name)})
    return files


def _together(texts: Mapping[str, str]) -> dict[str, PageFile]:
    # What runs as a worker is a script of its own, in a folder of its own.
    modules = {name: text for name, text in texts.items() if name.endswith(".js") and "/" not in name}
    version = hashlib.sha256("".join(texts[name] for name in sorted(texts)).encode()).hexdigest()[:16]

    def named(name: str) -> str:
        path = Path(name)
        return f"{path.stem}.{version}{path.suffix}"

    index = texts[_INDEX]
    styles = _STYLE.findall(index)
    together = {
        **bundles(modules, _ENTRIES, named),
        **{
            name: squeezed(text)
            for name, text in texts.items()
            if name.endswith(".css") and name not in styles
        },
        styles[0]: squeezed("".join(texts[name] for name in styles)),
    }
    links = iter([f'<link rel="stylesheet" href="{named(styles[0])}">\n'])
    index = _STYLE.sub(lambda _: next(links, ""), _PRELOAD.sub("", index))
    for entry in _ENTRIES:
        index = index.replace(f'src="{entry}"', f'src="{named(entry)}"')
    index = index.replace(f'href="{_ICON}"', f'href="{_inline(texts[_ICON])}"')
    lasting = {"/" + named(name): _file(name, text.encode(), lasting=True) for name, text in together.items()}
    return {**lasting, "/": _file(_INDEX, index.encode())}


def _inline(drawing: str) -> str:
    return "data:image/svg+xml," + quote(drawing.replace('"', "'"), safe=" :/=';,()")


def _is_text(name: str) -> bool:
    return name.endswith((".html", ".js", ".css", ".svg"))


def _file(name: str, content: bytes, *, lasting: bool = False) -> PageFile:
    etag = hashlib.sha256(content).hexdigest()[:32]
    return PageFile(content, _TYPES[Path(name).suffix], etag, lasting)


def install(app: FastAPI, files: dict[str, PageFile], *, frame_ancestors: Sequence[str] = ()) -> None:
    """Add one route per file."""
    policy = "Content-Security-Policy"
    framing = " ".join(frame_ancestors) or "'none'"
    headers = {**_HEADERS, policy: _HEADERS[policy] + framing}
    for url_path, file in files.items():
        source = files["/" + _INDEX] if url_path == "/" else file
        # Not FastAPI's kind of route: nothing of it is to be validated, and there are fifty.
        app.add_route(
            url_path, _serve(file, source, headers), methods=["GET", "HEAD"], include_in_schema=False
        )


def _serve(
    file: PageFile, source: PageFile, headers: Mapping[str, str]
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        wanted = source if SOURCE in request.query_params else file
        coding = coding_of(request.headers.get("accept-encoding", ""))
        if wanted is file and _OVERVIEW in file.content and Right.WATCH in request.scope[GRANT].rights:
            return await _with_overview(request, wanted, coding, headers)
        # One tag for each form, RFC 9110, 8.8.3.3. A proxy may have put W/ before it.
        etag = f'"{wanted.etag}{coding and "-" + coding}"'
        own = {
            **headers,
            "ETag": etag,
            "Vary": "Accept-Encoding",
            "Cache-Control": "public, max-age=31536000, immutable" if wanted.lasting else "no-cache",
        }
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=own)
        if not coding:
            return Response(wanted.content, media_type=wanted.media_type, headers=own)
        own["Content-Encoding"] = coding
        return Response(await wanted.packed(coding), media_type=wanted.media_type, headers=own)

    return serve


async def _with_overview(
    request: Request, page: PageFile, coding: str, headers: Mapping[str, str]
) -> Response:
    """Return the page with what it would ask first. It is true now only, so nothing keeps it."""
    # In JSON the sign is part of texts alone, and there it can be written so; in HTML it would end the element.
    overview = await overview_of(request, request.app.state.service, request.scope[GRANT])
    text = json.dumps(overview).replace("<", "\\u003c")
    content = page.content.replace(_OVERVIEW, _OVERVIEW + text.encode(), 1)
    own = {**headers, "Vary": "Accept-Encoding", "Cache-Control": "no-store"}
    if coding:
        own["Content-Encoding"] = coding
        content = QUICKLY[coding](content)
    return Response(content, media_type=page.media_type, headers=own)
