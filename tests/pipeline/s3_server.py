"""A server that speaks S3, on loopback, one for all tests of a process; and the environment by which s3fs finds it."""

import logging
from functools import cache
from itertools import count

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from pipeline import files
from pipeline.artifacts import url_place

_numbers = count()
_connected_to: list[str] = []
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@cache
def endpoint() -> str:
    """Start the server; return its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    return f"http://127.0.0.1:{server.get_host_and_port()[1]}"


def use_s3(patch: pytest.MonkeyPatch, address: str = "") -> None:
    """Set the environment in which ``s3://`` leads to the server, or to another address."""
    address = address or endpoint()
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    url_place._require_bucket.cache_clear()
    if _connected_to != [address]:  # a second to connect anew
        files._file_system.cache_clear()
        _connected_to[:] = [address]


def new_bucket() -> str:
    """Make a bucket of its own for a test and return its URL."""
    name = f"bucket-{next(_numbers)}"
    files.connect(f"s3://{name}")[0].mkdir(name)
    return f"s3://{name}"
