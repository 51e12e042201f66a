"""A script says what is done to a model, and where in its session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime.errors import ScriptRejected
from reactor_runtime.session_log.script import cues_of, read_script, unreached


def test_lines_become_cues_in_the_order_they_run() -> None:
    lines = [
        "# a comment",
        '{"frame": 9, "command": "b", "arguments": {"x": 1}}',
        "",
        '{"at_s": 0.1, "command": "a"}',
        '{"frame": 9, "command": "c", "waits": 2}',
        '{"frame": 9, "command": "d"}',
    ]
    cues = read_script(lines, fps=30)
    assert [(cue.frame_id, cue.waits, cue.call.name) for cue in cues] == [
        (4, 0, "a"),
        (9, 0, "b"),
        (9, 0, "d"),
        (9, 2, "c"),
    ]
    assert [cue.call.command_id for cue in cues] == [1, 2, 3, 4]
    assert cues[1].call.arguments == {"x": 1}


@given(st.integers(0, 100_000), st.sampled_from([10.0, 15.0, 24.0, 30.0, 60.0]))
def test_the_time_of_a_frame_is_that_frame(index: int, fps: float) -> None:
    (cue,) = read_script([f'{{"at_s": {index / fps!r}, "command": "a"}}'], fps=fps)
    assert cue.frame_id == index + 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "not a JSON object"),
        ('{"command": "a"}', '"frame" or "at_s"'),
        ('{"command": "a", "frame": 1, "at_s": 2}', '"frame" or "at_s"'),
        ('{"command": "a", "frame": 0}', "greater than or equal to 1"),
        ('{"command": "a", "frame": 1, "argument": {}}', '"argument"'),
        ('{"frame": 1}', '"command"'),
    ],
)
def test_a_wrong_line_is_named_with_what_is_wrong(line: str, words: str) -> None:
    with pytest.raises(ScriptRejected) as caught:
        read_script([line], fps=30)
    assert words in str(caught.value)
    assert "line 1" in str(caught.value)


def test_what_comes_after_the_film_is_told() -> None:
    cues = cues_of([(3, 0, "a", {}), (4, 0, "b", {})])
    assert [cue.call.name for cue in unreached(cues, frames=3)] == ["b"]
