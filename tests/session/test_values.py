"""What each command last set, as it is kept: accepted arguments, defaults, what is only named."""

from __future__ import annotations

from typing import Any

import pytest

from reactor_runtime import limits
from reactor_runtime.session.values import SetValues
from reactor_runtime.types import CommandOutcome, CommandSpec, JsonObject
from reactor_runtime.wire.messages import UploadReference

PICTURE = UploadReference("u1", "cat.png", "image/png", 81_234)
NAMED = {"kind": "upload", "name": "cat.png", "mime_type": "image/png", "size": 81_234}


def spec(name: str, **properties: JsonObject) -> CommandSpec:
    return CommandSpec(name, "", {"type": "object", "properties": properties})


COMMANDS = (
    spec("zoom", by={"type": "number", "default": 1}),
    spec("say", text={"type": "string"}, loud={"type": "boolean", "default": False}),
    spec(
        "look",
        picture={"anyOf": [{"contentEncoding": "base64"}]},
        strength={"type": "number", "default": 0.5},
    ),
    spec("reset"),
)
DEFAULTS = {
    "zoom": {"values": {"by": 1}},
    "say": {"values": {"loud": False}},
    "look": {"values": {"strength": 0.5}},
}


class Model:
    """Commands one after the other, as a session passes them on."""

    def __init__(self, commands: tuple[CommandSpec, ...] = COMMANDS) -> None:
        self.values = SetValues(commands)
        self.number = 0

    def ask(self, name: str, arguments: JsonObject, uploads: dict[str, UploadReference] | None = None) -> int:
        self.number += 1
        self.values.asked(self.number, name, arguments, uploads or {})
        return self.number

    def does(self, name: str, *, code: str = "", uploads: Any = None, **arguments: Any) -> None:
        self.values.outcome(CommandOutcome(self.ask(name, arguments, uploads), code=code))

    def now(self, name: str) -> JsonObject:
        kept: JsonObject = self.values.everything()[name]
        return kept


def test_a_session_begins_with_the_defaults_of_every_command_that_has_parameters() -> None:
    assert Model().values.everything() == DEFAULTS


TABLE: list[tuple[str, JsonObject, JsonObject]] = [
    ("zoom", {"by": 4}, {"values": {"by": 4}}),
    ("zoom", {}, {"values": {"by": 1}}),
    ("say", {"text": "hello"}, {"values": {"text": "hello", "loud": False}}),
    (
        "say",
        {"text": "é" * limits.VALUE_MAX_BYTES},
        {"values": {"text": "é" * limits.VALUE_MAX_BYTES, "loud": False}},
    ),
    (
        "say",
        {"text": "x" * (limits.VALUE_MAX_BYTES + 1)},
        {
            "values": {"loud": False},
            "named": {"text": {"kind": "inline", "size": limits.VALUE_MAX_BYTES + 1}},
        },
    ),
    (
        "look",
        {"picture": PICTURE.as_json(), "strength": 1},
        {"values": {"strength": 1}, "named": {"picture": NAMED}},
    ),
    (
        "look",
        {"picture": "AAAA"},
        {"values": {"strength": 0.5}, "named": {"picture": {"kind": "inline", "size": 4}}},
    ),
    (
        "look",
        {"picture": [PICTURE.as_json()]},
        {"values": {"strength": 0.5}, "named": {"picture": {"kind": "inline", "size": 81}}},
    ),
]


@pytest.mark.parametrize(("name", "arguments", "kept"), TABLE)
def test_what_an_accepted_command_set_is_kept(name: str, arguments: JsonObject, kept: JsonObject) -> None:
    model = Model()
    model.does(name, **arguments)
    assert model.now(name) == kept
    assert model.values.take_news() == ({name: kept} if kept != DEFAULTS[name] else {}, False)


def test_an_upload_beside_the_arguments_is_named_and_a_later_value_takes_its_place() -> None:
    model = Model()
    model.does("look", uploads={"picture": PICTURE})
    assert model.now("look") == {"values": {"strength": 0.5}, "named": {"picture": NAMED}}
    model.does("look", picture=None)
    assert model.now("look") == {"values": {"strength": 0.5, "picture": None}}


def test_a_refused_command_sets_nothing() -> None:
    model = Model()
    model.does("zoom", code="invalid_command", by=9)
    assert model.values.everything() == DEFAULTS
    assert model.values.take_news() == ({}, False)


def test_of_two_commands_the_one_that_the_model_did_last_counts() -> None:
    model = Model()
    first, second = model.ask("zoom", {"by": 2}), model.ask("zoom", {"by": 3})
    for number in (second, first):
        model.values.outcome(CommandOutcome(number))
    assert model.now("zoom") == {"values": {"by": 2}}


def test_a_reset_takes_everything_back_and_says_all_of_it() -> None:
    model = Model()
    model.does("zoom", by=4)
    model.does("say", text="hello", loud=True)
    model.values.take_news()
    model.does("reset")
    assert model.values.take_news() == (DEFAULTS, True)
    assert model.values.take_news() == ({}, False)


def test_a_reset_with_arguments_of_its_own_keeps_those() -> None:
    model = Model((*COMMANDS[:1], spec("reset", seed={"type": "integer", "default": 0})))
    model.does("zoom", by=4)
    model.does("reset", seed=7)
    assert model.values.everything() == {"zoom": {"values": {"by": 1}}, "reset": {"values": {"seed": 7}}}


def test_a_model_that_only_has_a_reset_says_that_it_was_reset() -> None:
    model = Model((spec("reset"),))
    model.does("reset")
    assert model.values.take_news() == ({}, True)


def test_what_is_kept_of_all_commands_is_bounded_and_the_rest_is_named() -> None:
    model = Model(tuple(spec(f"say_{n}", text={"type": "string"}) for n in range(30)))
    for n in range(30):
        model.does(f"say_{n}", text="x" * limits.VALUE_MAX_BYTES)
    everything = model.values.everything()
    kept = [name for name, each in everything.items() if each["values"]]
    assert len(kept) == limits.VALUES_MAX_BYTES // (limits.VALUE_MAX_BYTES + len("text"))
    assert everything["say_29"]["named"] == {"text": {"kind": "inline", "size": limits.VALUE_MAX_BYTES}}
    model.does(kept[0], text="short")
    model.does("say_29", text="fits now")
    assert model.now("say_29") == {"values": {"text": "fits now"}}


def test_commands_that_no_model_ever_answers_are_forgotten_beyond_a_bound() -> None:
    model = Model()
    first = model.ask("zoom", {"by": 4})
    for _ in range(limits.COMMAND_MAILBOX):
        model.ask("zoom", {"by": 5})
    model.values.outcome(CommandOutcome(first))
    assert model.values.everything() == DEFAULTS


def test_what_a_client_calls_its_file_is_cut() -> None:
    model = Model()
    model.does("look", uploads={"picture": UploadReference("u1", "n" * 9999, "m" * 9999, 5)})
    named = model.now("look")["named"]["picture"]
    assert (len(named["name"]), len(named["mime_type"])) == (limits.MESSAGE_ID_MAX, limits.MESSAGE_ID_MAX)


def test_a_session_begins_with_what_the_author_says_and_a_reset_brings_it_back() -> None:
    prompt: JsonObject = {"type": "string", "x-initial": "a hill"}
    seed: JsonObject = {"type": "integer", "default": 0, "x-initial": 7}
    values = SetValues((spec("say", prompt=prompt, seed=seed), spec("reset")))
    assert values.everything() == {"say": {"values": {"prompt": "a hill", "seed": 7}}}
    values.asked(1, "say", {"prompt": "a sea"}, {})
    values.outcome(CommandOutcome(1))
    # What is left out of a call has its default, whatever a session begins with.
    assert values.everything() == {"say": {"values": {"prompt": "a sea", "seed": 0}}}
    values.asked(2, "reset", {}, {})
    values.outcome(CommandOutcome(2))
    assert values.everything() == {"say": {"values": {"prompt": "a hill", "seed": 7}}}
