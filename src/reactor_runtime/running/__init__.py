"""What runs author code, in the model process or inline: context, runner, inbox, handlers, frames.

Imports `author`; is imported by the model process's side of `worker` and by what runs a model without a server.
"""
