"""Rocks' tables, as views on ours, so that people's SQL keeps working; and the only things ``--query`` may read.

Names and columns are those of Rocks 6 and 7. Names compare without regard to case, as they did there. No view shows a
secret's value. ``memberships`` has the column ``Compute`` of the first Rocks, ``nodes`` its ``MAC``, ``IP`` and
``Comment``. ``boot`` is what the next network boot will do: there is no such table, the orders decide.
"""

from __future__ import annotations

from sqlalchemy import Connection

# {ci} compares without regard to case, {now} is the clock, the others are pieces below; both engines read
# `backquoted` names.
VIEWS = {
    "appliances": """
        SELECT id AS `ID`, name {ci} AS `Name`, graph AS `Graph`, root AS `Node`, os AS `OS` FROM av_appliances""",
    "memberships": """
        SELECT id AS `ID`, name {ci} AS `Name`, appliance_id AS `Appliance`, distribution_id AS `Distribution`,
               CASE WHEN public THEN 'yes' ELSE 'no' END AS `Public`,
               CASE WHEN compute THEN 'yes' ELSE 'no' END AS `Compute`
        FROM av_memberships""",
    "distributions": """
        SELECT id AS `ID`, name {ci} AS `Name`, os_release AS `OS_Release`, lang AS `Lang` FROM av_distributions""",
    "rolls": """
        SELECT id AS `ID`, name {ci} AS `Name`, version AS `Version`, arch AS `Arch`, os AS `OS`,
               CASE WHEN enabled THEN 'yes' ELSE 'no' END AS `Enabled` FROM av_rolls""",
    "nodes": """
        SELECT h.id AS `ID`, h.name {ci} AS `Name`, h.membership_id AS `Membership`, h.cpus AS `CPUs`,
               h.rack AS `Rack`, h.`rank` AS `Rank`, h.arch AS `Arch`, h.os AS `OS`, h.runaction AS `RunAction`,
               h.installaction AS `InstallAction`, first_mac.mac AS `MAC`, first_ip.ip AS `IP`,
               h.comment AS `Comment`
        FROM av_hosts h
        LEFT JOIN av_interfaces first_mac ON first_mac.id =
            (SELECT MIN(i.id) FROM av_interfaces i WHERE i.host_id = h.id AND i.mac IS NOT NULL)
        LEFT JOIN av_interfaces first_ip ON first_ip.id =
            (SELECT MIN(i.id) FROM av_interfaces i WHERE i.host_id = h.id AND i.ip IS NOT NULL)""",
    "aliases": "SELECT id AS `ID`, host_id AS `Node`, name {ci} AS `Name` FROM av_aliases",
    "subnets": """
        SELECT id AS `ID`, name {ci} AS `name`, zone {ci} AS `dnszone`, subnet AS `subnet`, netmask AS `netmask`,
               mtu AS `mtu`, servedns AS `servedns` FROM av_networks""",
    "networks": """
        SELECT i.id AS `ID`, i.host_id AS `Node`, i.mac AS `MAC`, i.ip AS `IP`, COALESCE(i.name, h.name) {ci} AS `Name`,
               i.device AS `Device`, i.network_id AS `Subnet`, i.module AS `Module`, i.vlan AS `VlanID`,
               i.options AS `Options`, i.channel AS `Channel`, 0 AS `Disable_KVM`
        FROM av_interfaces i JOIN av_hosts h ON h.id = i.host_id""",
    "bootaction": """
        SELECT id AS `ID`, name {ci} AS `Action`, kernel AS `Kernel`, ramdisk AS `Ramdisk`, args AS `Args`
        FROM av_bootactions""",
    "boot": """
        SELECT h.id AS `ID`, h.id AS `Node`,
               CASE WHEN EXISTS (SELECT 1 FROM av_orders o
                                 WHERE o.host_id = h.id AND o.closed IS NULL AND o.expires > {now})
                    THEN 'install' ELSE 'os' END AS `Action`
        FROM av_hosts h""",
    "categories": """
        SELECT 1 AS `ID`, 'global' AS `Name` UNION ALL SELECT 2, 'os' UNION ALL SELECT 3, 'appliance'
        UNION ALL SELECT 4, 'rack' UNION ALL SELECT 5, 'host'""",
    "resolvechain": """
        SELECT 1 AS `ID`, 'default' AS `Name`, 1 AS `Category`, 10 AS `Precedence`
        UNION ALL SELECT 2, 'default', 2, 20 UNION ALL SELECT 3, 'default', 3, 30
        UNION ALL SELECT 4, 'default', 4, 40 UNION ALL SELECT 5, 'default', 5, 50""",
    "catindex": """
        SELECT MIN(a.id) AS `ID`, {owner} AS `Name`, {category} AS `Category`
        FROM av_attributes a GROUP BY a.scope, a.owner""",
    "attributes": """
        SELECT a.id AS `ID`, a.name AS `Attr`, {shown} AS `Value`, NULL AS `Shadow`,
               {category} AS `Category`, {catindex} AS `Catindex`
        FROM av_attributes a""",
    "vattributes": """
        SELECT a.id AS `ID`, a.name AS `Attr`, {shown} AS `Value`, NULL AS `Shadow`, a.scope AS `Category`,
               {owner} AS `Catindex` FROM av_attributes a""",
    "vnet": """
        SELECT h.name {ci} AS `Name`, m.name {ci} AS `Membership`, p.name {ci} AS `Appliance`, h.rack AS `Rack`,
               h.`rank` AS `Rank`, n.name {ci} AS `Subnet`, n.zone AS `DNSZone`, i.device AS `Device`, i.mac AS `MAC`,
               i.ip AS `IP`, COALESCE(i.name, h.name) {ci} AS `Hostname`
        FROM av_hosts h JOIN av_memberships m ON m.id = h.membership_id JOIN av_appliances p ON p.id = m.appliance_id
        JOIN av_interfaces i ON i.host_id = h.id LEFT JOIN av_networks n ON n.id = i.network_id""",
}


_PIECES = {
    "category": (
        "CASE a.scope WHEN 'global' THEN 1 WHEN 'os' THEN 2 WHEN 'appliance' THEN 3 WHEN 'rack' THEN 4 ELSE 5 END"
    ),
    "owner": "CASE WHEN a.scope = 'global' THEN 'global' ELSE a.owner END",
    "shown": "CASE WHEN a.secret THEN NULL ELSE a.value END",
    "catindex": "(SELECT MIN(b.id) FROM av_attributes b WHERE b.scope = a.scope AND b.owner = a.owner)",
}
_SQLITE = {"ci": "COLLATE NOCASE", "now": "CAST(strftime('%s', 'now') AS INTEGER)"}
_MARIADB = {"ci": "COLLATE utf8mb4_general_ci", "now": "UNIX_TIMESTAMP()"}


def create(connection: Connection) -> None:
    """Make the views anew, as this version of the program knows them."""
    is_sqlite = connection.dialect.name == "sqlite"
    words = _PIECES | (_SQLITE if is_sqlite else _MARIADB)
    # INVOKER: a view gives nobody more than he has; and a dump can be read by another user.
    made = "CREATE VIEW" if is_sqlite else "CREATE SQL SECURITY INVOKER VIEW"
    for name, text in VIEWS.items():
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS `{name}`")
        connection.exec_driver_sql(f"{made} `{name}` AS {text.format(**words)}")
