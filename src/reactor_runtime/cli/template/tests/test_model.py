"""The model without a server: a generator is driven by hand, commands are plain methods."""

from itertools import islice

import numpy as np
import pytest
from model import Frame, Ribbons


@pytest.fixture
def model() -> Ribbons:
    return Ribbons(size=(90, 160))


def frames(model: Ribbons, count: int) -> list[Frame]:
    return list(islice(model.start_session(), count))


def test_frames_are_rgb_pictures_of_the_size_asked_for(model: Ribbons) -> None:
    for frame in frames(model, 3):
        assert frame.shape == (90, 160, 3)
        assert frame.dtype == np.uint8


def test_the_picture_moves_and_speed_zero_holds_it(model: Ribbons) -> None:
    first, second = frames(model, 2)
    assert (first != second).any()
    model.set_speed(speed=0)
    first, second = frames(model, 2)
    assert (first == second).all()


@pytest.mark.parametrize("prompt", ["a fire at night", "words that no palette knows"])
def test_a_prompt_changes_the_colours_of_the_next_frame(model: Ribbons, prompt: str) -> None:
    session = model.start_session()
    before = next(session).mean(axis=(0, 1))
    model.set_prompt(prompt=prompt)
    after = next(session).mean(axis=(0, 1))
    assert np.abs(after - before).max() > 5


def test_nothing_of_one_user_reaches_the_next(model: Ribbons) -> None:
    untouched = frames(model, 2)
    model.set_prompt(prompt="fire")
    model.set_shape(shape="rings")
    model.set_speed(speed=3)
    frames(model, 2)
    model.reset()
    assert all((a == b).all() for a, b in zip(untouched, frames(model, 2), strict=True))
