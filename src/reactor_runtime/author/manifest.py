"""manifest.json: which class is the model, what it is called, and what its constructor gets.

Read in the server process for what it says, and in the model process to import the class. Every mistake is
one ManifestError with the file, the key and the fix; the exception behind it is chained for --verbose.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__, strict_json
from ..errors import ManifestError, WeightsMissing
from ..types import JsonObject, ModelInfo
from ..weights import names, resolve
from . import author_module
from .author_module import did_you_mean
from .description import describe
from .model import VideoModel

FILE_NAME = "manifest.json"


class _Keys(BaseModel):
    """The file as it is written; see `Manifest` for what it means."""

    model_config = ConfigDict(extra="forbid", strict=True)

    runtime: str = Field("", alias="reactor-runtime")
    class_path: str = Field(alias="class", pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$")
    model_name: str = Field(min_length=1, max_length=100)
    model_version: str = Field("0.0.0", min_length=1, max_length=100)
    args: JsonObject = Field(default_factory=dict)
    weights: list[str] = Field(default_factory=list, max_length=100)
    weights_by: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    video_input: bool = False


#: What to write, per key: the fix that a wrong value is answered with.
_EXAMPLES = {
    "reactor-runtime": '"reactor-runtime": "0.1.0" asks for that version or later; ">=0.1,<1" works too',
    "class": '"class": "model_longlive:LongLiveVideoModel" names a module in this folder and a class in it',
    "model_name": '"model_name": "longlive"',
    "model_version": '"model_version": "1.0.0"',
    "args": '"args": {"fps": 30, "size": [480, 640]} is what the constructor gets',
    "weights": '"weights": ["LongLive", "Wan2_1_VAE@1.2"]',
    "weights_by": '"weights_by": {"profile": {"full": ["LongLive"], "tiny": []}} for what an argument decides',
    "video_input": '"video_input": true gives the model a camera track',
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read and found right. `args` go to the constructor."""

    file: Path
    class_path: str
    name: str
    version: str
    args: JsonObject
    weights: tuple[str, ...]
    """Needed whatever the args are; `weights_for` adds what they decide."""
    video_input: bool
    weights_by: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    """What else an argument's value asks for, as in {"profile": {"full": ["LongLive"], "tiny": []}}."""

    @property
    def folder(self) -> Path:
        return self.file.parent

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read a manifest file, or the manifest.json of a folder. Raises ManifestError."""
        file = file_of(path)
        keys = _checked(file, _parsed(file, _text_of(file)))
        _check_runtime(file, keys.runtime)
        by_value = (listed for lists in keys.weights_by.values() for listed in lists.values())
        for key, name in [("weights", name) for name in keys.weights] + [
            ("weights_by", name) for listed in by_value for name in listed
        ]:
            try:
                names.parse(name)
            except WeightsMissing as error:
                problem, _, fix = str(error).partition("\n  Fix: ")
                raise ManifestError(problem, file=str(file), key=key, fix=fix) from None
        return cls(
            file=file,
            class_path=keys.class_path,
            name=keys.model_name,
            version=keys.model_version,
            args=keys.args,
            weights=tuple(keys.weights),
            video_input=keys.video_input,
            weights_by=keys.weights_by,
        )

    def weights_for(self, overrides: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Return the weights that a model with these args needs. Raises ManifestError for an unknown choice."""
        found = dict.fromkeys(self.weights)
        for argument, lists in self.weights_by.items():
            value = {**self.args, **(overrides or {})}.get(argument)
            if not isinstance(value, str) or value not in lists:
                self._refuse(
                    f"it is {value!r}, and weights are listed for {', '.join(lists)}",
                    key=f"args.{argument}",
                    fix=did_you_mean(str(value), lists) or f"choose one of {', '.join(lists)}",
                )
            found.update(dict.fromkeys(lists[value]))
        return tuple(found)

    def load_class(self) -> type[VideoModel]:
        """Import the model's class. Runs the author's module, and puts its folder on `sys.path`.

        Raises ManifestError, or ModelDefinitionError for a class whose commands cannot be served.
        """
        module_name, _, class_name = self.class_path.partition(":")
        resolve.look_beside(self.folder)
        module = author_module.load(module_name, manifest=self.file)
        found = getattr(module, class_name, None)
        if found is None:
            models = [name for name, value in vars(module).items() if _is_model(value)]
            self._refuse(
                f"{module_name}.py has no class {class_name!r}",
                key="class",
                fix=did_you_mean(class_name, models)
                or f"define `class {class_name}(VideoModel)` there, or name another",
            )
        if not _is_model(found):
            self._refuse(
                f"{class_name} in {module_name}.py is not a VideoModel",
                key="class",
                fix=f"write `class {class_name}(VideoModel)`, with `from reactor_runtime import VideoModel`",
            )
        model_class: type[VideoModel] = found
        if model_class.start_session is VideoModel.start_session or inspect.isabstract(model_class):
            self._refuse(
                f"{class_name} has no start_session()",
                key="class",
                fix="add `def start_session(self)`, a loop that emits frames or a generator that yields them",
            )
        return model_class

    def construct(
        self, model_class: type[VideoModel], overrides: Mapping[str, Any] | None = None
    ) -> VideoModel:
        """Make the model with the manifest's args, `overrides` over them. Slow: it loads the network.

        Raises ManifestError for args that the constructor does not take. What the constructor itself
        raises is passed on as it is.
        """
        args = {**self.args, **(overrides or {})}
        self._check_args(model_class, args)
        return model_class(**args)

    def info(self, model_class: type[VideoModel], overrides: Mapping[str, Any] | None = None) -> ModelInfo:
        """Say what clients can know of the model without constructing it."""
        return describe(
            model_class,
            name=self.name,
            version=self.version,
            fps=self._fps(model_class, {**self.args, **(overrides or {})}),
            video_input=self.video_input,
        )

    def _fps(self, model_class: type[VideoModel], args: Mapping[str, Any]) -> float | None:
        """The constructor's `fps` argument fixes the playout rate, then its default, then the class."""
        parameter = inspect.signature(model_class).parameters.get("fps")
        default = None if parameter is None or parameter.default is parameter.empty else parameter.default
        fps = args.get("fps", default if default is not None else model_class.fps)
        if fps is None:
            return None
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 240:
            self._refuse(
                f"fps is {fps!r}",
                key="args.fps",
                fix="give a number of frames per second, above 0 and up to 240",
            )
        return float(fps)

    def _check_args(self, model_class: type[VideoModel], args: Mapping[str, Any]) -> None:
        parameters = inspect.signature(model_class).parameters
        named = [
            name
            for name, parameter in parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        for name in args:
            if name not in named and not takes_any:
                self._refuse(
                    f"{model_class.__name__} takes no argument {name!r}",
                    key=f"args.{name}",
                    fix=did_you_mean(name, named)
                    or f"take it out; the constructor has {', '.join(named) or 'no arguments'}",
                )
        for name in named:
            if name not in args and parameters[name].default is inspect.Parameter.empty:
                self._refuse(
                    f"{model_class.__name__} needs the argument {name!r}",
                    key="args",
                    fix=f'add "{name}" to "args", or give it a default in __init__',
                )

    def _refuse(self, problem: str, *, key: str, fix: str) -> NoReturn:
        raise ManifestError(problem, file=str(self.file), key=key, fix=fix)


# Reading the file -------------------------------------------------------------------------------------


def file_of(path: str | Path) -> Path:
    """Return the manifest file that a path means: itself, or the one in that folder."""
    given = Path(path).expanduser()
    return (given / FILE_NAME if given.is_dir() else given).absolute()


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(
            "there is no such file",
            file=str(file),
            fix="give the folder that has a manifest.json, or make a project with `reactor init NAME`",
        ) from None
    except UnicodeDecodeError as error:
        raise ManifestError("it is not UTF-8 text", file=str(file), fix="save it as UTF-8") from error
    except OSError as error:
        raise ManifestError(
            f"it cannot be read: {error.strerror}", file=str(file), fix="check its permissions"
        ) from error


def _parsed(file: Path, text: str) -> JsonObject:
    try:
        value = strict_json.decode(text)
    except strict_json.DuplicateKey as error:
        raise ManifestError(
            "it is there twice", file=str(file), key=error.key, fix="keep one of them"
        ) from None
    except json.JSONDecodeError as error:
        raise ManifestError(
            f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}",
            file=str(file),
            fix="correct it there; a comma too many or a missing quote is the usual cause",
        ) from error
    except (RecursionError, ValueError) as error:
        raise ManifestError(f"not JSON: {error}", file=str(file), fix="simplify it") from error
    if not isinstance(value, dict):
        raise ManifestError(
            f"it holds a JSON {type(value).__name__}", file=str(file), fix='start it with { and "class": ...'
        )
    return value


def _checked(file: Path, value: JsonObject) -> _Keys:
    try:
        return _Keys.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(key, _EXAMPLES) or 'take it out; arguments of the constructor go into "args"'
            raise ManifestError("unknown key", file=str(file), key=key, fix=hint) from None
        fix = "write, for example, " + _EXAMPLES[key]
        if first["type"] == "missing":
            raise ManifestError("this key is missing", file=str(file), key=key, fix=fix) from None
        problem = first["msg"][0].lower() + first["msg"][1:]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(
            f"{problem}, got {first['input']!r}", file=str(file), key=where, fix=fix
        ) from None


def _check_runtime(file: Path, wanted: str) -> None:
    """A PEP 440 specifier; a bare version means at least that one."""
    try:
        specifier = SpecifierSet(f">={Version(wanted)}") if wanted[:1].isalnum() else SpecifierSet(wanted)
    except (InvalidVersion, InvalidSpecifier) as error:
        raise ManifestError(
            f"{wanted!r} is not a version or a range of versions",
            file=str(file),
            key="reactor-runtime",
            fix="write, for example, " + _EXAMPLES["reactor-runtime"],
        ) from error
    if not specifier.contains(__version__, prereleases=True):
        raise ManifestError(
            f"the model needs {specifier}, and this is framehelm {__version__}",
            file=str(file),
            key="reactor-runtime",
            fix=f"install it, as in `pip install 'framehelm{specifier}'`, or correct the key",
        )


def _is_model(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, VideoModel) and value is not VideoModel
