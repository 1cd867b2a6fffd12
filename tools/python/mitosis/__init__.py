# SPDX-License-Identifier: MIT
# The module `mitosis`: what `import mitosis` gives.
"""Remote fork for Python: prepare this process here, resume it there, as often as wanted.

    import mitosis
    key = mitosis.prepare(73)
    if key is None:
        ...  # a child, running wherever somebody has resumed handler 73
    else:
        ...  # the parent, going on; whoever has the key may resume

Or a function at a time (`mitosis.remote`):

    @mitosis.remote(machine=2)
    def count(word):
        return corpus.count(word)  # runs there; the corpus is read from here, page by page

All its threads come along; docs/limits.md tells what becomes of its open files. An agent
(`mitosis agent`) must run on the machine. Failures raise `mitosis.Error`. One thread at a time per
`Agent`.
"""
from ._agent import Agent, Child, Error, HERE, Identity, identity, open
from ._default import (close, connect, nil, ping, prepare, prepare_process, reclaim, resume, spawn,
                       stats, wait)
from ._channel import RemoteError
from ._hooks import Hooks, at_fork
from ._remote import remote

__all__ = ["Agent", "Child", "Error", "HERE", "Hooks", "Identity", "RemoteError", "at_fork",
           "close", "connect", "identity", "nil", "open", "ping", "prepare", "prepare_process",
           "reclaim", "remote", "resume", "spawn", "stats", "wait"]
