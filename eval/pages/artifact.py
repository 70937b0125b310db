"""The file: what it weighs, what it is made of, and how near it is to what was trained.

In: evidence with a manifest. Out: a section. A figure that the manifest does not hold is said to
be not measured; a gate is called passed only when the manifest says so.
"""

from typing import Any

from eval.pages.evidence import Artifact, Evidence
from eval.pages.page import Headline, Section, Table
from eval.pages.wording import NOT_MEASURED, NOT_RECORDED, count, percent, plain, size

PASSED, FAILED = "passed", "failed"
NO_LIMIT = "none"
KNOWN_QUANTIZATION = ("type", "format", "bits_per_weight", "fallback", "size_bytes", "tensors")
NAMES = {
    "nominal_bits_per_weight": "nominal bits per weight",
    "file_bits_per_weight": "bits per weight, whole file",
    "parameters": "parameters",
    "token_embedding": "token embedding",
    "layers_by_bits": "linear layers by bits",
    "accuracy_level": "accuracy level (4: activations in int8)",
}


def artifact_section(found: Evidence) -> Section:
    title = "The file"
    if found.artifact is None:
        said = (
            "Not measured: edge holds no manifest of an exported file. "
            "Write one with: distill export gguf."
        )
        return Section("file", title, absent=said)
    artifact = found.artifact
    bits = bits_per_weight(artifact)
    return Section(
        "file",
        title,
        headlines=[
            Headline(size(artifact.size_bytes), f"size of the {artifact.noun}"),
            Headline(f"{bits:.2f}" if bits else NOT_MEASURED, "effective bits per weight"),
            Headline(gate_result(artifact), "parity gate against the trained student"),
        ],
        beside=gate_said(artifact),
        tables=[
            file_table(artifact),
            *gate_tables(artifact.manifest.parity),
            tools_table(artifact),
        ],
    )


def bits_per_weight(artifact: Artifact) -> float | None:
    bits: float | None = artifact.manifest.quantization.get("bits_per_weight")
    return bits


def gate_result(artifact: Artifact) -> str:
    passed = artifact.manifest.parity.get("passed")
    return NOT_RECORDED if passed is None else PASSED if passed is True else FAILED


def gate_said(artifact: Artifact) -> list[str]:
    parity = artifact.manifest.parity
    said = [f"Missed its limit: {problem}." for problem in parity.get("failed") or []]
    if same := parity.get("identical"):
        said.append(f"Identical to the checkpoint: {', '.join(same)}.")
    if parity.get("conversations"):
        said.append(
            f"Logits were compared on {count(parity['conversations'], 'conversation')} "
            f"({parity.get('text', 'text not stated')})."
        )
    return said


def file_table(artifact: Artifact) -> Table:
    held = artifact.manifest.quantization
    rows = [
        ("sha256", artifact.sha256),
        ("size", f"{size(artifact.size_bytes)} ({artifact.size_bytes:,} bytes)"),
        ("type", plain(held.get("type", "not stated"))),
        ("effective bits per weight", number_of(held.get("bits_per_weight"))),
        *fallback_row(artifact),
    ]
    for name, value in held.items():
        if name not in KNOWN_QUANTIZATION:
            rows.append((NAMES.get(name, name.replace("_", " ")), described(name, value)))
    return Table(f"What the {artifact.noun} holds", ("what", "value"), rows)


def fallback_row(artifact: Artifact) -> list[tuple[str, str]]:
    """Only llama.cpp gives a tensor another type than the one asked for."""
    if artifact.format != "gguf":
        return []
    fallback = artifact.manifest.quantization.get("fallback")
    fell = NOT_MEASURED if fallback is None else plain(fallback)
    return [("tensors that fell back to another type", fell)]


def described(name: str, value: Any) -> str:
    """Bytes and weights by kind as shares of their sum; anything else as it is."""
    if name == "layers_by_bits" and isinstance(value, dict):
        return ", ".join(f"{count(n, 'layer')} in {bits} bits" for bits, n in value.items())
    counted = isinstance(value, dict) and value and all(type(n) is int for n in value.values())
    if counted and name.startswith(("bytes_by", "weights_by")):
        total = sum(value.values()) or 1
        return ", ".join(f"{kind} {percent(n / total)}" for kind, n in value.items())
    return plain(value)


def number_of(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3f}"


def gate_tables(parity: dict[str, Any]) -> list[Table]:
    """One table for each pair that the gate compared."""
    return [gate_table(link) for link in parity.get("links") or []]


def gate_table(link: dict[str, Any]) -> Table:
    rows = [
        ("mean KLD", figure(link.get("mean_kld")), at_most(link.get("most_mean_kld"))),
        ("top-1 agreement", share(link.get("top1")), at_least(link.get("least_top1"))),
        ("largest KLD", figure(link.get("max_kld")), NO_LIMIT),
        ("greedy reply agrees for", share(link.get("greedy_prefix")), NO_LIMIT),
        ("ends where the other ends", share(link.get("end_of_turn")), NO_LIMIT),
        ("positions", plain(link.get("positions", NOT_MEASURED)), ""),
    ]
    pair = f"{link.get('candidate', 'not stated')} against {link.get('reference', 'not stated')}"
    return Table(f"Parity gate: {pair}", ("figure", "measured", "limit"), rows)


def figure(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2e}" if value < 0.001 else f"{value:.4f}"


def share(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2%}".replace("%", " %")


def at_most(limit: float | None) -> str:
    return "not stated" if limit is None else f"≤ {limit:g}"


def at_least(limit: float | None) -> str:
    return "not stated" if limit is None else f"≥ {percent(limit)}"


def tools_table(artifact: Artifact) -> Table:
    rows = [(tool, version) for tool, version in sorted(artifact.manifest.tools.items())]
    return Table("Tools that wrote it", ("tool", "version"), rows)
