"""--query: Rocks' SQL keeps working on both engines, and nothing but reading of what is not secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avalanche.adapters.database import Database
from avalanche.adapters.query import query_hosts, run_query
from avalanche.adapters.views import VIEWS
from avalanche.cluster import Appliance, Host, Interface, Membership, Setting
from avalanche.errors import ClusterError
from avalanche.network import Network, parse_addresses

SECRET = "$6$the-secret-value"


@pytest.fixture(autouse=True)
def cluster(database: Database) -> None:
    with database.transaction() as transaction:
        transaction.add_appliance(Appliance("nfs", "nfs"))
        transaction.add_appliance(Appliance("switch", "switch"), membership=Membership("Ethernet Switches", "switch"))
        transaction.add_network(Network("private", parse_addresses("10.0.0.0/8"), "local"))
        transaction.add_hosts(
            [
                Host(
                    f"compute-{rack}-{rank}", "compute", rack, rank,
                    (Interface(f"52:54:00:00:{rack:02x}:{rank:02x}", f"10.{rack}.0.{rank + 1}", "eth0", "private"),),
                )
                for rack in range(2)
                for rank in range(2)
            ]
        )  # fmt: skip
        transaction.add_host(Host("nfs-1-0", "nfs", 1, 0, comment="NFS Server in Cabinet 1", aliases=("home",)))
        transaction.set_attribute(Setting("global", "", "root_password", SECRET, secret=True))
        transaction.set_attribute(Setting("host", "nfs-1-0", "timezone", "UTC"))
        for number in range(10):
            transaction.set_attribute(Setting("global", "", f"filler{number}", "x"))


def test_the_first_query_of_the_paper_works(database: Database) -> None:
    found = query_hosts(database.where, "select name from nodes where rack=1")
    assert sorted(found) == ["compute-1-0", "compute-1-1", "nfs-1-0"]


def test_the_second_query_of_the_paper_works(database: Database) -> None:
    query = """select nodes.name from nodes,memberships where \
nodes.membership = memberships.id and \
memberships.name = 'Compute'"""
    assert sorted(query_hosts(database.where, query)) == [
        f"compute-{rack}-{rank}" for rack in (0, 1) for rank in (0, 1)
    ]


def test_the_queries_of_the_documentation_work(database: Database) -> None:
    page = (Path(__file__).parents[2] / "docs" / "database.md").read_text()
    found = [query.replace("\\\n", "") for query in re.findall(r'--query="([^"]*)"', page)]
    assert [len(query_hosts(database.where, query)) for query in found] == [3, 4]


QUERIES: list[tuple[str, list[tuple[object, ...]]]] = [
    ("SELECT Name FROM Nodes WHERE Name = 'COMPUTE-0-0'", [("compute-0-0",)]),
    ("select NODES.Name from NODES where Nodes.rack = 0 and name like 'compute-%' and `rank` = 1",
     [("compute-0-1",)]),
    ("select n.name, w.ip from nodes n join networks w on w.node = n.id where w.mac like '52:54:00:00:01:00'",
     [("compute-1-0", "10.1.0.1")]),
    ("select name from memberships where compute='yes'", [("Compute",)]),
    ("select name from memberships where public='yes' order by name",
     [("Compute",), ("Ethernet Switches",), ("Nfs",)]),
    ("select node from appliances where name='nfs'", [("nfs",)]),
    ("select nodes.name from nodes, aliases where aliases.node=nodes.id and aliases.name='HOME'", [("nfs-1-0",)]),
    ("select subnet, netmask, dnszone, mtu, servedns from subnets", [("10.0.0.0", "255.0.0.0", "local", 1500, 0)]),
    ("select count(*) from vnet where membership='compute' and subnet='private'", [(4,)]),
    ("select mac, ip, comment, cpus, arch, os, runaction, installaction from nodes where name='nfs-1-0'",
     [(None, None, "NFS Server in Cabinet 1", 1, "x86_64", "linux", "os", "install")]),
    ("select a.attr, a.value from attributes a, catindex i, categories c where a.catindex=i.id and a.category=c.id "
     "and c.name='host' and i.name='nfs-1-0'", [("timezone", "UTC")]),
    ("select attr, value, shadow from attributes where attr='root_password'", [("root_password", None, None)]),
    ("select value from vattributes where attr='root_password'", [(None,)]),
    ("select n.name from boot b join nodes n on n.id = b.node where b.action = 'install'", []),
    ("select concat(name, '.local') from nodes where inet_aton(ip) between inet_aton('10.1.0.2') and 167837999",
     [("compute-1-1.local",)]),
    ("select concat(name, ip) from nodes where name='nfs-1-0'", [(None,)]),
    ("select inet_ntoa(inet_aton(max(ip)) - 1), inet_ntoa(null), inet_ntoa(-1) from networks",
     [("10.1.0.1", None, None)]),
    ("select concat_ws('-', name, null, rack), concat_ws(null, name) from nodes where name = 'nfs-1-0'",
     [("nfs-1-0-1", None)]),
    ("select if(rack=0, 'zero', name), if('1x', 1, 2), if('x', 1, 2), if(null, 1, 2), if(0.5, 1, 2) from nodes "
     "where name like '%-1-0' or name = 'compute-0-0' order by name",
     [("zero", 1, 2, 2, 1), ("compute-1-0", 1, 2, 2, 1), ("nfs-1-0", 1, 2, 2, 1)]),
    ("with r(rack) as (select 1) select name from nodes where rack in (select rack from r) and name like 'nfs%';",
     [("nfs-1-0",)]),
]  # fmt: skip


def test_sql_as_people_wrote_it_for_rocks(database: Database) -> None:
    for query, rows in QUERIES:
        assert (query, list(run_query(database.where, query).rows)) == (query, rows)


def test_every_view_can_be_read_and_shows_no_secret(database: Database) -> None:
    for name in VIEWS:
        assert SECRET not in repr(run_query(database.where, f"select * from {name}"))


ATTACKS = [
    "delete from nodes",
    "update nodes set name='x'",
    "insert into nodes values (1)",
    "drop table av_hosts",
    "select value from av_attributes",
    "select value from `av_attributes`",
    'select value from "AV_Attributes"',
    "select value from [av_attributes]",
    "select value from main.av_attributes",
    "with nodes as (select value as name from av_attributes) select name from nodes",
    "select name from nodes union select value from av_attributes",
    "select name from nodes; delete from av_hosts",
    "select name from nodes; select 1",
    "select 1 /*! into outfile '/tmp/x' */",
    "select name from nodes into outfile '/tmp/x'",
    "select load_file('/etc/passwd')",
    "select table_name from information_schema.tables",
    "select user from mysql.user",
    "select user from `mysql` . `user`",
    "select sql from sqlite_master",
    "select * from pragma_table_info('nodes')",
    "pragma table_info(nodes)",
    "select load_extension('x')",
    "select @@version",
    "select name from nodes for update",
    "select get_lock('x', 1)",
    "select sleep(100)",
    "attach database '/tmp/x' as x",
    "vacuum into '/tmp/x'",
    "explain select 1",
    "begin",
    "set global max_connections = 1",
    "",
    "select name from nodes\x00",
    "select name from nodes where (",
    "select nothing from nodes",
    "select version_num from alembic_version",
]  # fmt: skip


def test_anything_else_is_refused_in_one_line_and_changes_nothing(database: Database) -> None:
    for query in ATTACKS:
        with pytest.raises(ClusterError) as refused:
            print(query, run_query(database.where, query))
        assert str(refused.value).startswith("--query: ")
        assert "\n" not in str(refused.value)
    with database.snapshot() as transaction:
        assert len(transaction.cluster().hosts) == 5


def test_a_query_without_end_is_ended(database: Database) -> None:
    endless = "select count(*) from " + ", ".join(f"attributes a{number}, nodes n{number}" for number in range(7))
    with pytest.raises(ClusterError, match=r"took more than 0\.3 seconds"):
        run_query(database.where, endless, seconds=0.3)


def test_the_first_column_must_name_hosts(database: Database) -> None:
    with pytest.raises(ClusterError, match=r"the first column, rack, has 0; it must name hosts"):
        query_hosts(database.where, "select rack as rack from nodes where rack = 0")
