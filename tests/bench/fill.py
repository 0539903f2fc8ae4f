"""Fills a topic of four partitions with the lines of all files in a folder: fill.py SERVERS TOPIC FOLDER"""
import pathlib
import sys

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

servers, topic, folder = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": servers})
admin.create_topics([NewTopic(topic, 4, 1)])[topic].result()
producer = Producer(
    {"bootstrap.servers": servers, "linger.ms": 50, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000,
     "enable.idempotence": True}
)
number = 0
for path in sorted(pathlib.Path(folder).iterdir()):
    with open(path, "rb") as lines:
        for line in lines:
            while True:
                try:
                    producer.produce(topic, line.rstrip(b"\n"), partition=number % 4)
                    break
                except BufferError:
                    producer.poll(0.1)
            number += 1
            if number % 10_000 == 0:
                producer.poll(0)
producer.flush()
print(f"{number} events in {topic}")
