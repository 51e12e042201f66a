"""The border: the model in a process of its own; `parent` is the server's side and `child` its main.

Imports `author`, `running` and `weights`; is imported by `cli` and `server`.
`child` is the main of the process that it starts.
"""
