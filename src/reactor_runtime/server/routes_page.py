"""The control page: the files of `page/`, read once at the start and served from memory.

A request's path is looked up among the names found then, so it never becomes a path of the file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from starlette.responses import Response

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
    "Cache-Control": "no-cache",
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


@dataclass(frozen=True, slots=True)
class PageFile:
    content: bytes
    media_type: str
    etag: str


def page_files(folder: Path) -> dict[str, PageFile]:
    """Return URL path → file for everything in `folder` that a browser can use; `/` is its index.html."""
    files: dict[str, PageFile] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _TYPES and path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files["/" + path.relative_to(folder).as_posix()] = PageFile(content, _TYPES[path.suffix], etag)
    if "/index.html" in files:
        files["/"] = files["/index.html"]
    return files


def install(app: FastAPI, files: dict[str, PageFile], *, frame_ancestors: Sequence[str] = ()) -> None:
    """Add one route per file."""
    policy = "Content-Security-Policy"
    framing = " ".join(frame_ancestors) or "'none'"
    headers = {**_HEADERS, policy: _HEADERS[policy] + framing}
    for url_path, file in files.items():
        app.add_api_route(url_path, _serve(file, headers), methods=["GET", "HEAD"], include_in_schema=False)


def _serve(file: PageFile, headers: Mapping[str, str]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        own = {**headers, "ETag": file.etag}
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=own)
        return Response(file.content, media_type=file.media_type, headers=own)

    return serve
