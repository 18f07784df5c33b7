"""Damages files of every kind that the commands read, and looks at what the commands do. `python -m tests.fuzz`."""
