"""Names: what passes as a host's name is safe wherever it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import ClusterError
from avalanche.names import check_card, check_device, check_host_name, check_line, check_title, parse_mac


@given(st.one_of(st.text(max_size=70), st.text(alphabet="abc019-.", max_size=70)))
def test_a_host_name_is_one_dns_label_that_nothing_reads_as_something_else(text: str) -> None:
    try:
        check_host_name(text)
    except ClusterError as refused:
        assert "\n" not in str(refused)
        return
    assert 1 <= len(text) <= 63
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert text[0] != "-" and text[-1] != "-"
    assert not text.isdigit()


@pytest.mark.parametrize(
    "text", ["rack0", "rack12", "compute-0-0.local", "Compute", "12", "-a", "a-", "a_b", "a\n", ""]
)
def test_what_is_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="is not a host name"):
        check_host_name(text)


def test_a_card_has_a_mac_of_its_own() -> None:
    infiniband = ":".join(["80", "00", "02", "08", *["fe"] * 16])
    for mac in ("52:54:00:00:00:01", infiniband):
        assert check_card(parse_mac(mac)) == mac
    for mac in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"):
        with pytest.raises(ClusterError, match="of nobody or of many"):
            check_card(mac)


@given(st.text(max_size=80))
def test_titles_devices_and_lines_cannot_steer_a_terminal(text: str) -> None:
    for check in (lambda: check_title("x", text), lambda: check_device(text), lambda: check_line("x", text, 80)):
        try:
            check()
        except ClusterError:
            continue
        assert text.isprintable()
