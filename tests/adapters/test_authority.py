"""The certificate authority, judged by real TLS handshakes."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
import time
from pathlib import Path

import pytest

from avalanche.adapters.authority import Authority
from avalanche.errors import ConfigError

DAY = 86400.0
NAMES = ("127.0.0.1", "frontend.cluster")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    found = Authority.create(tmp_path / "authority", name="test", now=time.time())
    found.renew_server(NAMES, time.time())
    return found


def handshake(authority: Authority, pem: str, name: str) -> str | None:
    """Greet over a socket pair; returns the TLS version."""
    client = ssl.create_default_context(cadata=pem)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 does unasked
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            with authority.server_context().wrap_socket(far, server_side=True) as greeted:
                greeted.recv(1)
        except OSError:
            far.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        with client.wrap_socket(near, server_hostname=name) as greeted:
            return greeted.version()
    finally:
        near.close()
        server.join()


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_ca_accepts_every_name(authority: Authority, name: str) -> None:
    assert handshake(authority, authority.pem, name) == "TLSv1.3"


def test_a_client_refuses_another_name(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority, authority.pem, "127.0.0.2")


def test_a_client_of_another_ca_refuses(authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other", name="test", now=time.time())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority, other.pem, "127.0.0.1")


def test_a_host_whose_clock_is_a_day_behind_accepts(tmp_path: Path) -> None:
    tomorrow = Authority.create(tmp_path / "authority", name="test", now=time.time() + DAY)
    tomorrow.renew_server(NAMES, time.time() + DAY)
    assert handshake(tomorrow, tomorrow.pem, "127.0.0.1") == "TLSv1.3"


def test_a_good_certificate_is_kept(authority: Authority) -> None:
    assert authority.renew_server(NAMES, time.time()) is None
    assert authority.renew_server(tuple(reversed(NAMES)), time.time()) is None


def test_a_certificate_is_renewed_in_time(authority: Authority) -> None:
    assert authority.renew_server(NAMES, time.time() + 600 * DAY) is None
    assert authority.renew_server(NAMES, time.time() + 700 * DAY) == "it neared its end"


def test_a_certificate_is_renewed_when_the_addresses_change(authority: Authority) -> None:
    assert authority.renew_server((*NAMES, "10.1.1.1"), time.time()) == "the addresses changed"
    assert authority.renew_server((*NAMES, "10.1.1.1"), time.time()) is None


def test_a_certificate_of_another_authority_is_replaced(authority: Authority, tmp_path: Path) -> None:
    Authority.create(tmp_path / "authority", name="test", now=time.time())
    again = Authority.open(tmp_path / "authority")
    assert again.renew_server(NAMES, time.time()) == "it was not of this authority"
    assert handshake(again, again.pem, "127.0.0.1") == "TLSv1.3"


def test_a_damaged_certificate_is_replaced(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "authority" / "server.pem").write_bytes(b"nonsense")
    assert authority.renew_server(NAMES, time.time()) == "it could not be read"


def test_keys_are_for_their_owner_alone(authority: Authority, tmp_path: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "authority").iterdir()}
    assert modes == {"ca.key": 0o600, "ca.crt": 0o600, "server.pem": 0o600}


def test_a_missing_authority_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="avalanche init"):
        Authority.open(tmp_path)


def test_a_damaged_authority_is_one_clear_line(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "authority" / "ca.key").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="cannot be read"):
        Authority.open(tmp_path / "authority")
