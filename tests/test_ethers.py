"""insert-ethers' automaton: every packet has its reason, and nobody is taken twice."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from avalanche.dhcp import DhcpError, parse_frame, parse_message
from avalanche.ethers import FIRST_PACKETS, REASONS, Ethers, Known, NewHost, Policy, Sighting, sighting_of
from tests.dhcp_frames import DESCRIBED, MAC, captured, message

NOW = 1_795_000_000.0
OTHER = "52:54:00:00:00:02"


def seen(mac: str | None = MAC, **facts: object) -> Sighting:
    given: dict[str, object] = {"at": NOW, "source": "observer", "kind": "DISCOVER", "mac": mac, **facts}
    return Sighting(**given)  # type: ignore[arg-type]


def registered(mac: str = MAC, name: str = "compute-0-0", order: str | None = "f" * 16) -> NewHost:
    return NewHost(name, mac, "10.1.255.254", NOW, order=order)


def test_a_new_machine_is_taken_and_registered_once() -> None:
    ethers = Ethers(Policy())
    assert ethers.see(seen()).code == "taken"
    assert ethers.see(seen()).code == "pending"
    assert ethers.candidates(1) == [seen()]
    assert ethers.candidates(9) == [], "one registration at a time"
    ethers.registered(registered())
    assert ethers.candidates(9) == []
    assert ethers.see(seen()).text == "it is compute-0-0"


@pytest.mark.parametrize(
    ("policy", "sighting", "code", "text"),
    [
        (Policy(), seen(kind="", problem="option 12 is cut off"), "garbage", "option 12 is cut off"),
        (
            Policy(),
            seen(kind="OFFER", is_answer=True, server="10.1.1.9"),
            "answer",
            f"DHCP server 10.1.1.9 answers {MAC}",
        ),
        (Policy(interfaces=frozenset({"eth0"})), seen(interface="eth1"), "interface", "came in on eth1, not on eth0"),
        (Policy(), seen(None, hardware=32), "hardware", "InfiniBand: the packet names no Ethernet card"),
        (Policy(), seen("ff:ff:ff:ff:ff:ff"), "mac", "nobody or of many"),
        (Policy(), seen("00:00:00:00:00:00"), "mac", "nobody or of many"),
        (Policy(), seen(OTHER), "known", "it is web-0-0"),
        (Policy(), seen("52:54:00:00:00:03"), "known", "it is web-0-1, locked by mjk: disk"),
        (Policy(), seen(kind="REQUEST"), "kind", "it has an address already"),
        (Policy(network=IPv4Network("10.1.0.0/16")), seen(relay="10.2.0.1"), "relay", "not in 10.1.0.0/16"),
        (Policy(installers=True), seen(vendor="MSFT 5.0"), "client", "its vendor class is 'MSFT 5.0'"),
        (Policy(mode="record"), seen(), "recorded", "noted, not registered"),
        (Policy(count=0), seen(), "enough", "0 hosts were asked for"),
        (Policy(installers=True), seen(is_installer=True), "taken", "new"),
        (Policy(installers=True), seen(source="frontend", kind="KICKSTART"), "taken", "new"),
        (Policy(network=IPv4Network("10.1.0.0/16")), seen(relay="10.1.9.1"), "taken", "new"),
        (Policy(interfaces=frozenset({"eth0"})), seen(interface="eth0"), "taken", "new"),
    ],
)
def test_every_sighting_has_its_reason(policy: Policy, sighting: Sighting, code: str, text: str) -> None:
    known = {OTHER: Known("web-0-0"), "52:54:00:00:00:03": Known("web-0-1", "mjk: disk")}
    verdict = Ethers(policy, known).see(sighting)
    assert verdict.code == code
    assert text in verdict.text
    assert code in REASONS


def test_in_ordered_mode_a_host_waits_until_the_one_before_asked_for_its_kickstart() -> None:
    ethers = Ethers(Policy(mode="ordered"))
    ethers.see(seen())
    assert ethers.candidates(9) != []
    ethers.registered(registered())
    verdict = ethers.see(seen(OTHER))
    assert (verdict.code, verdict.is_taken) == ("queued", True)
    assert "waits until compute-0-0 asks for its kickstart" in verdict.text
    assert ethers.candidates(9) == []
    assert ethers.progress("compute-0-0", stage="stub", outcome="failed", text="busy", status=503)
    assert ethers.candidates(9) == []
    assert ethers.hosts["compute-0-0"].mark == "(503)"
    ethers.progress("compute-0-0", stage="stub", outcome="ok", status=200)
    assert (ethers.hosts["compute-0-0"].mark, ethers.hosts["compute-0-0"].why) == ("(*)", "")
    assert ethers.candidates(1) == [seen(OTHER)]


def test_a_key_lets_one_host_pass_in_ordered_mode() -> None:
    ethers = Ethers(Policy(mode="ordered"))
    ethers.registered(registered())
    for mac in (OTHER, "52:54:00:00:00:03"):
        ethers.see(seen(mac))
    assert ethers.press("n") == "the next host does not wait for compute-0-0"
    assert ethers.candidates(1) == [seen(OTHER)]
    ethers.registered(registered(OTHER, "compute-0-1"))
    assert ethers.candidates(9) == [], "the key counts once"


def test_who_has_no_order_is_not_waited_for() -> None:
    ethers = Ethers(Policy(mode="ordered"))
    ethers.registered(registered(order=None))
    assert ethers.see(seen(OTHER)).code == "taken"
    assert ethers.missing == []


def test_a_pause_registers_nobody_and_ends_with_the_same_key() -> None:
    ethers = Ethers(Policy())
    ethers.see(seen())
    assert ethers.press("p") == "registration is paused"
    assert ethers.candidates(9) == []
    assert ethers.see(seen(OTHER)).code == "paused"
    assert ethers.press("p") == "registration goes on"
    assert ethers.candidates(1) == [seen()]
    assert ethers.press("x") == ""


def test_who_was_refused_may_try_again_and_who_was_postponed_stays_first() -> None:
    ethers = Ethers(Policy())
    ethers.see(seen())
    ethers.see(seen(OTHER))
    assert ethers.candidates(1) == [seen()]
    ethers.postponed()
    assert ethers.candidates(1) == [seen()]
    ethers.refused(MAC)
    assert ethers.candidates(1) == [seen(OTHER)]
    assert ethers.see(seen()).code == "taken"


def test_whom_another_program_registered_waits_no_longer() -> None:
    ethers = Ethers(Policy())
    ethers.see(seen())
    ethers.know({MAC: Known("compute-0-7")})
    assert ethers.candidates(9) == []
    assert ethers.see(seen()).text == "it is compute-0-7"


def test_a_new_host_shows_how_far_it_is_and_the_last_failure() -> None:
    ethers = Ethers(Policy())
    ethers.registered(registered())
    assert ethers.missing == ["compute-0-0"]
    assert not ethers.progress("compute-9-9", stage="stub", outcome="ok")
    ethers.progress("compute-0-0", stage="stub", outcome="ok", status=200)
    ethers.progress("compute-0-0", stage="packages", outcome="failed", text="disk full")
    ethers.progress("compute-0-0", stage="packages", outcome="progress", text="40 %")
    host = ethers.hosts["compute-0-0"]
    assert (host.mark, host.stage, host.outcome, host.why) == ("(*)", "packages", "progress", "disk full")
    assert ethers.missing == []


def test_the_observers_packets_carry_what_a_machine_says_about_itself() -> None:
    found = sighting_of(parse_frame(captured("udhcpc_pxe")), at=NOW, interface="eth0")
    assert (found.kind, found.mac, found.interface, found.hostname) == ("DISCOVER", MAC, "eth0", "node17")
    assert found.is_installer
    firmware = sighting_of(parse_message(message([(53, b"\1"), (93, b"\0\7")])), at=NOW, interface="")
    assert firmware.firmware == "x64 UEFI"
    offer = parse_message(message([(53, b"\2"), (54, b"\x0a\1\1\1")], operation=2, offered="10.1.255.254"))
    answer = sighting_of(offer, at=NOW, interface="eth0")
    assert (answer.is_answer, answer.server, answer.address) == (True, "10.1.1.1", "10.1.255.254")


MACS = [f"52:54:00:00:00:{number:02x}" for number in range(6)]


class Registering(RuleBasedStateMachine):
    """Whatever happens in whatever order: no MAC is registered twice, and nobody who is known is a candidate."""

    def __init__(self) -> None:
        super().__init__()
        self.ethers = Ethers(Policy(count=4))
        self.registered: list[str] = []
        self.running: list[Sighting] = []

    @rule(mac=st.sampled_from(MACS), kind=st.sampled_from((*FIRST_PACKETS, "REQUEST")))
    def see(self, mac: str, kind: str) -> None:
        verdict = self.ethers.see(seen(mac, kind=kind))
        assert verdict.code in REASONS
        assert not (verdict.is_taken and mac in self.registered)

    @rule(most=st.integers(1, 3))
    def begin(self, most: int) -> None:
        found = self.ethers.candidates(most)
        assert len(found) <= most
        if found:
            assert self.running == []
            self.running = found

    @rule(how=st.sampled_from(["registered", "refused", "postponed"]))
    def end(self, how: str) -> None:
        if how == "postponed" and self.running:
            self.ethers.postponed()
            self.running = []
            return
        if not self.running:
            return
        mac = str(self.running.pop(0).mac)
        if how == "registered":
            assert mac not in self.registered
            self.registered.append(mac)
            self.ethers.registered(registered(mac, f"compute-0-{len(self.registered)}"))
        else:
            self.ethers.refused(mac)

    @rule(key=st.sampled_from("pnx"))
    def press(self, key: str) -> None:
        self.ethers.press(key)

    @invariant()
    def no_more_than_asked_for(self) -> None:
        assert len(self.registered) <= 4
        assert self.ethers.is_full == (len(self.registered) == 4)


TestRegistering = Registering.TestCase


@given(st.binary(max_size=400), st.sampled_from(["dhcpcd", "udhcpc_pxe"]))
def test_no_packet_that_can_be_read_goes_without_a_verdict(junk: bytes, client: str) -> None:
    data = bytearray(captured(client))
    data[42 : 42 + len(junk)] = junk
    try:
        packet = parse_frame(bytes(data))
    except DhcpError:
        return
    verdict = Ethers(Policy()).see(replace(sighting_of(packet, at=NOW, interface="eth0"), source="observer"))
    assert verdict.code in REASONS
    assert verdict.text.isprintable()


@pytest.mark.parametrize("installers", [False, True])
@pytest.mark.parametrize("client", DESCRIBED)
def test_every_vendor_s_first_packet_makes_a_host_if_it_comes_from_our_network(client: str, installers: bool) -> None:
    policy = Policy(network=IPv4Network("10.1.0.0/16"), installers=installers)
    packet = parse_frame(DESCRIBED[client])
    found = Ethers(policy).see(sighting_of(packet, at=NOW, interface="eth0"))
    if client == "relayed from elsewhere":
        assert (found.code, "relay 192.0.2.7" in found.text) == ("relay", True)
    else:
        installs = any(word in client for word in ("pxe", "http", "anaconda", "overload")) or client == "relayed"
        assert found.code == ("taken" if installs or not installers else "client")
