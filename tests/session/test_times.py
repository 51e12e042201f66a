"""What is told of a picture's way, and what is true of the last seconds."""

from __future__ import annotations

from reactor_runtime.session.times import LATELY_S, Lately, PictureTimes


def test_the_times_of_a_picture_are_told_in_milliseconds_since_a_moment() -> None:
    times = PictureTimes(7, began_s=100.0, emitted_s=100.02, encoding_s=100.0255, sent_s=100.03)
    assert times.since(99.0) == {
        "began_ms": 1000.0,
        "emitted_ms": 1020.0,
        "encoding_ms": 1025.5,
        "sent_ms": 1030.0,
    }


def test_a_mean_is_of_the_last_seconds_only_and_none_before_anything_was_counted() -> None:
    now_s = 0.0
    lately = Lately(lambda: now_s)
    assert lately.mean_ms(0, 1) == 0.0
    total_s, count = 0.0, 0
    means = []
    for each_s in [0.1] * 20 + [0.02] * 30:
        lately.note(total_s, count)
        means.append(lately.mean_ms(0, 1))
        now_s, total_s, count = now_s + 0.5, total_s + each_s, count + 1
    assert means[0] == 0.0
    assert means[19] == 100.0
    assert 20 < means[30] < 100, "what is new is there, and so is what was ten seconds ago"
    assert means[-1] == 20.0
    assert len(lately._past) <= LATELY_S / 0.5 + 1
