"""Pieces of PromQL that every dashboard words alike; pure text."""

from __future__ import annotations

ENV = 'deployment_environment_name=~"$env"'
SERVICE = 'service_name=~"$service"'
ROUTE = 'http_route=~"$route"'
OVER = "[$__rate_interval]"
REQUESTS = "http_server_request_duration_seconds"
TIME = "firstcause_request_time_seconds_total"
FAILED = 'http_response_status_code=~"5.."'


def within(*matchers: str) -> str:
    """A selector's braces: the environment always, then more."""
    return "{" + ",".join([ENV, *matchers]) + "}"


def rate(counter: str, *matchers: str, by: str = "") -> str:
    """A counter's growth per second, summed by labels."""
    return f"sum{_by(by)}(rate({counter}{within(*matchers)}{OVER}))"


def increase(counter: str, *matchers: str, by: str = "") -> str:
    """A counter's growth over the dashboard's whole time range, summed by labels."""
    return f"sum{_by(by)}(increase({counter}{within(*matchers)}[$__range]))"


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """A percentile; of the native histogram where Prometheus keeps one, else between the classic edges."""
    edges = f"{by}, le" if by else "le"
    return (
        f"(histogram_quantile({share:g}, {rate(histogram, *matchers, by=by)})"
        f" or histogram_quantile({share:g}, {rate(f'{histogram}_bucket', *matchers, by=edges)}))"
    )


def share(part: str, whole: str, *, on: str = "", many: bool = False) -> str:
    """`part` of `whole`, absent while there is no whole; `many` parts to one whole, or one each."""
    matching = f" on ({on})" if on or many else ""
    return f"{part} /{matching}{' group_left ()' if many else ''} ({whole} > 0)"


def of_processes(expression: str, *matchers: str) -> str:
    """Series of a process, which name only the scraped address, with the service that is there."""
    there = f"max by (job, instance, service_name) (firstcause_deploy_time_seconds{within(*matchers)}) > bool 0"
    return f"{expression} * on (job, instance) group_left (service_name) ({there})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else " "
