"""Produces click documents at an even rate: feed.py SERVERS TOPIC EVENTS_PER_SECOND SECONDS

Each step, a millisecond, goes to the next partition, as records without a key stay together.
Each has `sent`, the wall clock in microseconds just before it was handed to the client, and `ts`, the same to the second.
Ends with a line that tells how many were sent and how late the slowest step was.
"""
import sys
import time

from confluent_kafka import Producer

STEP_S = 0.001
CLICK = (
    '{"event_id":"e%d","user_id":%d,"page":"%s","action":"view","amount":12.5,"ts":"%s","sent":%d,'
    '"agent":"Mozilla/5.0 (X11; Linux x86_64)"}'
)
PAGES = ["/home", "/search", "/product", "/cart", "/pay"]

servers, topic = sys.argv[1:3]
rate, seconds = float(sys.argv[3]), float(sys.argv[4])
settings = {"linger.ms": 1, "compression.type": "lz4", "enable.idempotence": True, "queue.buffering.max.messages": 2_000_000}
producer = Producer({"bootstrap.servers": servers, **settings})
started, sent, steps, late = time.monotonic(), 0, 0, 0.0
while (elapsed := time.monotonic() - started) < seconds:
    due = int(elapsed * rate)
    late = max(late, (due - sent) / rate - STEP_S)
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    while sent < due:
        click = CLICK % (sent, sent % 10_000, PAGES[sent % 5], text, time.time_ns() // 1000)
        producer.produce(topic, click, partition=steps % 4)
        sent += 1
    steps += 1
    producer.poll(0)
    time.sleep(STEP_S)
producer.flush()
print(f'{{"sent": {sent}, "per_s": {sent / seconds:.0f}, "latest_step_ms": {late * 1000:.1f}}}')
