"""Whoever has a token shows it to the server, and to nobody on the way."""

import subprocess

import pytest

from tests.serving_double.grpc_double import GrpcDouble
from tests.serving_double.rest_double import RestDouble
from toolkit.errors import ModelError
from toolkit.inference.runtimes.server import ServerRuntime


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate that `localhost` signed itself: its file, and (key, certificate) in PEM."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("makes its certificate with openssl, which is not installed")
    return certificate, (key.read_bytes(), certificate.read_bytes())


def test_rest_sends_it_as_a_header(served, monkeypatch):
    monkeypatch.setenv("BTS_SERVER_TOKEN", "abc.def")
    double = RestDouble(served)
    ServerRuntime(f"{double.base}/tiny")
    double.close()
    assert {headers["Authorization"] for headers in double.headers} == {"Bearer abc.def"}


def test_a_password_in_netrc_does_not_replace_it(served, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login anna password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("BTS_SERVER_TOKEN", "abc.def")
    double = RestDouble(served)
    ServerRuntime(f"{double.base}/tiny")
    double.close()
    assert {headers["Authorization"] for headers in double.headers} == {"Bearer abc.def"}


def test_grpc_sends_it_under_tls_which_trusts_what_the_system_trusts(served, certificate, monkeypatch):
    monkeypatch.setenv("BTS_SERVER_TOKEN", "abc.def")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    double = GrpcDouble(served, tls=certificate[1])
    ServerRuntime(f"{double.base}/tiny")
    double.close()
    assert double.headers[0]["authorization"] == "Bearer abc.def"


def test_a_server_that_nobody_vouches_for_is_not_asked(served, certificate, monkeypatch, impatient):
    monkeypatch.setenv("BTS_SERVER_TOKEN", "abc.def")
    double = GrpcDouble(served, tls=certificate[1])
    with pytest.raises(ModelError, match="can't be reached"):
        ServerRuntime(f"{double.base}/tiny")
    double.close()
    assert not double.headers


def test_grpc_in_the_clear_sends_none(served, monkeypatch):
    monkeypatch.setenv("BTS_SERVER_TOKEN", "abc.def")
    double = GrpcDouble(served)
    ServerRuntime(f"{double.base}/tiny")
    double.close()
    assert "authorization" not in double.headers[0]


def test_without_a_token_none_is_sent(served, monkeypatch):
    monkeypatch.delenv("BTS_SERVER_TOKEN", raising=False)
    double = RestDouble(served)
    ServerRuntime(f"{double.base}/tiny")
    double.close()
    assert all("Authorization" not in headers for headers in double.headers)
