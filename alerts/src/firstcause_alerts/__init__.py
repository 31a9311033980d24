"""Compiles objectives into alerts that name their cause: OpenSLO in; Prometheus and Alertmanager files out."""

from . import notification
from .model import Spec
from .output import compile, redirected, render  # noqa: A004 - the word for it
from .problems import Problem, SpecError
from .spec import load

__all__ = ["Problem", "Spec", "SpecError", "compile", "load", "notification", "redirected", "render"]
