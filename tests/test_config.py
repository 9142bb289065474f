"""The settings: defaults, what is refused, and the sample in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avalanche.config import Config, FrontendConfig, check_address, parse_config
from avalanche.errors import ConfigError

FILE = "/var/lib/avalanche/avalanche.toml"
PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def parse(text: str) -> Config:
    return parse_config(text, file=FILE)


def test_nothing_is_the_defaults() -> None:
    assert parse("") == Config()


def test_the_sample_in_the_documentation_is_the_defaults() -> None:
    found = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    sample = found[1]
    assert parse(sample) == Config(frontend=FrontendConfig(address=("10.1.1.1",), rolls=("/srv/avalanche",)))
    # Every key is in it: none is left for a reader to guess.
    for table in ("frontend", "cluster", "dhcp", "log"):
        for key in getattr(Config(), table).__dataclass_fields__:
            assert re.search(rf"^{key} = ", sample, re.MULTILINE), key


def test_one_text_or_a_list_of_texts() -> None:
    assert parse('[frontend]\naddress = "10.1.1.1"').frontend.address == ("10.1.1.1",)
    assert parse('[frontend]\naddress = ["10.1.1.1", "head.cluster"]').frontend.address == ("10.1.1.1", "head.cluster")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("frontend = 1", "'frontend' is not a table"),
        ("[frontend", "not TOML"),
        ("[fronted]", "unknown table 'fronted'; did you mean 'frontend'?"),
        ("[frontend]\nadress = 'x'", r"unknown key in \[frontend\] 'adress'; did you mean 'address'?"),
        ("[frontend]\nxyz = 1", "known are: address, listen"),
        ("[frontend]\naddress = 'a b'", "frontend.address: 'a b' is neither an IP address nor a host name"),
        ("[frontend]\naddress = '10.1.1.256'", "frontend.address"),
        ("[frontend]\naddress = 5", "not a text"),
        ("[frontend]\nhttp_port = 0", "frontend.http_port: 0 is not a whole number from 1 to 65535"),
        ("[frontend]\nhttp_port = true", "frontend.http_port"),
        ("[frontend]\nhttp_port = '80'", "frontend.http_port"),
        ("[frontend]\nlisten = 'head'", "frontend.listen"),
        ("[frontend]\nmax_streams = 0", "frontend.max_streams"),
        ("[frontend]\ndistribution = '../x'", "frontend.distribution"),
        ("[cluster]\nrelease = 'el5'", "cluster.release: 'el5' is not one of: el9"),
        ('[cluster]\nname = "a\\nb"', "cluster.name"),
        ("[dhcp]\ninterfaces = '0.0.0.0'", "dhcp.interfaces: '0.0.0.0' is not a network card; name each one"),
        ("[dhcp]\ninterfaces = '::'", "dhcp.interfaces: '::' is not a network card"),
        ("[dhcp]\ninterfaces = '*'", "dhcp.interfaces: .* is not a network card"),
        ("[dhcp]\ninterfaces = ['eth1', 'lo']", "'lo' is not a network card that hosts can be reached by"),
        ("[dhcp]\ninterfaces = 'eth1,eth2'", "dhcp.interfaces"),
        ("[dhcp]\npools = '10.1.0.9-10.1.0.1'", "dhcp.pools: '10.1.0.9-10.1.0.1' ends before it begins"),
        ("[dhcp]\npools = '10.1.0.9'", "dhcp.pools: '10.1.0.9' is not a pool such as"),
        ("[dhcp]\nlease_seconds = 1", "dhcp.lease_seconds"),
        ("[dhcp]\nrun = 'dhcp'", "dhcp.run: 'dhcp' is not an absolute path"),
        ("[dhcp]\nrun = '/run/a b'", "dhcp.run"),
        ("[dhcp]\nbios = 'a,b'", "dhcp.bios: 'a,b' is not a boot file"),
        ("[dhcp]\nhttp = 'grub.efi'", "dhcp.http: 'grub.efi' is not an address such as"),
        ("[dhcp]\nnext_server = 'head'", "dhcp.next_server"),
        ("[log]\nlevel = 'loud'", "log.level"),
    ],
)
def test_what_is_wrong_names_file_and_key(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse(text)
    assert str(caught.value).startswith(f"{FILE}: ")


@pytest.mark.parametrize(
    ("config", "scheme", "urls"),
    [
        (FrontendConfig(address=("10.1.1.1",)), "http", ("http://10.1.1.1",)),
        (FrontendConfig(address=("10.1.1.1",)), "https", ("https://10.1.1.1",)),
        (
            FrontendConfig(address=("head", "fd00::1"), http_port=8080),
            "http",
            ("http://head:8080", "http://[fd00::1]:8080"),
        ),
    ],
)
def test_the_addresses_of_the_stub(config: FrontendConfig, scheme: str, urls: tuple[str, ...]) -> None:
    assert config.urls(scheme) == urls


def test_an_address_is_made_canonical() -> None:
    assert check_address("FD00::0001") == "fd00::1"
