"""Buttons: each checks its context, calls a function of `data` or `session`, and reports what came of it."""
