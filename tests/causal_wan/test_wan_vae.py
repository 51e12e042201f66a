"""The streaming VAE against diffusers' own decode and encode, from a file with the original names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from causal_wan import names, start_image, vae
from causal_wan.config import VaeConfig
from causal_wan.vae import StreamingVae
from support.wan_cases import CPU, largest_difference, seeded, tiny_weights

SIZE = VaeConfig(base_dim=4)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("vae") / "Wan2.1_VAE.pth"
    torch.save(tiny_weights.autoencoder(SIZE, seed=3), path)
    return path


@pytest.fixture(scope="module")
def ours(file: Path) -> Any:
    made = vae.make(SIZE)
    vae.load(made, file, device=CPU, dtype=torch.float32)
    return made


@pytest.fixture(scope="module")
def theirs(file: Path) -> Any:
    """diffusers' model, filled through diffusers' own key map."""
    from diffusers import AutoencoderKLWan  # seconds, for every process that collects tests
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    made = AutoencoderKLWan(base_dim=SIZE.base_dim)
    made.load_state_dict(convert_wan_vae_to_diffusers(torch.load(file)), strict=True)
    return made.eval()


def test_the_full_size_has_the_194_keys_that_diffusers_knows() -> None:
    made = vae.make(VaeConfig())
    original = {names.vae(name): name for name in made.state_dict()}
    assert len(original) == 194
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    assert convert_wan_vae_to_diffusers(dict(original)) == {name: name for name in made.state_dict()}
    assert sum(parameter.numel() for parameter in made.parameters()) == 126_892_531
    shapes = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    for key, shape in {
        "decoder.conv1.weight": (384, 16, 3, 3, 3),
        "decoder.middle.1.to_qkv.weight": (1152, 384, 1, 1),
        "decoder.upsamples.3.resample.1.weight": (192, 384, 3, 3),
        "decoder.upsamples.7.time_conv.weight": (768, 384, 3, 1, 1),
        "decoder.upsamples.4.shortcut.weight": (384, 192, 1, 1, 1),
        "decoder.upsamples.14.residual.6.weight": (96, 96, 3, 3, 3),
        "decoder.head.2.weight": (3, 96, 3, 3, 3),
        "conv2.weight": (16, 16, 1, 1, 1),
    }.items():
        assert shapes[original[key]] == shape


@pytest.mark.parametrize("portions", [(3, 3, 1), (1, 1, 1, 1, 1, 1, 1), (7,)])
def test_latents_in_portions_give_the_pictures_of_a_whole_decode(
    ours: Any, theirs: Any, portions: tuple[int, ...]
) -> None:
    latents = seeded(1, 16, 7, 4, 6)
    stream = StreamingVae(ours)
    stream.begin()
    shown = torch.cat([stream.decode(portion) for portion in latents.split(list(portions), 2)])
    mean = torch.tensor(theirs.config.latents_mean).view(1, 16, 1, 1, 1)
    std = torch.tensor(theirs.config.latents_std).view(1, 16, 1, 1, 1)
    with torch.inference_mode():
        whole = theirs.decode(latents * std + mean).sample[0].transpose(0, 1)
    assert shown.shape == (1 + 4 * 6, 3, 32, 48)
    assert largest_difference(shown, whole) <= 1e-5


def test_a_new_stream_remembers_nothing(ours: Any) -> None:
    stream = StreamingVae(ours)
    stream.begin()
    first = stream.decode(seeded(1, 16, 3, 4, 6, seed=1))
    stream.decode(seeded(1, 16, 3, 4, 6, seed=2))
    stream.begin()
    assert torch.equal(stream.decode(seeded(1, 16, 3, 4, 6, seed=1)), first)


def test_encoding_is_diffusers_and_normalised(ours: Any, theirs: Any) -> None:
    video = seeded(1, 3, 9, 32, 48).clamp(-1, 1)
    latents = StreamingVae(ours).encode(video)
    with torch.inference_mode():
        mean = theirs.encode(video).latent_dist.mode()
    shape = (1, 16, 1, 1, 1)
    expected = (mean - torch.tensor(theirs.config.latents_mean).view(shape)) / torch.tensor(
        theirs.config.latents_std
    ).view(shape)
    assert latents.shape == (1, 16, 3, 4, 6)
    assert largest_difference(latents, expected) <= 2e-6


def test_the_memory_of_the_decoder_is_known_without_weights(ours: Any) -> None:
    stream = StreamingVae(ours)
    stream.begin()
    stream.decode(seeded(1, 16, 6, 4, 6))
    expected = vae.decoder_memory_bytes(vae.make(SIZE), (4, 6), torch.float32)
    assert stream.memory_bytes() == expected
    # 1.9 GB at 480x832 in 16-bit numbers, as the weights' publisher's users know it.
    assert 1.8e9 < vae.decoder_memory_bytes(vae.make(VaeConfig()), (60, 104), torch.bfloat16) < 2.0e9


def test_the_decoder_can_be_compiled_from_the_third_latent_on(ours: Any) -> None:
    """Traced whole, run by PyTorch itself: what a compiler does with the graph is PyTorch's affair."""
    torch._dynamo.reset()
    compiled = torch.compile(ours.decoder, backend="eager", fullgraph=True)
    stream, plain = StreamingVae(ours, compiled=compiled), StreamingVae(ours)
    stream.begin()
    plain.begin()
    for seed in range(3):
        latents = seeded(1, 16, 3, 2, 2, seed=seed)
        assert largest_difference(stream.decode(latents), plain.decode(latents)) <= 1e-5
    torch._dynamo.reset()


def test_pictures_become_bytes_by_rounding() -> None:
    pictures = torch.tensor([-1.0, -0.5, 0.0, 1.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    pixels = vae.to_pixels(pictures)
    assert (pixels.shape, pixels.dtype) == ((1, 1, 4, 3), torch.uint8)
    assert pixels[0, 0, :, 0].tolist() == [0, 64, 128, 255]


@pytest.mark.slow
def test_nothing_of_a_picture_is_left_after_its_reach(ours: Any) -> None:
    """Whatever the weights: the latents from REACH on are the same for two pictures, bit for bit, and the one
    before is not, so that a longer video would change nothing and a shorter one would."""
    stream = StreamingVae(ours)
    kept = []
    for seed in (1, 2):
        video = torch.zeros(1, 3, 1 + 4 * (start_image.REACH + 3), 16, 16)
        video[:, :, 0] = seeded(3, 16, 16, seed=seed)
        kept.append((stream.encode(video), start_image.condition(stream, video[0, :, 0])))
    (long_a, short_a), (long_b, short_b) = kept
    reach = start_image.REACH
    assert torch.equal(long_a[:, :, reach:], long_b[:, :, reach:])
    assert not torch.equal(long_a[:, :, reach - 1], long_b[:, :, reach - 1])
    for long, short in ((long_a, short_a), (long_b, short_b)):
        assert short.shape == (1, 20, reach + 1, 2, 2)
        # Sizes of the convolutions' inputs differ, and with them the order of their sums.
        assert largest_difference(long[:, :, : reach + 1], short[:, 4:]) <= 1e-5
        assert largest_difference(long[:, :, reach + 3], short[:, 4:, reach]) <= 1e-5
        assert short[:, :4, 0].eq(1).all()
        assert short[:, :4, 1:].eq(0).all()
