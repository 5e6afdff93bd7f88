"""Whatever is killed, and whenever: what was acked is there, and orders are what a replay in order gives."""

import json
import random
import signal
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.faults.house import ROOT, SECRET, House, Sender, differences, histories, house, in_order, send_all

UNHURRIED = "10"  # a busy machine is not what these tests are about
FINISH = 100.0  # seconds; a killed worker's leases run out after sixty


def settle(running: House, sender: Sender, seconds: float = FINISH) -> float:
    took = running.wait(lambda: running.unfinished() == 0, seconds)
    missing = sender.acked.keys() - running.ids()
    wrong = differences(running, in_order(list(sender.acked.values())))
    assert (len(missing), wrong, running.states().get("quarantined", 0)) == (0, [], 0)
    return took


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.timeout(1800)
def test_random_kills_under_load_lose_nothing(tmp_path: Path, kills: int) -> None:
    dice = random.Random(kills)
    with house(tmp_path) as running:
        sender = Sender(running.url)
        threads = send_all(sender, histories(dice, 60 * kills))
        for _ in range(kills):
            time.sleep(dice.uniform(0.2, 1.0))
            running.kill(dice.choice(["receiver", "worker", "clock", "redis"]))
        for thread in threads:
            thread.join()
        took = settle(running, sender)
        print(
            f"{kills} kills, {len(sender.acked)} acked, {sender.refused} retried, settled after {took:.1f} s"
        )


@pytest.mark.parametrize("seconds", [3, pytest.param(30, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
def test_redis_may_stop_and_forget_everything(tmp_path: Path, seconds: int) -> None:
    with house(tmp_path, AUTOCANCEL_COMMIT_SECONDS=UNHURRIED) as running:
        sender = Sender(running.url)
        told = histories(random.Random(1), 100)
        for delivery in told[:100]:
            sender.deliver(*delivery)
        running.redis.kill()
        stopped = time.monotonic()
        for delivery in told[100:200]:
            assert sender.attempt(*delivery)
        time.sleep(max(0.0, stopped + seconds - time.monotonic()))
        running.redis.start()
        Redis.from_url(running.redis.url).flushall()
        took = settle(running, sender, 60.0)
        assert set(sender.statuses) == {202}
        print(f"Redis away for {seconds} s, then emptied: all acked, finished {took:.1f} s later")


@pytest.mark.timeout(300)
def test_a_rolling_restart_is_seen_as_retries_at_most(tmp_path: Path) -> None:
    with house(tmp_path) as running:
        sender = Sender(running.url)
        threads = send_all(sender, histories(random.Random(2), 400))
        stops = {}
        for name in ("receiver", "worker", "clock"):
            time.sleep(0.5)
            stops[name] = running.programs[name].end(signal.SIGTERM)
            running.programs[name].start()
        for thread in threads:
            thread.join()
        settle(running, sender)
        assert set(sender.statuses) <= {202, 503}
        assert max(stops.values()) < 10
        print("stopped within", {name: round(took, 2) for name, took in stops.items()})


@pytest.mark.timeout(300)
def test_a_secret_is_rotated_under_load_without_a_single_refusal(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    tmp_path.mkdir(exist_ok=True)
    secrets.write_text(f"old={SECRET}\n")
    with house(
        tmp_path / "house",
        AUTOCANCEL_WEBHOOK_SECRETS="",
        AUTOCANCEL_WEBHOOK_SECRETS_FILE=str(secrets),
        AUTOCANCEL_COMMIT_SECONDS=UNHURRIED,
    ) as running:
        sender = Sender(running.url)
        threads = send_all(sender, histories(random.Random(3), 300), threads=4)
        other = b64encode(b"another key of 24 bytes!").decode()
        for text in (f"old={SECRET}\nnew=whsec_{other}\n", f"new=whsec_{other}\nold={SECRET}\n"):
            time.sleep(0.7)
            secrets.write_text(text)
        for thread in threads:
            thread.join()
        assert set(sender.statuses) == {202}
        settle(running, sender)


@pytest.mark.timeout(300)
def test_a_poison_event_is_set_aside_and_the_rest_flows_on(tmp_path: Path) -> None:
    """A worker that dies over one event, three times; a supervisor starts it again each time."""
    poison: dict[str, Any] = {"PYTHONPATH": f"{tmp_path / 'poison'}:{ROOT}"}
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(POISON)
    with house(tmp_path / "house", **poison) as running:
        sender = Sender(running.url)
        told = histories(random.Random(4), 20)
        bad = json.loads(json.dumps(told[0][1]))
        bad["data"]["id"] = "poison"
        for delivery in [*told, ("msg_poison", bad)]:
            sender.deliver(*delivery)

        def through() -> bool:
            worker = running.programs["worker"]
            if worker.process is not None and worker.process.poll() is not None:
                worker.start()
            return running.unfinished() == 0

        running.wait(through, 280)
        assert running.states()["quarantined"] == 1
        assert differences(running, in_order([payload for _, payload in told])) == []


@pytest.mark.timeout(300)
def test_pushes_that_get_lost_cost_time_and_nothing_else(tmp_path: Path) -> None:
    """One push in ten never reaches the queue, whoever makes it."""
    careless: dict[str, Any] = {"PYTHONPATH": f"{tmp_path / 'careless'}:{ROOT}"}
    (tmp_path / "careless").mkdir()
    (tmp_path / "careless" / "sitecustomize.py").write_text(CARELESS.format(log=tmp_path / "dropped"))
    with house(tmp_path / "house", **careless) as running:
        sender = Sender(running.url)
        for thread in send_all(sender, histories(random.Random(5), 150)):
            thread.join()
        took = settle(running, sender)
        dropped = (tmp_path / "dropped").read_text().count("x")
        assert dropped > 0
        print(f"{len(sender.acked)} acked, {dropped} pushes dropped, settled after {took:.1f} s")


# Loses one push in ten, and leaves a mark for it.
CARELESS = """
import random
from workers import messages
_publish = messages.publish
def careless(broker, message):
    if random.random() < 0.1:
        with open("{log}", "a") as log:
            log.write("x")
        return "lost"
    return _publish(broker, message)
messages.publish = careless
"""

# Makes any process of ours die while it projects the order called `poison`.
POISON = """
import os, sys
def _poisoned():
    from workers.store import orders
    load = orders.load
    def deadly(connection, ids, **options):
        if "poison" in ids:
            os._exit(9)
        return load(connection, ids, **options)
    orders.load = deadly
if "workers.main" in " ".join(sys.orig_argv):
    _poisoned()
"""
