"""Scripts after the installation, run for real: they work, and run again they change nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.baseroll.appliances import APPLIANCES
from tests.baseroll.system import System

CASES = [(appliance, "el9", "everything") for appliance in APPLIANCES]
CASES += [("compute", "fedora", "otherwise"), ("compute", "el10", "bare"), ("login", "el10", "ohpc")]


def is_ours(name: str) -> bool:
    return "inventory" not in name  # what the hardware says may differ from moment to moment


@pytest.mark.parametrize(("appliance", "release", "site"), CASES)
def test_scripts_that_run_twice_leave_what_they_left_the_first_time(
    tmp_path: Path, appliance: str, release: str, site: str
) -> None:
    system = System(tmp_path)
    system.install(appliance, release, site)
    first = {name: seen for name, seen in system.files.items() if is_ours(name)}
    assert len(first) > 40
    system.install(appliance, release, site)
    second = {name: seen for name, seen in system.files.items() if is_ours(name)}
    assert {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)} == set()


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> System:
    system = System(tmp_path_factory.mktemp("compute"))
    system.install("compute", "el9", "everything")
    return system


@pytest.fixture(scope="module")
def nas(tmp_path_factory: pytest.TempPathFactory) -> System:
    system = System(tmp_path_factory.mktemp("nas"))
    system.install("nas", "el9", "everything")
    return system


def test_a_bond_has_the_private_address_and_its_cards_are_known_by_their_macs(compute: System) -> None:
    bond = compute.text("/etc/NetworkManager/system-connections/bond0.nmconnection")
    assert "[bond]\nmode=802.3ad\nmiimon=100\n" in bond
    assert "address1=10.1.255.254/16,10.1.0.1\ndns=10.1.1.1;10.1.1.2;\ndns-search=cluster.local;\n" in bond
    port = compute.text("/etc/NetworkManager/system-connections/bond0-port2.nmconnection")
    assert "mac-address=52:54:00:00:00:02\n" in port
    profiles = {
        name.rsplit("/", 1)[1]: seen
        for name, seen in compute.files.items()
        if "system-connections" in name and stat.S_ISREG(seen.mode)  # what is gone, an overlay remembers as a device
    }
    ports = {"bond0-port1.nmconnection", "bond0-port2.nmconnection"}
    assert profiles.keys() == {"bond0.nmconnection", "vlan120.nmconnection", "ib.nmconnection", *ports}
    assert {stat.S_IMODE(seen.mode) for seen in profiles.values()} == {0o600}


def test_the_image_s_host_key_is_gone_and_the_host_s_own_is_there(compute: System) -> None:
    keys = {name for name in compute.files if name.startswith("/etc/ssh/ssh_host_")}
    assert keys == {f"/etc/ssh/ssh_host_ed25519_key{end}" for end in ("", ".pub", "-cert.pub")}
    assert stat.S_IMODE(compute.files["/etc/ssh/ssh_host_ed25519_key"].mode) == 0o600
    settings = compute.text("/etc/ssh/sshd_config.d/20-cluster.conf")
    assert "PasswordAuthentication no" in settings
    assert compute.text("/etc/ssh/auth_principals/root") == "ops\nnight\n"
    assert compute.text("/root/.ssh/authorized_keys").count("ssh-ed25519 ") == 2


def test_users_log_in_only_where_a_job_of_theirs_runs(compute: System) -> None:
    lines = compute.text("/etc/pam.d/sshd").splitlines()
    account = [line for line in lines if line.startswith("account")]
    assert account[-1].endswith("pam_slurm_adopt.so")
    assert "account substack password-auth" in account
    assert "session include cluster-password-auth" in lines
    assert "pam_systemd" not in compute.text("/etc/pam.d/cluster-password-auth")


def test_slurmd_knows_all_servers(compute: System) -> None:
    assert compute.text("/etc/sysconfig/slurmd") == 'SLURMD_OPTIONS="--conf-server ctl1:6817,ctl2:6817"\n'


def test_daemons_have_their_numbers_and_people_their_accounts(compute: System) -> None:
    passwd = compute.text("/etc/passwd").splitlines()
    assert len([line for line in passwd if line.startswith(("munge:x:401:401:", "slurm:x:402:402:"))]) == 2
    assert "ada:x:1000:1000:Ada:/home/ada:/bin/bash" in passwd
    assert "ada:$6$x$y:19000:0:99999:7:::" in compute.text("/etc/shadow").splitlines()
    assert passwd[0].startswith("root:x:0:0:")
    assert stat.S_IMODE(compute.files["/etc/shadow"].mode) in (0o640, 0o600, 0o000)


def test_only_the_site_s_repository_is_on(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.install("monitor", "el10", "everything")
    assert system.text("/etc/yum.repos.d/vendor.repo").count("enabled=0") == 2
    assert "baseurl=http://10.1.1.1/updates\nenabled=1\ngpgcheck=1\n" in system.text("/etc/yum.repos.d/00-cluster.repo")
    assert system.text("/etc/dnf/dnf.conf") == "[main]\ngpgcheck=1\ninstall_weak_deps=False\nbest=True\n"


def test_the_kernel_gets_its_arguments_by_grubby(compute: System) -> None:
    grubby = [call for call in compute.calls if call.startswith("grubby")]
    assert "grubby --update-kernel=ALL --args=console=tty0 console=ttyS1,57600n8" in grubby
    assert "grubby --update-kernel=ALL --args=crashkernel=512M" in grubby
    assert "grub2-mkconfig -o /boot/grub2/grub.cfg" in compute.calls
    assert 'GRUB_SERIAL_COMMAND="serial --unit=1 --speed=57600"' in compute.text("/etc/default/grub")
    assert compute.text("/etc/default/grub").count("GRUB_TERMINAL=") == 1


def test_a_nas_mounts_and_exports_what_it_is_told(nas: System) -> None:
    line = "LABEL=data1 /export/data1 auto defaults,nofail,x-systemd.device-timeout=60 0 0 # cluster data"
    assert nas.text("/etc/fstab").splitlines() == ["UUID=1 / xfs defaults 0 0", line]
    assert nas.text("/etc/exports.d/cluster.exports").splitlines() == [
        f"/export/{name} 10.1.0.0/16(rw,sync,root_squash,no_subtree_check)" for name in ("home", "apps")
    ]


def test_a_first_boot_runs_each_step_once_and_stops_at_one_that_fails(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.install("monitor", "el9", "bare")
    steps = """
    cd /etc/cluster/firstboot.d
    printf '#!/bin/sh\\necho 10 >> /var/tmp/steps\\n' > 10-good; printf '#!/bin/sh\\nexit 3\\n' > 20-bad
    printf '#!/bin/sh\\necho 30 >> /var/tmp/steps\\n' > 30-late; chmod +x ./*
    touch /root/anaconda-ks.cfg
    """
    failed = system.run(f"{steps}/usr/local/sbin/cluster-firstboot")
    assert failed.returncode == 1
    assert system.text("/var/lib/cluster/firstboot.failed").startswith("first boot: 20-bad failed with status 3")
    assert (system.upper / "var/lib/cluster/firstboot.pending").exists()
    assert system.run("rm /etc/cluster/firstboot.d/20-bad; /usr/local/sbin/cluster-firstboot").returncode == 0
    assert system.text("/var/tmp/steps") == "10\n30\n"
    assert system.run("test ! -e /root/anaconda-ks.cfg && test ! -e /var/lib/cluster/firstboot.pending").returncode == 0


def test_a_host_is_unhealthy_when_a_check_says_so(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.install("compute", "el9", "bare")
    checks = "/etc/cluster/health.d"
    healthy = system.run("mkdir -p /state/partition1; df() { echo 50%; }; export -f df; /usr/local/sbin/cluster-health")
    assert (healthy.returncode, healthy.stdout) == (0, "")
    system.run(f"printf '#!/bin/sh\\necho no card; exit 1\\n' > {checks}/50-card.slow; chmod +x {checks}/50-card.slow")
    command = "df() { echo 50%; }; export -f df; /usr/local/sbin/cluster-health"
    assert system.run(f"{command} --quick").returncode == 0
    unhealthy = system.run(command)
    assert (unhealthy.returncode, unhealthy.stdout) == (1, "50-card.slow: no card\n")
