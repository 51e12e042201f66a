"""What is written down of a session, so that it can be run again: lines, their keeping, scripts.

Imports `weights`; is imported by `session`, `server`, `headless` and `cli`.
"""
