# SPDX-License-Identifier: MIT
"""The bars: what is promised, and which benchmarks tell whether it is kept.

A bar's `of` are benchmarks of `program`, by their names' beginnings; where several are meant (the
policies), the best one counts. `relate` makes the bar's number of a benchmark's median value and
floor.
"""

from dataclasses import dataclass
from typing import Callable


def ratio(value, floor):
    """How many times the floor, or the peer, the value is."""
    return value / floor


def speedup(value, floor):
    """How many times faster than the peer it is."""
    return floor / value


def itself(value, _floor):
    return value


@dataclass(frozen=True)
class Bar:
    name: str
    program: str
    of: str
    bar: float
    unit: str
    relate: Callable[[float, float], float] = itself
    at_least: bool = False  # the bar is a least value, not a greatest
    floor: str = ''  # what the floor or peer is
    floor_unit: str = ''  # of the benchmark's value and floor, where not the bar's
    against: str = ''  # another benchmark whose value is the floor
    issue: int = 2  # that asks for it

    def passed(self, value):
        return value >= self.bar if self.at_least else value <= self.bar


PAUSES = [Bar(f'prepare_pause_{mib}MiB', 'bar_prepare_pause', f'prepare_pause/{mib}/', 1.3,
              'x fork()', ratio, floor='fork() of the same process', floor_unit='ms')
          for mib in (1, 16, 64, 256, 1024)]

FAULTS = [Bar(f'random_fault_{mib}MiB', 'bar_random_fault', f'random_fault/{mib}/', 1.3, 'x floor',
              ratio, floor='TCP round trip + bare fault', floor_unit='us')
          for mib in (64, 1024)]

BARS = PAUSES + [
    Bar('first_instruction_c', 'bar_first_instruction', 'first_instruction/c/', 2, 'ms'),
    Bar('first_instruction_python_numpy', 'bar_first_instruction',
        'first_instruction/python_numpy/', 4, 'ms'),
    Bar('python_first_call', 'bar_python_call', 'python_call/', 5, 'x faster', speedup,
        at_least=True, floor='cold start and the same call', floor_unit='ms'),
    Bar('python_first_call_uncached', 'bar_python_call', 'python_call/uncached/', 5, 'x faster',
        speedup, at_least=True, floor='cold start and the same call', floor_unit='ms'),
    Bar('python_first_call_again', 'bar_python_call', 'python_call/again/', 5, 'x faster',
        speedup, at_least=True, floor='cold start and the same call', floor_unit='ms'),
    Bar('sequential_256MiB', 'bar_sequential_read', 'sequential_read/faulting/', 1.6, 'x floor',
        ratio, floor='slower of TCP stream and UFFDIO_COPY', floor_unit='ms'),
    Bar('sequential_256MiB_eager', 'bar_sequential_read', 'sequential_read/eager/', 1.3, 'x floor',
        ratio, floor='slower of TCP stream and UFFDIO_COPY', floor_unit='ms'),
] + FAULTS + [
    Bar('random_fault_growth', 'bar_random_fault', 'random_fault/1024/', 1.2, 'x at 64 MiB', ratio,
        floor='the fault at 64 MiB', floor_unit='us', against='random_fault/64/'),
    Bar('second_child_page', 'bar_second_child', 'second_child/us_a_page/', 1.5, 'us',
        floor='first child', floor_unit='us'),
    Bar('second_child_memory', 'bar_second_child', 'second_child/memory/', 5, '% of 256 MiB'),
    Bar('spawn_rate', 'bar_spawn', 'spawn/children_a_second/', 300, '1/s', at_least=True),
    Bar('spawn_growth', 'bar_spawn', 'spawn/growth/', 0, 'fds, threads, processes, MiB'),
    Bar('descriptor_1GiB', 'bar_descriptor', 'descriptor_of_1GiB/', 64, 'KiB'),
    Bar('capture_stop_python_4', 'bar_capture_stop', 'capture_stop/python_4/', 3, 'ms',
        floor='beside fork() of it', floor_unit='ms', issue=3),
    Bar('capture_stop_python_150', 'bar_capture_stop', 'capture_stop/python_150/', 20, 'ms',
        floor='beside fork() of it', floor_unit='ms', issue=3),
    Bar('capture_stop_java_22', 'bar_capture_stop', 'capture_stop/java_22/', 8, 'ms', issue=3),
    Bar('first_instruction_java', 'bar_first_instruction', 'first_instruction/java/', 8, 'ms',
        issue=3),
    Bar('first_instruction_node', 'bar_first_instruction', 'first_instruction/node/', 12, 'ms',
        issue=3),
    Bar('ud_nil_call', 'bar_calls.py', 'calls/nil/', 1.25, 'x ib_send_lat', ratio,
        floor='ib_send_lat -c UD there and back', floor_unit='us', issue=4),
    Bar('ud_nil_call_asleep', 'bar_calls.py', 'calls/nil_asleep/', 1.25, 'x ib_send_lat', ratio,
        floor='ib_send_lat -c UD -e there and back', floor_unit='us', issue=4),
    Bar('pool_connect', 'bar_calls.py', 'connect/rdma_cm/', 20, 'x faster', speedup, at_least=True,
        floor="rdma_cm's connect", floor_unit='us', issue=4),
    Bar('pool_connect_raw', 'bar_calls.py', 'connect/raw/', 1, 'x faster', speedup, at_least=True,
        floor='a bare handshake over TCP', floor_unit='us', issue=4),
    Bar('pool_attach_and_connect', 'bar_calls.py', 'connect/attach/', 1, 'x faster', speedup,
        at_least=True, floor="rdma_cm's connect", floor_unit='us', issue=4),
    Bar('dct_memory_1000_peers', 'bar_dct_memory', 'dct_memory/', 0, 'bytes more than for 32',
        floor='all of the reading side in KiB', issue=4),
    Bar('verbs_read_latency', 'bar_verbs.py', 'verbs/read_latency/', 1.15, 'x ib_read_lat', ratio,
        floor='ib_read_lat -s 4096, typical', floor_unit='us', issue=4),
    Bar('verbs_read_bandwidth', 'bar_verbs.py', 'verbs/read_bandwidth/', 0.9, 'x ib_read_bw', ratio,
        at_least=True, floor='ib_read_bw -s 65536', floor_unit='MB/s', issue=4),
    Bar('verbs_resume', 'bar_verbs.py', 'verbs/resume/', 1, 'x TCP', ratio,
        floor='the same over TCP', floor_unit='ms', issue=4),
    Bar('kernel_fault', 'bar_kernel.py', 'kernel/fault/', 1.5, 'x faster', speedup, at_least=True,
        floor="the agent's over the same RDMA", floor_unit='us', issue=5),
    Bar('kernel_first_instruction', 'bar_kernel.py', 'kernel/first_instruction/', 1, 'x faster',
        speedup, at_least=True, floor="the agent's", floor_unit='ms', issue=5),
    Bar('kernel_prefetch', 'bar_kernel.py', 'kernel/sequence/', 2, 'x faster', speedup,
        at_least=True, floor='2 MiB page by page', floor_unit='ms', issue=5),
    Bar('kernel_prepare', 'bar_kernel.py', 'kernel/prepare/', 0.5, 'x fork', ratio,
        floor='fork() of the same 256 MiB', floor_unit='ms', issue=5),
]
