"""The settings: every field of `Config`, the variables that set it, its default, and what it says."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from firstcause._config import Config
from firstcause._variables import VARIABLES

from .read import default_of, fields_of
from .table import table

_NAMED = re.compile(r"\b(?:OTEL|FIRSTCAUSE)_[A-Z_]+\b")


def page() -> str:
    """The page's text below its mark."""
    says = fields_of(Config)
    names = [(one, one.name) for one in fields(Config)]
    rows = [(f"`{name}`", _variables(name, says[name]), _default(one), says[name]) for one, name in names]
    return "\n\n".join(["# Configuration", _INTRO, table(("setting", "environment", "default", "meaning"), rows)])


_INTRO = (
    "An argument of `firstcause.configure` wins over the environment, which wins over the default. What is wrong is\n"
    "said at once, all of it, in one `ConfigError` that names the setting, its value and the fix. Standard `OTEL_*`\n"
    "variables mean what they mean everywhere, `service.version`, `service.instance.id` and\n"
    "`deployment.environment.name` in `OTEL_RESOURCE_ATTRIBUTES` among them; `FIRSTCAUSE_*` is only for what is ours.\n"
    "Times are in seconds here, in milliseconds in the `OTEL_*` variables."
)


def _variables(name: str, says: str) -> str:
    """From the table that reads the environment, then what the description names besides."""
    found = [variable for variable, field, *_ in VARIABLES if field == name]
    found += [variable for variable in _NAMED.findall(says) if variable not in found]
    return ", ".join(f"`{variable}`" for variable in found) or "–"


def _default(one: Any) -> str:
    value = default_of(one)
    # 0 and False are values; an empty string or tuple says that there is none.
    return f"`{value!r}`" if value or isinstance(value, (bool, int, float)) else "–"
