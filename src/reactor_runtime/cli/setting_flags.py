"""The flags of `reactor run`: one for each field of `config.Settings`, made when they are first needed.

Name, type, help and default are the field's own. `reactor --help` needs none of them, and the settings need
pydantic, so they are added when `reactor run` reads its arguments or shows its help.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Final, get_args, get_origin

import typer
from typer.core import TyperCommand

#: What a value means beyond its field's description, for those who type it.
_MORE: Final = {
    "token": "Other users see flags: prefer REACTOR_TOKEN.",
    "token_keys": "Other users see flags: prefer --token-key-file.",
}


class WithSettings(TyperCommand):
    """A command that takes every setting as a flag; its function finds those given in `ctx.obj`."""

    _complete = False

    def get_params(self, ctx: Any) -> Any:
        if not self._complete:
            self.params += _options()
            self._complete = True
        return super().get_params(ctx)

    def invoke(self, ctx: Any) -> Any:
        from ..config import Settings

        ctx.obj = {name: ctx.params.pop(name) for name in Settings.model_fields}
        # A flag that may be repeated is empty when it is not given.
        ctx.obj = {name: None if value in ((), []) else value for name, value in ctx.obj.items()}
        return super().invoke(ctx)


def _options() -> list[Any]:
    """Let typer make the options, of a function that has them as parameters and is never called."""
    from ..config import Settings

    def run() -> None: ...

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_type(field.annotation), _option(name, field)],
        )
        for name, field in Settings.model_fields.items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    app = typer.Typer(add_completion=False)
    app.command()(run)
    return list(typer.main.get_command(app).params)


def _type(annotation: Any) -> Any:
    """Return what a flag of this type takes: None when it is not given, a list when it may be repeated."""
    if get_origin(annotation) is tuple:
        return list[get_args(annotation)[0]] | None  # type: ignore[misc]
    return annotation | None


def _option(name: str, field: Any) -> Any:
    from ..config import flag_of

    flag = flag_of(name)
    # What the environment switched on, a flag must be able to switch off.
    long = f"{flag.name}/--no-{flag.name.removeprefix('--')}" if field.annotation is bool else flag.name
    text = f"{field.description[0].upper()}{field.description[1:]}."
    if name in _MORE:
        text += f" {_MORE[name]}"
    if field.default not in (None, "", (), False):
        shown = f"{field.default:g}" if isinstance(field.default, float) else field.default
        text += f" Default: {shown}."
    return typer.Option(*filter(None, (long, flag.short)), metavar=flag.metavar or None, help=text)
