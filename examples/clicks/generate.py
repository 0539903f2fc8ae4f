#!/usr/bin/env python3
"""Makes up click events as JSON lines, the same ones for the same seed.

usage: generate.py --events N --out DIR [--seed S] [--files K] [--per-second R] [--dirty SHARE]

Events are R (default 20) a second of event time from 2026-03-01T10:00:00Z on, up to 5 seconds out of order; one in
twenty has no user. --dirty makes a share of the lines unreadable or gives a field the wrong type. A line
is {"event_id","user_id","page","action","amount","ts","agent"}. Standard library only; about 5 million events in half a minute.
"""
import argparse
import os
import random
import time

START = 1772359200  # 2026-03-01T10:00:00Z
PAGES = ["/home", "/search", "/product", "/cart", "/pay"]
PAGE_WEIGHTS = [40, 25, 20, 10, 5]
ACTIONS = ["view", "click", "buy"]
ACTION_WEIGHTS = [80, 17, 3]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone)", "curl/8.5.0", "Mozilla/5.0 (Windows NT 10.0)"]
LATEST_MS = 5000
NO_USER = 20
CHUNK = 10_000


class Seconds(dict):
    """The text of a second, made once."""

    def __missing__(self, second):
        if len(self) > 100_000:
            self.clear()
        text = self[second] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return text


def events(first, count, args, rng, seconds):
    pages = rng.choices(PAGES, PAGE_WEIGHTS, k=count)
    actions = rng.choices(ACTIONS, ACTION_WEIGHTS, k=count)
    agents = rng.choices(AGENTS, k=count)
    draw = rng.random
    for i in range(count):
        number = first + i
        ms = START * 1000 + LATEST_MS + int(number * 1000 / args.per_second) - int(draw() * LATEST_MS)
        user = int(draw() * 10_000 * NO_USER / (NO_USER - 1))
        yield (
            f'{{"event_id":"e{number}","user_id":{user if user < 10_000 else "null"},"page":"{pages[i]}",'
            f'"action":"{actions[i]}","amount":{int(draw() * 10_000) / 100},'
            f'"ts":"{seconds[ms // 1000]}.{ms % 1000:03}Z","agent":"{agents[i]}"}}\n'
        )


def soiled(lines, share, rng):
    for line in lines:
        if rng.random() >= share:
            yield line
        elif rng.random() < 0.5:
            yield line[: len(line) // 2] + "\n"
        else:
            yield line.replace('"amount":', '"amount":"much","was":')


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--events", type=int, required=True)
    args.add_argument("--out", required=True)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--files", type=int, default=4)
    args.add_argument("--per-second", type=float, default=20.0)
    args.add_argument("--dirty", type=float, default=0.0)
    args = args.parse_args()
    rng, seconds = random.Random(args.seed), Seconds()
    os.makedirs(args.out, exist_ok=True)
    for file in range(args.files):
        first, end = args.events * file // args.files, args.events * (file + 1) // args.files
        path = os.path.join(args.out, f"clicks-{file:04}.jsonl")
        # A reader of the folder must never see half a file.
        part = os.path.join(args.out, f".clicks-{file:04}.part")
        with open(part, "w", encoding="utf-8") as out:
            for start in range(first, end, CHUNK):
                lines = events(start, min(CHUNK, end - start), args, rng, seconds)
                out.writelines(soiled(lines, args.dirty, rng) if args.dirty else lines)
        os.replace(part, path)


if __name__ == "__main__":
    main()
