"""Words for the page: what an author declares is in the schema as declared, and what does not fit is refused."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from reactor_runtime import Show, VideoModel, command
from reactor_runtime.author.description import describe
from reactor_runtime.author.schema import capabilities, commands_of, openapi
from reactor_runtime.errors import ModelDefinitionError
from reactor_runtime.types import CommandCall, JsonObject

Keys = Literal["W", "A", "S", "D", "Q"]


class Palette(enum.Enum):
    SUNSET = "sunset"
    OCEAN = "ocean"


class Car(VideoModel):
    """A road."""

    first_frame = "The road is laid out, about 5 seconds"

    @command("control", label="Drive", hint="W A S D to drive", group="Driving", primary=True)
    def control(
        self,
        key: Annotated[Keys, Show(label="Wheel")] = "Q",
        look: Annotated[Literal["J", "L", "U"], Show(look={"left": "J", "right": "L"})] = "U",
        turn: Annotated[float, Show(look="x")] = Field(0, ge=-1, lt=1),
        also_held: Annotated[tuple[Keys, ...], Show(also_held=True), Field(max_length=2)] = (),
    ) -> None: ...

    @command("set_sky")
    def set_sky(
        self,
        text: Annotated[str, Show(placeholder="What is the sky like?", examples=["Fog", "Rain"])] = Field(
            ..., max_length=20
        ),
        palette: Annotated[Palette, Show(label="Colours")] = Palette.OCEAN,
        note: Annotated[str, Show(placeholder="Anything")] | None = None,
    ) -> None: ...

    @command
    def plain(self, text: str) -> None: ...


def operations(model: type[VideoModel]) -> dict[str, Any]:
    document = openapi(describe(model, name="car", version="1"))
    return {path.removeprefix("/events/"): item["post"] for path, item in document["paths"].items()}


def arguments(operation: JsonObject) -> dict[str, Any]:
    properties: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"][
        "properties"
    ]
    return properties


def test_what_is_declared_of_a_command_stands_in_its_operation() -> None:
    control = operations(Car)["control"]
    assert {key: value for key, value in control.items() if key.startswith("x-")} == {
        "x-label": "Drive",
        "x-hint": "W A S D to drive",
        "x-group": "Driving",
        "x-primary": True,
    }
    assert openapi(describe(Car, name="car", version="1"))["x-reactor"]["first_frame"] == Car.first_frame


def test_what_is_declared_of_an_argument_stands_in_its_schema() -> None:
    control, sky = arguments(operations(Car)["control"]), arguments(operations(Car)["set_sky"])
    assert control["key"]["x-label"] == "Wheel"
    assert control["look"]["x-look"] == {"left": "J", "right": "L"}
    assert control["turn"]["x-look"] == "x"
    assert control["also_held"]["x-also-held"] is True
    assert sky["text"]["x-placeholder"] == "What is the sky like?"
    assert sky["text"]["examples"] == ["Fog", "Rain"]
    assert sky["palette"]["x-label"] == "Colours"
    assert "$ref" in sky["palette"]
    assert {"type": "string", "x-placeholder": "Anything"} in sky["note"]["anyOf"]


def test_what_is_not_declared_is_not_there() -> None:
    plain = operations(Car)["plain"]
    assert "x-" not in str(
        {**plain, "requestBody": str(plain["requestBody"]).replace("x-reactor-moderate", "")}
    )

    class Silent(VideoModel): ...

    assert "first_frame" not in openapi(describe(Silent, name="m", version="1"))["x-reactor"]


def test_a_call_is_checked_as_without_the_words() -> None:
    control = commands_of(Car)["control"]
    got = control.arguments(CommandCall(1, "control", {"key": "A", "also_held": ["W"]}))
    assert (got["key"], got["also_held"]) == ("A", ("W",))
    with pytest.raises(Exception, match="should be"):
        control.arguments(CommandCall(2, "control", {"key": "X"}))


def test_the_widget_of_published_clients_sees_none_of_it() -> None:
    widget = capabilities(describe(Car, name="car", version="1"))["commands"]
    assert "x-" not in str([each["schema"] for each in widget])


@pytest.mark.parametrize(
    ("annotation", "default", "problem"),
    [
        (Annotated[int, Show(placeholder="one")], 1, "a placeholder is for text"),
        (Annotated[str, Show(placeholder="a\nb")], "", "as its placeholder"),
        (Annotated[str, Show(label="x" * 41)], "", "up to 40 characters"),
        (Annotated[str, Field(max_length=3), Show(examples=["abc", "abcd"])], "", "'abcd' is refused"),
        (Annotated[int, Show(examples=["1"])], 1, "'1' is refused"),
        (Annotated[str, Show(examples="abc")], "", "as examples"),
        (Annotated[str, Show(examples=[{1}])], "", "is refused"),
        (Annotated[str, Show(also_held=True)], "", "a list of keys"),
        (Annotated[list[str], Show(also_held=True)], [], "a list of keys"),
        (Annotated[list[Literal["X"]], Show(also_held=True)], [], "X, which no other argument has"),
        (Annotated[float, Field(ge=0), Show(look="x")], 0.0, "a number with two bounds"),
        (Annotated[Keys, Show(look={"left": "Z"})], "Q", "does not fit its choices W, A, S, D, Q"),
        (Annotated[Keys, Show(look={"north": "W"})], "Q", "left, right, up, down"),  # type: ignore[dict-item]
        (Annotated[float, Field(ge=0, le=1), Show(look="z")], 0.0, '"x", "y"'),  # type: ignore[arg-type]
    ],
)
def test_words_that_do_not_fit_their_argument_are_refused_when_the_class_is_made(
    annotation: Any, default: object, problem: str
) -> None:
    with pytest.raises(ModelDefinitionError) as caught:

        class Wrong(VideoModel):
            @command("go")
            def go(self, value: annotation = default) -> None: ...

    assert problem in str(caught.value)
    assert "Wrong.go" in str(caught.value)
    assert "value" in str(caught.value)
    assert str(caught.value).count("Fix:") == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"label": "x" * 41}, "label"),
        ({"hint": "two\nlines"}, "hint"),
        ({"group": 3}, "group"),
        ({"primary": "yes"}, "primary"),
    ],
)
def test_words_that_do_not_fit_a_command_are_refused_when_the_class_is_made(
    words: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ModelDefinitionError, match=rf"Wrong\.go: .*{problem}.*\n  Fix: "):

        class Wrong(VideoModel):
            @command("go", **words)
            def go(self) -> None: ...


def test_two_primary_commands_and_a_long_first_frame_are_refused() -> None:
    with pytest.raises(ModelDefinitionError, match="more than one primary command: a, b"):

        class Two(VideoModel):
            @command(primary=True)
            def a(self) -> None: ...

            @command(primary=True)
            def b(self) -> None: ...

    with pytest.raises(ModelDefinitionError, match="first_frame"):

        class Long(VideoModel):
            first_frame = "x" * 200


def test_a_model_that_overrides_a_command_gives_it_its_own_words() -> None:
    class Other(Car):
        @command("control", label="Steer")
        def control(self, key: Keys = "Q") -> None: ...  # type: ignore[override]

    assert operations(Other)["control"]["x-label"] == "Steer"
    assert "x-primary" not in operations(Other)["control"]


def test_the_document_s_example_is_a_model_and_its_table_names_every_key() -> None:
    document = (Path(__file__).parent.parent / "docs" / "page.md").read_text(encoding="utf-8")
    [block] = re.findall(r"<!-- test: car.py -->\n```python\n(.*?)```\n", document, re.DOTALL)
    names: dict[str, Any] = {"__name__": "car"}
    exec(block, names)
    assert operations(names["Car"])["control"]["x-primary"] is True
    written = set(re.findall(r"`(x-[a-z-]+)`", document)) - {"x-reactor"}
    from reactor_runtime.author import show

    assert written == {
        show.LABEL,
        show.HINT,
        show.GROUP,
        show.PRIMARY,
        show.PLACEHOLDER,
        show.ALSO_HELD,
        show.LOOK,
        show.INITIAL,
    }


def test_what_a_session_begins_with_is_said_by_the_constructor() -> None:
    from reactor_runtime.author import show

    sky = show.with_initial(describe(Car, name="car", version="1").commands, {"set_sky": {"text": "Fog"}})
    properties = {spec.name: spec.parameters["properties"] for spec in sky}
    assert properties["set_sky"]["text"]["x-initial"] == "Fog"
    assert "x-initial" not in properties["set_sky"]["palette"]
    assert "x-initial" not in commands_of(Car)["set_sky"].parameters["properties"]["text"]
    wrongs: list[object] = [
        [],
        {"fly": {}},
        {"set_sky": {"height": 3}},
        {"set_sky": {"text": {1}}},
        {"set_sky": 3},
    ]
    for wrong in wrongs:
        with pytest.raises(show.Unshowable, match="initial_values") as caught:
            show.with_initial(sky, wrong)
        assert "set_prompt" in caught.value.fix
