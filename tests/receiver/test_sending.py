"""`autocancel send`: what it signs is what a receiver lets in."""

import shlex
from base64 import b64encode
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.receiver.conftest import KEY, AnEvent, Door
from workers.cli import app
from workers.sending import SendFailed, curl_line, send_event

SECRET = f"whsec_{b64encode(KEY).decode()}"


@pytest.fixture
def url(shared_door: Door) -> str:
    return f"http://127.0.0.1:{shared_door.port}/webhooks/junction"


def test_an_event_that_is_sent_by_hand_is_stored(shared_door: Door, an_event: AnEvent, url: str) -> None:
    answer = send_event(an_event(), url, SECRET, shared_door.sender.clock())
    assert (answer.status, answer.body["status"]) == (202, "accepted")
    assert answer.body["delivery"] in {row.delivery_id for row in shared_door.rows()}


def test_the_curl_line_does_the_same(shared_door: Door, an_event: AnEvent, url: str) -> None:
    body = an_event() + b" \n"
    line = shlex.split(curl_line(body, url, SECRET, shared_door.sender.clock()))
    headers = [line[at + 1].split(": ") for at, word in enumerate(line) if word == "-H"]
    text = line[line.index("--data-binary") + 1]
    assert shared_door.send(text.encode(), dict(headers)).status_code == 202
    assert (line[0], line[-1], text.encode()) == ("curl", url, body)


def test_another_secret_is_refused_and_the_answer_is_told(
    shared_door: Door, an_event: AnEvent, url: str
) -> None:
    other = f"whsec_{b64encode(b'quite another key').decode()}"
    answer = send_event(an_event(), url, other, shared_door.sender.clock())
    assert answer.status == 401
    assert "error" in answer.body


@pytest.mark.parametrize(
    ("secret", "said"), [(None, "no secret: give --secret"), ("whsec_?", "not whsec_ and base64")]
)
def test_a_secret_that_cannot_be_used_is_told(
    secret: str | None, said: str, shared_door: Door, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOCANCEL_WEBHOOK_SECRETS", raising=False)
    with pytest.raises(SendFailed, match=said):
        send_event(b"{}", url, secret, shared_door.sender.clock())


def test_the_command_says_what_to_do(tmp_path: Path) -> None:
    event, nobody = tmp_path / "event.json", "http://127.0.0.1:9/webhooks/junction"
    event.write_text("{}")
    for arguments, said in (
        ([str(tmp_path / "none.json")], "No such file"),
        ([str(event), "--url", nobody], "is the receiver running?"),
        ([str(event), "--url", "ftp://somewhere"], "must begin with http"),
    ):
        ran = CliRunner().invoke(app, ["send", "--secret", SECRET, *arguments])
        assert ran.exit_code == 1
        assert said in " ".join(ran.output.split())
