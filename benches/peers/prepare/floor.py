"""libjpeg-turbo alone: decode a file and encode a 256 px square of it, from memory.

No resize, tokens or writing: nothing that re-encodes can be faster. It times itself, from when
every process has its files in memory, and prints {"seconds", "cpu"}.
"""

import json
import time
from multiprocessing import Barrier, Process, SimpleQueue
from pathlib import Path

import simplejpeg
from work import QUALITY, SIZE, arguments, pairs, parts


def measure(paths: list[str], ready, results) -> None:
    files = [Path(path).read_bytes() for path in paths]
    ready.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for data in files:
        pixels = simplejpeg.decode_jpeg(data)[:SIZE, :SIZE]
        simplejpeg.encode_jpeg(pixels.copy(), quality=QUALITY, colorsubsampling="420")
    results.put((time.perf_counter() - wall, time.process_time() - cpu))


if __name__ == "__main__":
    corpus, _, jobs = arguments()
    ready, results = Barrier(jobs), SimpleQueue()
    work = [[path for path, _ in rows] for rows in parts(pairs(corpus), jobs)]
    processes = [Process(target=measure, args=(paths, ready, results)) for paths in work]
    for process in processes:
        process.start()
    seconds, cpu = zip(*(results.get() for _ in processes))
    for process in processes:
        process.join()
    print(json.dumps({"seconds": max(seconds), "cpu": sum(cpu)}))
