"""Commands: what a class declares, what clients are told, and what of a call reaches the handler."""

from __future__ import annotations

import enum
import gc
import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator
from support.promises import long_form
from typing_extensions import TypedDict

from reactor_runtime import CommandError, VideoModel, command, limits
from reactor_runtime.author.description import describe
from reactor_runtime.author.schema import capabilities, commands_of, openapi, reply_of
from reactor_runtime.errors import CommandRejected, ModelDefinitionError
from reactor_runtime.types import CommandCall, JsonObject


class Palette(enum.Enum):
    SUNSET = "sunset"
    OCEAN = "ocean"


class Speed(enum.IntEnum):
    SLOW = 1
    FAST = 2


class Lens(BaseModel):
    zoom: float = Field(1.0, ge=0.5, le=4)
    filters: list[Literal["blur", "grain"]] = Field(default_factory=list, max_length=3)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    depth: int = 0


class Camera(BaseModel):
    angle: float = Field(description="degrees")
    lens: Lens = Field(default_factory=lambda: Lens(zoom=1))
    inner: Camera | None = None


@dataclass
class Point:
    x: float
    y: float = 0.0


class Box(TypedDict):
    width: int
    height: int


class Studio(VideoModel):
    """A model with every kind of parameter.

    Not part of the description.
    """

    @command("everything", description="Every kind of parameter")
    def everything(
        self,
        text: str = Field(..., min_length=1, max_length=20, description="Words"),
        count: int = Field(3, ge=0, le=10),
        strength: float = Field(0.5, gt=0, lt=1),
        on: bool = False,
        palette: Palette = Palette.SUNSET,
        speed: Speed = Speed.SLOW,
        key: Literal["W", "A"] | None = None,
        level: Literal[1, 2] = 1,
        camera: Camera | None = None,
        where: Point | None = None,
        box: Box | None = None,
        open: Open | None = None,
        tags: list[str] = Field(default_factory=list, max_length=4),  # noqa: B008
        weights: dict[str, float] | None = None,
        pair: tuple[int, str] | None = None,
        choice: int | Lens | None = None,
        anything: Any = None,
        ratio: Annotated[float, Field(multiple_of=0.25)] = 1.0,
    ) -> None: ...


EVERYTHING = commands_of(Studio)["everything"]


def arguments_of(given: JsonObject, model: type = Studio, name: str = "everything") -> dict[str, Any]:
    return commands_of(model)[name].arguments(CommandCall(1, name, given))


def refusal(given: JsonObject, model: type = Studio, name: str = "everything") -> CommandRejected:
    with pytest.raises(CommandRejected) as caught:
        arguments_of(given, model, name)
    assert caught.value.code == "invalid_command"
    return caught.value


# The page's own commands -----------------------------------------------------------------------------


#: Class bodies as printed on the page, shortened to their commands.
PAGE = '''
from reactor_runtime import VideoModel, command, get_ctx
from pydantic import Field
from typing import Literal

class LongLiveVideoModel(VideoModel):
    @command("set_prompt", description="Change generation prompt in real-time")
    def set_prompt_command(
        self,
        prompt: str = Field(..., description="New prompt to use")
    ):
        """User can call this from frontend during generation."""
        self._pipeline._current_prompt = prompt
        print(f"Prompt updated to: {prompt}")

class InteractiveModel(VideoModel):

    @command("set_starting_prompt", description="Update starting text prompt")
    def set_prompt_command(self, prompt: str = Field(...)):
        self._pipeline._current_prompt = prompt

    @command("set_reference_image", description="Upload reference image")
    def set_reference_image_command(
        self,
        base64_image: str = Field(..., description="Base64 encoded image")
    ):
        self._pipeline._current_reference_image = decode_base64_image(base64_image)

    @command("set_camera_angle", description="Adjust camera angle")
    def set_camera_angle_command(
        self,
        angle: float = Field(..., description="Camera angle in degrees")
    ):
        self._pipeline._current_camera_angle = angle

class Matrix2VideoModel(VideoModel):
    @command("control", description="Control the game")
    def control_command(
        self,
        mouse_key: Literal['J', 'K', 'L', 'I', 'U'] = Field(
            ...,
            description="Mouse: J=left, K=down, L=right, I=up, U=none"
        ),
        keyboard_key: Literal['W', 'A', 'S', 'D', 'Q'] = Field(
            ...,
            description="Keyboard: W=forward, A=left, S=back, D=right, Q=none"
        )
    ):
        """User controls from the frontend - updates DURING generation."""
        if self._game.pipeline is not None:
            # Update game state dynamically
            self._game.pipeline.set_action(mouse_key, keyboard_key)

    @command("set_starting_image", description="Upload starting frame")
    def set_starting_image_command(
        self,
        base64_image: str = Field(..., description="Base64 encoded image"),
        image_id: str = Field(..., description="Image identifier")
    ):
        """Accept image input modality."""
        self._game.set_starting_image(base64_image, image_id)

    @command("reset", description="Reset to default state")
    def reset_command(self):
        """Manual reset command."""
        self._game.reset()
'''
_page: dict[str, Any] = {"__name__": "page"}
exec(compile(PAGE, "page", "exec", dont_inherit=True), _page)
LongLiveVideoModel: type[VideoModel] = _page["LongLiveVideoModel"]
InteractiveModel: type[VideoModel] = _page["InteractiveModel"]
Matrix2VideoModel: type[VideoModel] = _page["Matrix2VideoModel"]


def test_the_page_s_commands_are_described_as_they_are_written() -> None:
    prompt = commands_of(LongLiveVideoModel)["set_prompt"]
    assert prompt.description == "Change generation prompt in real-time"
    assert prompt.parameters == {
        "type": "object",
        "additionalProperties": False,
        "properties": {"prompt": {"type": "string", "description": "New prompt to use"}},
        "required": ["prompt"],
    }
    assert list(commands_of(Matrix2VideoModel)) == ["control", "set_starting_image", "reset"]
    control = commands_of(Matrix2VideoModel)["control"].parameters
    assert control["properties"]["mouse_key"]["enum"] == ["J", "K", "L", "I", "U"]
    assert commands_of(Matrix2VideoModel)["reset"].parameters["properties"] == {}
    assert arguments_of({"angle": 3}, InteractiveModel, "set_camera_angle") == {"angle": 3.0}


def test_the_page_s_commands_take_what_they_declare_and_nothing_else() -> None:
    given = {"mouse_key": "U", "keyboard_key": "W"}
    assert arguments_of(given, Matrix2VideoModel, "control") == given
    assert arguments_of({}, Matrix2VideoModel, "reset") == {}
    assert refusal({"mouse_key": "U"}, Matrix2VideoModel, "control").field == "keyboard_key"
    assert refusal({**given, "mouse_key": "X"}, Matrix2VideoModel, "control").field == "mouse_key"
    assert refusal({"now": True}, Matrix2VideoModel, "reset").field == "now"


# Definitions -----------------------------------------------------------------------------------------


def test_a_bare_command_is_named_after_its_method_and_described_by_its_docstring() -> None:
    class Model(VideoModel):
        @command
        def flash(self) -> None:
            """Flash once.

            More about it.
            """

        @command(description="Twice")
        async def flash_twice(self) -> None: ...

    found = commands_of(Model)
    assert [(c.name, c.description, c.method, c.is_async) for c in found.values()] == [
        ("flash", "Flash once.", "flash", False),
        ("flash_twice", "Twice", "flash_twice", True),
    ]


def test_commands_are_inherited_overridden_renamed_and_taken_away() -> None:
    class Parent(VideoModel):
        @command("kept")
        def kept(self, a: int) -> None: ...

        @command("overridden")
        def overridden(self, a: int) -> None: ...

        @command("renamed")
        def renamed(self, a: int) -> None: ...

        @command("gone")
        def gone(self) -> None: ...

    class Child(Parent):
        def overridden(self, a: str) -> None: ...  # type: ignore[override]

        @command("new_name")
        def renamed(self, a: int) -> None: ...

        gone = None  # type: ignore[assignment]

    assert list(commands_of(Child)) == ["kept", "overridden", "new_name"]
    assert commands_of(Child)["kept"] is commands_of(Parent)["kept"]
    assert commands_of(Child)["overridden"].parameters["properties"]["a"] == {"type": "string"}
    assert commands_of(Parent)["overridden"].parameters["properties"]["a"] == {"type": "integer"}
    assert list(commands_of(Parent)) == ["kept", "overridden", "renamed", "gone"]


def test_two_models_in_one_process_do_not_mix() -> None:
    class First(VideoModel):
        @command("set")
        def set(self, a: int) -> None: ...

    class Second(VideoModel):
        @command("set")
        def set(self, b: str) -> None: ...

    assert arguments_of({"a": 1}, First, "set") == {"a": 1}
    assert arguments_of({"b": "1"}, Second, "set") == {"b": "1"}
    assert commands_of(VideoModel) == {}


def test_a_mixin_brings_its_commands() -> None:
    class Resettable:
        @command("restart")
        def restart(self, hard: bool = False) -> None: ...

    class Model(Resettable, VideoModel): ...

    assert arguments_of({}, Model, "restart") == {"hard": False}


def test_annotations_may_name_types_of_the_enclosing_function() -> None:
    class Local(BaseModel):
        x: int

    class Model(VideoModel):
        @command("set")
        def set(self, local: Local) -> None: ...

    assert arguments_of({"local": {"x": 1}}, Model, "set") == {"local": Local(x=1)}


def test_parameters_may_have_any_python_name() -> None:
    class Model(VideoModel):
        @command("set")
        def set(self, copy: int, model_config: int, json: int, _seed: int, schema: int = 1) -> None: ...

    given = {"copy": 1, "model_config": 2, "json": 3, "_seed": 4}
    assert arguments_of(given, Model, "set") == {**given, "schema": 1}


def _unsupported(annotation: Any, default: Any = ...) -> Callable[[], None]:
    def define() -> None:
        def method(self: object, value: Any = default) -> None: ...

        method.__annotations__ = {"value": annotation}
        type("Model", (VideoModel,), {"set_value": command("set")(method)})

    return define


def _twice() -> None:
    class Model(VideoModel):
        @command("same")
        def one(self) -> None: ...

        @command("same")
        def two(self) -> None: ...


def _twice_by_inheritance() -> None:
    class Model(Camcorder):
        @command("stop")
        def again(self) -> None: ...


def _untyped() -> None:
    class Model(VideoModel):
        @command("set")
        def set_value(self, value) -> None: ...  # type: ignore[no-untyped-def]


def _star() -> None:
    class Model(VideoModel):
        @command("set")
        def set_value(self, **value: int) -> None: ...


def _unresolved() -> None:
    class Model(VideoModel):
        @command("set")
        def set_value(self, value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def _static() -> None:
    class Model(VideoModel):
        @command("set")
        @staticmethod
        def set_value() -> None: ...


def _not_a_method() -> None:
    class Model(Camcorder):
        stop = 3  # type: ignore[assignment]


def _generator() -> None:
    class Model(VideoModel):
        @command("set")
        def set_value(self):  # type: ignore[no-untyped-def]
            yield 1


def _bad_name() -> None:
    class Model(VideoModel):
        @command("a/b")
        def set_value(self) -> None: ...


def _alias() -> None:
    class Model(VideoModel):
        @command("set")
        def set_value(self, value: int = Field(1, alias="v")) -> None: ...


class Ping(BaseModel):
    then: Ping | Pong | None = None


class Pong(BaseModel):
    then: Ping | Pong | None = None


class Push(BaseModel):
    kind: Literal["push"]
    then: Push | Pull | None = Field(None, discriminator="kind")


class Pull(BaseModel):
    kind: Literal["pull"]
    then: Push | Pull | None = Field(None, discriminator="kind")


WRONG_MODELS: dict[str, tuple[Callable[[], None], str]] = {
    "the same name twice": (_twice, "two commands named 'same': the methods one and two"),
    "the name of an inherited one": (_twice_by_inheritance, "two commands named 'stop'"),
    "no type": (_untyped, "'value' has no type"),
    "keyword arguments": (_star, r"\*\*value"),
    "an unknown type": (_unresolved, "Nowhere"),
    "a static method": (_static, "plain method"),
    "a number in a method's place": (_not_a_method, "not a method"),
    "a generator": (_generator, "generator"),
    "a slash": (_bad_name, "cannot be a command's name"),
    "an alias": (_alias, "alias"),
    "a function": (_unsupported(Callable[[], None]), "'value' cannot be described"),
    "a plain object": (_unsupported(object()), "type of the parameter 'value'"),
    "an arbitrary class": (_unsupported(logging.Logger), "'value' cannot be described"),
    "alternatives that contain themselves": (_unsupported(Ping), "Ping and Pong are alternatives"),
    "a default out of range": (_unsupported(int, Field(5, le=3)), "default is not valid"),
    "a default of another type": (_unsupported(int, "x"), "default is not valid"),
    "a default that is not JSON": (_unsupported(Any, object()), "'value' cannot be described"),
}


@pytest.mark.parametrize("what", WRONG_MODELS)
def test_a_wrong_command_is_an_error_when_the_class_is_made_and_says_how_to_fix_it(what: str) -> None:
    define, problem = WRONG_MODELS[what]
    with pytest.raises(ModelDefinitionError, match=problem) as caught:
        define()
    assert "Fix: " in str(caught.value)


def test_alternatives_that_are_told_apart_may_contain_themselves() -> None:
    class Model(VideoModel):
        @command("go")
        def go(self, step: Push) -> None: ...

    step: JsonObject = {"kind": "push", "then": 3}
    for _ in range(20):
        step = {"kind": "pull", "then": step}
    error = refusal({"step": {"kind": "push", "then": step}}, Model, "go")
    assert error.field == "step" + ".then" * 22


# Calls -----------------------------------------------------------------------------------------------


def test_defaults_are_filled_in() -> None:
    found = arguments_of({"text": "x"})
    assert found["palette"] is Palette.SUNSET
    assert found["strength"] == 0.5
    assert found["tags"] == []
    assert list(found) == list(EVERYTHING.parameters["properties"])


def test_a_mutable_default_is_made_anew_for_every_call() -> None:
    arguments_of({"text": "x"})["tags"].append("mine")
    assert arguments_of({"text": "x"})["tags"] == []


def test_values_arrive_as_the_declared_types() -> None:
    found = arguments_of(
        {
            "text": "x",
            "palette": "ocean",
            "speed": 2,
            "camera": {"angle": 1, "lens": {"filters": ["blur"]}, "inner": {"angle": 2.5}},
            "where": {"x": 1},
            "box": {"width": 1, "height": 2},
            "pair": [1, "a"],
            "choice": {"zoom": 2},
            "anything": {"a": [None, True, 1.5]},
        }
    )
    assert found["palette"] is Palette.OCEAN
    assert found["speed"] is Speed.FAST
    assert found["camera"].inner.angle == 2.5
    assert found["where"] == Point(1.0)
    assert found["pair"] == (1, "a")
    assert found["choice"] == Lens(zoom=2)
    assert found["anything"] == {"a": [None, True, 1.5]}


def test_an_integral_double_is_an_integer_and_an_integer_is_a_float() -> None:
    found = arguments_of({"text": "x", "count": 3.0, "ratio": 2, "speed": 2.0, "level": 2.0})
    assert (found["count"], found["ratio"], found["speed"], found["level"]) == (3, 2.0, Speed.FAST, 2)
    assert isinstance(found["count"], int)
    assert isinstance(found["ratio"], float)


INVALID: dict[str, tuple[JsonObject, str, str]] = {
    "missing": ({}, "text", "text: missing argument"),
    "unexpected": ({"text": "x", "nope": 1}, "nope", "nope: unexpected argument"),
    "text for an integer": ({"text": "x", "count": "5"}, "count", 'got "5"'),
    "a fraction for an integer": ({"text": "x", "count": 2.5}, "count", "got 2.5"),
    "a boolean for an integer": ({"text": "x", "count": True}, "count", "got true"),
    "a boolean for a float": ({"text": "x", "strength": False}, "strength", "got false"),
    "a boolean for an enum": ({"text": "x", "speed": True}, "speed", "boolean"),
    "a boolean for a literal": ({"text": "x", "level": True}, "level", "boolean"),
    "a number for a boolean": ({"text": "x", "on": 1}, "on", "got 1"),
    "a number for text": ({"text": 1}, "text", "got 1"),
    "null": ({"text": None}, "text", "got null"),
    "too large": ({"text": "x", "count": 11}, "count", "less than or equal to 10, got 11"),
    "too short": ({"text": ""}, "text", "at least 1"),
    "an unknown choice": ({"text": "x", "palette": "mud"}, "palette", "'sunset' or 'ocean'"),
    "nested": ({"text": "x", "camera": {"angle": 1, "lens": {"zoom": 9}}}, "camera.lens.zoom", "4"),
    "nested missing": ({"text": "x", "camera": {}}, "camera.angle", "missing argument"),
    "nested unexpected": ({"text": "x", "camera": {"angle": 1, "roll": 2}}, "camera.roll", "unexpected"),
    "unexpected in a dataclass": ({"text": "x", "where": {"x": 1, "z": 2}}, "where.z", "unexpected"),
    "unexpected in a typed dict": (
        {"text": "x", "box": {"width": 1, "height": 1, "depth": 1}},
        "box.depth",
        "unexpected",
    ),
    "unexpected in an open model": ({"text": "x", "open": {"other": 1}}, "open.other", "unexpected"),
    "in a list": ({"text": "x", "tags": ["a", 2]}, "tags.1", "got 2"),
    "a list too long": ({"text": "x", "tags": ["a"] * 5}, "tags", "at most 4"),
    "in a dict": ({"text": "x", "weights": {"a b": "1"}}, "weights.a b", 'got "1"'),
    "in a union": ({"text": "x", "choice": {"zoom": 99}}, "choice.zoom", "4"),
    "a tuple too short": ({"text": "x", "pair": [1]}, "pair.1", "missing argument"),
    "NaN": ({"text": "x", "strength": math.nan}, "strength", "finite"),
    "infinity": ({"text": "x", "anything": [math.inf]}, "anything.0", "finite"),
    "beyond doubles": ({"text": "x", "count": 10**5000}, "count", "double"),
    "half a surrogate pair": ({"text": "\ud800"}, "text", "surrogate"),
    "half a surrogate pair in a key": ({"text": "x", "\udfff": 1}, "", "surrogate"),
    "bytes": ({"text": b"x"}, "text", "not a JSON value"),
}


@pytest.mark.parametrize("what", INVALID)
def test_an_invalid_call_is_refused_with_the_field_and_the_reason(what: str) -> None:
    given, field, reason = INVALID[what]
    error = refusal(given)
    assert error.field == field
    assert reason in str(error)
    assert field in str(error)


def test_nesting_is_bounded_and_nul_is_text() -> None:
    deep: Any = 0
    for _ in range(1000):
        deep = [deep]
    assert "nested deeper" in str(refusal({"text": "x", "anything": deep}))
    assert arguments_of({"text": "a\0b"})["text"] == "a\0b"


def test_a_refusal_repeats_no_more_than_a_little_of_what_was_sent() -> None:
    error = refusal({"text": "x" * 100_000})
    assert len(str(error)) < 300
    assert len(str(refusal({"text": "x", "y" * 100_000: 1}))) < 500


def test_an_author_s_validator_refuses_in_its_own_words_and_may_be_broken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Even(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def must_be_even(cls, n: int) -> int:
            if n == 7:
                raise KeyError("an author's bug")
            if n == 9:
                raise CommandError("no_nines", "nine is not served")
            if n % 2:
                raise ValueError("odd numbers flicker")
            return n

    class Model(VideoModel):
        @command("set")
        def set(self, even: Even) -> None: ...

    assert str(refusal({"even": {"n": 3}}, Model, "set")) == "even.n: odd numbers flicker"
    with pytest.raises(CommandRejected) as caught:
        arguments_of({"even": {"n": 9}}, Model, "set")
    assert caught.value.code == "no_nines"
    with pytest.raises(CommandRejected) as caught:
        arguments_of({"even": {"n": 7}}, Model, "set")
    assert caught.value.code == "internal_error"
    assert "author's bug" not in str(caught.value)
    assert "author's bug" in caught.value.raised
    assert "author's bug" in caplog.text


# Fuzzing ---------------------------------------------------------------------------------------------

VALIDATOR = jsonschema.Draft202012Validator(EVERYTHING.parameters)
TEXTS = st.text(max_size=6) | st.sampled_from(["\0", "\ud800", "5", "W", "sunset", "e\u0301"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from([10**400, -(10**18), 1e308, -0.0, 2.0])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
LENSES = st.fixed_dictionaries(
    {},
    optional={"zoom": st.floats(0.5, 4), "filters": st.lists(st.sampled_from(["blur", "grain"]), max_size=3)},
)
CAMERAS = st.recursive(
    st.fixed_dictionaries({"angle": st.floats(-360, 360)}, optional={"lens": LENSES}),
    lambda inner: st.fixed_dictionaries({"angle": st.integers(-9, 9)}, optional={"inner": inner | st.none()}),
    max_leaves=3,
)
VALID = st.fixed_dictionaries(
    {"text": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)},
    optional={
        "count": st.integers(0, 10) | st.integers(0, 10).map(float),
        "strength": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "on": st.booleans(),
        "palette": st.sampled_from(["sunset", "ocean"]),
        "speed": st.sampled_from([1, 2, 1.0]),
        "key": st.sampled_from(["W", "A", None]),
        "level": st.sampled_from([1, 2.0]),
        "camera": CAMERAS | st.none(),
        "where": st.none() | st.fixed_dictionaries({"x": st.integers(-(2**53), 2**53)}),
        "box": st.fixed_dictionaries({"width": st.integers(0, 9), "height": st.integers(0, 9)}),
        "open": st.fixed_dictionaries({}, optional={"depth": st.integers()}),
        "tags": st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4),
        "weights": st.dictionaries(st.sampled_from("abc"), st.floats(-9, 9), max_size=3),
        "pair": st.tuples(st.integers(-9, 9), st.sampled_from("ab")).map(list),
        "choice": st.integers(-9, 9) | LENSES | st.none(),
        "ratio": st.integers(-8, 8).map(lambda n: n / 4),
    },
)


#: What the schema may take for one call, whatever is in it.
CASE_S = 0.005


class Timed:
    """Checks calls, and how long each took. One that took long is tried again: the machine may have been slow."""

    def __init__(self) -> None:
        self.cases, self.worst_s = 0, 0.0

    def arguments_of(self, given: JsonObject) -> dict[str, Any]:
        self.cases += 1
        took_s = self._took_s(given)
        for _ in range(4):
            if took_s > CASE_S:
                took_s = min(took_s, self._took_s(given))
        self.worst_s = max(self.worst_s, took_s)
        return arguments_of(given)

    def _took_s(self, given: JsonObject) -> float:
        gc.disable()
        try:
            began_s = time.thread_time()
            with suppress(CommandRejected):
                arguments_of(given)
            return time.thread_time() - began_s
        finally:
            gc.enable()

    def __str__(self) -> str:
        return f"{self.cases:,} cases, the slowest {self.worst_s * 1000:.1f} ms"


@pytest.mark.slow
def test_what_the_schema_allows_is_accepted(record_property: Callable[[str, object], None]) -> None:
    timed = Timed()

    @settings(deadline=None, max_examples=long_form(700, nightly=17_000))
    @given(VALID)
    def accepted(given: JsonObject) -> None:
        VALIDATOR.validate(given)
        found = timed.arguments_of(given)
        assert all(type(found[name]) is not float or math.isfinite(found[name]) for name in found)

    accepted()
    record_property("measured", str(timed))
    assert timed.worst_s <= CASE_S


@pytest.mark.slow
def test_what_the_schema_forbids_is_refused_and_nothing_else_is_raised(
    record_property: Callable[[str, object], None],
) -> None:
    timed = Timed()

    @settings(
        deadline=None,
        max_examples=long_form(1_300, nightly=33_000),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(VALID, st.sampled_from(sorted(EVERYTHING.parameters["properties"])) | TEXTS, VALUES)
    def accepted_or_refused(given: JsonObject, name: str, value: Any) -> None:
        mutated = {**given, name: value}
        refused = None
        try:
            timed.arguments_of(mutated)
        except CommandRejected as error:
            refused = error
        if refused is None:
            VALIDATOR.validate(mutated)
        else:
            assert refused.code == "invalid_command"
            assert f"{refused.field}{refused}".encode()

    accepted_or_refused()
    record_property("measured", str(timed))
    assert timed.worst_s <= CASE_S


# What clients are told -------------------------------------------------------------------------------


class Report(BaseModel):
    lens: Lens
    frame: int


class Camcorder(VideoModel):
    """Records."""

    fps = 24.0

    @command("look", description="Look around")
    def look(self, lens: Lens, mode: Palette | None = None) -> Report:
        return Report(lens=lens, frame=0)

    @command("stop")
    def stop(self) -> None: ...

    def on_frame(self, frame: object) -> None: ...


def references_of(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(references_of, node))
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if "$ref" in node else set()
    return own.union(*map(references_of, node.values()))


def test_the_openapi_document_is_as_the_clients_expect_it() -> None:
    document = openapi(describe(Camcorder, name="camcorder", version="1.2.0"))
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "camcorder", "version": "v1.2.0", "description": "Records."}
    assert document["x-reactor"]["tracks"] == [
        {"name": "main_video", "kind": "video", "direction": "out"},
        {"name": "webcam", "kind": "video", "direction": "in"},
    ]
    look = document["paths"]["/events/look"]["post"]
    assert (look["operationId"], look["summary"]) == ("look", "Look around")
    assert look["requestBody"]["required"] is True
    body = look["requestBody"]["content"]["application/json"]["schema"]
    assert body["type"] == "object"
    assert body["required"] == ["lens"]
    assert body["properties"]["lens"] == {"$ref": "#/components/schemas/Lens", "x-reactor-moderate": False}
    assert body["properties"]["mode"]["anyOf"][-1] == {"type": "null"}
    ok = look["responses"]["200"]
    assert ok["description"] == "Report"
    assert ok["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Report"}
    assert document["paths"]["/events/stop"]["post"]["responses"] == {
        "202": {"description": "Command accepted"}
    }
    assert list(document["webhooks"]) == ["report"]
    upload = document["components"]["schemas"]["ReactorUploadReference"]
    assert upload["format"] == "reactor-upload-reference"
    assert upload["required"] == ["upload_id", "name", "mime_type", "size"]


@pytest.mark.parametrize("model", [Studio, Camcorder, Matrix2VideoModel, VideoModel])
def test_every_reference_of_the_document_leads_somewhere(model: type) -> None:
    document = openapi(describe(model, name="m", version="1"))
    json.dumps(document, allow_nan=False)
    for reference in references_of(document):
        prefix, _, name = reference.rpartition("/")
        assert prefix == "#/components/schemas"
        assert name in document["components"]["schemas"]


def test_two_commands_may_mean_different_things_by_one_type_name() -> None:
    def options(kind: type) -> type[BaseModel]:
        return type("Options", (BaseModel,), {"__annotations__": {"value": kind}})

    texts, numbers = options(str), options(int)

    class Model(VideoModel):
        @command("a")
        def a(self, options: texts) -> None: ...  # type: ignore[valid-type]

        @command("b")
        def b(self, options: numbers) -> None: ...  # type: ignore[valid-type]

    components = openapi(describe(Model, name="m", version="1"))["components"]["schemas"]
    assert components["Options"]["properties"]["value"]["type"] == "string"
    assert components["Options_b"]["properties"]["value"]["type"] == "integer"


def test_the_capabilities_have_the_client_s_directions_and_what_its_widget_reads() -> None:
    found = capabilities(describe(Camcorder, name="camcorder", version="1.2.0"))
    assert found["protocol_version"] == "v0"
    assert [track["direction"] for track in found["tracks"]] == ["recvonly", "sendonly"]
    assert found["emission_fps"] == 24.0
    everything = capabilities(describe(Studio, name="s", version="1"))["commands"][0]
    assert everything["parameters"] == EVERYTHING.parameters
    assert everything["schema"]["text"] == {"type": "string", "description": "Words", "required": True}
    assert everything["schema"]["count"] == {
        "type": "integer",
        "default": 3,
        "minimum": 0,
        "maximum": 10,
        "required": False,
    }
    assert everything["schema"]["palette"]["enum"] == ["sunset", "ocean"]
    assert everything["schema"]["key"]["enum"] == ["W", "A"]
    assert everything["schema"]["camera"]["type"] == "object"


def test_a_description_ends_with_the_first_line_and_belongs_to_the_class_itself() -> None:
    class Child(Studio): ...

    assert describe(Studio, name="s", version="1").description == "A model with every kind of parameter."
    assert describe(Child, name="s", version="1").description == ""


# Replies ---------------------------------------------------------------------------------------------


def test_a_reply_is_nothing_a_dict_or_a_model() -> None:
    assert reply_of(None) == ("", None)
    assert reply_of({"a": (1, 2)}, type="status") == ("status", {"a": [1, 2]})
    assert reply_of(Report(lens=Lens(zoom=1), frame=3)) == (
        "report",
        {"lens": {"zoom": 1.0, "filters": []}, "frame": 3},
    )


class Measured(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    depth: Any


def test_what_numpy_and_torch_compute_with_becomes_numbers_and_lists() -> None:
    torch = pytest.importorskip("torch")
    values = {
        "real": np.float32(0.5),
        "whole": np.int64(3),
        "yes": np.bool_(True),
        "grid": np.arange(4).reshape(2, 2),
        "loss": torch.tensor(0.25, requires_grad=True),
        "deep": [{"model": Lens(zoom=1)}],
    }
    expected = {
        "real": 0.5,
        "whole": 3,
        "yes": True,
        "grid": [[0, 1], [2, 3]],
        "loss": 0.25,
        "deep": [{"model": {"zoom": 1.0, "filters": []}}],
    }
    assert reply_of(values, type="status") == ("status", expected)
    assert reply_of(Measured(depth=values)) == ("measured", {"depth": expected})
    with pytest.raises(TypeError, match="too large"):
        reply_of({"frame": np.zeros((480, 640, 3))})


@pytest.mark.parametrize(
    "value",
    [
        3,
        "text",
        [1],
        {"a": math.nan},
        {"a": np.float32("nan")},
        {"a": object()},
        {"a": "x" * limits.MODEL_MESSAGE_MAX_BYTES},
    ],
    ids=["number", "text", "list", "NaN", "NaN of numpy", "object", "large"],
)
def test_anything_else_is_the_handler_s_mistake(value: object) -> None:
    with pytest.raises(TypeError, match="message"):
        reply_of(value)
