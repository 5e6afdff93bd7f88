"""Templates: one environment, the few filters they need, and files whose address says what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

HERE = Path(__file__).parent
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SHOWN_IDS = 3
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    address: str
    media_type: str
    content: bytes


def read_assets(folder: Path) -> dict[str, Asset]:
    """Every file that browsers may load, by its name; its address changes with its content."""
    return {
        path.name: Asset(
            f"/static/{path.stem}.{sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}",
            TYPES[path.suffix],
            path.read_bytes(),
        )
        for path in sorted(folder.iterdir())
        if path.suffix in TYPES
    }


ASSETS = read_assets(HERE / "static")
BY_ADDRESS = {asset.address: asset for asset in ASSETS.values()}


async def send_asset(request: Request) -> Response:
    asset = BY_ADDRESS.get(request.url.path)
    if asset is None:
        return Response(status_code=404)
    return Response(asset.content, media_type=asset.media_type, headers={"cache-control": FOR_EVER})


def make_environment() -> Environment:
    """Everything is escaped; a name that nobody set is an error, not an empty place."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": ago,
        "until": until,
        "duration": duration,
        "number": number,
        "exact": exact,
        "carries": carries,
    }
    environment.globals |= {"asset": lambda name: ASSETS[name].address, "live": live}
    # As a global, the macros are at hand in every block, also when it is rendered alone.
    environment.globals["ui"] = environment.get_template("macros.html").module
    return environment


def render_block(environment: Environment, template: str, block: str, shown: Mapping[str, Any]) -> str | None:
    """One block of a template or of what stands around every page; None if there is none of that name."""
    for name in (template, "base.html"):
        found = environment.get_template(name)
        if block in found.blocks:
            return "".join(found.blocks[block](found.new_context(dict(shown))))
    return None


@pass_context
def live(context: Context, topic: str, block: str) -> Markup:
    """The attributes of a region that shows `block` anew when something happens to `topic`."""
    context["topics"].add(topic)
    return Markup(
        'id="{block}" data-live hx-get="{here}" hx-trigger="live:{topic} from:body" hx-swap="innerMorph"'
    ).format(block=block, here=context["here"], topic=topic)


@pass_context
def ago(context: Context, at: datetime | None) -> Markup | str:
    """A past time as its age; the exact one stands in the title."""
    if at is None:
        return "–"
    return _time(at, f"{duration(context['now'] - at)} ago", "ago")


@pass_context
def until(context: Context, at: datetime | None) -> Markup | str:
    """A coming time as what is left until then."""
    if at is None:
        return "–"
    left = at - context["now"]
    return _time(at, f"in {duration(left)}" if left > timedelta(0) else "now", "until")


def exact(at: datetime | None) -> Markup | str:
    return "–" if at is None else _time(at, f"{at:%d %b %Y %H:%M:%S}", "")


def _time(at: datetime, text: str, kind: str) -> Markup:
    return Markup(
        '<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}" title="{at:%d %b %Y %H:%M:%S} UTC" data-kind="{kind}">'
        "{text}</time>"
    ).format(at=at, kind=kind, text=text)


def duration(length: timedelta) -> str:
    """In its two largest units: `42 s`, `3 min`, `2 h 05 m`, `3 d 4 h`."""
    seconds = max(0, int(length.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes == 0:
        return f"{seconds} s"
    if hours == 0:
        return f"{minutes} min"
    if days == 0:
        return f"{hours} h {minutes % 60:02} m"
    return f"{days} d {hours % 24} h"


def number(value: int | None) -> str:
    """With separators; what is not known is no zero."""
    return "–" if value is None else f"{value:,}"


def carries(arguments: Mapping[str, Any]) -> str:
    """What a message carries, in a line: the first of its ids, and how many more."""
    parts = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        more = f" and {len(values) - SHOWN_IDS:,} more" if len(values) > SHOWN_IDS else ""
        parts.append(f"{name} {', '.join(map(str, values[:SHOWN_IDS]))}{more}")
    return "; ".join(parts) or "nothing"
