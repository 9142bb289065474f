"""Taking over the machine's Debian sources."""

from __future__ import annotations

from pathlib import Path

from lab.archive import debian_sources

TARGETS = [
    "Debian\thttp://archive.example/debian/\tbookworm\tmain",
    "Debian\thttp://archive.example/debian/\tbookworm\tnon-free",
    "Debian\thttp://archive.example/debian/\tbookworm-updates\tmain",
    "Debian\thttp://security.example/\tbookworm-security\tmain",
    "Debian Backports\thttp://archive.example/debian/\tbookworm-backports\tmain",
    "Debian\thttp://archive.example/debian/\ttrixie\tmain",
    ". nodistro\thttps://vendor.example/\tnodistro\tmain",
    "$(ORIGIN)\thttp://archive.example/debian/\tbookworm\tmain",
]


def test_only_debian_s_own_main_of_the_suite_is_taken_over() -> None:
    assert debian_sources(TARGETS, keyring=None).splitlines() == [
        "deb http://archive.example/debian/ bookworm main",
        "deb http://archive.example/debian/ bookworm-updates main",
        "deb http://security.example/ bookworm-security main",
    ]


def test_entries_are_tied_to_the_archive_s_keyring() -> None:
    found = debian_sources(TARGETS[:1], keyring=Path("/usr/share/keyrings/debian.gpg"))
    assert found == "deb [signed-by=/usr/share/keyrings/debian.gpg] http://archive.example/debian/ bookworm main\n"


def test_backports_are_left_out_even_under_debian_s_own_name() -> None:
    assert not debian_sources(["Debian\thttp://archive.example/debian/\tbookworm-backports\tmain"], keyring=None)
