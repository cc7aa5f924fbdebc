"""A bad line between a partner and the server: it breaks at any stage of a request."""

import random
import socket
import socketserver
import struct
import threading
import time

STAGES = ("unsent", "half_sent", "late", "unanswered", "half_answered")
"""Where a connection is cut: before anything of the request reaches the server; half-way through it; at once, while the
whole of it is on its way and arrives late; when the answer, and so the COMMIT before it, is there, but none of it has
been passed on; half-way through the answer."""

CUTS = 0.6
"""Of how many connections it cuts."""

LATEST = 0.05
"""How many seconds late a request arrives at most."""


class BadLine(socketserver.ThreadingTCPServer):
    """Passes requests on to a server's port, and answers back, unless it cuts; `stages` has one for each connection."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self, server_port, seed):
        self.server_port, self.lots, self.stages = server_port, random.Random(seed), []
        super().__init__(("127.0.0.1", 0), Connection)

    @property
    def port(self):
        return self.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Connection(socketserver.BaseRequestHandler):
    """One request and its answer, or as much of them as gets through."""

    def handle(self):
        self.lot = random.Random(self.server.lots.random())
        stage = self.lot.choice(STAGES) if self.lot.random() < CUTS else None
        self.server.stages.append(stage)
        request = message(self.request)
        if stage == "unsent":
            self.cut()
            return
        if stage == "late":
            self.cut()
            time.sleep(self.lot.uniform(0, LATEST))
        with socket.create_connection(("127.0.0.1", self.server.server_port)) as server:
            if stage == "half_sent":
                server.sendall(self.part(request))
                self.cut()
                return
            server.sendall(request)
            if stage == "late" and self.lot.random() < 0.5:
                return  # whether there is still somebody to answer makes no difference
            answer = message(server)
        if stage is None:
            self.request.sendall(answer)
        elif stage != "late":
            if stage == "half_answered":
                self.request.sendall(self.part(answer))
            self.cut()

    def part(self, message):
        """Return the beginning of a message: at least a byte, and not all of it."""
        return message[: self.lot.randrange(1, len(message))]

    def cut(self):
        """End the connection, politely or by a reset, which takes what is still on its way with it."""
        if self.lot.random() < 0.5:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.close()


def message(line):
    """Read a whole request or answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += read(line)
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(field.lower().split(b": ", 1) for field in head.split(b"\r\n")[1:])
    missing = int(fields.get(b"content-length", 0)) - len(body)
    while missing > 0:
        received += (more := read(line))
        missing -= len(more)
    return received


def read(line):
    received = line.recv(65536)
    if not received:
        raise ConnectionError("The other end is gone.")
    return received
