"""Two models of two projects on two hosts of one process, at the same time, and nothing of one in the other."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.host_events import Recording

from reactor_runtime.author import author_module
from reactor_runtime.author.guest import Guest
from reactor_runtime.author.manifest import Manifest
from reactor_runtime.config import Settings
from reactor_runtime.errors import ManifestError, WeightsMissing
from reactor_runtime.running.inline import InlineHost
from reactor_runtime.types import CommandCall, Demand, EmittedFrame, ModelInfo
from reactor_runtime.weights import resolve

MODEL = """
    from __future__ import annotations

    import dataclasses
    import pickle
    import threading

    import numpy as np
    from pydantic import BaseModel

    import helper
    import parts.colour as colour
    from helper import SHADE
    from reactor_runtime import VideoModel, command, get_ctx

    class Mood(BaseModel):
        {field}: int = {shade}

    @dataclasses.dataclass
    class Made:
        by: str

    class Model(VideoModel):
        fps = 200
        input_track = "{name}"

        def __init__(self):
            self.weights_path = self.weights("Net")
            assert (self.weights_path / "w").read_text() == "{name}"

        def start_session(self):
            while True:
                import late  # found when it is asked for, long after both are loaded
                from parts import colour as again
                assert late.NAME == again.NAME == helper.NAME == "{name}" and SHADE == {shade}
                yield np.full((32, 32, 3), late.SHADE, np.uint8)

        @command("{name}_mood")
        def mood(self, mood: Mood):
            return {{"name": helper.NAME, "session": get_ctx().session_id}}

        @command("tell")
        def tell(self):
            answers = []

            def ask(what):
                try:
                    answers.append(str(what()))
                except Exception as error:
                    answers.append(type(error).__name__)

            lost = [threading.Thread(target=ask, args=(each,)) for each in (
                lambda: get_ctx().session_id, lambda: self.weights("Net"))]
            for thread in lost:
                thread.start()
                thread.join()
            kept = pickle.loads(pickle.dumps(Made(helper.NAME)))
            return {{"weights": str(self.weights("Net")), "kept": kept.by, "threads": answers,
                    "module": type(self).__module__, "colour": colour.NAME}}
"""


def project(folder: Path, name: str, shade: int, field: str) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "weights/Net").mkdir(parents=True)
    (folder / "weights/Net/w").write_text(name)
    (folder / "model.py").write_text(textwrap.dedent(MODEL).format(name=name, shade=shade, field=field))
    constants = f"NAME = {name!r}\nSHADE = {shade}\n"
    (folder / "helper.py").write_text(f"import late\nassert late.NAME == {name!r}\n" + constants)
    (folder / "late.py").write_text(constants)
    (folder / "parts/__init__.py").write_text("from .colour import NAME\n")
    (folder / "parts/colour.py").write_text("from helper import NAME, SHADE\nimport parts\n")
    (folder / "manifest.json").write_text('{"class": "model:Model", "model_name": "' + name + '"}')
    return folder


class Shades(Recording):
    """Keeps how bright each frame is."""

    def __init__(self) -> None:
        super().__init__()
        self.shades: list[int] = []

    def frame(self, frame: EmittedFrame) -> None:
        self.shades.append(int(frame.pixels[0, 0, 0]))
        super().frame(frame)


class Running:
    """A project on a host of its own, with a session whose frames are released and looked at."""

    def __init__(self, folder: Path) -> None:
        self.events = Shades()
        self.host = InlineHost(self.events, folder, {}, Settings.load({"stop_s": 5}, {}))
        self.info: ModelInfo | None = None

    async def load(self) -> ModelInfo:
        self.info = await self.host.load()
        return self.info

    def start(self, session_id: str) -> None:
        self.host.start_session(session_id)
        self.host.demand(Demand(2**40, due_s=0.0, interval_s=1e6, watched=True))

    async def ask(self, name: str, **arguments: object) -> dict[str, object]:
        command_id = len(self.events.outcomes) + 1
        self.host.send_command(CommandCall(command_id, name, arguments))
        await self.events.until(lambda: len(self.events.outcomes) >= command_id)
        outcome = self.events.outcomes[-1]
        assert outcome.accepted, outcome
        assert outcome.reply is not None
        return outcome.reply


@pytest.mark.slow
async def test_two_hosts_of_two_models_run_side_by_side_and_share_nothing(tmp_path: Path) -> None:
    one = Running(project(tmp_path / "one", "rain", 40, "wetness"))
    two = Running(project(tmp_path / "two", "snow", 200, "depth"))
    infos = await asyncio.gather(one.load(), two.load())
    # Schema and tracks.
    for info, name, field in zip(infos, ("rain", "snow"), ("wetness", "depth"), strict=True):
        (mood,) = (command for command in info.commands if command.name == f"{name}_mood")
        assert field in str(mood.parameters)
        assert {command.name for command in info.commands} == {f"{name}_mood", "tell"}
        assert [track.name for track in info.tracks] == ["main_video"]
    try:
        one.start("first")
        two.start("second")
        for _ in range(3):
            told = await asyncio.gather(one.ask("rain_mood", mood={}), two.ask("snow_mood", mood={}))
            assert list(told) == [
                {"name": "rain", "session": "first"},
                {"name": "snow", "session": "second"},
            ]
        for running, name in ((one, "rain"), (two, "snow")):
            said = await running.ask("tell")
            folder = tmp_path / {"rain": "one", "snow": "two"}[name]
            assert said["weights"] == str(folder / "weights/Net")
            assert said["kept"] == said["colour"] == name
            # A thread that belongs to neither is told so, and given nothing of the other.
            assert said["threads"] == ["RuntimeError", "WeightsMissing"]
        await one.events.until(lambda: len(one.events.shades) >= 20 and len(two.events.shades) >= 20)
        assert set(one.events.shades) == {40}
        assert set(two.events.shades) == {200}
        assert one.events.ended == two.events.ended == []
        # The one that goes takes nothing along.
        await one.host.close()
        assert await two.ask("snow_mood", mood={}) == {"name": "snow", "session": "second"}
        assert (await two.ask("tell"))["threads"] == ["second", str(tmp_path / "two/weights/Net")]
    finally:
        await one.host.close()
        await two.host.close()
    assert not any(name.startswith("reactor_project_") for name in sys.modules)
    # The next one has its modules under their plain names again.
    three = Running(project(tmp_path / "three", "hail", 90, "size"))
    await three.load()
    try:
        three.start("third")
        assert (await three.ask("tell"))["module"] == "model"
    finally:
        await three.host.close()


def test_a_guest_s_own_imports_are_written_out_and_others_left_alone(tmp_path: Path) -> None:
    project(tmp_path / "guest", "rain", 40, "wetness")
    guest = Guest(tmp_path / "guest")
    try:
        (tmp_path / "guest/forms.py").write_text(
            textwrap.dedent("""
                import helper, json
                import helper as other
                import parts.colour
                import numpy as np
                from parts.colour import SHADE
                def later():
                    from late import NAME
                    return NAME
            """)
        )
        import importlib

        forms = importlib.import_module(guest.full_name("forms"))
        assert forms.helper is forms.other is sys.modules[guest.full_name("helper")]
        assert forms.json is sys.modules["json"]
        assert forms.np is np
        assert forms.parts.colour.SHADE == forms.SHADE == 40
        assert forms.later() == "rain"
        assert sys.modules.get("helper") is not forms.helper
        assert not list((tmp_path / "guest").rglob("*.pyc"))
    finally:
        guest.close()


def test_a_guest_that_lies_in_a_package_is_imported_as_part_of_it(tmp_path: Path) -> None:
    host, guest = project(tmp_path / "host", "snow", 200, "depth"), tmp_path / "shop/inside"
    guest.mkdir(parents=True)
    for package in (guest.parent, guest):
        (package / "__init__.py").write_text("")
    (guest / "helper.py").write_text("NAME = 'inside'")
    (guest / "model.py").write_text(
        textwrap.dedent("""
            from reactor_runtime import VideoModel
            from shop.inside import helper
            from .helper import NAME

            class Model(VideoModel):
                made_of = (NAME, helper.NAME)

                def start_session(self): ...
        """)
    )
    (guest / "manifest.json").write_text('{"class": "model:Model", "model_name": "inside"}')
    author_module.keep(host)
    author_module.keep(guest)
    try:
        assert Manifest.read(host).load_class().__module__ == "model"
        inside: Any = Manifest.read(guest).load_class()
        assert inside.made_of == ("inside", "inside")
        assert inside.__module__.endswith(".shop.inside.model")
    finally:
        author_module.let_go(guest)
        author_module.let_go(host)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nowhere_to_be_found", "which is not installed"),
        ("def broken(:", "line 1"),
        ("import helpers_that_are_not_there", "which is not installed"),
        ("1 / 0", "model.py, line 1: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_a_guest_is_said_in_its_own_words(
    tmp_path: Path, source: str, problem: str
) -> None:
    host, guest = tmp_path / "host", project(tmp_path / "guest", "rain", 40, "wetness")
    project(host, "snow", 200, "depth")
    (guest / "model.py").write_text(source)
    author_module.keep(host)
    author_module.keep(guest)
    try:
        Manifest.read(host).load_class()
        with pytest.raises(ManifestError, match=problem) as refused:
            Manifest.read(guest).load_class()
        assert "reactor_project" not in str(refused.value)
    finally:
        author_module.let_go(guest)
        author_module.let_go(host)


def test_weights_are_looked_for_where_the_thread_s_own_model_is(tmp_path: Path) -> None:
    found: dict[str, Path] = {}

    def on_a_thread(work: Callable[[], object]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    def of_model(name: str) -> None:
        resolve.enter(lambda text: tmp_path / name / text)
        try:
            found[name] = resolve.resolve("Net")
            if name == "one":
                on_a_thread(lambda: of_model("two"))
                found["again"] = resolve.resolve("Net")
        finally:
            resolve.leave()

    on_a_thread(lambda: of_model("one"))
    assert found == {
        "one": tmp_path / "one/Net",
        "two": tmp_path / "two/Net",
        "again": tmp_path / "one/Net",
    }


def test_a_thread_of_the_author_s_own_has_the_only_model_s_weights_and_among_several_none(
    tmp_path: Path,
) -> None:
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(resolve.resolve("Net"))
        except WeightsMissing as error:
            answers.append(str(error))

    def asked_beside(models: int) -> None:
        for _ in range(models):
            resolve.enter(lambda text: tmp_path / text)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        for each in resolve._models[:]:
            resolve.adopt(each)
            resolve.leave()

    for models in (1, 2):
        thread = threading.Thread(target=asked_beside, args=(models,))
        thread.start()
        thread.join()
    assert answers[0] == tmp_path / "Net"
    assert "several models are loaded" in str(answers[1])
    assert "Fix: " in str(answers[1])
