"""The one door to the machine: the only place with subprocess, file writes, HTTP and systemd. Knows no purpose."""

from hubd.host.host import Host, local_host

__all__ = ["Host", "local_host"]
