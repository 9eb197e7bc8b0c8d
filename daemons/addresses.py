"""Where daemons listen and whom peers call. The default is the machine itself; anything else has to be asked for."""

from __future__ import annotations

import ipaddress

from ..pipeline.errors import ConfigError

Address = str | tuple[str, int]
LOOPBACK_NAMES = {"localhost", "ip6-localhost"}


def connect_address(address: Address) -> str:
    """`tcp://host:port`, `ipc://path` or (host, port), as a text for zmq."""
    text = address if isinstance(address, str) else _tcp(*_pair(address))
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme == "ipc":
        return f"ipc://{rest}"
    if scheme != "tcp":
        raise ConfigError(f"address {address!r}: {scheme}:// is not supported; write tcp://host:port or ipc://path")
    host, port = _split(rest, address)
    return _tcp(host, port)


def bind_address(address: Address, *, insecure: bool = False) -> str:
    """The same, for a Router to listen on: without keys only this machine may reach it, unless `insecure`."""
    if not isinstance(address, str) and _pair(address)[0] in {"*", ""} and not insecure:
        raise ConfigError(_open_to_all(f"({address[0]!r}, {address[1]})", address[1]))
    text = connect_address(address)
    if text.startswith("ipc://"):
        return text
    host, port = _split(text.removeprefix("tcp://"), address)
    if host in LOOPBACK_NAMES:
        return _tcp("127.0.0.1", port)
    if not insecure and not _is_loopback(host):
        raise ConfigError(_open_to_all(text, port))
    return text


def _open_to_all(shown: str, port: int) -> str:
    return (
        f"refusing to listen on {shown}: other machines could run code here without a key. Write "
        f"('127.0.0.1', {port}) for this machine alone, or give insecure=True (--insecure) on a network you trust"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _pair(address: tuple[str, int]) -> tuple[str, int]:
    match address:
        case (str() as host, int() as port) if not isinstance(port, bool):
            return host, port
    raise ConfigError(f"address {address!r}: write (host, port), as in ('127.0.0.1', 5555), or 'tcp://127.0.0.1:5555'")


def _split(rest: str, shown: Address) -> tuple[str, int]:
    host, separator, port = rest.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"address {shown!r}: write tcp://host:port, as in tcp://127.0.0.1:5555")
    return host, int(port)


def _tcp(host: str, port: int) -> str:
    return f"tcp://{host}:{port}"
