# SPDX-License-Identifier: MIT
"""A python program with numpy, json, zlib and ssl imported, as touched_parent is one in C++.

    numpy_parent.py LIBRARY   the parent; LIBRARY has stamped_prepare
        the parent:  prepare HANDLER POLICY | reclaim HANDLER
        a child:     first | call              and exits at the end of its input
    numpy_parent.py --cold    what is done without mitosis: start, import, call, say when it is done
"""
import json
import ssl
import sys
import time
import zlib

import numpy


def call(number):
    """A request as a small service has them: parse, compute, compress, start a TLS session."""
    rows = json.loads(json.dumps([{'id': i, 'text': str(i * number)} for i in range(500)]))
    square = numpy.arange(10000.0).reshape(100, 100) + number
    mean = float((square @ square.T).mean()) + sum(row['id'] for row in rows)
    packed = zlib.compress(square.tobytes(), 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname='example.org')
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return mean + len(packed) + len(outgoing.read())


def answer(*words):
    sys.stdout.write(' '.join(str(word) for word in words) + '\n')
    sys.stdout.flush()


def live_as_child(first):
    for line in sys.stdin:
        if line == 'first\n':
            answer('ok', first)
        elif line == 'call\n':
            call(2)
            answer('ok', time.monotonic_ns())
        else:
            answer('not a child\'s command:', line.strip())


def live_as_parent(library):
    import ctypes
    sd = library.mitosis_open()
    if sd < 0:
        sys.exit('no agent')
    key, times = ctypes.create_string_buffer(33), (ctypes.c_int64 * 2)()
    call(1)  # warm, as a parent that is worth forking is
    answer('ok')
    for line in iter(sys.stdin.readline, ''):
        words = line.split()
        if words[0] == 'prepare':
            who = library.stamped_prepare(sd, ctypes.c_uint64(int(words[1])), words[2].encode(),
                                          key, times)
            if who == 1:
                return live_as_child(times[1])
            good, results = who == 0, (times[1] - times[0], key.value.decode())
        else:
            good, results = library.mitosis_reclaim(sd, ctypes.c_uint64(int(words[1]))) == 0, ()
        if good:
            answer('ok', *results)
        else:
            library.mitosis_strerror.restype = ctypes.c_char_p
            answer(library.mitosis_strerror().decode())


if sys.argv[1] == '--cold':
    call(1)
    answer('ok', time.monotonic_ns())
else:
    from ctypes import CDLL
    live_as_parent(CDLL(sys.argv[1]))
