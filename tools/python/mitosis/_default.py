# SPDX-License-Identifier: MIT
# Module functions for the usual case of one connection.
"""The calls of Agent over one connection that is opened at the first call."""
import typing

from ._agent import Agent, Child, HERE

_agent: Agent | None = None


def _default() -> Agent:
    global _agent
    if _agent is None:
        _agent = Agent()
    return _agent


def close() -> None:
    """Closes the connection; the next call opens it again."""
    global _agent
    if _agent is not None:
        _agent.close()
        _agent = None


def prepare(handler: int, policy: str | None = None, *, lossy: bool = False) -> str | None:
    """Agent.prepare: the auth key in the parent, None in a child."""
    return _default().prepare(handler, policy, lossy=lossy)


def prepare_process(pid: int, handler: int, policy: str | None = None, *, alone: bool = False,
                    lossy: bool = False) -> str:
    """Agent.prepare_process: prepares another process; its auth key."""
    return _default().prepare_process(pid, handler, policy, alone=alone, lossy=lossy)


def resume(machine: int, handler: int, key: str | None = None,
           policy: str | None = None) -> None:
    """Agent.resume: becomes a child; does not return."""
    _default().resume(machine, handler, key, policy)


def reclaim(handler: int, machine: int = HERE, key: str | None = None) -> None:
    """Agent.reclaim: ends a handler."""
    _default().reclaim(handler, machine, key)


def connect(machine: int, address: str, nic: int = 0) -> None:
    """Agent.connect: makes a machine known."""
    _default().connect(machine, address, nic)


def nil() -> None:
    """Agent.nil: does nothing, by way of the agent."""
    _default().nil()


def ping(machine: int) -> None:
    """Agent.ping: does nothing, by way of another machine's agent."""
    _default().ping(machine)


def stats() -> dict[str, typing.Any]:
    """Agent.stats: the agent's counters; "machine" is its id."""
    return _default().stats()


def spawn(machine: int, handler: int, key: str | None = None, policy: str | None = None,
          count: int = 1, stdio: tuple[int, int, int] | None = None) -> list[Child]:
    """Agent.spawn: children that the agent makes."""
    return _default().spawn(machine, handler, key, policy, count, stdio)


def wait(timeout: float) -> tuple[int, int] | None:
    """Agent.wait: the next end of a spawned child."""
    return _default().wait(timeout)
