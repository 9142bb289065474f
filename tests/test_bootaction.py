"""What a machine boots, and that nothing in a name or an argument becomes a command of iPXE."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.bootaction import DISK, BootAction, boot_script, disk_script, find_action
from avalanche.cluster import Cluster, Host
from avalanche.errors import ClusterError

STUB = "http://10.1.1.1/install/stub"
INSTALL = BootAction("install", "http://10.1.1.1/vmlinuz", "initrd.img", "quiet")
HOST = Host("compute-0-0", "compute", 0, 0)
LOCAL = "iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 || exit"


def test_a_host_boots_its_disk_unless_it_shall_be_installed() -> None:
    cluster = Cluster(1, {}, {HOST.name: HOST}, (), bootactions={"install": INSTALL})
    assert cluster.boot_action(HOST, installs=False) is DISK
    assert cluster.boot_action(HOST, installs=True) is INSTALL


def test_an_action_that_is_not_there_is_told_with_how_to_add_it() -> None:
    with pytest.raises(ClusterError, match=r"no boot action is called 'install'.*avalanche bootaction add 'install'"):
        find_action("install", {})


def test_a_file_without_a_scheme_is_one_of_the_tftp_server_and_a_kickstart_of_one_s_own_stays() -> None:
    script = boot_script(INSTALL, host="compute-0-0", kickstart=STUB)
    assert "initrd --name initrd tftp://${next-server}/initrd.img" in script
    assert f"vmlinuz quiet inst.ks={STUB} inst.ks.sendmac initrd=initrd ||" in script
    own = BootAction("install", "vmlinuz", args="inst.ks=http://10.1.1.2/own")
    assert STUB not in boot_script(own, host="compute-0-0", kickstart=STUB)


@pytest.mark.parametrize("kernel", ["localboot", "localboot 0", "localboot -1"])
def test_rocks_word_for_the_disk_boots_the_disk(kernel: str) -> None:
    assert boot_script(BootAction("os", kernel), host="a").splitlines()[-1] == LOCAL


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": ""}, "is not a name"),
        ({"name": " x"}, "is not a name"),
        ({"name": "a\nb"}, "not one line"),
        ({"kernel": ""}, "is not an address"),
        ({"kernel": "vmlinuz quiet"}, "is not an address"),
        ({"kernel": "http://a/b\nboot"}, "is not an address"),
        ({"kernel": "ftp://a/b"}, "is not an address"),
        ({"kernel": "${cmd}"}, "is not an address"),
        ({"kernel": "localboot 0 x"}, "is not an address"),
        ({"kernel": "localboot", "args": "quiet"}, "takes no ramdisk and no args"),
        ({"ramdisk": "a b"}, "ramdisk 'a b' is not an address"),
        ({"args": "a || shell"}, "ends a command of iPXE"),
        ({"args": "a #b"}, "ends a command of iPXE"),
        ({"args": "a\nshell"}, "not one line"),
        ({"args": "x" * 1025}, "not one line"),
    ],
)
def test_what_cannot_be_booted_is_refused(fields: dict[str, str], why: str) -> None:
    with pytest.raises(ClusterError, match=why) as refused:
        BootAction(**({"name": "x", "kernel": "vmlinuz"} | fields))
    assert "\n" not in str(refused.value)


@given(name=st.text(min_size=1, max_size=64), args=st.text(max_size=200), kernel=st.text(max_size=40))
def test_a_script_has_the_lines_it_should_whatever_an_action_is_called(name: str, args: str, kernel: str) -> None:
    try:
        action = BootAction(name, "vmlinuz" + kernel, args=args)
    except ClusterError:
        return
    lines = boot_script(action, host="compute-0-0").splitlines()
    assert [line.split()[0] for line in lines] == [
        "#!ipxe", "echo", "kernel", "boot", ":failed", "echo", "sleep", "exit",
    ]  # fmt: skip
    assert not set(lines[1].split()) & {"||", "&&", ";"}
    assert "$" not in lines[1]
    assert lines[2].split().count("||") == 1


@given(why=st.text())
def test_a_reason_on_the_screen_is_one_line_and_no_command(why: str) -> None:
    lines = disk_script(why, seconds=10).splitlines()
    assert lines[0] == "#!ipxe"
    assert lines[2:] == ["sleep 10", LOCAL]
    assert not set("$;|&#{}`") & set(lines[1])
