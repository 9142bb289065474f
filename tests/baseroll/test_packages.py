"""Every name of a package stands in the list of its release, which says where it was seen."""

from __future__ import annotations

import pytest

from tests.baseroll import names
from tests.baseroll.appliances import CASES, RELEASES, profile_of

REPOSITORIES = {
    "el9": {"BaseOS", "AppStream", "CRB", "EPEL", "OpenHPC", "site", "vendor"},
    "el10": {"BaseOS", "AppStream", "CRB", "EPEL", "OpenHPC", "site", "vendor"},
    "fedora": {"fedora", "site", "vendor"},
}


@pytest.mark.parametrize("release", RELEASES)
def test_every_package_and_group_is_in_the_list_of_its_release(release: str):
    missing = (names.asked_for(release) | names.groups(release)) - names.listed(release).keys()
    assert not missing, "look it up, then: python -m tests.baseroll.names"


@pytest.mark.parametrize("release", RELEASES)
def test_every_row_has_a_source_that_the_header_explains(release: str):
    header = " ".join(names.header(release))
    for name, (repository, source) in names.listed(release).items():
        assert repository in REPOSITORIES[release], name
        assert source in header.split() or source.startswith("repodata of "), name


@pytest.mark.parametrize("release", RELEASES)
def test_no_row_is_left_over(release: str):
    assert names.listed(release).keys() <= names.asked_for(release) | names.groups(release)


@pytest.mark.parametrize(("appliance", "release"), CASES)
def test_what_a_host_cannot_do_without_is_asked_for(appliance: str, release: str):
    asked = {package.name for package in profile_of(appliance, release).requested}
    assert {
        "core",
        "kernel",
        "grub2-pc",
        "grub2-efi-x64",
        "shim-x64",
        "efibootmgr",
        "openssh-server",
        "xfsprogs",
    } <= asked
