"""The gates of the project: `python -m checks`."""
