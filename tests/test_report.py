"""Reports say what the inventory says, and no value leaves its place in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from avalanche.config import DhcpConfig
from avalanche.errors import ClusterError, ConfigError
from avalanche.report import REPORTS, Renderer, Template, TemplateError, leasable, render
from avalanche.roster import Entry, Roster
from tests.rosters import DHCP, entry, roster, rosters

SHIPPED = Renderer()


def text(name: str, of: Roster) -> str:
    return render([name], of, SHIPPED, "/run/x")[REPORTS[name].path]


def told(of: Roster) -> set[tuple[str, str, str, str | None]]:
    """MAC, address, host and own boot file of every reservation."""
    return {
        (mac, one.ip, one.host.name, one.host.filename if one.host.boots else None)
        for one in of.reservations
        for mac in one.macs
    }


def dnsmasq_says(of: Roster) -> Iterator[tuple[str, str, str, str | None]]:
    files = render(["dnsmasq"], of, SHIPPED, "/run/x")
    boots = dict(re.findall(r"^dhcp-boot=tag:(boot-\w+),([^,\n]*),", files.pop("dnsmasq.conf"), re.MULTILINE))
    for path, lines in files.items():
        for line in lines.splitlines():
            words = line.split(",")
            macs = [word for word in words if word.count(":") == 5]
            tags = [word.removeprefix("set:") for word in words if word.startswith("set:")]
            ip, *name = words[len(macs) + len(tags) :]
            assert name == ([leasable(path.partition("/")[2])] if leasable(path.partition("/")[2]) else [])
            for mac in macs:
                yield mac, ip, path.partition("/")[2], next((boots[tag] for tag in tags if tag in boots), "") or None


def dhcpd_says(of: Roster) -> Iterator[tuple[str, str, str, str | None]]:
    words = re.findall(r'"[^"]*"|[{};]|[^\s{};"]+', re.sub(r"(?m)^#.*", "", text("dhcpd", of)))
    seen: set[str] = set()
    for start in [at for at, word in enumerate(words) if word == "host" and words[at + 2] == "{"]:
        assert words[start + 1] not in seen
        seen.add(words[start + 1])
        end = words.index("}", start)
        fields = {}
        for statement in " ".join(words[start + 3 : end]).split(" ;"):
            *key, value = statement.split() or [""]
            fields[" ".join(key)] = value.strip('"')
        yield fields["hardware ethernet"], fields["fixed-address"], fields["option host-name"], fields.get("filename")


def kea_says(of: Roster) -> Iterator[tuple[str, str, str, str | None]]:
    for subnet in json.loads(text("kea", of))["Dhcp4"]["subnet4"]:
        for one in subnet["reservations"]:
            yield one["hw-address"], one["ip-address"], one["hostname"], one.get("boot-file-name")


@given(rosters())
def test_every_dhcp_server_is_told_every_reservation_and_nothing_else(of: Roster) -> None:
    wanted = told(of)
    for says in (dnsmasq_says, dhcpd_says, kea_says):
        found = list(says(of))
        assert set(found) == wanted, says
        assert len(found) == len(wanted), says


@given(rosters())
def test_hosts_has_every_address_with_its_names(of: Roster) -> None:
    lines = [line.split() for line in text("hosts", of).splitlines() if line and not line.startswith("#")]
    assert [(line[0], tuple(line[1:])) for line in lines[2:]] == [(one.ip, one.names) for one in of.named]


@given(rosters())
def test_a_short_name_or_alias_is_one_address(of: Roster) -> None:
    short = [name for one in of.named for name in one.names if "." not in name]
    twice = {name for name in short if short.count(name) > 1}
    loose = {one.host.name for one in of.named if one.segment is None}  # where no zone tells its addresses apart
    assert twice <= loose


@given(rosters())
def test_ethers_has_every_ethernet_card(of: Roster) -> None:
    found = {tuple(line.split()) for line in text("ethers", of).splitlines()[1:]}
    assert found == {(card.mac, card.name) for host in of.hosts for card in host.cards if len(card.mac or "") == 17}


@given(rosters())
def test_groups_have_every_host_where_it_belongs(of: Roster) -> None:
    found = json.loads(text("clustershell", of).partition("\n")[2])
    for host in of.hosts:
        title = host.membership.replace(" ", "_")
        groups = {"avalanche": ("all", f"rack{host.rack}", host.appliance, title), "rack": (str(host.rack),)}
        for source, names in {**groups, "appliance": (host.appliance,), "membership": (title,)}.items():
            mine = {name for name, hosts in found[source].items() if host.name in hosts.split(",")}
            assert mine == set(names)


@given(rosters())
def test_the_order_of_the_inventory_does_not_show(of: Roster) -> None:
    other = Roster(of.segments[::-1], of.hosts[::-1], of.dhcp)
    for name in REPORTS:
        assert render([name], of, SHIPPED, "/x") == render([name], other, SHIPPED, "/x")


def test_dnsmasq_without_declared_cards_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dhcp\.interfaces is missing"):
        render(["dnsmasq"], roster(entry(0), dhcp=DhcpConfig()), SHIPPED, "/x")


def test_dnsmasq_without_a_network_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"none of dhcp\.networks \(private\) .* avalanche network add private"):
        render(["dnsmasq"], Roster((), (), DHCP), SHIPPED, "/x")


def test_known_hosts_has_all_names_of_a_host() -> None:
    host: Entry = entry(0, keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA",), aliases=("login",))
    line = text("known_hosts", roster(host)).splitlines()[1]
    assert line == "compute-0-0,compute-0-0.local,login,10.1.255.254 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"


def test_what_a_site_adds_to_hosts_is_there_verbatim() -> None:
    assert text("hosts", roster(local="10.9.9.9\tprinter # two  blanks")).endswith(
        "\n\n# hosts.local\n10.9.9.9\tprinter # two  blanks\n"
    )


@pytest.mark.parametrize(
    ("template", "line", "why"),
    [
        ("a\n{% if %}\n", 2, "Expected an expression"),
        ("a\nb\n{{ no_such_thing }}\n", 3, "'no_such_thing' is undefined"),
        ("{{ roster.hosts.nothing }}", 1, "has no attribute 'nothing'"),
        ("\n{{ 1 / 0 }}", 2, "division by zero"),
        ("{{ roster.__class__.__mro__ }}", 1, "unsafe"),
        ("\n\n{% include 'other' %}", 3, "other"),
        ("\n{{ 'a' * 10 ** 9 }}", 2, "a text or list of 1000000000 items is too big"),
        ("\n{{ [1] * 100001 }}", 2, "a text or list of 100001 items is too big"),
        ("\n{{ 9 ** 9 ** 9 }}", 2, "is too big; 1000 is the most"),
    ],
)
def test_a_broken_template_is_one_line_that_says_where(template: str, line: int, why: str) -> None:
    renderer = Renderer({"hosts": Template("/site/templates/hosts.j2", template)})
    with pytest.raises(TemplateError) as caught:
        render(["hosts"], roster(entry(0)), renderer, "/x")
    said = str(caught.value)
    assert said.startswith(f"/site/templates/hosts.j2:{line}: ")
    assert why in said
    assert said.endswith("; mend it, or remove it to have the shipped one")
    assert "\n" not in said


def test_a_site_s_template_is_used() -> None:
    renderer = Renderer(
        {"ethers": Template("/site/ethers.j2", "{% for host in roster.hosts %}{{ host.name }} {% endfor %}")}
    )
    assert render(["ethers"], roster(entry(1), entry(0)), renderer, "/x") == {"ethers": "compute-0-0 compute-0-1 "}


def test_a_text_for_the_same_values_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Renderer({"dnsmasq-host": Template("site.j2", "{{ word }}")})
    made: list[str] = []
    text = renderer.text

    def noted(name: str, **values: Any) -> str:
        made.append(values["word"])
        return text(name, **values)

    monkeypatch.setattr(renderer, "text", noted)
    for words, fresh in (({"a": "1", "b": "2"}, ["1", "2"]), ({"a": "1", "b": "3"}, ["3"]), ({"b": "3"}, [])):
        assert renderer.texts("dnsmasq-host", {key: {"word": word} for key, word in words.items()}) == words
        assert made == fresh
        made.clear()
    assert renderer.texts("dnsmasq-host", {"a": {"word": "1"}}) == {"a": "1"}
    assert made == ["1"]  # what is gone is forgotten
