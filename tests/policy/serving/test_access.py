"""The API key and TLS: who is let in, and what is wrong with a key or certificate that cannot be used."""

from __future__ import annotations

import ssl
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.serving.stand_ins import ask, observation_map, read, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving.access import KEY_VARIABLE, ApiKey, load_api_key, server_tls

KEY = ApiKey("0123456789abcdef")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([], "missing API key"),
        ([("Authorization", "Api-Key 0123456789abcdeg")], "wrong API key"),
        ([("Authorization", "0123456789abcdef")], "wrong API key"),
        ([("Authorization", "Bearer 0123456789abcdef")], "wrong API key"),
        ([("Authorization", "Api-Key ")], "wrong API key"),
        ([("Authorization", "Api-Key \u00fc" * 3)], "wrong API key"),
        ([("Authorization", KEY.header), ("Authorization", KEY.header)], "wrong API key"),
    ],
)
def test_without_the_key_nobody_gets_further_than_the_handshake(headers, why):
    with serving(api_key=KEY) as running:
        with pytest.raises(InvalidStatus) as refused:
            connect(running.url, additional_headers=headers).__enter__()
        response = refused.value.response
        assert response.status_code == 401 and why.encode() in response.body
        assert response.headers["WWW-Authenticate"] == "Api-Key" and b"0123456789" not in response.body
        assert running.count("spatialbot_refused_connections_total", reason="key") == 1


def test_with_the_key_a_client_is_served():
    with serving(api_key=KEY) as running:
        with connect(running.url, additional_headers={"Authorization": KEY.header}) as client:
            read(client)
            assert ask(client, observation_map())["stamp_ns"] == 0


@given(st.text(max_size=40))
def test_only_the_header_itself_is_allowed(header):
    assert KEY.allows(header) == (header == KEY.header)
    assert KEY.allows(KEY.header) and not KEY.allows(None)


def test_a_key_comes_from_a_file_or_the_environment(tmp_path, caplog):
    file = tmp_path / "key"
    file.write_text("a-secret-of-this-robot\n")
    file.chmod(0o600)
    assert load_api_key(file, {KEY_VARIABLE: "b" * 20}) == ApiKey("a-secret-of-this-robot")
    assert load_api_key(None, {KEY_VARIABLE: "b" * 20}) == ApiKey("b" * 20)
    assert load_api_key(None, {}) is None and not caplog.records
    file.chmod(0o644)
    load_api_key(file, {})
    assert "chmod 600" in caplog.text


NO_KEYS = ["", "short", "two words with many letters", "k\u00e4se" * 9, "line\nand another line"]


@pytest.mark.parametrize("content", NO_KEYS)
def test_what_is_no_key_is_refused(content, tmp_path):
    file = tmp_path / "key"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="at least 16 ASCII characters.*openssl rand"):
        load_api_key(file, {})
    with pytest.raises(ConfigError, match="cannot read the API key file"):
        load_api_key(tmp_path / "none", {})


def test_a_key_is_not_shown():
    assert "0123456789" not in repr(KEY)


def test_tls_serves_those_who_trust_the_certificate(certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    with serving(tls=server_tls(*certificate)) as running:
        url = f"wss://127.0.0.1:{running.port}"
        with connect(url, ssl=trusting) as client:
            read(client)
            assert ask(client, observation_map())["stamp_ns"] == 0
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(url).__enter__()
        with pytest.raises(Exception, match="did not receive a valid HTTP response"):
            connect(running.url).__enter__()
        old = ssl.create_default_context(cafile=str(certificate[0]))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with connect(url, ssl=old) as client:
            read(client)


def test_certificates_that_cannot_be_used_are_named(certificate, tmp_path):
    assert server_tls(None, None) is None
    for pair in ((certificate[0], None), (None, certificate[1])):
        with pytest.raises(ConfigError, match="both --tls-cert and --tls-key"):
            server_tls(*pair)
    with pytest.raises(ConfigError, match=r"cannot use the certificate .*none.pem"):
        server_tls(tmp_path / "none.pem", certificate[1])
    with pytest.raises(ConfigError, match="PEM files that belong together"):
        server_tls(certificate[0], certificate[0])
    locked = tmp_path / "locked.pem"
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", certificate[1], "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="without a password"):
        server_tls(certificate[0], locked)
