"""A slot and its session as clients are told of them. Pure."""

from __future__ import annotations

from .. import __version__, limits
from ..author import documents
from ..types import JsonObject
from .slot import NO_SESSION, ModelSlot


def describe(slot: ModelSlot, *, fps: float | None, recorded: bool) -> JsonObject:
    """Return a slot's descriptor. `fps`: the operator's rate; `recorded`: whether sessions are."""
    session, info = slot.session, slot.info
    descriptor: JsonObject = {
        "session_id": session.session_id if session is not None else NO_SESSION,
        "state": slot.state.value,
        "slot": slot.number,
        "cluster": "local",
        "model": {"name": info.name if info is not None else ""},
        "server_info": {"server_version": __version__},
        "selected_transport": {"protocol": "webrtc", "version": "1.0"},
        "recording": {
            "enabled": session.recording if session is not None else recorded,
            "chunk_seconds": limits.RECORDING_CHUNK_S,
        },
    }
    if info is not None:
        descriptor["capabilities"] = documents.capabilities(info)
        descriptor["emission_fps"] = fps or info.fps
    return descriptor
