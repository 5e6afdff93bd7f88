"""Following every link of our pages, as a visitor with too much time."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

import httpx
from starlette.routing import compile_path

from receiver.dashboard.pages import PAGES
from tests.dashboard.conftest import Links

TEMPLATES = [address.path for page in PAGES for address in page.addresses if address.get]
PATTERNS = {template: compile_path(template)[0] for template in TEMPLATES}


def crawl(browser: httpx.Client, *first: str) -> dict[str, httpx.Response]:
    """Every address that links lead to from these on, and what was answered there."""
    answers: dict[str, httpx.Response] = {}
    to_see = list(first)
    while to_see:
        address = to_see.pop()
        if address not in answers:
            answers[address] = browser.get(address)
            to_see += _links(address, answers[address])
    return answers


def template_of(address: str) -> str | None:
    """The path that PAGES has for an address, `/orders/{id}` for `/orders/84d9?show=webhook`."""
    path = urlsplit(address).path
    return next((template for template, pattern in PATTERNS.items() if pattern.match(path)), None)


def one_of_each(answers: dict[str, httpx.Response]) -> list[str]:
    """Of the pages that were found, the first of each kind, and of each of its tabs."""
    chosen: dict[tuple[str | None, str], str] = {}
    for address, answer in sorted(answers.items()):
        if "text/html" in answer.headers["content-type"] and answer.status_code == 200:
            chosen.setdefault((template_of(address), _tab(address)), address)
    return list(chosen.values())


def _links(address: str, answer: httpx.Response) -> Iterable[str]:
    if "text/html" not in answer.headers.get("content-type", ""):
        return []
    parser = Links()
    parser.feed(answer.text)
    links = (urljoin(address, link).partition("#")[0] for link in parser.found)
    # Where a note about a problem leads back to makes no other page of it.
    return [link.partition("?")[0] if link.startswith("/problems/") else link for link in links]


def _tab(address: str) -> str:
    query = urlsplit(address).query
    return query if query.startswith("tab=") else ""
