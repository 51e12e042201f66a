"""Errors of ours across the process boundary, and what an exit says about the process that is gone."""

from __future__ import annotations

import signal
from pathlib import Path

from ..errors import (
    ManifestError,
    ModelCrashed,
    ModelDefinitionError,
    ModelFailed,
    ModelOutOfMemory,
    ReactorError,
    WeightsMissing,
)
from .records import Failure


def pack(error: ReactorError) -> Failure:
    """Return what it takes to raise an error of `load` or of a session again in the server."""
    if isinstance(error, ManifestError):
        return Failure(error.code, error.problem, error.file, error.key, error.fix)
    return Failure(error.code, str(error))


def unpack(failure: Failure) -> ReactorError:
    """Return the error that `pack` was given; ModelFailed for one that has no place here."""
    match failure.code:
        case ManifestError.code:
            return ManifestError(failure.message, file=failure.file, key=failure.key, fix=failure.fix)
        case ModelDefinitionError.code:
            return ModelDefinitionError(failure.message)
        case WeightsMissing.code:
            return WeightsMissing(failure.message)
        case _:
            return unpack_failed(failure)


def unpack_failed(failure: Failure) -> ModelFailed:
    """Return the error that ended a session."""
    return (ModelOutOfMemory if failure.code == ModelOutOfMemory.code else ModelFailed)(failure.message)


def of_exit(exit_code: int, *, out_of_memory: bool) -> ModelFailed:
    """Say why a process nobody told to end is gone."""
    if exit_code >= 0:
        return ModelCrashed(f"the model process exited with status {exit_code}", exit_code=exit_code)
    name = signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else f"signal {-exit_code}"
    if exit_code == -signal.SIGKILL and out_of_memory:
        return ModelOutOfMemory("the kernel killed the model process because memory ran out")
    return ModelCrashed(f"the model process was killed by {name}", exit_code=exit_code)


def out_of_memory_kills() -> int:
    """Return how often this machine's kernel killed a process for memory; 0 where it does not tell.

    The count is the machine's: it is only asked whether it rose while a process that nobody here killed
    died of SIGKILL.
    """
    try:
        text = Path("/proc/vmstat").read_text("ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
