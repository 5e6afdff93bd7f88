"""The sandbox as its own process: `python -m sandbox.main`."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sandbox.main import config_from

ROOT = Path(__file__).parent.parent.parent


def test_a_free_port_is_taken_and_told_in_one_line() -> None:
    command = [sys.executable, "-m", "sandbox.main", "--port", "0", "--api-key", "sk_us_mine"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        orders = httpx.get(f"{url}/v3/orders", headers={"x-vital-api-key": "sk_us_mine"}, trust_env=False)
        process.terminate()
        assert process.stdout.read() == ""
    assert orders.json()["orders"] == []


def test_two_secrets_are_a_rotation() -> None:
    config, host, port = config_from(["--secret", "whsec_YQ==", "--secret", "whsec_Yg=="])
    assert config.secrets == ("whsec_YQ==", "whsec_Yg==")
    assert (host, port) == ("127.0.0.1", 8300)


@pytest.mark.parametrize(
    "wrong", [["--retry-scale", "0"], ["--secret", "whsec_?"], ["--team-id", "mine"], ["--port", "x"]]
)
def test_a_wrong_option_ends_with_its_name(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        config_from(wrong)
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_the_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config_from(["--help"])
    assert "python -m sandbox.main --port 0" in capsys.readouterr().out
