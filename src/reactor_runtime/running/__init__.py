"""What runs author code, in the model process or inline: context, runner, inbox, handlers, frames.

Imports `author` and `weights`; is imported by `worker`, `server`, `headless`, and by the package itself.
"""
