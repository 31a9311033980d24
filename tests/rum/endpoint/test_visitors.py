"""Who visits."""

from __future__ import annotations

import pytest

from firstcause_rum.visitors import synthetic

from .pages import BROWSER


@pytest.mark.parametrize(
    ("agent", "automated", "kind"),
    [
        (BROWSER, False, ""), (BROWSER, True, "test"), ("", False, ""),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True, "bot"),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", False, "bot"), ("curl/8.5.0", False, "bot"),
        (BROWSER.replace("Chrome", "HeadlessChrome"), False, "test"), ("x" * 9000 + "bot", False, ""),
        ("Mozilla/5.0 (Linux; Android 14; CUBOT X30) Chrome/120.0", False, ""), ("CUBOT_X18_Plus", False, ""),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/605.1", False, ""),
    ],
)  # fmt: skip
def test_what_a_user_agent_says(agent: str, automated: bool, kind: str) -> None:
    """Bots and automated browsers; who hides it is taken for a person."""
    assert kind == synthetic(agent, automated)
