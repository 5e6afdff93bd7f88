"""The demo: sets the stage, plays the cast, checks how it ended. Owns the clock."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx
from rich.console import Console

from demo.cast import CAST
from demo.laboratory import Laboratory
from demo.playing import Play
from demo.stage import ROOT, USER, CannotGoOn, Stage
from demo.telling import Teller
from workers.embedded import NoRedisError

FOLDER = ROOT / ".demo"
PAUSE = 0.15  # seconds between two looks at everything


def main() -> int:
    """0 when every order ended as its story wants and as the sandbox says, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Plays made-up orders of all four methods through everything, on this machine alone.",
    )
    parser.add_argument("--once", action="store_true", help="end when it is over instead of on Ctrl-C")
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that nothing of ours is left running
    teller = Teller(Console(highlight=False))
    try:
        return _run(teller, once=given.once)
    except (CannotGoOn, NoRedisError, httpx.HTTPError) as error:
        teller.warn(f"The demo cannot go on: {error}")
    except KeyboardInterrupt:
        teller.say("stopped before the end")
    return 1


def _run(teller: Teller, *, once: bool) -> int:
    with ExitStack() as stack:
        with teller.busy("setting the stage"):
            stage = stack.enter_context(Stage(FOLDER, teller.say))
        lab = stack.enter_context(Laboratory(stage.place.sandbox_url))
        lab.trouble_all_webhooks()
        held = _play(teller, stage, lab)
        if not once:
            teller.say(
                f"look around at {stage.place.orders_url} (user {USER}, password {stage.place.password});"
            )
            teller.say("for a second terminal: set -a; . .demo/env; set +a   Ctrl-C ends everything")
            _stay(stage)
    return 0 if held else 1


def _play(teller: Teller, stage: Stage, lab: Laboratory) -> bool:
    def pause() -> None:
        stage.look_after()
        time.sleep(PAUSE)

    teller.say(f"the pages, also while it plays: {stage.place.orders_url} ({_login(stage)})")
    teller.say(f"{len(CAST)} orders; every webhook comes twice and in no order, some only at the second try")
    play = Play(CAST, lab, stage.store, lambda: datetime.now(UTC), time.monotonic, pause)
    started = time.monotonic()
    with teller.progress(len(CAST)) as advance:
        for part in play.perform():
            assert part.told
            page = f"{stage.place.orders_url}/{part.order_id}"
            teller.tell(time.monotonic() - started, part.story, part.told, page)
            advance()
        outcomes = play.outcomes()
    teller.summary(outcomes)
    return teller.verdict(outcomes)


def _login(stage: Stage) -> str:
    return f"user {USER}, password {stage.place.password}"


def _stay(stage: Stage) -> None:
    try:
        while True:
            stage.look_after()
            time.sleep(1)
    except KeyboardInterrupt:
        pass
