"""The package's version: that of the library and headers it was written for. pyproject.toml reads it from here."""

__version__ = "0.1.0"
