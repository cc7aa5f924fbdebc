"""A client that is cheaper than what it measures: threads with one raw, persistent connection each."""

import socket
import threading
import time
from collections.abc import Callable
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


def rate(port: int, request: Request, seconds: float) -> float:
    """Return how many requests a second are answered with 2xx; anything else ends the run."""
    answered = [0] * CLIENTS
    failures: list[BaseException] = []
    until = time.perf_counter() + seconds

    def drive(place: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while time.perf_counter() < until:
                    connection.sendall(request(next(_serial)))
                    _expect_success(connection)
                    answered[place] += 1
        except BaseException as failure:  # noqa: BLE001 told below, by the thread that waits
            failures.append(failure)

    threads = [threading.Thread(target=drive, args=(place,)) for place in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(answered) / (time.perf_counter() - started)


def _expect_success(connection: socket.socket) -> None:
    received = connection.recv(65536)
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    if b" 2" not in head[:12]:
        raise RuntimeError(received.decode())
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += _more(connection)
    else:
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise ConnectionError("The server closed the connection.")
    return received
