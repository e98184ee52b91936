"""Nodes that are added before or after a graph that was made, where it is entered or left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import NodeProto, helper

from tleg.export.interface import INSIDE
from tleg.export.onnx.file import Values


@dataclass(slots=True)
class AddedNodes:
    """Nodes that enter or leave a graph; their names and those of their values begin with `INSIDE`.

    values  the graph's initializers, to which those of the nodes come
    """

    values: dict[str, Values]
    nodes: list[NodeProto] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output of this name, and return the name that it has in the graph."""
        name = f"{INSIDE}{output}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Values) -> str:
        """Add an initializer, and return the name that it has in the graph."""
        self.values[f"{INSIDE}constant.{name}"] = values
        return f"{INSIDE}constant.{name}"
