"""Loading never runs what a file brings, unless someone consented to exactly that content."""

from __future__ import annotations

import builtins
import hashlib
import io
import logging
import os
import pickle
import pickletools
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor_runtime.errors import ReactorError, UnsafeWeights, WeightsCorrupt, WeightsMissing
from reactor_runtime.weights.state_dicts import load_weights

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

pytestmark = pytest.mark.slow


class Calls:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._what = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._what


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that no test may bring to life."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "a weights file ran code"


def _zip(payload: bytes, *, name: str = "archive/data.pkl", more: dict[str, bytes] | None = None) -> bytes:
    """Make the archive that torch.save writes, around a pickle of ours."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, payload)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for member, data in (more or {}).items():
            archive.writestr(member, data)
    return buffer.getvalue()


def _tar(payload: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("pickle", "../../canary", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return buffer.getvalue()


def _state_dict_with(thing: object) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2), "extra": thing}, buffer)
    return buffer.getvalue()


def _opcodes(module: str, name: str, argument: str) -> bytes:
    """A hand-written pickle: GLOBAL, a string, REDUCE."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def _safetensors_header(length: int, rest: bytes) -> bytes:
    return length.to_bytes(8, "little") + rest


def corpus(canary: Path) -> dict[str, bytes]:
    """Files that would touch the canary, or crash a careless reader."""
    touch = f"touch {canary}"
    write = f"open({str(canary)!r}, 'w').close()"
    evil = Calls(os.system, touch)
    raw = {f"protocol{number}": pickle.dumps(evil, protocol=number) for number in range(2, 6)}
    return {
        **{f"{name}.pt": _zip(data) for name, data in raw.items()},
        **{f"{name}-bare.pth": data for name, data in raw.items()},
        "state-dict.pt": _state_dict_with(evil),
        "exec.pt": _zip(pickle.dumps(Calls(builtins.exec, write), protocol=2)),
        "eval.bin": _zip(pickle.dumps(Calls(builtins.eval, write), protocol=2)),
        "open.ckpt": _zip(pickle.dumps(Calls(open, str(canary), "w"), protocol=2)),
        "popen.pt": _zip(pickle.dumps(Calls(subprocess.Popen, ["touch", str(canary)]), protocol=2)),
        "import.pt": _zip(_opcodes("builtins", "__import__", "os")),
        "posix.pt": _zip(_opcodes("posix", "system", touch)),
        "torch-load.pt": _zip(_opcodes("torch", "load", str(canary))),
        "jit.pt": _zip(_opcodes("torch.jit", "load", str(canary))),
        "runpy.pt": _zip(_opcodes("runpy", "run_path", str(canary))),
        "torch-system.pt": _zip(_opcodes("torch.serialization", "os.system", touch)),
        "torchscript.pt": _zip(
            pickle.dumps(evil, protocol=2), more={"archive/constants.pkl": pickle.dumps(evil, protocol=2)}
        ),
        "nested.pt": _zip(_zip(pickle.dumps(evil, protocol=2)), name="archive/data.pkl"),
        "climbing.pt": _zip(pickle.dumps(evil, protocol=2), name="../../data.pkl"),
        "tar.pt": _tar(pickle.dumps(evil, protocol=2)),
        "named.safetensors": pickle.dumps(evil),
        "zipped.safetensors": _zip(pickle.dumps(evil, protocol=2)),
        "huge-header.safetensors": _safetensors_header(2**63, b"{}"),
        "long-header.safetensors": _safetensors_header(200_000_000, b"{" + b" " * 4096),
        "no-header.safetensors": b"\x01",
        "bad-json.safetensors": _safetensors_header(4, b"{{{{"),
        "out-of-file.safetensors": _safetensors_header(
            62, b'{"w":{"dtype":"F32","shape":[1024],"data_offsets":[0,4096]}}  '
        ),
        "empty.pt": b"",
        "junk.pt": b"hello, weights",
        "torn.pt": _state_dict_with(1)[:300],
        "exe.sh": f"#!/bin/sh\n{touch}\n".encode(),
        "pickle.pkl": pickle.dumps(evil),
        "numpy.npy": pickle.dumps(evil),
    }


def test_no_file_of_the_corpus_runs_code(tmp_path: Path, canary: Path) -> None:
    files = corpus(canary)
    assert len(files) >= 20
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ReactorError) as raised:
            load_weights(path)
        assert isinstance(raised.value, UnsafeWeights | WeightsCorrupt), name
        assert not canary.exists(), name
        with pytest.raises(ReactorError):
            load_weights(path, trust_sha256="0" * 64)
        assert not canary.exists(), name


def test_the_corpus_is_really_evil(tmp_path: Path) -> None:
    canary = tmp_path / "awake"
    files = corpus(canary)
    for name in ("protocol2.pt", "state-dict.pt", "posix.pt"):
        path = tmp_path / name
        path.write_bytes(files[name])
        torch.load(path, weights_only=False)
        assert canary.exists(), name
        canary.unlink()
    assert "REDUCE" in str([opcode.name for opcode, _, _ in pickletools.genops(_opcodes("a", "b", "c"))])


def test_state_dicts_are_loaded_from_every_safe_format(tmp_path: Path) -> None:
    state = {"weight": torch.arange(6).reshape(2, 3), "bias": torch.ones(2, dtype=torch.bfloat16)}
    torch.save(state, tmp_path / "new.pt")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.save_file(state, tmp_path / "safe.safetensors")
    for name in ("new.pt", "old.pth", "safe.safetensors"):
        for mmap in (True, False):
            loaded = load_weights(tmp_path / name, mmap=mmap)
            assert set(loaded) == set(state), name
            assert all(torch.equal(loaded[key], state[key]) for key in state), name


def test_a_large_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(32 * 1024 * 1024 // 4)}, tmp_path / "large.pt")
    loaded = load_weights(tmp_path / "large.pt")
    mapped = Path("/proc/self/maps").read_text()
    assert str(tmp_path / "large.pt") in mapped
    del loaded


def test_consent_is_for_exactly_one_content_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "old-checkpoint.pt"
    torch.save({"weight": torch.ones(2), "config": Harmless()}, path)
    with pytest.raises(UnsafeWeights, match="could run code") as raised:
        load_weights(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert raised.value.sha256 == digest
    assert f'trust_sha256="{digest}"' in str(raised.value)
    with caplog.at_level(logging.WARNING):
        loaded = load_weights(path, trust_sha256=f"sha256:{digest}")
    assert isinstance(loaded["config"], Harmless)
    assert digest in caplog.text
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ReactorError):
        load_weights(path, trust_sha256=digest)


class Harmless:
    """A class of the author's own in a checkpoint, as old ones have them."""


def test_an_old_pytorch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "a.pt")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    with pytest.raises(UnsafeWeights, match=r"upgrade to PyTorch 2.10"):
        load_weights(tmp_path / "a.pt")


def test_a_missing_file_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"VideoModel.weights"):
        load_weights(tmp_path / "none.pt")


def test_importing_the_package_loads_neither_torch_nor_the_storage_library() -> None:
    code = (
        "import sys, reactor_runtime.weights.state_dicts, reactor_runtime.weights.resolve\n"
        "print([name for name in ('torch', 'obstore', 'safetensors', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
