"""The model card of a family, in the layout of Hugging Face's hub: README.md with its metadata. Standard library only.

Source of the layout: huggingface.co/docs/hub/model-cards, and its `model-index` of evaluated results.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tleg.family.report import depths_table, devices_table
from tleg.family.results import FamilyResults
from tleg.files import new_file
from tleg.study.markup import Block, Heading, Listing, Table, Text, markdown_page

CARD: Final = "README.md"
_TASK: Final = "image-classification"


def write_card(folder: Path, results: FamilyResults) -> None:
    """Write README.md, which `hf upload` takes as it is. Raises ExportError when the operating system refuses."""
    with new_file(folder / CARD, overwrite=True) as temporary:
        temporary.write_text(_metadata(results) + markdown_page(results.title, list(_blocks(results))), encoding="utf-8")


def _metadata(results: FamilyResults) -> str:
    """The front matter. What stands in it are strings of JSON, which are strings of YAML."""
    lines = [
        "---",
        f"license: {json.dumps(results.license)}",
        "library_name: timm",
        f"pipeline_tag: {_TASK}",
        "tags:",
        *(f"- {tag}" for tag in (_TASK, "timm", "onnx", "learngene", "tleg")),
        "metrics:",
        "- accuracy",
    ]
    measured = [each for each in results.devices if each.top1 is not None]
    if measured:
        lines += ["model-index:"]
    for each in measured:
        lines += [
            f"- name: {json.dumps(each.name)}",
            "  results:",
            "  - task:",
            f"      type: {_TASK}",
            "    dataset:",
            f"      name: {json.dumps(results.data)}",
            f"      type: {json.dumps(results.data.split()[0])}",
            "    metrics:",
            "    - type: accuracy",
            f"      value: {each.top1}",
        ]
    return "\n".join([*lines, "---", ""]) + "\n"


def _blocks(results: FamilyResults) -> Iterator[Block]:
    yield Text(
        f"{len(results.devices)} models for as many devices, all descendants of one learngene: layers whose weights follow "
        "from their position (TLEG, AAAI 2024, arXiv:2312.05614)."
    )
    yield Heading("Files")
    if results.devices:
        yield devices_table(results.devices)
        yield Table(
            ("device", "file", "SHA-256"), tuple((each.name, each.path, each.sha256) for each in results.devices), left=3
        )
    yield Text(
        "slices.json has the same for programs; beside each ONNX file is a manifest with the input, the classes and what a "
        "verification found."
    )
    yield Heading("Accuracy by depth, without fine-tuning")
    yield depths_table(results.depths)
    yield Heading("Where it comes from")
    yield Table(("", ""), tuple(_lineage(results)), left=2)
    yield Heading("Evaluation")
    yield Text(
        f"Top-1 in percent on {results.data}, of each file in its own runtime; latency on {results.machine}, one image at a "
        "time."
    )
    yield Heading("How to use it")
    yield Listing("tleg predict FILE picture.png\ntleg verify FILE")


def _lineage(results: FamilyResults) -> Iterator[tuple[str, str]]:
    yield "architecture", results.architecture
    yield "learngene", results.learngene
    yield "SHA-256 of its tensors", results.learngene_sha256
    for name, value in results.lineage.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name, str(value)
        elif isinstance(value, Mapping) and (said := _named(value)):
            yield name, said
    for each in results.devices:
        if each.run is not None:
            yield f"{each.name}, fine-tuned", f"{each.epochs} epochs, run {each.run}"


def _named(value: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {item}" for key, item in value.items() if isinstance(item, str | int | float) and not isinstance(item, bool)
    )[:300]
