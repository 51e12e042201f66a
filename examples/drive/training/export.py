"""Write what is shipped: the averaged weights as half-precision safetensors, and the network as ONNX.

    cd examples/drive
    python -m training.export --checkpoint runs/drive/checkpoint.pt --out weights/drive

The ONNX files keep their weights in half precision as well and widen them when they are loaded: half the size, and
the arithmetic of play stays float32.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn
from world import CONTEXT, GRAPHS, HEIGHT, MEMORY, WIDTH

from training.enlarger import Enlarger
from training.network import CONDITION, Drive, Made, load

WEIGHTS = "drive.safetensors"


class _Clamped(nn.Module):
    """The network as it is played: its picture within 0..1."""

    def __init__(self, network: Drive) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor, condition: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        made: Made = self.network(pictures, condition, memory)
        return made.picture.clamp(0, 1), made.memory


class _Larger(nn.Module):
    """The enlarger, likewise."""

    def __init__(self, enlarger: Enlarger) -> None:
        super().__init__()
        self.enlarger = enlarger

    def forward(self, picture: Tensor) -> Tensor:
        larger: Tensor = self.enlarger(picture)
        return larger.clamp(0, 1)


def export(network: Drive, out: Path, about: dict[str, str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(halves, out / WEIGHTS, metadata=about)
    rounded = load(out / WEIGHTS)
    pictures, picture = torch.rand(1, len(CONTEXT), 3, HEIGHT, WIDTH), torch.rand(1, 3, HEIGHT, WIDTH)
    given = {"pictures": pictures, "condition": torch.zeros(1, CONDITION), "memory": torch.zeros(1, MEMORY)}
    _export(_Clamped(rounded), given, ["picture", "remembered"], out / GRAPHS[0], about)
    _export(rounded.reader, {"picture": picture}, ["memory"], out / GRAPHS[1], about)
    _export(_Larger(rounded.enlarger), {"picture": picture}, ["larger"], out / GRAPHS[2], about)


def _export(
    module: nn.Module, given: dict[str, Tensor], outputs: list[str], path: Path, about: dict[str, str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter uses what its own library gives up
        program = torch.onnx.export(
            module.eval(),
            tuple(given.values()),
            input_names=list(given),
            output_names=outputs,
            dynamo=True,
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    onnx.save(_with_half_weights(program.model_proto, about), path)


def _with_half_weights(model: onnx.ModelProto, about: dict[str, str]) -> onnx.ModelProto:
    graph = model.graph
    kept, widened = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 64:
            kept.append(tensor)
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            kept.append(tensor)  # a constant of the graph, not one of the rounded weights
            continue
        name = f"{tensor.name}.half"
        kept.append(numpy_helper.from_array(half, name))
        widened.append(helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(widened + nodes)
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del graph.value_info[:]
    helper.set_model_props(model, about)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--command", required=True, help="that trained it, to be written into both files")
    parser.add_argument("--commit", required=True, help="of the code that trained it, likewise")
    options = parser.parse_args()
    state = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    network = Drive()
    network.load_state_dict(state["average"])
    recipe = state["recipe"]
    about = {
        "command": options.command,
        "commit": options.commit,
        "seed": str(recipe["seed"]),
        "iterations": str(state["iteration"]),
        "games": str(recipe["games"]),
        "seconds": str(round(state["seconds"])),
    }
    export(network, options.out, about)
    for name in (WEIGHTS, *GRAPHS):
        print(f"{options.out / name}: {(options.out / name).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
