"""What is written down of a session, so that it can be run again: lines, their keeping, scripts.

Imports the values at the top of the package; is imported by `session`, `headless` and `server`.
"""
