"""The border: the model in a process of its own; `parent` is the server's side and `child` its main.

Imports `running`, `author` and `weights`; is imported by `server`, and by the process that it starts.
"""
