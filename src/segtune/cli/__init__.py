"""The command line: one file per command, which parses, calls and prints, and holds no logic of its own.

To add a command: `cli/<command>.py` with one function whose docstring is its help and ends in an example, and a line in
`app.py`. The function returns the exit code, takes `--json` as the others do (`options.py`), answers through
`output.answer`, reports long work through `progress.shown`, and imports torch and its like inside its body only.
"""

from segtune.cli.app import main

__all__ = ["main"]
