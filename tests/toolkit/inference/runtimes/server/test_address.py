"""The URL of a served model, in every form TensorFlow Serving knows."""

import pytest

from toolkit.errors import UsageError
from toolkit.inference.runtimes.server.address import Address


@pytest.mark.parametrize(
    ("url", "scheme", "host", "model", "version", "label"),
    [
        ("grpc://gpu1:8500/tumour", "grpc", "gpu1:8500", "tumour", None, None),
        ("grpcs://gpu1:8500/tumour/versions/3", "grpcs", "gpu1:8500", "tumour", 3, None),
        ("grpc://10.0.0.7:8500/tumour/labels/stable", "grpc", "10.0.0.7:8500", "tumour", None, "stable"),
        ("grpc://[::1]:8500/tumour", "grpc", "[::1]:8500", "tumour", None, None),
        ("http://gpu1:8501/v1/models/tumour", "http", "gpu1:8501", "tumour", None, None),
        ("https://models.hospital.example/v1/models/tumour/versions/12", "https", "models.hospital.example",
         "tumour", 12, None),
        ("http://gpu1:8501/tumour/labels/stable", "http", "gpu1:8501", "tumour", None, "stable"),
        ("http://gpu1:8501/brain%20tumour/", "http", "gpu1:8501", "brain tumour", None, None),
    ],
)  # fmt: skip
def test_a_url_names_host_model_and_version(url, scheme, host, model, version, label):
    assert Address.parse(url) == Address(url, scheme, host, model, version, label)


@pytest.mark.parametrize(
    "url",
    [
        "grpc://gpu1/tumour",
        "grpc://gpu1:8500",
        "grpc://gpu1:eight/tumour",
        "grpc://:8500/tumour",
        "ftp://gpu1:21/tumour",
        "http://gpu1:8501/v1/models/tumour:predict",
        "http://gpu1:8501/v1/models/tumour/versions/new",
        "http://gpu1:8501/v1/models/tumour/versions/1/labels/stable",
        "http://gpu1:8501/v1/models/tumour?version=1",
    ],
)
def test_what_is_no_url_of_a_model_is_refused_with_the_forms_that_are(url):
    with pytest.raises(UsageError) as error:
        Address.parse(url)
    assert str(error.value).startswith(f"{url}: ")
    assert "grpc://HOST:PORT/MODEL" in str(error.value)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="BTS_SERVER_TOKEN") as error:
        Address.parse("https://anna:secret@gpu1:8501/tumour")
    assert "secret" not in str(error.value)
