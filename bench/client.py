"""A client that is cheaper than what it measures: raw, persistent connections in one thread."""

import json
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from itertools import count

Request = Callable[[int], bytes]
"""Makes the n-th request of a kind."""

CLIENTS = 8
_serial = count(1)


def http(method: str, path: str, key: str, body: str = "", **headers: str) -> bytes:
    """Return a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Conversation:
    """One connection: a request, its whole answer, the next request."""

    def __init__(self, port: int, request: Request) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.received = b""
        self.awaited = 0

    def ask(self) -> None:
        """Send the next request."""
        self.received, self.awaited = b"", 0
        self.socket.sendall(self.request(next(_serial)))

    def hear(self) -> bool:
        """Read what has come; tell whether the answer is whole. Anything but 2xx ends the run."""
        part = self.socket.recv(262144)
        if not part:
            raise ConnectionError("The server closed the connection.")
        self.received += part
        if not self.awaited and (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            if b" 2" not in head[:12]:
                raise RuntimeError(self.received.decode())
            self.awaited = end + 4 + int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return bool(self.awaited) and len(self.received) >= self.awaited


def rate(port: int, request: Request, seconds: float) -> float:
    """Return how many requests a second are answered, over `CLIENTS` connections."""
    answered = 0
    with selectors.DefaultSelector() as ready:
        conversations = [Conversation(port, request) for _ in range(CLIENTS)]
        started = time.perf_counter()
        for conversation in conversations:
            ready.register(conversation.socket, selectors.EVENT_READ, conversation)
            conversation.ask()
        while (now := time.perf_counter()) < started + seconds:
            for found, _ in ready.select(timeout=5):
                if found.data.hear():
                    answered += 1
                    found.data.ask()
        for conversation in conversations:
            conversation.socket.close()
    return answered / (now - started)


def agree(ports: Iterable[int], request: bytes) -> None:
    """Make sure that everybody answers a request with the same JSON."""
    told = []
    for port in ports:
        conversation = Conversation(port, lambda _: request)
        conversation.ask()
        while not conversation.hear():
            pass
        conversation.socket.close()
        told.append(json.loads(conversation.received.partition(b"\r\n\r\n")[2]))
    if any(one != told[0] for one in told):
        raise RuntimeError(f"They answer differently: {told}")
