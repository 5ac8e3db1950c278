"""Cutting of a network: into a frozen and a trainable part, or off behind its first stages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Interpreter, Node, Tracer
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
    graph, frozen, crossing = _divided(net, state_is_open, module_is_open)
    before, after = _before(graph, frozen, crossing), Graph()
    copies = {crossing: after.placeholder("crossing")}
    for node in graph.nodes:
        if node not in frozen:
            copies[node] = after.node_copy(node, copies.__getitem__)
    return Halves(GraphModule(net, before), GraphModule(net, after), str(before))


def first_part(
    net: nn.Module, state_is_open: IsOpen, module_is_open: IsOpen, image_size: int
) -> tuple[nn.Module, int]:
    """Cut a network as `cut` does, and average what crosses the boundary over its positions.

    Global pooling and flattening in front of the boundary are left out: a map [B, C, H, W] or [B, H, W, C] is
    averaged over H and W as it leaves the last layer, tokens [B, N, D] over all N, the class token among
    them; a vector [B, D] stays as it is.

    Args:
        net: The network; images in, features out.
        state_is_open: Which of its parameters and buffers are cut off.
        module_is_open: Which of its modules are cut off.
        image_size: Side of the images, pixels, that it is for.

    Returns:
        A network that holds the same modules and tensors under the same names (images [B, 3, H, W] ->
        features [B, D]), and D.

    Raises:
        CannotCutError: It cannot be cut there, or what crosses is none of the above.
    """
    graph, frozen, crossing = _divided(net, state_is_open, module_is_open)
    before = _before(graph, frozen, crossing)
    shapes = _shapes(net, GraphModule(net, before), image_size)
    (output,) = before.find_nodes(op="output")
    crosses = output.all_input_nodes[0]
    last = _last_map(net, crosses, shapes)
    axes, num_features = _positions(shapes.get(last, ()), getattr(net, "output_fmt", "NCHW"))
    kept = Graph()
    copies: dict[Node, Node] = {}
    for node in before.nodes:
        if node.op != "output":
            copies[node] = kept.node_copy(node, copies.__getitem__)
        if node is last and last is not crosses:
            break
    features = kept.call_method("mean", (copies[last], axes)) if axes else copies[last]
    kept.output(features)
    return GraphModule(net, kept, class_name=type(net).__name__), num_features


def _divided(net: nn.Module, state_is_open: IsOpen, module_is_open: IsOpen) -> tuple[Graph, set[Node], Node]:
    """Return a network's graph, its nodes in front of the boundary, and the one that crosses it."""
    try:
        kinds = _Kinds(net, state_is_open, module_is_open)
        graph = _trace(net, kinds)
        frozen = _frozen_nodes(graph, kinds)
    except KeyError as error:
        raise CannotCutError(f"{error} belongs to no stage") from error
    crossing = [node for node in graph.nodes if node in frozen and not frozen.issuperset(node.users)]
    if len(crossing) != 1:
        raise CannotCutError(f"{len(crossing)} tensors cross its freeze boundary")
    return graph, frozen, crossing[0]


def _before(graph: Graph, frozen: set[Node], crossing: Node) -> Graph:
    """Return the graph of the nodes in front of a boundary; its output is the node that crosses it."""
    before = Graph()
    copies: dict[Node, Node] = {}
    for node in graph.nodes:
        if node in frozen:
            copies[node] = before.node_copy(node, copies.__getitem__)
    before.output(copies[crossing])
    return before


class _ShapeRecorder(Interpreter):
    """Interpreter that keeps the shape of every tensor that a node gives."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[Node, tuple[int, ...]] = {}

    def run_node(self, n: Node) -> Any:  # noqa: ANN401  (whatever the node gives)
        """Run a node and record the shape of its tensor."""
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n] = tuple(value.shape)
        return value


@torch.no_grad()
def _shapes(net: nn.Module, before: GraphModule, image_size: int) -> dict[Node, tuple[int, ...]]:
    """Return the shape of every tensor in a graph, found with one black image."""
    device = next(net.parameters()).device
    recorder = _ShapeRecorder(before)
    with _keeping_modes(net):
        net.eval()
        recorder.run(torch.zeros(1, 3, image_size, image_size, device=device))
    return recorder.shapes


def _last_map(net: nn.Module, crossing: Node, shapes: dict[Node, tuple[int, ...]]) -> Node:
    """Return the last map in front of global pooling and flattening; the crossing node if there is none."""
    node = crossing
    while len(shapes.get(node, ())) in (2, 4):
        module = net.get_submodule(str(node.target)) if node.op == "call_module" else None
        if len(shapes[node]) == 4 and not _pools(node, module):
            return node
        before = [given for given in node.all_input_nodes if given in shapes]
        if len(before) != 1 or (module is not None and module.state_dict()):
            break
        (node,) = before
    return crossing


def _pools(node: Node, module: nn.Module | None) -> bool:
    """Tell whether a node pools to a given size, however large its input is."""
    return isinstance(module, nn.AdaptiveAvgPool2d) or node.target is nn.functional.adaptive_avg_pool2d


def _positions(shape: tuple[int, ...], layout: str) -> tuple[tuple[int, ...], int]:
    """Return the axes of positions in features of one square image, and the number of channels."""
    match shape:
        case (1, features):
            return (), features
        case (1, _, features):
            return (1,), features
        case (1, first, height, width) if height == width and (first != height or layout == "NCHW"):
            return (2, 3), first
        case (1, height, width, last) if height == width and (last != height or layout == "NHWC"):
            return (1, 2), last
    raise CannotCutError(f"what leaves it has the shape {list(shape)}: neither maps, tokens nor features")


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


@contextmanager
def _keeping_modes(net: nn.Module) -> Iterator[None]:
    """Put every module back into its own mode, training or evaluation, afterwards."""
    modes = {module: module.training for module in net.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


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
    _, *optional = inspect.signature(net.forward).parameters.values()
    left_out = {parameter.name: parameter.default for parameter in optional}
    graphs = []
    with _keeping_modes(net):
        try:
            for mode in (True, False):
                net.train(mode)
                followed = GraphModule(net, _Tracer(kinds.mixed).trace(net, left_out))
                # fx asserts that omitted arguments have their defaults; other unused nodes may act in place.
                followed.graph.eliminate_dead_code(lambda node: node.target is not torch._assert)
                graphs.append(followed.graph)
        except Exception as error:  # tracing a network's code can raise any exception
            raise CannotCutError(f"its code cannot be followed ({type(error).__name__}: {error})") from error
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
