"""The same class without a browser: render, replay, check, and sessions by hand.

Imports `running`, `author` and `session_log`; is imported by `cli` and `testing`.
"""
