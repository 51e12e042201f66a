"""The loaders on files in the published containers: taken whole, or refused with what is wrong."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from causal_wan import checkpoint, device
from causal_wan.checkpoint import WrongCheckpoint
from causal_wan.longlive import LongLive, LongLiveFiles
from causal_wan.matrix import MatrixFiles, MatrixGame
from causal_wan.transformer import CausalWan
from safetensors.torch import load_file, save_file
from support.wan_cases import CPU, config, largest_difference, tiny_weights
from torch import Tensor

from reactor_runtime.errors import ManifestError, UnsafeWeights, WeightsMissing

LONGLIVE = config.longlive("tiny")
MATRIX = config.matrix("tiny")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("weights")
    for name, contents in (tiny_weights.LONGLIVE | tiny_weights.MATRIX).items():
        tiny_weights.write(folder / name, contents)
    return folder


@pytest.fixture
def longlive(written: Path, tmp_path: Path) -> LongLiveFiles:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return LongLiveFiles.among(*(tmp_path / name for name in tiny_weights.LONGLIVE))


@pytest.fixture
def matrix(written: Path, tmp_path: Path) -> MatrixFiles:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return MatrixFiles.among(tmp_path / "Matrix-Game-2_0-base-tiny", "universal")


def load(files: LongLiveFiles) -> LongLive:
    return LongLive.load(LONGLIVE, files, size=(32, 32), place=CPU, dtype=torch.float32)


def load_matrix(files: MatrixFiles) -> MatrixGame:
    return MatrixGame.load(MATRIX, files, size=(32, 32), place=CPU, dtype=torch.float32)


def resave(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    held = torch.load(path, mmap=False)
    changed = change(held)
    torch.save(held if changed is None else changed, path)


def test_the_lora_is_merged_into_every_linear_of_the_blocks(longlive: LongLiveFiles) -> None:
    base = checkpoint.generator(longlive.base)
    merged = dict(base)
    assert longlive.lora is not None
    checkpoint.merge_lora(merged, longlive.lora, alpha=LONGLIVE.lora_alpha)
    pairs = torch.load(longlive.lora)["generator_lora"]
    assert len(pairs) == 2 * 10 * LONGLIVE.wan.layers
    changed = {key for key in base if not torch.equal(base[key], merged[key])}
    assert len(changed) == 10 * LONGLIVE.wan.layers
    for key in changed:
        layer = "base_model.model." + key.removesuffix(".weight")
        a, b = pairs[f"{layer}.lora_A.weight"], pairs[f"{layer}.lora_B.weight"]
        # alpha / rank is 4 / 4 here and 256 / 256 as published.
        assert largest_difference(merged[key], base[key] + b @ a) <= 2e-6
    state = load(longlive).stream.model.state_dict()
    assert all(torch.equal(state[key], merged[key]) for key in merged)


def test_alpha_scales_the_lora(longlive: LongLiveFiles) -> None:
    base = checkpoint.generator(longlive.base)
    assert longlive.lora is not None
    once, twice = dict(base), dict(base)
    checkpoint.merge_lora(once, longlive.lora, alpha=4.0)
    checkpoint.merge_lora(twice, longlive.lora, alpha=8.0)
    key = "blocks.1.ffn.2.weight"
    assert largest_difference(twice[key] - base[key], 2 * (once[key] - base[key])) <= 2e-6


def test_without_its_lora_the_model_loads_and_warns(
    longlive: LongLiveFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert longlive.lora is not None
    longlive.lora.unlink()
    files = LongLiveFiles.among(*(tmp_path / name for name in tiny_weights.LONGLIVE))
    assert "lora.pt" in caplog.text
    base = checkpoint.generator(files.base)
    state = load(files).stream.model.state_dict()
    assert all(torch.equal(state[key], base[key]) for key in base)


def test_an_ema_container_with_wrapped_names_loads(longlive: LongLiveFiles) -> None:
    def wrapped(held: dict[str, Any]) -> dict[str, Any]:
        names = {
            key.replace(".blocks.", "._fsdp_wrapped_module.blocks."): t
            for key, t in held["generator"].items()
        }
        return {"generator_ema": names}

    plain = checkpoint.generator(longlive.base)
    resave(longlive.base, wrapped)
    found = checkpoint.generator(longlive.base)
    assert found.keys() == plain.keys()


def test_a_container_that_calls_its_network_model_loads(longlive: LongLiveFiles) -> None:
    plain = checkpoint.generator(longlive.base)
    resave(longlive.base, lambda held: {"model": held["generator"], "step": 7})
    found = checkpoint.generator(longlive.base)
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[key], plain[key]) for key in plain)
    load(longlive)


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    def change(held: dict[str, Any]) -> None:
        (held.get("generator") or held.get("generator_lora") or held).pop(key)

    return change


def add(key: str) -> Callable[[dict[str, Any]], None]:
    def change(held: dict[str, Any]) -> None:
        (held.get("generator") or held.get("generator_lora") or held)[key] = torch.zeros(1)

    return change


def reshape(key: str) -> Callable[[dict[str, Any]], None]:
    def change(held: dict[str, Any]) -> None:
        inside = held.get("generator") or held.get("generator_lora") or held
        inside[key] = torch.zeros(3, 5)

    return change


LORA_KEY = "base_model.model.blocks.0.ffn.0.lora_A.weight"
MISTAKES: list[tuple[str, Callable[[dict[str, Any]], Any], str, str]] = [
    ("base", drop("model.head.modulation"), "1 missing", "head.modulation"),
    ("base", add("model.blocks.2.modulation"), "1 unknown", "blocks.2.modulation"),
    ("base", reshape("model.head.head.weight"), "1 of another shape", "is (3, 5) and should be (64, 64)"),
    ("base", lambda held: {"state_dict": held}, 'no "generator" or "model"', "version 1"),
    ("base", lambda held: {"generator": {"x": torch.zeros(1)}}, '"model."', "x"),
    ("base", lambda held: torch.zeros(3), "holds a Tensor", "dict"),
    ("lora", drop(LORA_KEY), "missing", "ffn.0.lora_A"),
    ("lora", add("base_model.model.head.head.lora_A.weight"), "unknown", "head.head.lora_A"),
    ("lora", reshape(LORA_KEY), "of another shape", "lora_A"),
    ("vae", drop("decoder.upsamples.7.time_conv.bias"), "missing", "decoder.upsamples.7.time_conv.bias"),
    ("vae", add("decoder.upsamples.15.x"), "unknown", "decoder.upsamples.15.x"),
    ("vae", reshape("conv2.bias"), "of another shape", "conv2.bias"),
    ("encoder", drop("blocks.1.pos_embedding.embedding.weight"), "missing", "blocks.1.pos_embedding"),
    ("encoder", add("blocks.2.norm1.weight"), "unknown", "blocks.2.norm1"),
    ("encoder", reshape("token_embedding.weight"), "of another shape", "token_embedding"),
]


@pytest.mark.parametrize(
    ("file", "change", "problem", "key"), MISTAKES, ids=[f"{m[0]}: {m[2]}" for m in MISTAKES]
)
def test_a_wrong_file_is_refused_with_its_keys(
    longlive: LongLiveFiles, file: str, change: Callable[[dict[str, Any]], Any], problem: str, key: str
) -> None:
    path = getattr(longlive, file)
    resave(path, change)
    with pytest.raises(WrongCheckpoint) as caught:
        load(longlive)
    said = str(caught.value)
    assert path.name in said
    assert problem in said
    assert key in said


MATRIX_MISTAKES: list[tuple[str, Callable[[dict[str, Tensor]], Any], str]] = [
    ("base", lambda t: t.pop("model.blocks.0.action_model.t_qkv.weight"), "blocks.0.action_model.t_qkv"),
    ("base", lambda t: t.update({"model.blocks.1.action_model.x": torch.zeros(1)}), "blocks.1.action_model"),
    ("base", lambda t: t.update({"model.img_emb.proj.4.bias": torch.zeros(2)}), "img_emb.proj.4.bias"),
    ("tower", lambda t: t.pop("visual.transformer.2.attn.to_qkv.weight"), "transformer.2.attn.to_qkv"),
    ("tower", lambda t: t.update({"visual.transformer.3.x": torch.zeros(1)}), "visual.transformer.3.x"),
    ("tower", lambda t: t.update({"visual.cls_embedding": torch.zeros(40)}), "visual.cls_embedding"),
]


@pytest.mark.parametrize(("file", "change", "key"), MATRIX_MISTAKES, ids=[m[2] for m in MATRIX_MISTAKES])
def test_a_wrong_file_of_matrix_is_refused_with_its_keys(
    matrix: MatrixFiles, file: str, change: Callable[[dict[str, Tensor]], Any], key: str
) -> None:
    path = getattr(matrix, file)
    if file == "base":
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        change(tensors)
        save_file(tensors, path)
    else:
        resave(path, lambda held: (change(held), held)[1])
    with pytest.raises(WrongCheckpoint) as caught:
        load_matrix(matrix)
    assert path.name in str(caught.value)
    assert key in str(caught.value)


def test_in_bfloat16_matrix_decodes_in_float16_and_longlive_does_not(
    matrix: MatrixFiles, longlive: LongLiveFiles
) -> None:
    half = torch.bfloat16
    game = MatrixGame.load(MATRIX, matrix, size=(32, 32), place=CPU, dtype=half)
    film = LongLive.load(LONGLIVE, longlive, size=(32, 32), place=CPU, dtype=half)
    assert (game._decoder.dtype, film._decoder.dtype) == (torch.float16, half)
    for decoder in (game._decoder, film._decoder):
        assert decoder.encode(torch.zeros(1, 3, 1, 32, 32)).dtype == half
        decoder.begin()
        shown = decoder.decode(torch.zeros(1, 16, 1, 4, 4, dtype=half))
        assert (shown.dtype, shown.shape) == (decoder.dtype, (1, 3, 32, 32))
    assert game.stream.dtype == film.stream.dtype == half


def test_a_checkpoint_of_another_mode_is_refused(matrix: MatrixFiles) -> None:
    with pytest.raises(WrongCheckpoint, match="mode"):
        MatrixGame.load(
            config.matrix("tiny", "templerun"), matrix, size=(32, 32), place=CPU, dtype=torch.float32
        )


def test_action_norms_that_would_matter_are_pointed_out(
    matrix: MatrixFiles, caplog: pytest.LogCaptureFixture
) -> None:
    load_matrix(matrix)
    assert "norms" not in caplog.text
    tensors = {name: tensor.clone() for name, tensor in load_file(matrix.base).items()}
    tensors["model.blocks.0.action_model.key_attn_k_norm.weight"][0] = 2.0
    save_file(tensors, matrix.base)
    load_matrix(matrix)
    assert "action norms" in caplog.text


def test_a_missing_file_is_named_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(WeightsMissing) as caught:
        MatrixFiles.among(tmp_path, "universal")
    assert "base_distilled_model/base_distill.safetensors" in str(caught.value)
    assert "README.md" in str(caught.value)


def test_a_file_that_could_run_code_is_refused(longlive: LongLiveFiles) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return print, ("run",)

    longlive.base.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UnsafeWeights):
        load(longlive)


def test_loading_allocates_nothing_twice() -> None:
    """A module on the meta device has no storage until it gets the file's own."""
    with torch.device("meta"):
        model = CausalWan(LONGLIVE.wan)
    tensors = tiny_weights.transformer(LONGLIVE.wan, seed=1)
    checkpoint.fill(model, tensors, device=CPU, dtype=torch.float32)
    assert all(model.state_dict()[key].data_ptr() == tensors[key].data_ptr() for key in tensors)
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())


def test_two_processes_may_write_the_tiny_weights_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "weights" / "x"

    def while_another_finishes(unfinished: Path) -> None:
        (unfinished / "file").write_text("mine")
        folder.mkdir()
        (folder / "file").write_text("theirs")

    tiny_weights.write(folder, while_another_finishes)
    assert (folder / "file").read_text() == "theirs"
    tiny_weights.write(folder, lambda unfinished: pytest.fail("it is there"))
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


# The device -------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_without_cuda_the_error_says_what_to_do() -> None:
    with pytest.raises(ManifestError) as caught:
        device.choose("cuda", "")
    assert caught.value.key == "args.device"
    assert "profile=tiny" in caught.value.fix


def test_devices_and_types_are_checked() -> None:
    assert device.choose("cpu", "") == (CPU, torch.float32)
    assert device.choose("cpu", "bfloat16") == (CPU, torch.bfloat16)
    with pytest.raises(ManifestError, match=r"args\.device"):
        device.choose("abacus", "")
    with pytest.raises(ManifestError, match=r"args\.dtype"):
        device.choose("cpu", "int8")
    assert device.check_size((480, 832)) == (60, 104)
    assert device.check_size((480, 640)) == (60, 80)
    for size in [(480, 830), (16, 16), (480,), (480, 832.0)]:
        with pytest.raises(ManifestError, match=r"args\.size"):
            device.check_size(size)  # type: ignore[arg-type]


def test_too_little_gpu_memory_is_told_before_anything_is_loaded() -> None:
    needed = {"network": 3 * device.GIB, "text encoder": 11 * device.GIB}
    device.refuse_if_short(needed, free=14 * device.GIB, total=16 * device.GIB)
    with pytest.raises(ManifestError) as caught:
        device.refuse_if_short(needed, free=14 * device.GIB - 1, total=16 * device.GIB)
    said = str(caught.value)
    assert "14.0 GiB of GPU memory are needed (network 3.0, text encoder 11.0)" in said
    assert "14.0 of 16.0 GiB are free" in said


@pytest.mark.slow
def test_the_full_sizes_need_about_what_their_makers_say() -> None:
    """About 22 GB for LongLive at 480x832 and less than 10 for Matrix-Game, as sums over the real shapes."""
    from causal_wan import longlive as ll
    from causal_wan import matrix as mx
    from causal_wan import text, vae, vision

    half = torch.bfloat16
    wan, game = config.longlive("full"), config.matrix("full")
    with torch.device("meta"):
        dit, dit_matrix = CausalWan(wan.wan), CausalWan(game.wan)
    autoencoder = vae.make(wan.vae)
    needed = ll.needed_bytes(wan, (60, 104), half, wan=dit, umt5=text.make(wan.text), autoencoder=autoencoder)
    assert needed["window"] == pytest.approx(3.45e9, rel=0.01)
    assert needed["text encoder"] == pytest.approx(11.4e9, rel=0.01)
    assert 19e9 < sum(needed.values()) < 22e9
    needed = mx.needed_bytes(
        game, (44, 80), half, wan=dit_matrix, tower=vision.make(game.vision), autoencoder=autoencoder
    )
    assert needed["window"] == pytest.approx(0.97e9 + 0.32e9, rel=0.02)
    assert 6e9 < sum(needed.values()) < 10e9
