"""The numbers of the original implementations, on small networks with their published names: golden/README.md.

One stream of each kind is computed and compared with all that was stored of it; weights and files are made once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from causal_wan import checkpoint, rotary, start_image, text, vae, vision
from causal_wan.action_ring import ActionRing
from causal_wan.actions import time_rotation
from causal_wan.config import Mode, Positions, StreamConfig
from causal_wan.keys import Action, action, idle
from causal_wan.longlive import LongLive, LongLiveFiles
from causal_wan.longlive import Wishes as LongLiveWishes
from causal_wan.matrix import MatrixFiles, MatrixGame
from causal_wan.matrix import Wishes as MatrixWishes
from causal_wan.stream import BlockStream, sigma
from causal_wan.transformer import CausalWan, Context, Past
from safetensors.torch import save_file
from support import golden_values as gold
from support.golden_values import LATENTS, SIZE, drawn, golden
from support.wan_cases import CPU, tiny_weights
from torch import Tensor

MODES: tuple[Mode, ...] = ("universal", "gta_drive", "templerun")
LONGLIVE, MATRIX = gold.settings()["longlive"], gold.settings()["matrix"]


class ScriptedStream(BlockStream):
    """A stream with the noise that the originals were given."""

    def __init__(self, model: CausalWan, config: StreamConfig, family: str) -> None:
        super().__init__(model, config, LATENTS)
        self._noise_of = gold.Noise(family, len(config.steps))
        self.begin(0)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return self._noise_of(shape)


def filled(model: Any, tensors: dict[str, Tensor]) -> Any:
    checkpoint.check(checkpoint.shapes_of(model), tensors, Path("golden"))
    checkpoint.fill(model, tensors, device=CPU, dtype=torch.float32)
    return model


def on_meta(config: Any) -> CausalWan:
    with torch.device("meta"):
        return CausalWan(config)


def pressed(mode: Mode, mouse: str, keyboard: str) -> Action:
    """The action of the keys that the originals' players press: Z and C turn, for which J and L stand here."""
    mouse = {"z": "J", "c": "L"}.get(keyboard, mouse).upper()
    first, *others = ("Q" if keyboard in ("z", "c") else keyboard.upper()).split()
    return action(mode, mouse, first, others)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every network in the container it is published in."""
    folder: Path = tmp_path_factory.mktemp("golden")
    torch.save({"generator": gold.tensors("longlive", "model.")}, folder / "longlive_base.pt")
    torch.save({"generator_lora": gold.tensors("lora")}, folder / "lora.pt")
    torch.save(gold.tensors("vae"), folder / "vae.pth")
    torch.save(gold.tensors("umt5"), folder / "umt5.pth")
    torch.save(gold.tensors("clip"), folder / "clip.pth")
    tiny_weights.byte_tokenizer().save(str(folder / "tokenizer.json"))
    for mode in MODES:
        save_file(gold.tensors(f"matrix-{mode}", "model."), folder / f"{mode}.safetensors")
    return folder


@pytest.fixture(scope="module")
def wan(files: Path) -> CausalWan:
    tensors = checkpoint.generator(files / "longlive_base.pt")
    model: CausalWan = filled(on_meta(gold.WAN), tensors)
    return model


@pytest.fixture(scope="module")
def autoencoder(files: Path) -> vae.StreamingVae:
    made = vae.make(gold.VAE)
    vae.load(made, files / "vae.pth", device=CPU, dtype=torch.float32)
    return vae.StreamingVae(made)


@pytest.fixture(scope="module")
def encoder(files: Path) -> text.TextEncoder:
    made = text.make(gold.TEXT)
    text.load(made, files / "umt5.pth", device=CPU, dtype=torch.float32)
    return text.TextEncoder(made, files / "tokenizer.json", length=512)


def test_the_rule_draws_the_weights_and_inputs_that_the_originals_had() -> None:
    checks = gold.read("checks")
    for key, (shape, first, crc) in checks["parameters"].items():
        component, _, name = key.partition("/")
        made = gold.parameter(component, name, tuple(shape))
        assert made.flatten()[:4].tolist() == first, key
        assert crc32(made.numpy().tobytes()) == crc, key
    for key, (shape, crc) in checks["draws"].items():
        assert crc32(drawn(key, *shape).numpy().tobytes()) == crc, key
    for size, crc in checks["pictures"].items():
        width, height = map(int, size.split("x"))
        assert crc32(gold.picture(width, height).tobytes()) == crc, size


# LongLive ---------------------------------------------------------------------------------------------


def test_the_steps_are_warped_as_longlives_and_matrix_games() -> None:
    levels = {
        "longlive": [sigma(step, 5.0) for step in (1000, 750, 500, 250)],
        "universal": [sigma(step, 5.0) for step in gold.matrix_config("universal").stream.steps],
        "templerun": [sigma(step, 5.0) for step in gold.matrix_config("templerun").stream.steps],
    }
    steps = {name: 1000 * torch.tensor(values, dtype=torch.float64) for name, values in levels.items()}
    golden("longlive").check("schedule/steps", steps["longlive"])
    golden("longlive").check("schedule/sigmas", steps["longlive"] / 1000)
    for mode in ("universal", "templerun"):
        golden("matrix").check(f"schedule/{mode}", steps[mode])


@torch.inference_mode()
def test_one_pass_of_the_network_gives_longlives_velocity_and_keys(wan: CausalWan) -> None:
    past = Past(gold.WAN, StreamConfig(positions="absolute"), 6, device=CPU, dtype=torch.float32)
    level = torch.full((1, 3), 1000 * sigma(500, 5.0))
    noise = drawn("noise/longlive/0/0", 16, 3, *LATENTS)[None]
    velocity = wan(noise, level, wan.context(gold.text(0)), past=past, start=0)
    golden("longlive").check("forward/velocity", velocity[0])
    golden("longlive").check("forward/keys_layer1", past.layers[1].keys[0, :3].flatten(0, 1))


@pytest.mark.parametrize("start", [0, 9, 500, 1021])
def test_positions_are_rotated_as_longlives(start: int) -> None:
    turn = rotary.video(range(start, start + 3), 2, 3, 128, device=CPU)
    golden("longlive").check(
        f"rope/{start}", rotary.rotate(drawn(f"rope/{start}", 18, 2, 128)[None], turn)[0]
    )


def film(
    wan: CausalWan, positions: Positions, blocks: int, contexts: dict[int, Context]
) -> tuple[Tensor, BlockStream]:
    """Stream with the context that is given for a block from there on."""
    stream = ScriptedStream(wan, StreamConfig(positions=positions), "longlive")
    clean = []
    for block in range(blocks):
        if block in contexts:
            context = contexts[block]
            if block:
                stream.recache(context)
        clean.append(stream.next_block(context))
    return torch.cat(clean, 2)[0], stream


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("what", ["one", "switched"])
def test_a_film_of_sixteen_blocks_is_longlives(wan: CausalWan, positions: Positions, what: str) -> None:
    with torch.inference_mode():
        contexts = {0: wan.context(gold.text(0))}
        if what == "switched":
            for segment, frame in enumerate(LONGLIVE["switches"], 1):
                contexts[frame // 3] = wan.context(gold.text(segment))
    clean, stream = film(wan, positions, LONGLIVE["blocks"], contexts)
    values = golden("longlive")
    values.check(f"stream/{positions}/{what}", clean)
    if positions == "absolute":
        values.check(f"stream/absolute/{what}/sink_keys", stream.past.layers[1].keys[0, :3].flatten(0, 1))


@pytest.mark.slow
def test_the_merged_lora_and_its_film_are_longlives(files: Path) -> None:
    tensors = checkpoint.generator(files / "longlive_base.pt")
    checkpoint.merge_lora(tensors, files / "lora.pt", alpha=24.0)
    values = golden("longlive")
    merged = list(values.names("lora/merged/"))
    assert len(merged) == 20
    for name in merged:
        values.check(name, tensors[name.removeprefix("lora/merged/")])
    model = filled(on_meta(gold.WAN), tensors)
    with torch.inference_mode():
        contexts = {segment * 2: model.context(gold.text(segment)) for segment in (0, 1)}
    values.check("lora/latents", film(model, "absolute", LONGLIVE["lora_blocks"], contexts)[0])


def test_prompts_become_longlives_tokens_and_embeddings(encoder: text.TextEncoder) -> None:
    for index, prompt in enumerate(gold.read("prompts")):
        reading = encoder.read(prompt["text"])
        assert reading.ids == prompt["ids"]
        assert reading.is_cut == (len(prompt["text"].encode()) > 511)
        golden("longlive").check(f"umt5/{index}", encoder.encode(prompt["text"])[0])


def test_prompts_are_cleaned_as_longlives() -> None:
    for case in gold.read("cleaning"):
        assert text.clean(case["in"]) == case["out"], case["in"]


@pytest.mark.slow
def test_pictures_are_encoded_and_decoded_as_by_both(autoencoder: vae.StreamingVae) -> None:
    video = (drawn("vae/video", 3, 9, *SIZE) * torch.tensor(0.4)).clamp(-1, 1)
    golden("longlive").check("vae/encoded", autoencoder.encode(video[None])[0])
    decoded = decode(autoencoder, drawn("vae/latents", 16, 12, *LATENTS))
    golden("longlive").check("vae/decoded", decoded)
    golden("matrix").check("vae/decoded", decoded)


def decode(stream: vae.StreamingVae, latents: Tensor) -> Tensor:
    """[16, F, h, w] → [T, 3, H, W], three latents a call."""
    stream.begin()
    return torch.cat([stream.decode(three) for three in latents[None].split(3, 2)]).float()


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_from_prompts_to_pictures_longlive_gives_the_published_numbers(
    files: Path, positions: Positions
) -> None:
    named = {"vae": "vae.pth", "encoder": "umt5.pth", "tokenizer": "tokenizer.json"}
    pipeline = LongLive.load(
        gold.longlive_config(positions),
        LongLiveFiles(
            files / "longlive_base.pt",
            files / "lora.pt",
            **{key: files / file for key, file in named.items()},
        ),
        size=SIZE,
        place=CPU,
        dtype=torch.float32,
    )
    pipeline.stream._draw = gold.Noise("longlive", 4)  # type: ignore[method-assign]
    first, second = LONGLIVE["prompts"]
    wishes = LongLiveWishes(first, 0)
    clean = []
    for block in range(LONGLIVE["e2e_blocks"]):
        if block * 3 in LONGLIVE["e2e_switch"]:
            wishes.prompt = second
        clean.append(pipeline.denoise(wishes).clean)
    latents = torch.cat(clean, 2)[0]
    golden("longlive").check(f"e2e/{positions}/latents", latents)
    golden("longlive").check(f"e2e/{positions}/pictures", decode(pipeline._decoder, latents) / 2 + 0.5)


# Matrix-Game ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 357, 7000])
def test_the_action_module_rotates_as_matrix_games(start: int) -> None:
    config = gold.matrix_config("universal").wan.action
    assert config is not None
    turn = time_rotation(config, range(start, start + 3), CPU)
    found = rotary.rotate(drawn(f"action_rope/{start}", 6, 3, 2, 64), turn)
    golden("matrix").check(f"action_rope/{start}", found)


@pytest.mark.parametrize("mode", MODES)
def test_every_combination_of_keys_is_matrix_games(mode: Mode) -> None:
    for case in gold.read("keys")[mode]:
        found = pressed(mode, case["mouse_key"], case["keyboard_keys"])
        assert list(found.keyboard) == case["keyboard"], case
        assert list(found.mouse) == (case["mouse"] or [0.0, 0.0]), case


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_world_of_fourteen_blocks_is_matrix_games(files: Path, mode: Mode) -> None:
    config = gold.matrix_config(mode)
    assert config.wan.action is not None
    path = files / f"{mode}.safetensors"
    model = filled(on_meta(config.wan), checkpoint.under_model(checkpoint.read(path), path))
    with torch.inference_mode():
        context = model.context(drawn("tokens/0", 17, 160)[None])
    stream = ScriptedStream(model, config.stream, "matrix")
    ring = ActionRing(config.wan.action, 3)
    given = gold.condition(MATRIX["blocks"])
    clean = [
        stream.next_block(
            context,
            condition=given[:, :, 3 * block : 3 * block + 3],
            actions=ring.next_block(pressed(mode, *keys), device=CPU, dtype=torch.float32),
        )
        for block, keys in enumerate(MATRIX["scripts"][mode])
    ]
    golden("matrix").check(f"stream/{mode}", torch.cat(clean, 2)[0])


@pytest.fixture(scope="module")
def start(files: Path, autoencoder: vae.StreamingVae) -> dict[str, Tensor]:
    """What a world starts from, computed once: the published picture needs no resampling."""
    tower = vision.make(gold.VISION)
    vision.load(tower, files / "clip.pth", device=CPU, dtype=torch.float32)
    eye = vision.ImageTower(tower)
    pixels = start_image.fit(gold.picture(48, 32), SIZE, CPU)
    larger = torch.from_numpy(np.array(gold.picture(160, 96))).permute(2, 0, 1) / 127.5 - 1
    return {
        "pixels": pixels,
        "condition": start_image.condition(autoencoder, pixels),
        "clip_tokens": eye.tokens(pixels),
        "clip_tokens_160x96": eye.tokens(larger),
    }


@pytest.mark.slow
def test_a_picture_becomes_matrix_games_condition_and_tokens(start: dict[str, Tensor]) -> None:
    values = golden("matrix")
    values.check("start/pixels", start["pixels"])
    values.check("start/condition", start_image.Start([], start["condition"]).at(0, 40)[0])
    values.check("start/clip_tokens", start["clip_tokens"][0])
    values.check("start/clip_tokens_160x96", start["clip_tokens_160x96"][0])


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_from_a_picture_and_keys_to_pictures_matrix_gives_the_published_numbers(
    files: Path, mode: Mode, start: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The encoder's part is the same for all modes, takes most of the time, and is compared above.
    monkeypatch.setattr(start_image, "condition", lambda *_: start["condition"])
    game = MatrixGame.load(
        gold.matrix_config(mode),
        MatrixFiles(files / f"{mode}.safetensors", files / "vae.pth", files / "clip.pth"),
        size=SIZE,
        place=CPU,
        dtype=torch.float32,
    )
    game.stream._draw = gold.Noise("matrix", len(game.stream.config.steps))  # type: ignore[method-assign]
    wishes = MatrixWishes(idle(mode), 0, picture=gold.picture(48, 32))
    clean = []
    for keys in MATRIX["scripts"][mode][: MATRIX["e2e_blocks"]]:
        wishes.held = pressed(mode, *keys)
        clean.append(game.denoise(wishes).clean)
    latents = torch.cat(clean, 2)[0]
    golden("matrix").check(f"e2e/{mode}/latents", latents)
    golden("matrix").check(f"e2e/{mode}/pictures", decode(game._decoder, latents))


@pytest.mark.slow
@pytest.mark.parametrize("target", [(640, 352), (48, 32)])
def test_a_start_picture_of_any_size_has_the_published_pixels(target: tuple[int, int]) -> None:
    width, height = target
    for wide, high in gold.settings()["pictures"]:
        name = f"{wide}x{high}->{width}x{height}"
        found = start_image.fit(gold.picture(wide, high), (height, width), CPU)
        pixels = ((found + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        stored, kept, crc = golden("pictures").pixels(name)
        assert np.abs(pixels[kept].astype(int) - stored).max() == 0, name
        assert crc32(pixels.tobytes()) == crc, name


@pytest.mark.slow
def test_matrix_decodes_in_float16_within_70_dB_of_float32(
    files: Path, autoencoder: vae.StreamingVae
) -> None:
    """The encoder stays in bfloat16, as published."""
    made: Any = vae.make(gold.VAE)
    vae.load(made, files / "vae.pth", device=CPU, dtype=torch.bfloat16, decoder_dtype=torch.float16)
    types = {name: {tensor.dtype for tensor in part.parameters()} for name, part in made.named_children()}
    assert types == {
        "encoder": {torch.bfloat16},
        "quant_conv": {torch.bfloat16},
        "post_quant_conv": {torch.float16},
        "decoder": {torch.float16},
    }
    # A few, because CPUs are slow in float16.
    latents = drawn("vae/latents", 16, 12, *LATENTS)[:, :3, :2, :3]
    error = decode(vae.StreamingVae(made), latents) - decode(autoencoder, latents)
    # Pictures reach from -1 to 1.
    psnr_db = 10 * float(torch.log10(4 / error.double().square().mean()))
    assert psnr_db >= 70, psnr_db
