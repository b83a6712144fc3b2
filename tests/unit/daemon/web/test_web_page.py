from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from daemon.web.page import render_status, stylesheet

if TYPE_CHECKING:
    from tests.unit.daemon.web.conftest import House

EVIL = "<script>alert('x')</script>"


def full(word: str = "word") -> dict[str, Any]:
    return {
        "deployed": {"name": f"primum-{word}", "digest": "abcdef0123456789", "since": "today", "base": word},
        "cycle": {
            "id": f"cycle-{word}",
            "state": word,
            "started_at": word,
            "stages": [
                {"name": "sample", "state": "done", "seconds": 83.2},
                {"name": word, "state": word, "seconds": None},
            ],
        },
        "commands": {"approve": f"primum approve c --reason '{word}'", "reject": f"primum reject {word}"},
        "decisions": [
            {
                "cycle": word,
                "outcome": word,
                "reason": word,
                "decided_at": word,
                "policies": [
                    {"name": word, "ss": 0.5, "err": 0.25, "ss_interval": (0.4, 0.6)},
                    {"name": "nan", "ss": None, "err": None, "err_interval": None},
                ],
            }
        ],
        "warnings": [word],
        "version": word,
    }


class Checker(HTMLParser):
    """Collects tags and the addresses they load from; notes tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


def test_everything_is_escaped() -> None:
    page = render_status(full(EVIL))
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "script" not in checked(page).tags


def test_figures_seconds_and_commands_are_shown() -> None:
    page = re.sub(r"\s+", " ", render_status(full()))
    assert "1 min 23 s" in page
    assert "0.500 <small>0.400 to 0.600</small>" in page
    assert "0.250" in page
    assert "<code>abcdef012345</code>" in page
    assert "<code>primum approve c --reason &#39;word&#39;</code>" in page
    assert "–" in page


def test_empty_status_is_a_page_too() -> None:
    page = render_status({})
    assert "No policy is deployed yet" in page
    assert "No cycle is open" in page
    assert "Nothing has been decided yet" in page
    assert "primum approve" not in page
    checked(page)


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert all(
        link.startswith("/") and not link.startswith("//") for link in checked(render_status(full())).links
    )
    assert "url(" not in stylesheet()
    assert "@import" not in stylesheet()
    assert "prefers-color-scheme: dark" in stylesheet()


def test_page_and_stylesheet_are_served(house: House) -> None:
    house.status = full()
    page = house.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "primum-word" in page.text
    css = house.client.get("/assets/primum.css")
    assert (css.status_code, css.headers["content-type"].split(";")[0]) == (200, "text/css")
