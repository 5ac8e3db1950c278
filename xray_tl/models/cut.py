"""Cutting of a network at its freeze boundary into a frozen part and a trainable part."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import Graph, GraphModule, Node, Tracer
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

IsOpen = Callable[[str], bool]
"""Tells, by its name in the network, whether a parameter, a buffer or a module's stage trains."""


class CannotCutError(Exception):
    """Raised when a network cannot be cut; the message gives the reason."""


@dataclass(frozen=True)
class Halves:
    """Two modules that together compute a network: `after(before(x))` is `net(x)`.

    They hold the network's own modules, in whatever mode and with whatever weights those are.

    Attributes:
        before: Images -> activations at the boundary [B, ...]; nothing in it trains.
        after: Activations at the boundary -> features [B, D].
        code: Operations of `before` as text, which identify the boundary; empty if `before` is the network.
    """

    before: nn.Module
    after: nn.Module
    code: str = ""


def cut(net: nn.Module, state_is_open: IsOpen, module_is_open: IsOpen) -> Halves:
    """Cut a network in front of its first open parameter or buffer.

    Only modules that hold both open and frozen state are traced; every other module stays whole, so that its
    dropout and BatchNorm still follow its own training mode.

    Args:
        net: The network; images in, features out.
        state_is_open: Which of its parameters and buffers train.
        module_is_open: Which of its modules lie in a stage that trains.

    Raises:
        CannotCutError: The code between those modules cannot be followed or depends on the mode, or more than
            one tensor crosses the boundary.
    """
    try:
        kinds = _Kinds(net, state_is_open, module_is_open)
        graph = _trace(net, kinds)
        frozen = _frozen_nodes(graph, kinds)
    except KeyError as error:
        raise CannotCutError(f"{error} belongs to no stage") from error
    crossing = [node for node in graph.nodes if node in frozen and not frozen.issuperset(node.users)]
    if len(crossing) != 1:
        raise CannotCutError(f"{len(crossing)} tensors cross its freeze boundary")
    before, after = Graph(), Graph()
    copies: dict[Node, Node] = {}
    for node in graph.nodes:
        if node in frozen:
            copies[node] = before.node_copy(node, copies.__getitem__)
    before.output(copies[crossing[0]])
    copies = {crossing[0]: after.placeholder("crossing")}
    for node in graph.nodes:
        if node not in frozen:
            copies[node] = after.node_copy(node, copies.__getitem__)
    return Halves(GraphModule(net, before), GraphModule(net, after), str(before))


class _Kinds:
    """Kinds of modules in a network: those with open state, and those with open and frozen state."""

    def __init__(self, net: nn.Module, state_is_open: IsOpen, module_is_open: IsOpen) -> None:
        self.state_is_open = state_is_open
        self.open_modules: set[str] = set()
        self.mixed: set[str] = set()
        for name, module in net.named_modules():
            states = [key for key, _ in (*module.named_parameters(), *module.named_buffers())]
            kinds = {state_is_open(f"{name}.{key}" if name else key) for key in states}
            if len(kinds) == 2:
                self.mixed.add(name)
            if True in kinds or (not kinds and module_is_open(name) and _is_random(module)):
                self.open_modules.add(name)


def _is_random(module: nn.Module) -> bool:
    """Tell whether a module without state draws random numbers in training."""
    return any(
        (isinstance(part, _DropoutNd | StochasticDepth) or "drop" in type(part).__name__.lower())
        and getattr(part, "p", getattr(part, "drop_prob", 1)) != 0
        for part in module.modules()
    )


class _Tracer(Tracer):
    """Tracer that enters only modules that hold both open and frozen state."""

    def __init__(self, mixed: set[str]) -> None:
        super().__init__()
        self._mixed = mixed

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module stays whole."""
        return module_qualified_name not in self._mixed


def _trace(net: nn.Module, kinds: _Kinds) -> Graph:
    """Trace a network's code between its modules, which must be the same in training and evaluation."""
    modes = {module: module.training for module in net.modules()}
    _, *optional = inspect.signature(net.forward).parameters.values()
    left_out = {parameter.name: parameter.default for parameter in optional}
    graphs = []
    try:
        for mode in (True, False):
            net.train(mode)
            followed = GraphModule(net, _Tracer(kinds.mixed).trace(net, left_out))
            # fx asserts that omitted arguments have their defaults; other unused nodes may act in place.
            followed.graph.eliminate_dead_code(lambda node: node.target is not torch._assert)
            graphs.append(followed.graph)
    except Exception as error:  # tracing a network's code can raise any exception
        raise CannotCutError(f"its code cannot be followed ({type(error).__name__}: {error})") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if str(graphs[0]) != str(graphs[1]):
        raise CannotCutError("its code between modules differs between training and evaluation")
    return graphs[0]


def _frozen_nodes(graph: Graph, kinds: _Kinds) -> set[Node]:
    """Return the nodes that depend only on the images and on frozen state."""
    frozen: set[Node] = set()
    for node in graph.nodes:
        is_open = (
            node.op == "output"
            or (node.op == "get_attr" and kinds.state_is_open(str(node.target)))
            or (node.op == "call_module" and str(node.target) in kinds.open_modules)
        )
        if not is_open and frozen.issuperset(node.all_input_nodes):
            frozen.add(node)
    return frozen
