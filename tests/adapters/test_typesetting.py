"""Templates of rolls and sites are rendered within bounds, however they go about it."""

from __future__ import annotations

from pathlib import Path

import pytest

import avalanche
from avalanche.adapters.typesetting import Bounds, Typesetter
from avalanche.config import DhcpConfig
from avalanche.errors import ConfigError
from avalanche.report import REPORTS, Renderer, Template, TemplateError, render
from tests.rosters import entry, roster

SHIPPED = Path(avalanche.__file__).parent / "templates" / "reports"
SITE = "/site/templates/hosts.j2"


def typesetter(text: str, bounds: Bounds | None = None) -> Typesetter:
    return Typesetter({"hosts": Template(SITE, text)}, bounds)


def test_what_a_site_writes_is_the_same_as_beside_us() -> None:
    of = roster(*(entry(number) for number in range(20)))
    for name, report in REPORTS.items():
        copies = {one: Template(f"/site/{one}.j2", (SHIPPED / f"{one}.j2").read_text()) for one in report.templates}
        assert Typesetter(copies).render(name, of, "/x") == render([name], of, Renderer(), "/x")


def test_a_text_of_any_script_comes_back_as_it_was_written() -> None:
    said = '\u2028 \U0001f427 \x01 \\ " \n'
    assert typesetter(said).render("hosts", roster(), "/x") == {"hosts": said}


GREEDY = {
    "center": "{{ 'x'.center(10 ** 10) }}",
    "ljust": "{{ 'x'.ljust(999999999999) }}",
    "format width": "{{ '{:9999999999}'.format('x') }}",
    "percent width": "{{ '%9999999999d' % 1 }}",
    "filter": "{{ 'x' | center(9999999999) }}",
    "indent": "{{ 'x\ny' | indent(9999999999) }}",
    "doubling": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "joining": "{{ range(99999) | join('x' * 99999) }}",
    "shared": "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "words": "{{ lipsum(n=99999) }}",
    "output": "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxx{% endfor %}{% endfor %}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "numbers": "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    "macros": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(90) }}",
}


@pytest.mark.parametrize("text", GREEDY.values(), ids=GREEDY.keys())
def test_a_template_that_takes_too_much_is_one_line_and_soon_over(text: str) -> None:
    bounds = Bounds(seconds=20, processor=1, memory=200 << 20, text=1 << 20)
    with pytest.raises(TemplateError) as caught:
        typesetter(text, bounds).render("hosts", roster(entry(0)), "/x")
    said = str(caught.value)
    assert said.startswith(SITE)
    assert said.endswith("; mend it, or remove it to have the shipped one")
    assert "\n" not in said and len(said) < 300


def test_what_is_wrong_is_said_with_its_line() -> None:
    with pytest.raises(TemplateError, match=r"^/site/templates/hosts\.j2:2: 'nothing' is undefined; mend it"):
        typesetter("\n{{ nothing }}").render("hosts", roster(), "/x")


def test_a_roster_that_lacks_something_is_refused_as_with_our_templates() -> None:
    of = roster(entry(0), dhcp=DhcpConfig())
    with pytest.raises(ConfigError, match="interfaces is missing"):
        Typesetter({"dnsmasq": Template("/site/dnsmasq.j2", "x")}).render("dnsmasq", of, "/x")


def test_our_own_templates_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    assert "compute-0-0" in typesetter("x").render("ethers", roster(entry(0)), "/x")["ethers"]
