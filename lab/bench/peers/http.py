"""Plain HTTP: nginx serves, curl fetches 8 files at a time; and the same through a squid, one for all hosts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.bench.arena import CURL, HTTP_PORT, PROXY, PROXY_ADDRESS, Seat
from lab.bench.peers.programs import Program, Programs

SQUID_PORT = 3128
# Between two writes to one of 128 connections that share the link more than nginx's usual minute passes.
_NGINX = """\
daemon off; master_process off; user root; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; send_timeout 600s;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen {port}; root {root}; }}
}}
"""
# As distributions recommend for packages: everything in memory, one fetch for all who want the same at once.
_SQUID = """\
http_port {port}
acl all src all
http_access allow all
cache_mem {megabytes} MB
memory_cache_shared off
maximum_object_size 2048 MB
maximum_object_size_in_memory 2048 MB
collapsed_forwarding on
refresh_pattern . 1440 100% 1440 override-expire
quick_abort_min -1 KB
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
coredump_dir /
netdb_filename none
pinger_enable off
hosts_file none
dns_nameservers 127.0.0.1
visible_hostname proxy
shutdown_lifetime 0 seconds
max_filedescriptors 8192
"""


# A sender whose packets its own full queue drops gives a connection up after so many half seconds without one of them
# getting out (tcp_retries2, 15); 128 connections wait longer for their turn. Elsewhere the queue is a switch's.
_PATIENT = ("sh", "-c", 'echo 255 > /proc/sys/net/ipv4/tcp_retries2 && exec "$@"', "server")


def nginx(folder: Path, root: Path) -> Program:
    """A plain server on the frontend for the files below ``root``."""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=HTTP_PORT, root=root))
    return Program("frontend", (*_PATIENT, "nginx", "-c", str(config), "-e", str(folder / "nginx.log")), HTTP_PORT)


class Http(Programs):
    """nginx and curl."""

    name = "http"

    def servers(self) -> list[Program]:
        return [nginx(self.folder, self.arena.generation.path)]

    def client(self, seat: Seat) -> Sequence[str]:
        config = seat.folder / "curl.conf"
        (seat.folder / "files").mkdir()
        config.write_text(self.arena.downloads(self.arena.closure(seat).entries, seat.folder / "files"))
        return (*CURL, *self.options(), "--config", str(config))

    def options(self) -> Sequence[str]:
        """More options for curl."""
        return ()


class Squid(Http):
    """The same, and a caching proxy with a link of its own between."""

    name = "squid"

    def servers(self) -> list[Program]:
        # It gives up being root, and may not write anywhere near us: what it says goes to its standard error.
        config = self.folder / "squid.conf"
        megabytes = 64 + 2 * self.arena.closures.union // 1_000_000
        config.write_text(_SQUID.format(port=SQUID_PORT, megabytes=megabytes))
        squid = Program(PROXY, (*_PATIENT, "squid", "-N", "-d", "1", "-f", str(config)), SQUID_PORT)
        return [*super().servers(), squid]

    def options(self) -> Sequence[str]:
        return ("--proxy", f"http://{PROXY_ADDRESS}:{SQUID_PORT}")
