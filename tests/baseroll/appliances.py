"""The base roll's appliances, compiled and rendered for each release; and its scripts, as hosts run them."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from avalanche.adapters.rolls import load_rolls
from avalanche.attributes import Attributes
from avalanche.cluster import free_attributes
from avalanche.compiler import compile_profile
from avalanche.kickstart import pre_scripts, render
from avalanche.nodefile import NodeFile
from avalanche.nodesections import ScriptSection
from avalanche.profile import Profile
from avalanche.roll import RollSet

ROOT = Path(__file__).resolve().parents[2]
RELEASES = ("el9", "el10", "fedora")  # what the roll is written for
APPLIANCES = ("compute", "login", "nas", "devel", "gpu", "monitor")
CASES = [(appliance, release) for appliance in APPLIANCES for release in RELEASES]

# Everything that can be turned on, with values that have to be quoted where that is possible.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRoaXMgaXMgbm8ga2V5IGJ1dCBhIHRleHQgb2YgMzI= admin's key"
EVERYTHING: Mapping[str, str] = {
    "accounts_group": "people:x:1000:\n",
    "accounts_passwd": "ada:x:1000:1000:Ada:/home/ada:/bin/bash\n",
    "accounts_shadow": "ada:$6$x$y:19000:0:99999:7:::\n",
    "apptainer_suid": "true",
    "beegfs": "yes",
    "beegfs_connauth": "words",
    "beegfs_mgmtd": "mgmt",
    "bmc": "true",
    "console": "ttyS1,57600n8",
    "disk_mirror": "true",
    "disk_min_gb": "40",
    "disk_os": "wwn-0x5000*",
    "disk_policy": "wipe",
    "disk_root_mb": "20480",
    "disk_state": "yes",
    "disk_state_fs": "xfs",
    "disk_state_mkfs": "-i nrext64=0",
    "disk_swap_mb": "1024",
    "driver_build": "firstboot",
    "exporter_port": "9101",
    "exports": "/export/home, /export/apps",
    "fail2ban": "on",
    "fixed_ids": "munge:401:401,slurm:402:402",
    "gpu_count": "8",
    "gpu_fabric": "true",
    "grafana_admin": 'it\'s "secret" $x',
    "health": "nhc",
    "hostaddr": "10.1.255.254",
    "hosts_table": "10.1.1.2 other\n",
    "hugepages_1g": "16",
    "hugepages_2m": "512",
    "home_map": "* nas-0-0:/export/home/&",
    "ib": "true",
    "ib_addr": "10.2.0.7/16",
    "ib_mode": "connected",
    "kdump": "true",
    "kdump_crashkernel": "512M",
    "kernel_args": "mitigations=auto quiet",
    "Kickstart_PrivateDNSDomain": "cluster.local",
    "Kickstart_PrivateDNSServers": "10.1.1.1,10.1.1.2",
    "Kickstart_PrivateGateway": "10.1.0.1",
    "Kickstart_PrivateKickstartHost": "10.1.1.1",
    "Kickstart_PrivateNetmask": "255.255.0.0",
    "Kickstart_PrivateNTPHost": "10.1.1.1,10.1.1.2",
    "Kickstart_PrivateSyslogHost": "10.1.1.3",
    "login_mem": "16G",
    "login_tasks": "4096",
    "lustre": "true",
    "lustre_lnet": "o2ib0(ib0)",
    "lustre_mounts": "10.1.1.9@o2ib:/work=/work",
    "mac": "52:54:00:12:34:56",
    "module_cert": "-----BEGIN CERTIFICATE-----\n",
    "module_key": "-----BEGIN PRIVATE KEY-----\n",
    "module_path": "/share/modules",
    "munge_key": "AAAA",
    "nas_data": "LABEL=data1:/export/data1",
    "net_bond": "bond0=52:54:00:00:00:01,52:54:00:00:00:02;mode=802.3ad;miimon=100",
    "net_mtu": "9000",
    "net_vlans": "bond0.120=10.9.0.5/16",
    "nfs_mounts": "fe:/export/apps=/share/apps",
    "nhc_conf": "* || check_fs_mount_rw /\n",
    "order_wipe": "true",
    "prometheus_image": "images.example/prometheus:3",
    "alertmanager_image": "images.example/am:1",
    "root_key": KEY,
    "root_keys": f"{KEY}\n{KEY} too\n",
    "root_principals": "ops,night",
    "selinux": "permissive",
    "site_ca": "-----BEGIN CERTIFICATE-----\n",
    "slurm_server": "ctl1,ctl2",
    "slurm_source": "ohpc",
    "ssh_host_ca": KEY,
    "ssh_host_cert": "cert",
    "ssh_host_key": "key\n",
    "ssh_hostbased": "true",
    "ssh_shosts": "a,b",
    "ssh_user_ca": KEY,
    "sssd_conf": "[sssd]\n",
    "syslog_cert": "cert",
    "syslog_key": "key",
    "syslog_tls": "true",
    "toolset": "gcc-toolset-14",
    "tuned_profile": "latency-performance",
    "updates": "security",
    "updates_key": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    "updates_url": "http://10.1.1.1/updates",
    "x11": "true",
}
OTHERWISE: Mapping[str, str] = {
    **EVERYTHING,
    "accounts": "sssd",
    "slurm_source": "distro",
    "slurm_auth": "slurm",
    "slurm_key": "AAAA",
    "slurm_pam": "no",
    "modules": "tcl",
    "gpu_vendor": "amd",
    "driver_build": "prebuilt",
    "firewall": "no",
    "kdump": "no",
    "syslog_tls": "no",
    "mpi_stack": "ohpc",
    "health": "builtin",
    "updates": "frozen",
    "hugepages_1g": "0",
    "Kickstart_PrivateNTPHost": "10.1.1.1",
    "selinux": "enforcing",
    "ldap_uri": "ldaps://ldap.example",
    "ldap_base": "dc=x",
}
OHPC: Mapping[str, str] = {
    **OTHERWISE,
    "accounts": "ipa",
    "slurm_source": "ohpc",
    "modules": "lmod",
    "gpu_vendor": "nvidia",
}
ARM: Mapping[str, str] = {"arch": "aarch64", "kdump": "true", "accounts": "ipa", "sssd_conf": "[sssd]\n"}
SITES: Mapping[str, Mapping[str, str]] = {
    "bare": {}, "everything": EVERYTHING, "otherwise": OTHERWISE, "ohpc": OHPC, "arm": ARM,
}  # fmt: skip


@dataclass(frozen=True)
class Rendered:
    """A script as the host runs it, or the text of one that a <file> writes."""

    where: str
    interpreter: str
    body: str
    chroot: bool = True


@cache
def rolls() -> RollSet:
    return load_rolls([ROOT])


@cache
def attributes_of(appliance: str, release: str, site: str = "bare") -> Attributes:
    return free_attributes(appliance, release, SITES[site])


@cache
def profile_of(appliance: str, release: str, site: str = "bare") -> Profile:
    return compile_profile(rolls(), appliance, attributes_of(appliance, release, site), release=release)


@cache
def kickstart_of(appliance: str, release: str, site: str = "bare") -> str:
    return render(profile_of(appliance, release, site), attributes_of(appliance, release, site))


_POST = re.compile(r"^%post(?P<options>[^\n]*)\n(?P<body>.*?)^%end$", re.MULTILINE | re.DOTALL)
_FOREIGN = re.compile(r"^cat > \"\$avalanche_body\" << '(\w+)'\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_WRITTEN = re.compile(r"cat > (\S+) << '?(AVALANCHE_EOF[0-9]*)'?\n(#!(\S+)\n.*?)^\2$", re.MULTILINE | re.DOTALL)


def scripts_of(appliance: str, release: str, site: str) -> Iterator[Rendered]:
    """Every script of a host: <pre>, %post, bodies for other interpreters, and programs that are written to files."""
    profile, attributes = profile_of(appliance, release, site), attributes_of(appliance, release, site)
    for script in pre_scripts(profile, attributes):
        yield Rendered(f"{script.file} <pre>", script.interpreter, script.body, chroot=False)
    for found in _POST.finditer(kickstart_of(appliance, release, site)):
        body = found["body"]
        where = next((line for line in body.splitlines() if line.startswith("# from ")), "the template")
        interpreter = "/usr/bin/python3" if "python3" in found["options"] else "/bin/bash"
        yield Rendered(where, interpreter, body)
        for foreign in _FOREIGN.finditer(body):
            yield Rendered(where, "/usr/bin/python3", foreign[2])
        for written in _WRITTEN.finditer(body):
            yield Rendered(f"{where}, {written[1]}", written[4], written[3])


def node(name: str) -> NodeFile:
    (file,) = rolls().node(name)
    return file


def planner() -> types.ModuleType:
    """The program of the node partition, as a module."""
    (script,) = [
        section
        for section in node("partition").sections
        if isinstance(section, ScriptSection) and section.interpreter.endswith("python3")
    ]
    (part,) = script.parts
    source = part.text.plain
    assert source is not None
    module = types.ModuleType("partition")
    exec(compile("\n" * (part.line - 1) + source, "nodes/partition.xml", "exec"), module.__dict__)
    return module
