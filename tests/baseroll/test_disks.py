"""The planner of the node partition: it never touches what it does not own, and stops where it is not sure."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.baseroll.disks import GIB, MIB, PLANNER, Device, Refused, disk, installed, mirrored, part, plan, policy, read

WIPE = {"disk_policy": "wipe", "order_wipe": "true"}


def cleared(lines: list[str]) -> set[str]:
    """The disks that a plan clears."""
    handler = read(lines)
    return set(handler.clearpart.drives) if handler.clearpart.initAll or handler.zerombr.zerombr else set()


def seen(lines: list[str]) -> set[str]:
    return set(read(lines).ignoredisk.onlyuse)


def test_a_blank_disk_gets_both_firmwares_boot_partitions_and_a_place_for_data():
    mode, lines = plan([disk("sda")])
    assert mode == "first"
    assert lines == [
        "ignoredisk --only-use=sda",
        "zerombr",
        "clearpart --all --initlabel --disklabel=gpt --drives=sda",
        "bootloader --location=mbr --leavebootorder --boot-drive=sda",
        "part biosboot --fstype=biosboot --size=1 --ondisk=sda",
        "part /boot/efi --fstype=efi --label=OSEFI --size=600 --ondisk=sda",
        "part /boot --fstype=ext4 --label=osboot --size=1024 --ondisk=sda",
        "part swap --fstype=swap --label=osswap --size=4096 --ondisk=sda",
        "part / --fstype=xfs --label=osroot --size=40960 --ondisk=sda",
        "part /state/partition1 --fstype=xfs --label=state1 --size=1024 --grow --ondisk=sda",
    ]


def test_a_reinstallation_formats_the_system_and_keeps_the_data():
    mode, lines = plan([installed("sda", states=("state1", "state2"))], "bios")
    assert mode == "reinstall"
    assert lines == [
        "ignoredisk --only-use=sda",
        "clearpart --none",
        "bootloader --location=mbr --leavebootorder --boot-drive=sda",
        "part biosboot --fstype=biosboot --onpart=PARTUUID=p-sda1",
        "part /boot/efi --fstype=efi --label=OSEFI --onpart=PARTUUID=p-sda2",
        "part /boot --fstype=ext4 --label=osboot --onpart=PARTUUID=p-sda3",
        "part swap --fstype=swap --label=osswap --onpart=PARTUUID=p-sda4",
        "part / --fstype=xfs --label=osroot --onpart=PARTUUID=p-sda5",
        "part /state/partition1 --onpart=UUID=u-sda6 --noformat",
        "part /state/partition2 --onpart=UUID=u-sda7 --noformat",
    ]


CLEAR: dict[str, tuple[list[Device], dict[str, Any], str, set[str]]] = {
    "NVMe comes before a larger SATA disk": (
        [disk("sda", 8000 * GIB), disk("nvme0n1", tran="nvme")],
        {},
        "first",
        {"nvme0n1"},
    ),
    "the smaller of two of a kind": ([disk("sda", 960 * GIB), disk("sdb")], {}, "first", {"sdb"}),
    "a virtual disk": ([disk("vda", 40 * GIB, tran=None)], {"firmware": "bios"}, "first", {"vda"}),
    "a USB stick is not the host's": ([disk("sda", 64 * GIB, "usb"), disk("sdb")], {}, "first", {"sdb"}),
    "nor is a card": ([disk("sda", 64 * GIB, rm=True), disk("sdb")], {}, "first", {"sdb"}),
    "nor what comes over the network": (
        [disk("sda", tran="iscsi"), disk("sdb", tran="fc"), disk("sdc")],
        {},
        "first",
        {"sdc"},
    ),
    "a read-only disk is left alone": ([disk("sda", ro=True), disk("sdb", 960 * GIB)], {}, "first", {"sdb"}),
    "a small one too": ([disk("sda", 8 * GIB), disk("sdb")], {}, "first", {"sdb"}),
    "a path to a disk is no disk": (
        [disk("sda", children=[disk("mpatha", type="mpath")]), disk("sdb", fstype="mpath_member"), disk("sdc")],
        {},
        "first",
        {"sdc"},
    ),
    "a blank disk is chosen beside a foreign one": (
        [disk("nvme0n1", tran="nvme", pttype="gpt"), disk("sda")],
        {},
        "first",
        {"sda"},
    ),
    "names may swap": ([disk("sda", 960 * GIB), installed("sdb")], {}, "reinstall", set()),
    "a disk by its serial number": ([disk("sda"), disk("sdb")], {"disk_os": "S-sdb"}, "first", {"sdb"}),
    "a disk by its world-wide name": (
        [disk("sda"), disk("sdb", wwn="0x5000c1")],
        {"disk_os": "0x5000*"},
        "first",
        {"sdb"},
    ),
    "a policy of wiping alone wipes nothing": ([installed("sda")], {"disk_policy": "wipe"}, "reinstall", set()),
    "an order alone neither": ([installed("sda")], {"order_wipe": "true"}, "reinstall", set()),
    "a wipe clears the old system's disk, not a smaller one": (
        [disk("sda", 200 * GIB, pttype="gpt"), installed("sdb")],
        WIPE,
        "wipe",
        {"sdb"},
    ),
    "a wipe clears a foreign disk if it is the only one": ([disk("sda", pttype="dos")], WIPE, "wipe", {"sda"}),
    "two blank disks become a mirror": ([disk("sda"), disk("sdb")], {"mirror": "true"}, "first", {"sda", "sdb"}),
    "a mirror is formatted, not made anew": (mirrored("sda", "sdb"), {"mirror": "true"}, "reinstall", set()),
    "half a mirror is one too": (mirrored("sdb"), {"mirror": "true"}, "reinstall", set()),
    "a wiped mirror stays one": (mirrored("sda", "sdb"), {"mirror": "true", **WIPE}, "wipe", {"sda", "sdb"}),
    "a NAS's system is found by its label": (
        [installed("sda"), disk("sdb", pttype="gpt")],
        {"only_system": "true"},
        "reinstall",
        set(),
    ),
    "a NAS's system disk has a name": (
        [disk("sda"), disk("sdb")],
        {"only_system": "true", "disk_os": "sda"},
        "first",
        {"sda"},
    ),
}


@pytest.mark.parametrize("case", CLEAR)
def test_what_is_clear_is_done(case: str):
    devices, said, mode, disks = copy.deepcopy(CLEAR[case])
    firmware = said.pop("firmware", "uefi")
    found, lines = plan(devices, firmware, **said)
    assert (found, cleared(lines)) == (mode, disks)


def without(device: Device, number: int) -> Device:
    device["children"].pop(number)
    return device


UNCLEAR: dict[str, tuple[list[Device], dict[str, Any], str]] = {
    "no disk": ([], {}, "there are: none"),
    "a CD only": ([disk("sr0", type="rom")], {}, "there are: none"),
    "only a USB stick": ([disk("sda", tran="usb")], {}, "sda"),
    "only a read-only one": ([disk("sda", ro=True)], {}, "sda"),
    "only a small one": ([disk("sda", 8 * GIB)], {}, "large enough"),
    "too small for what is wanted": ([disk("sda", 21 * GIB)], {"disk_swap_mb": 16000}, "too small"),
    "two blank disks alike": ([disk("sda"), disk("sdb")], {}, "serial S-sdb"),
    "three for a mirror": ([disk("sda"), disk("sdb"), disk("sdc")], {"mirror": "true"}, "disk_os"),
    "one for a mirror": ([disk("sda")], {"mirror": "true"}, "no blank disk"),
    "a Windows disk": ([disk("sda", children=[part("sda1", "WINDOWS", "ntfs")])], {}, "foreign data"),
    "a bare LVM volume": ([disk("sda", fstype="LVM2_member")], {}, "foreign data"),
    "a foreign mirror": (
        [disk("sda", fstype="linux_raid_member", children=[disk("md0", type="raid1")])],
        {},
        "foreign data",
    ),
    "a partition table without partitions": ([disk("sda", pttype="dos")], {}, "foreign data"),
    "a bare file system": ([disk("sda", fstype="xfs", label="data")], {}, "foreign data"),
    "multipath only": (
        [disk("sda", fstype="mpath_member"), disk("sdb", children=[disk("m", type="mpath")])],
        {},
        "there are",
    ),
    "a name that no disk has": ([disk("sda")], {"disk_os": "nvme*"}, "disk_os=nvme*"),
    "a copied disk": ([installed("sda"), installed("sdb")], {}, "label OSEFI"),
    "a copied disk on USB": ([installed("sda"), installed("sdb", tran="usb")], {}, "take one away"),
    "a copied disk, with an order to wipe": ([installed("sda"), installed("sdb")], WIPE, "take one away"),
    "a system on a stick": ([installed("sda", tran="usb"), disk("sdb")], {}, "removable"),
    "a system elsewhere than named": ([installed("sda"), disk("sdb")], {"disk_os": "sdb"}, "clear sda by hand"),
    "a system without /boot": ([without(installed("sda"), 2)], {}, "has no osboot"),
    "UEFI on a disk for BIOS": ([without(installed("sda"), 1)], {}, "has no OSEFI, which uefi needs"),
    "BIOS on a disk for UEFI": ([without(installed("sda"), 0)], {"firmware": "bios"}, "has no biosboot"),
    "/boot on another disk": (
        [without(installed("sda"), 2), disk("sdb", children=[part("sdb1", "osboot", "ext4")])],
        {},
        "not on the disk of osroot",
    ),
    "a system in LVM": (
        [
            disk(
                "sda",
                children=[
                    part("sda1", None, "LVM2_member", children=[part("vg-root", "osroot", "xfs", type="lvm")]),
                    part("sda2", "osboot", "ext4"),
                    part("sda3", "OSEFI", "vfat"),
                ],
            )
        ],
        {},
        "of the kind lvm",
    ),
    "data without a file system": (
        [installed("sda", states=()), disk("sdb", children=[part("sdb1", "state2")])],
        {},
        "state2 on sdb1",
    ),
    "encrypted data": (
        [installed("sda", states=()), disk("sdb", children=[part("sdb1", "state2", "crypto_LUKS")])],
        {},
        "no plain file system",
    ),
    "a mirror where none is wanted": (mirrored("sda", "sdb"), {}, "mirrored"),
    "none where a mirror is wanted": ([installed("sda")], {"mirror": "true"}, "not mirrored"),
    "a wipe with several used disks": (
        [disk("sda", pttype="gpt"), disk("sdb", 9 * GIB * 9, pttype="gpt")],
        WIPE,
        "name the system disk",
    ),
    "a wipe of half a data mirror": (
        [
            installed("sda", states=()),
            disk(
                "sdb",
                children=[
                    part("sdb1", None, "linux_raid_member", children=[part("md1", "state1", "xfs", type="raid1")])
                ],
            ),
        ],
        WIPE,
        "only sda would be cleared",
    ),
    "a NAS whose system disk has no name": (
        [disk("sda"), disk("sdb", 960 * GIB)],
        {"only_system": "true"},
        "serves data",
    ),
    "part of another system": (
        [disk("sda"), disk("sdb", children=[part("sdb1", "osboot", "ext4")])],
        {},
        "part of another system",
    ),
}
half = UNCLEAR["a wipe of half a data mirror"][0]
half[0]["children"].append(part("sda9", None, "linux_raid_member", children=half[1]["children"][0]["children"]))


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_is_not_clear_is_refused_with_a_reason(case: str):
    devices, said, reason = copy.deepcopy(UNCLEAR[case])
    firmware = said.pop("firmware", "uefi")
    with pytest.raises(Refused) as refused:
        plan(devices, firmware, **said)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "disk_os",
        "disks=sda",
        "disk_policy=erase",
        "disk_min_gb=-1",
        "disk_state=perhaps",
        'disk_state_mkfs=" --x',
        "mirror=2",
    ],
)
def test_a_policy_that_means_nothing_is_refused(line: str):
    with pytest.raises(Refused):
        PLANNER.Policy(line + "\n")


def test_the_first_word_of_a_policy_counts():
    assert PLANNER.Policy("# a site's\ndisk_os=sda\n\ndisk_os=sdb\n").disk == "sda"


def test_data_of_a_replaced_system_disk_is_mounted_again():
    old = disk("sda", 4000 * GIB, children=[part("sda1", "state1", "xfs")])
    mode, lines = plan([disk("nvme0n1", tran="nvme"), old])
    assert (mode, seen(lines), cleared(lines)) == ("first", {"nvme0n1", "sda"}, {"nvme0n1"})
    assert "part /state/partition1 --onpart=UUID=u-sda1 --noformat" in lines
    assert "part / --fstype=xfs --label=osroot --size=8192 --grow --ondisk=nvme0n1" in lines


def test_a_wipe_keeps_the_data_of_other_disks_and_loses_the_system_disk_s():
    other = disk("sdb", children=[part("sdb1", "state2", "xfs")])
    mode, lines = plan([installed("sda"), other], **WIPE)
    assert (mode, cleared(lines)) == ("wipe", {"sda"})
    assert [line for line in lines if "--noformat" in line] == [
        "part /state/partition2 --onpart=UUID=u-sdb1 --noformat"
    ]


def test_a_nas_shows_the_installer_no_data_disk():
    data = disk("sdb", children=[part("sdb1", "state2", "xfs")])
    _, lines = plan([installed("sda"), data], only_system="true")
    assert seen(lines) == {"sda"}


def test_a_small_disk_is_all_system():
    _, lines = plan([disk("vda", 25 * GIB, tran=None)])
    assert lines[-1] == "part / --fstype=xfs --label=osroot --size=8192 --grow --ondisk=vda"


def test_a_mirror_is_made_of_equal_parts_and_boots_from_either_disk():
    _, lines = plan([disk("sda"), disk("sdb")], mirror="true", disk_state_mkfs="-i nrext64=0")
    assert "part biosboot --fstype=biosboot --size=1 --ondisk=sdb" in lines
    assert "raid /boot/efi --device=osefi --level=1 --fstype=efi --label=OSEFI raid.11 raid.21" in lines
    assert lines[-1] == (
        "raid /state/partition1 --device=state1 --level=1 --fstype=xfs --label=state1 "
        '--mkfsoptions="-i nrext64=0" raid.15 raid.25'
    )


LABELS = ["OSEFI", "osboot", "osswap", "osroot", "state1", "state2", "state30", "data", None]
KINDS = ["sata", "nvme", None, "usb", "iscsi", "sas"]
FILE_SYSTEMS = ["xfs", "ext4", "vfat", "swap", "LVM2_member", "linux_raid_member", "crypto_LUKS", None]


@st.composite
def machines(draw: st.DrawFn) -> list[Device]:
    """Hosts with disks in any state: blank, ours, foreign, damaged, copied."""
    devices = []
    for number in range(draw(st.integers(0, 4))):
        name = f"sd{'abcd'[number]}"
        tran, size = draw(st.sampled_from(KINDS)), draw(st.integers(4, 2000)) * GIB
        flags = {"ro": draw(st.integers(0, 9)) == 0, "rm": draw(st.integers(0, 9)) == 0}
        kind = draw(st.sampled_from(["blank", "ours", "odd"]))
        if kind == "blank":
            devices.append(disk(name, size, tran, **flags))
            continue
        if kind == "ours":
            device = installed(
                name, size=size, tran=tran, states=draw(st.sets(st.sampled_from(["state1", "state2"]))), **flags
            )
            if draw(st.booleans()):
                without(device, draw(st.integers(0, 4)))
            devices.append(device)
            continue
        children = [
            part(f"{name}{index}", label, draw(st.sampled_from(FILE_SYSTEMS)))
            for index, label in enumerate(draw(st.lists(st.sampled_from(LABELS), max_size=3)), start=1)
        ]
        devices.append(
            disk(name, size, tran, children=children, pttype=draw(st.sampled_from(["gpt", "dos", None])), **flags)
        )
    return devices


POLICIES = st.fixed_dictionaries(
    {
        "disk_os": st.sampled_from(["auto", "sda", "S-sd*", "x"]),
        "disk_policy": st.sampled_from(["keep", "wipe"]),
        "order_wipe": st.sampled_from(["true", "false"]),
        "disk_state": st.sampled_from(["true", "false"]),
        "disk_root_mb": st.integers(0, 200_000),
        "disk_swap_mb": st.integers(0, 20_000),
        "mirror": st.sampled_from(["true", "false"]),
        "only_system": st.sampled_from(["true", "false"]),
    }
)


def names_of(device: Device) -> set[str]:
    return {device["name"]}.union(*(names_of(child) for child in device.get("children") or ()))


@given(machines(), st.sampled_from(["uefi", "bios"]), POLICIES)
def test_nothing_is_touched_that_is_not_blank_ours_or_ordered(
    devices: list[Device], firmware: str, said: dict[str, Any]
):
    """Only usable disks are seen, only blank or ordered ones cleared, only the system's partitions formatted."""
    before = copy.deepcopy(devices)
    try:
        mode, lines = plan(devices, firmware, **said)
    except Refused:
        return
    finally:
        assert devices == before
    handler = read(lines)
    by_name = {device["name"]: device for device in devices}
    used = [by_name[name] for name in seen(lines)]
    assert all(not one["ro"] and not one["rm"] and one["tran"] not in ("usb", "iscsi") for one in used)
    assert all(one["size"] >= 20 * GIB for one in used)
    gone = cleared(lines)
    assert lines[0].startswith("ignoredisk --only-use=") and gone <= seen(lines)
    assert bool(gone) == (mode != "reinstall")
    if mode != "wipe":
        assert all(not by_name[name].get("children") and not by_name[name]["pttype"] for name in gone)
    else:
        assert (said["disk_policy"], said["order_wipe"]) == ("wipe", "true")
    requests = handler.partition.partitions
    assert {request.disk for request in requests if request.disk} == gone
    everything = {one["name"]: one for device in devices for one in [device, *PLANNER.parts(device)]}
    identity = {f"PARTUUID={one.get('partuuid')}": one for one in everything.values()}
    identity |= {f"UUID={one.get('uuid')}": one for one in everything.values() if one.get("uuid")}
    kept = {request.onPart for request in requests if request.onPart and not request.format}
    for request in requests:
        if request.onPart and request.format:
            one = identity[request.onPart]
            assert one["label"] in PLANNER.SYSTEM or one["parttype"] == PLANNER.BIOSBOOT
            assert mode == "reinstall"
        if request.onPart and not request.format:
            assert PLANNER.STATE.fullmatch(identity[request.onPart]["label"])
            assert not any(identity[request.onPart]["name"] in names_of(by_name[name]) for name in gone)
    # What the plan does not clear and can see with a state label is mounted again.
    there = {
        f"UUID={one['uuid']}"
        for name in seen(lines) - gone
        for one in PLANNER.parts(by_name[name])
        if PLANNER.STATE.fullmatch(one["label"] or "")
    }
    assert there == kept


@given(machines(), st.sampled_from(["uefi", "bios"]), POLICIES)
def test_what_is_asked_for_fits_the_disk(devices: list[Device], firmware: str, said: dict[str, Any]):
    try:
        _, lines = plan(devices, firmware, **said)
    except Refused:
        return
    handler = read(lines)
    for device in devices:
        sizes = [request.size for request in handler.partition.partitions if request.disk == device["name"]]
        assert sum(sizes) * MIB <= device["size"] - PLANNER.SLACK_MB * MIB
        growing = [
            request for request in handler.partition.partitions if request.disk == device["name"] and request.grow
        ]
        assert len(growing) == (1 if sizes else 0)


@given(st.text(), st.text())
def test_any_policy_is_read_or_refused(key: str, value: str):
    try:
        policy(**{key: value})
    except Refused as refused:
        assert str(refused)
