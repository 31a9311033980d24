"""What `OTEL_*` variables name and other distributions bring: samplers, id generators, propagators, limits."""

from __future__ import annotations

from typing import Any

from ._config import Config
from ._errors import ConfigError
from ._rules import SAMPLERS, W3C
from .trace.sampling import Share
from .trace.values import Limits


def sampler(config: Config) -> Any:
    """A share of all traces, or an installed sampler; None for "everything"."""
    if config.sampler in ("always_on", "parentbased_always_on"):
        return None
    if config.sampler not in SAMPLERS:
        return _made("opentelemetry_traces_sampler", config.sampler, config.sampler_arg or None)
    none = config.sampler.endswith("always_off")
    return Share(0.0 if none else float(config.sampler_arg or 1.0), follow=config.sampler.startswith("parentbased_"))


def id_generator(config: Config) -> Any:
    """An installed id generator; None for our own random one."""
    return None if config.id_generator == "random" else _made("opentelemetry_id_generator", config.id_generator)


def limits(config: Config) -> Limits:
    """How much one span may hold."""
    return Limits(
        attributes=config.attribute_count, events=config.event_count, links=config.link_count,
        event_attributes=config.event_attribute_count, link_attributes=config.link_attribute_count,
        value_characters=config.attribute_length,
    )  # fmt: skip


def set_propagators(config: Config) -> None:
    """Make the configured propagators the API's global ones, unless they are the default, which it has by itself."""
    if config.propagators == W3C:
        return
    from opentelemetry import propagate
    from opentelemetry.propagators.composite import CompositePropagator

    names = () if "none" in config.propagators else config.propagators
    propagate.set_global_textmap(CompositePropagator([_made("opentelemetry_propagator", name) for name in names]))


def _made(group: str, name: str, *arguments: Any) -> Any:
    from importlib.metadata import entry_points

    # The rules have seen that there is one; of two under the same name either will do.
    (entry,) = list(entry_points(group=group, name=name))[:1]
    try:
        return entry.load()(*arguments)
    except Exception as error:
        raise ConfigError([f"{name!r} ({group}) cannot be made ({error!r}): use another, or mend it"]) from error
