"""The same class without a browser: render, replay, check, and sessions by hand.

Imports `author`, `encode`, `running` and `session_log`; is imported by `cli` and `testing`.
"""
