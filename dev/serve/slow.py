"""Clients that send or read a byte a second, beside others."""

import http.client
import json
import selectors
import socket
import statistics
import threading
import time

SENDERS = READERS = 25
ROUNDS, SECONDS, WORKERS = 30, 1, 4
MOST = 0.10


def body(**fields):
    return json.dumps({"model": "tiny", "temperature": 0, "ignore_eos": True, **fields}).encode()


def head(server, length):
    return (f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n").encode()


class SlowClients:
    """Half of them send a long body, half read a long stream, all a byte a second."""

    def __init__(self, server):
        self.senders, self.readers = [], []
        for i in range(SENDERS + READERS):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect((server.host, server.port))
            if i < SENDERS:
                s.sendall(head(server, 100000))
                self.senders.append(s)
            else:
                b = body(prompt=f"{i} ", max_tokens=200, stream=True, logprobs=5)
                s.sendall(head(server, len(b)) + b)
                self.readers.append(s)
        self.received = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.wait(1):
            for s in self.senders:
                s.sendall(b" ")
            with selectors.DefaultSelector() as ready:
                for s in self.readers:
                    ready.register(s, selectors.EVENT_READ)
                for key, _ in ready.select(0):
                    self.received += len(key.fileobj.recv(1))

    def close(self):
        self.ended.set()
        self.thread.join()
        for s in self.senders + self.readers:
            s.close()


def speed(server):
    """Tokens a second of clients that do nothing but ask."""
    end, counts = time.monotonic() + SECONDS, [0] * WORKERS

    def work(k):
        c = http.client.HTTPConnection(server.host, server.port)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer " + server.key}
        while time.monotonic() < end:
            c.request("POST", "/v1/completions", body(prompt=f"func {k}", max_tokens=32), headers)
            counts[k] += json.load(c.getresponse())["usage"]["completion_tokens"]
        c.close()

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(k,)) for k in range(WORKERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return sum(counts) / (time.monotonic() - begun)


def check(server, start):
    """Two servers take turns, as a machine is never as fast as a moment ago: one of them has the slow clients."""
    quiet = start()
    slow = SlowClients(server)
    try:
        server.settle("the answers of the slow readers, which are generated as fast as any")
        for s in (server, quiet):  # what both will ask is in their caches
            speed(s)
        alone, beside = [], []
        for k in range(ROUNDS):
            for s, speeds in [(quiet, alone), (server, beside)][:: 1 if k % 2 else -1]:
                speeds.append(speed(s))
        open_now = server.open_connections() - quiet.open_connections()
    finally:
        slow.close()
        quiet.stop()
    ratios = sorted(b / a for a, b in zip(alone, beside))
    loss = 1 - statistics.median(ratios)
    told = (f"{statistics.median(alone):.0f} tokens/s alone, {statistics.median(beside):.0f} beside {SENDERS + READERS} slow clients; of {ROUNDS} rounds "
            f"the median is {-loss:+.1%}, the quartiles {ratios[ROUNDS // 4] - 1:+.1%} and {ratios[-1 - ROUNDS // 4] - 1:+.1%}")
    if slow.received == 0 or open_now < SENDERS + READERS:
        raise AssertionError(f"{told}; but the slow clients read {slow.received} bytes and {open_now} of them were there at the end")
    if loss > MOST:
        raise AssertionError(f"{told}; want at most {-MOST:+.0%}")
    return told
