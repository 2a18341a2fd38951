"""Secrets are taken out of texts, and what is none stays."""

from __future__ import annotations

import pytest

from braid_hpc.vocabulary.redaction import REDACTED, redact, redact_arguments, redact_values, sounds_secret

SECRET = "Zx81"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{SECRET}@host/x",
        f"postgres://{SECRET}@host",
        f"--token={SECRET}",
        f'"api_key": "{SECRET} {SECRET}"',
        f"user=u;pwd={SECRET};host=h",
        f'{{"db_pwd": "{SECRET}"}}',
        f"AccountName=a;AccountKey={SECRET}==;x=1",
        f"SharedAccessKey={SECRET}",
        f"password : '{SECRET}'",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"Authorization: Bearer {SECRET}abcdefgh",
        f"Bearer {SECRET}abcdefgh",
        f"x ghp_{SECRET}abcdefghijklmnop y",
        f"hf_{SECRET}abcdefghijklmnop",
        f"eyJhbGciOiJI.{SECRET}abc.def",
        f"-----BEGIN PRIVATE KEY-----\n+{SECRET}\n",
        "AKIA" + SECRET.upper() * 4,
    ],
)
def test_secrets_are_redacted(text: str) -> None:
    found = redact(text)
    assert SECRET not in found
    assert SECRET.upper() not in found
    assert REDACTED in found


@pytest.mark.parametrize(
    "text",
    [
        "author = me",
        "https://host/path@2",
        "def f(x): return x",
        "c0ffee" * 7,
        "key = 3",
        "a@b.c",
        "monkey: 1",
        "PWD=/home/me",
        "sort_key=a",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_values_of_secret_variables_are_known_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "swordfish")
    monkeypatch.setenv("OTHER_TOKEN_FILE", "/home/me/token")
    assert redact("say swordfish at /home/me/token") == f"say {REDACTED} at /home/me/token"


def test_an_option_and_its_value() -> None:
    given = ["p", "--password", "x", "--passphrase=y", "--token", "--steps", "3"]
    assert redact_arguments(given) == [
        "p",
        "--password",
        REDACTED,
        f"--passphrase={REDACTED}",
        "--token",
        "--steps",
        "3",
    ]


def test_values_within_values() -> None:
    given = {"a": [{"token": 17, "b": ("password=x", 3)}], "cookie": {"x": 1}}
    assert redact_values(given) == {"a": [{"token": REDACTED, "b": [f"password={REDACTED}", 3]}], "cookie": {"x": 1}}


def test_keys_that_are_no_texts() -> None:
    given = {("token", 1): "x", b"password": "y", ("a", ("secret",)): 3, ("step", 2): "z", 5: "password=x"}
    assert list(redact_values(given).values()) == [REDACTED, REDACTED, REDACTED, "z", f"password={REDACTED}"]


def test_names() -> None:
    assert sounds_secret("PGPASSWORD")
    assert sounds_secret("X_AUTH")
    assert not sounds_secret("AUTHOR")
    assert not sounds_secret("PWDX")
