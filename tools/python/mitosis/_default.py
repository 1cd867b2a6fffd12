# SPDX-License-Identifier: MIT
# Module functions for the usual case of one connection.
"""The calls of Agent over one connection that is opened at the first call."""
from ._agent import Agent, HERE

_agent = None


def _default():
    global _agent
    if _agent is None:
        _agent = Agent()
    return _agent


def close():
    """Closes the connection; the next call opens it again."""
    global _agent
    if _agent is not None:
        _agent.close()
        _agent = None


def prepare(handler, policy=None):
    """Agent.prepare: the auth key in the parent, None in a child."""
    return _default().prepare(handler, policy)


def resume(machine, handler, key, policy=None):
    """Agent.resume: becomes a child; does not return."""
    _default().resume(machine, handler, key, policy)


def reclaim(handler, machine=HERE, key=None):
    """Agent.reclaim: ends a handler."""
    _default().reclaim(handler, machine, key)


def connect(machine, address, nic=0):
    """Agent.connect: makes a machine known."""
    _default().connect(machine, address, nic)


def nil():
    """Agent.nil: does nothing, by way of the agent."""
    _default().nil()


def spawn(machine, handler, key, policy=None, count=1, stdio=None):
    """Agent.spawn: children that the agent makes."""
    return _default().spawn(machine, handler, key, policy, count, stdio)


def wait(timeout):
    """Agent.wait: the next end of a spawned child."""
    return _default().wait(timeout)
