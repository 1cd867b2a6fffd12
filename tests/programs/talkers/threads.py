# SPDX-License-Identifier: MIT
# A talker with N threads, each asleep on a queue of its own: "add K" has each of them add K to a
# number that it keeps on its stack. Answers with the sum, and what is wrong if anything is.
import queue
import sys
import threading

count = int(sys.argv[1])
questions = [queue.SimpleQueue() for _ in range(count)]
answers = queue.SimpleQueue()


def work(index):
    mine, number, name = questions[index], index, threading.current_thread().name
    ident = threading.get_ident()
    while True:
        number += mine.get()
        fine = name == f"worker-{index}" and ident == threading.get_ident()
        answers.put((index, number, fine))


for i in range(count):
    threading.Thread(target=work, args=(i,), name=f"worker-{i}", daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    for q in questions:
        q.put(int(line.split()[1]))
    seen = [answers.get(timeout=60) for _ in range(count)]
    assert {s[0] for s in seen} == set(range(count)) and all(s[2] for s in seen)
    print(sum(s[1] for s in seen), flush=True)
