"""Who visits: a person, a bot, or an automated browser. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

BOT, TEST = "bot", "test"
"""Values of `user_agent.synthetic.type`."""
# Cubot makes phones.
_BOT = re.compile(
    r"(?<!cu)bot(?:\b|[/_; -])|crawl|spider|slurp|mediapartners|bingpreview|facebookexternalhit|embedly|pingdom|uptime"
    r"|lighthouse|gtmetrix|pagespeed|ptst|scrapy|curl/|wget/|python-requests|aiohttp/|httpx/|go-http|okhttp|java/",
    re.IGNORECASE,
)
_TEST = re.compile(r"HeadlessChrome|PhantomJS|Nightmare|Cypress|Playwright", re.IGNORECASE)
LONGEST = 256


def synthetic(user_agent: str, automated: bool) -> str:
    """`bot`, `test`, or "" for what seems to be a person. Ids and clocks of bots mean nothing: they repeat."""
    return _said(user_agent[:LONGEST]) or (TEST if automated else "")


@lru_cache(maxsize=1024)
def _said(agent: str) -> str:
    if _BOT.search(agent):
        return BOT
    return TEST if _TEST.search(agent) else ""
