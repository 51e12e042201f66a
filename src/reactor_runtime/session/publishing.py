"""What is said to those who show the model something: whether they may, and that it failed at their picture.

Who they are is `claims.py`'s. Event loop only.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import codes
from ..wire import messages as say
from .claims import Claims
from .viewer import Viewer


def answer(claims: Claims, viewer: Viewer, asked: say.PublishTrack) -> None:
    """Give a viewer the track that it asks for, or say why not."""
    why = claims.claim(asked.name, viewer.connection_id)
    if why is None:
        viewer.send(say.PublishGranted(asked.request_id, asked.name))
    else:
        viewer.send(say.RequestRefused(asked.request_id, "publish_track", codes.PUBLISH_REFUSED, why))


def tell_of_failure(claims: Claims, viewers: Iterable[Viewer], raised: str) -> None:
    """Tell whoever shows something that `on_frame` raised, and the model's author what."""
    text = "the model could not use a picture that it was sent"
    notice = say.RuntimeNotice(codes.INPUT_FRAME_FAILED, text, detail=raised)
    for viewer in viewers:
        if viewer.author or claims.holds(viewer.connection_id):
            viewer.send(notice)
