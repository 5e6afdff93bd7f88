"""`python -m sandbox.main`: the stand-in for Junction on this machine. Owns the clock."""

import argparse
import sys
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sandbox.app import create_app
from sandbox.config import API_KEY, SECRET, TEAM_ID, Config
from sandbox.serving import address_of, listen, server_for

EXAMPLES = """\
examples:
  python -m sandbox.main --port 8300 --webhook-url http://127.0.0.1:8000/webhooks/junction
  python -m sandbox.main --port 0 --retry-scale 0.001      # free port; a day of retries in 90 s
  curl -X POST 127.0.0.1:8300/sandbox/orders -d '{"method": "testkit", "state": "with_customer"}'
  curl -X POST 127.0.0.1:8300/sandbox/faults -d '{"kind": "timeout_after", "operation": "cancel_order"}'
  curl 127.0.0.1:8300/sandbox/log
"""


def utc_now() -> datetime:
    return datetime.now(UTC)


def config_from(arguments: Sequence[str] | None) -> tuple[Config, str, int]:
    """The settings, host and port that a command line asks for; ends the program on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.main",
        description="A stand-in for Junction's lab-test API, with signed webhooks and faults on demand.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=8300, help="port to listen on; 0 takes a free one (default %(default)s)")
    add("--webhook-url", help="where events are sent; without it none are")
    add(
        "--secret",
        type=_secret,
        action="append",
        help="whsec_... to sign with; given twice, both signatures are sent",
    )
    add(
        "--webhook-headers",
        choices=("svix", "webhook"),
        default="svix",
        help="family of the signature headers",
    )
    add("--api-key", default=API_KEY, help="key that callers must send (default %(default)s)")
    add("--team-id", type=UUID, default=TEAM_ID, help="team of the key (default %(default)s)")
    add("--time-scale", type=_positive, default=1.0, help="how much faster simulations wait (default 1)")
    add("--retry-scale", type=_positive, default=1.0, help="factor on the waits between attempts (default 1)")
    add("--seed", type=int, help="makes the faults' dice repeatable")
    given = parser.parse_args(arguments)
    config = Config(
        now=utc_now,
        api_key=given.api_key,
        team_id=given.team_id,
        webhook_url=given.webhook_url,
        secrets=tuple(given.secret or (SECRET,)),
        header_family=given.webhook_headers,
        time_scale=given.time_scale,
        retry_scale=given.retry_scale,
        seed=given.seed,
    )
    return config, given.host, given.port


def main(arguments: Sequence[str] | None = None) -> None:
    config, host, port = config_from(arguments)
    with listen(host, port) as listener:
        sys.stdout.write(f"{address_of(listener)}\n")
        sys.stdout.flush()
        server_for(create_app(config)).run(sockets=[listener])


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise ValueError(text)
    return value


def _secret(text: str) -> str:
    b64decode(text.removeprefix("whsec_"), validate=True)
    return text


if __name__ == "__main__":
    main()
