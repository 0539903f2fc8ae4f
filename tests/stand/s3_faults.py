"""A proxy in front of an S3-like server that makes requests go wrong, the same way from the same seed.

usage: s3_faults.py TO [--port N] [--seed N] [--unavailable P] [--lost P] [--dropped P] [--delay P:MS] [--twice P]
                    [--only METHOD,…] [--matching TEXT]

  --unavailable  answers 503 SlowDown and passes nothing on
  --lost         passes the request on and closes the connection without the answer: done, and nobody knows
  --dropped      closes the connection and passes nothing on
  --delay        answers so many milliseconds late, after the request was done
  --twice        passes the request on twice and gives the second answer, as a retry inside a client does

P is a share from 0 to 1. Each request takes the same number of random numbers, in the order of arrival. Prints its
address as the first line; SIGTERM ends it, and then it prints what it did as one line of JSON. Also on SIGUSR1, without
ending. Python's standard library only.
"""
import argparse
import http.client
import http.server
import json
import random
import signal
import socketserver
import sys
import threading
import time
import urllib.parse

parser = argparse.ArgumentParser()
parser.add_argument("to")
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--seed", type=int, default=0)
for name in ("unavailable", "lost", "dropped", "twice"):
    parser.add_argument(f"--{name}", type=float, default=0.0)
parser.add_argument("--delay", default="0:0")
parser.add_argument("--only", default="")
parser.add_argument("--matching", default="")
args = parser.parse_args()

target = urllib.parse.urlsplit(args.to)
delay_share, delay_ms = (float(it) for it in args.delay.split(":"))
methods = {it for it in args.only.upper().split(",") if it}
chance = random.Random(args.seed)
lock = threading.Lock()
counts = {it: 0 for it in ("requests", "unavailable", "lost", "dropped", "twice", "delayed")}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization"}
SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>0</RequestId></Error>"""


def decide(method, path):
    """What goes wrong with a request that arrives now, and how many seconds late its answer is."""
    with lock:
        counts["requests"] += 1
        pick, late = chance.random(), chance.random()
        if (methods and method not in methods) or args.matching not in path:
            return None, 0.0
        wait = delay_ms / 1000 if late < delay_share else 0.0
        counts["delayed"] += wait > 0
        below = 0.0
        for what in ("unavailable", "lost", "dropped", "twice"):
            below += getattr(args, what)
            if pick < below:
                counts[what] += 1
                return what, wait
        return None, wait


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.read_body()
        what, wait = decide(self.command, self.path)
        if what == "unavailable":
            return self.answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
        if what == "dropped":
            return self.hang_up()
        status, headers, answer = self.forward(body)
        if what == "twice":
            status, headers, answer = self.forward(body)
        if wait:
            time.sleep(wait)
        if what == "lost":
            return self.hang_up()
        self.answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def forward(self, body):
        onward = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP | {"content-length"}}
        headers["Content-Length"] = str(len(body))
        try:
            onward.request(self.command, self.path, body=body, headers=headers)
            reply = onward.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            onward.close()

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for key, value in headers:
            # The length of an answer without a body (HEAD) is that of the object.
            if key.lower() not in HOP_BY_HOP and (self.command == "HEAD" or key.lower() != "content-length"):
                self.send_header(key, value)
        if self.command != "HEAD" and status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a client that went away


def tell():
    with lock:
        print(json.dumps(counts), flush=True)


server = Server(("127.0.0.1", args.port), Proxy)
signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=tell).start())
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
tell()
sys.stdout.flush()
