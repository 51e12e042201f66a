"""manifest.json: every mistake is one error that names the file, the key and the fix."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor_runtime import VideoModel, __version__
from reactor_runtime.author import author_module
from reactor_runtime.author.manifest import Manifest
from reactor_runtime.errors import ManifestError, ModelDefinitionError
from reactor_runtime.types import JsonObject
from reactor_runtime.weights import resolve

MODEL = """
from reactor_runtime import VideoModel, command

class Waves(VideoModel):
    "Waves on water."
    def __init__(self, fps=30, size=(480, 640), *, seed=None):
        self.args = (fps, size, seed)

    def start_session(self):
        yield None

class Free(VideoModel):
    fps = 12.5
    def __init__(self, path, **kwargs):
        self.args = (path, kwargs)

    def start_session(self): ...

class Unfinished(VideoModel): ...
class Other: ...
"""
PAGE = {
    "reactor-runtime": "0.0.0",
    "class": "model_longlive:LongLiveVideoModel",
    "model_name": "longlive",
    "model_version": "1.0.0",
    "args": {"fps": 30, "size": [480, 640]},
    "weights": ["LongLive", "Wan2_1_VAE"],
}

Write = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a project: keys of its manifest over defaults (... takes one out), and its files by name."""
    monkeypatch.setattr(resolve, "_script", resolve.Outlook())
    path_before = list(sys.path)
    (tmp_path / "waves.py").write_text(MODEL)

    def write(changes: JsonObject | None = None, text: str | None = None, **files: str) -> Path:
        keys: dict[str, Any] = {"class": "waves:Waves", "model_name": "waves", **(changes or {})}
        keys = {key: value for key, value in keys.items() if value is not ...}
        (tmp_path / "manifest.json").write_text(json.dumps(keys) if text is None else text)
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(source)
        return tmp_path

    yield write
    sys.path[:] = path_before
    for name in author_module._loaded:
        sys.modules.pop(name, None)
    author_module._loaded.clear()
    author_module._folders = ()


def test_the_page_s_manifest_is_read(project: Write) -> None:
    folder = project(text=json.dumps(PAGE, indent=2))
    manifest = Manifest.read(folder)
    assert manifest == Manifest.read(folder / "manifest.json")
    assert manifest.file == folder / "manifest.json"
    assert (manifest.name, manifest.version, manifest.args) == ("longlive", "1.0.0", PAGE["args"])
    assert manifest.weights == ("LongLive", "Wan2_1_VAE")
    assert not manifest.video_input


def test_the_class_is_imported_and_constructed_with_args_and_overrides(project: Write) -> None:
    manifest = Manifest.read(project({"args": {"fps": 24, "size": [1, 2]}}))
    model_class = manifest.load_class()
    assert model_class.__name__ == "Waves"
    model = manifest.construct(model_class, {"seed": 7})
    assert model.args == (24, [1, 2], 7)  # type: ignore[attr-defined]
    assert resolve.outlook().folder == manifest.folder


def test_a_constructor_with_kwargs_takes_any_argument(project: Write) -> None:
    manifest = Manifest.read(project({"class": "waves:Free", "args": {"path": "x", "other": 1}}))
    model = manifest.construct(manifest.load_class())
    assert model.args == ("x", {"other": 1})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("class_name", "args", "overrides", "fps"),
    [
        ("Waves", {}, {}, 30.0),
        ("Waves", {"fps": 24}, {}, 24.0),
        ("Waves", {"fps": 24}, {"fps": 12}, 12.0),
        ("Waves", {"fps": None}, {}, None),
        ("Free", {"path": "x"}, {}, 12.5),
        ("Free", {"path": "x", "fps": 20}, {}, 20.0),
    ],
)
def test_the_rate_is_the_argument_s_then_its_default_s_then_the_class_s(
    project: Write, class_name: str, args: JsonObject, overrides: JsonObject, fps: float | None
) -> None:
    manifest = Manifest.read(project({"class": f"waves:{class_name}", "args": args}))
    assert manifest.info(manifest.load_class(), overrides).fps == fps


def test_what_clients_know_comes_from_the_manifest_and_the_class(project: Write) -> None:
    manifest = Manifest.read(project({"model_version": "2.1", "video_input": True}))
    info = manifest.info(manifest.load_class())
    assert (info.name, info.version, info.description) == ("waves", "2.1", "Waves on water.")
    assert [track.name for track in info.tracks] == ["main_video", "webcam"]


def test_an_argument_decides_which_weights_are_needed(project: Write) -> None:
    lists = {"profile": {"full": ["Wan2_1_VAE", "umt5@1.0"], "tiny": []}}
    manifest = Manifest.read(
        project({"args": {"profile": "full"}, "weights": ["Wan2_1_VAE"], "weights_by": lists})
    )
    assert manifest.weights_for() == ("Wan2_1_VAE", "umt5@1.0")
    assert manifest.weights_for({"profile": "tiny"}) == ("Wan2_1_VAE",)
    with pytest.raises(ManifestError) as caught:
        manifest.weights_for({"profile": "tinny"})
    assert caught.value.key == "args.profile"
    assert "did you mean 'tiny'?" in str(caught.value)


def test_two_projects_with_modules_of_one_name_do_not_mix(project: Write, tmp_path: Path) -> None:
    first = Manifest.read(project(depth="VALUE = 1", waves="import depth\n" + MODEL)).load_class()
    other = tmp_path / "other"
    other.mkdir()
    (other / "waves.py").write_text("import depth\n" + MODEL)
    (other / "depth.py").write_text("VALUE = 2")
    (other / "manifest.json").write_text((tmp_path / "manifest.json").read_text())
    second = Manifest.read(other).load_class()
    values = [sys.modules["depth"].VALUE, second.__init__.__globals__["depth"].VALUE]
    assert values == [2, 2]
    assert first.__init__.__globals__["depth"].VALUE == 1
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    "wanted", ["0.0.0", __version__, f"=={__version__}", ">=0.0.1,<99", "", f"v{__version__}"]
)
def test_a_bare_version_means_at_least_that_one(project: Write, wanted: str) -> None:
    Manifest.read(project({"reactor-runtime": wanted}))


#: What is wrong: changes to the manifest, other arguments of `project`, the key, words of problem and fix.
MISTAKES: dict[str, tuple[JsonObject, dict[str, str], str, str, str]] = {
    "empty file": ({}, {"text": ""}, "", "line 1, column 1", "correct it there"),
    "a comma too many": ({}, {"text": '{\n  "class": "a:B",\n}'}, "", "line 3, column 1", "comma"),
    "a list": ({}, {"text": "[]"}, "", "JSON list", "start it with {"),
    "a number that is none": ({}, {"text": '{"args": {"fps": NaN}}'}, "", "NaN is not JSON", "simplify"),
    "too deep": ({}, {"text": "[" * 100_000}, "", "not JSON", "simplify"),
    "twice": ({}, {"text": '{"class": "a:B", "class": "c:D"}'}, "class", "twice", "keep one"),
    "a mistyped key": ({"modelname": "x"}, {}, "modelname", "unknown key", "'model_name'"),
    "an unknown key": ({"xyz": 1}, {}, "xyz", "unknown key", '"args"'),
    "no class": ({"class": ...}, {}, "class", "missing", "model_longlive:LongLiveVideoModel"),
    "no name": ({"model_name": ...}, {}, "model_name", "missing", '"model_name": "longlive"'),
    "a number for a name": ({"model_name": 3}, {}, "model_name", "got 3", '"longlive"'),
    "a list for args": ({"args": []}, {}, "args", "got []", '"fps": 30'),
    "text for a boolean": ({"video_input": "yes"}, {}, "video_input", "got 'yes'", "true"),
    "a number among weights": ({"weights": ["LongLive", 3]}, {}, "weights.1", "got 3", "LongLive"),
    "a path among weights": ({"weights": ["../LongLive"]}, {}, "weights", "'../LongLive'", "letters"),
    "a path among an argument's weights": (
        {"weights_by": {"profile": {"full": ["/x"]}}},
        {},
        "weights_by",
        "'/x'",
        "letters",
    ),
    "weights by a list": ({"weights_by": ["LongLive"]}, {}, "weights_by", "got ['LongLive']", '"profile"'),
    "a class path with a slash": ({"class": "a/b:C"}, {}, "class", "got 'a/b:C'", "model_longlive:"),
    "a class path without a class": ({"class": "waves"}, {}, "class", "got 'waves'", "model_longlive:"),
    "a version that is none": ({"reactor-runtime": "newest"}, {}, "reactor-runtime", "'newest'", "0.1"),
    "a version of the future": (
        {"reactor-runtime": "99.1"},
        {},
        "reactor-runtime",
        f"is framehelm {__version__}",
        "pip install",
    ),
    "a range of the past": ({"reactor-runtime": "<0.0.1"}, {}, "reactor-runtime", "<0.0.1", "pip install"),
    "a mistyped module": (
        {"class": "waved:Waves"},
        {},
        "class",
        "no module 'waved'",
        "did you mean 'waves'?",
    ),
    "a package that is missing": (
        {"class": "nowhere.deep:Waves"},
        {},
        "class",
        "no module 'nowhere'",
        "create",
    ),
    "a module of Python": ({"class": "types:Waves"}, {}, "class", "Python itself", "rename"),
    "a module that the runtime holds": (
        {"class": "pydantic:M"},
        {"pydantic": "class M: ..."},
        "class",
        "of the runtime",
        "rename",
    ),
    "an import with a dot outside of a package": (
        {"class": "m:M"},
        {"m": "from .parts import x", "parts": "x = 1"},
        "class",
        "m.py, line 1 imports with a dot",
        "__init__.py",
    ),
    "a file beside it that is named as one of Python's": (
        {"class": "m:M"},
        {"m": "from types import palette", "types": "palette = 1"},
        "class",
        "m.py, line 1 means types.py beside it",
        "rename types.py",
    ),
    "a mistyped class": ({"class": "waves:Wave"}, {}, "class", "no class 'Wave'", "did you mean 'Waves'?"),
    "not a model": ({"class": "waves:Other"}, {}, "class", "not a VideoModel", "class Other(VideoModel)"),
    "the base itself": ({"class": "waves:VideoModel"}, {}, "class", "not a VideoModel", "VideoModel"),
    "no start_session": (
        {"class": "waves:Unfinished"},
        {},
        "class",
        "no start_session()",
        "def start_session",
    ),
    "a module it needs": (
        {"class": "m:M"},
        {"m": "\nimport torchh.nn"},
        "class",
        "m.py, line 2 imports 'torchh'",
        "pip install torchh",
    ),
    "a module its module needs": (
        {"class": "m:M"},
        {"m": "import inner", "inner": "import torchh"},
        "class",
        "inner.py, line 1 imports 'torchh'",
        "pip install torchh",
    ),
    "a name it needs": (
        {"class": "m:M"},
        {"m": "from json import loadz"},
        "class",
        "m.py, line 1: ImportError",
        "--verbose",
    ),
    "a syntax error": (
        {"class": "m:M"},
        {"m": "x = 1\ndef f(:"},
        "class",
        "m.py, line 2: invalid syntax",
        "correct",
    ),
    "an exception": (
        {"class": "m:M"},
        {"m": "x = 1\n1 / 0"},
        "class",
        "m.py, line 2: ZeroDivisionError",
        "correct",
    ),
    "an exit": ({"class": "m:M"}, {"m": "raise SystemExit(3)"}, "class", "SystemExit: 3", "correct"),
    "a mistyped argument": (
        {"args": {"sead": 1}},
        {},
        "args.sead",
        "takes no argument 'sead'",
        "did you mean 'seed'?",
    ),
    "an unknown argument": (
        {"args": {"xyz": 1}},
        {},
        "args.xyz",
        "takes no argument 'xyz'",
        "fps, size, seed",
    ),
    "a missing argument": ({"class": "waves:Free"}, {}, "args", "needs the argument 'path'", 'add "path"'),
    "a rate of nothing": ({"args": {"fps": 0}}, {}, "args.fps", "fps is 0", "240"),
}


def start(folder: Path) -> VideoModel:
    manifest = Manifest.read(folder)
    model_class = manifest.load_class()
    manifest.info(model_class)
    return manifest.construct(model_class)


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_names_the_file_the_key_and_the_fix(project: Write, what: str) -> None:
    changes, others, key, problem, fix = MISTAKES[what]
    folder = project(changes, **others)
    with pytest.raises(ManifestError) as caught:
        start(folder)
    error = caught.value
    assert error.file == str(folder / "manifest.json")
    assert error.key == key
    assert problem in error.problem
    assert fix in error.fix
    assert str(error).count("Fix: ") == 1


@pytest.mark.parametrize("class_path", ["waves:Waves", "{package}.waves:Waves"])
def test_a_manifest_inside_its_own_package_may_import_with_a_dot(
    project: Write, tmp_path: Path, class_path: str
) -> None:
    inside = tmp_path / "of_its_own" / "models"
    inside.mkdir(parents=True)
    for folder in (inside, inside.parent):
        (folder / "__init__.py").write_text("")
    (inside.parent / "shared.py").write_text("SIZE = 3")
    (inside / "parts.py").write_text("from ..shared import SIZE")
    (inside / "plain.py").write_text("COLOUR = 5")
    (inside / "waves.py").write_text(f"from .parts import SIZE\nimport plain\n{MODEL}")
    project({"class": class_path.format(package="of_its_own.models")})
    (tmp_path / "manifest.json").rename(inside / "manifest.json")
    assert type(start(inside)).__module__ == "of_its_own.models.waves"
    # Another project takes its place as any other does.
    project()
    assert type(start(tmp_path)).__module__ == "waves"
    assert "of_its_own" not in sys.modules


def test_a_missing_manifest_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest.json: there is no such file(.|\n)*reactor init"):
        Manifest.read(tmp_path)


def test_text_in_another_encoding_is_refused_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(json.dumps(PAGE).encode("utf-16"))
    with pytest.raises(ManifestError, match="UTF-8"):
        Manifest.read(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(PAGE).encode())
    assert Manifest.read(tmp_path).name == "longlive"


def test_the_original_exception_is_chained_for_verbose(project: Write) -> None:
    manifest = Manifest.read(project({"class": "m:M"}, m="1 / 0"))
    with pytest.raises(ManifestError) as caught:
        manifest.load_class()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_wrong_command_keeps_its_own_error(project: Write) -> None:
    source = "from reactor_runtime import *\nclass M(VideoModel):\n    @command\n    def f(self, x): ...\n"
    with pytest.raises(ModelDefinitionError, match="'x' has no type"):
        Manifest.read(project({"class": "m:M"}, m=source)).load_class()


def test_what_the_constructor_raises_is_passed_on(project: Write) -> None:
    class Broken(VideoModel):
        def __init__(self) -> None:
            raise TypeError("unexpected keyword argument, but not ours")

    with pytest.raises(TypeError, match="but not ours"):
        Manifest.read(project()).construct(Broken)
