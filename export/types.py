"""The types of llama.cpp that a student can be written in: one line for each.

In: a name, or a number of bits. Out: `Type`, with the reason for a number of bits. Refused: a
name or number outside the tables (BadInput).
"""

from dataclasses import dataclass

import gguf
import llama_cpp

from distill.core.errors import BadInput

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
WIDE_BLOCK = 256


@dataclass(frozen=True)
class Type:
    """A llama.cpp mix: its number, its main block, the types that it may use on purpose."""

    number: int
    block: str
    members: frozenset[str]
    needs_importance: bool = False

    @property
    def nominal_bits_per_weight(self) -> float:
        return bits_per_weight(self.block)

    @property
    def bits(self) -> int:
        """The limit of the gate that applies: whole bits of the main block."""
        return int(self.nominal_bits_per_weight)


def bits_per_weight(block: str) -> float:
    """Of a tensor type, scales included."""
    weights, size_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[block]]
    return 8 * size_bytes / weights


def mix(name: str, block: str, others: str = "", *, needs_importance: bool = False) -> Type:
    number = getattr(llama_cpp, f"LLAMA_FTYPE_{name}")
    return Type(number, block, frozenset([block, *others.split()]), needs_importance)


# MXFP4 and NVFP4 are written for mixtures of experts only and leave a dense student in Q8_0; the
# reader that we count with does not know Q2_0.
TYPES = {
    "F32": mix("ALL_F32", "F32"),
    "BF16": mix("MOSTLY_BF16", "BF16"),
    "F16": mix("MOSTLY_F16", "F16"),
    "Q8_0": mix("MOSTLY_Q8_0", "Q8_0"),
    "Q6_K": mix("MOSTLY_Q6_K", "Q6_K"),
    "Q5_K_M": mix("MOSTLY_Q5_K_M", "Q5_K", "Q6_K"),
    "Q5_K_S": mix("MOSTLY_Q5_K_S", "Q5_K", "Q6_K"),
    "Q5_1": mix("MOSTLY_Q5_1", "Q5_1", "Q6_K"),
    "Q5_0": mix("MOSTLY_Q5_0", "Q5_0", "Q6_K"),
    "Q4_K_M": mix("MOSTLY_Q4_K_M", "Q4_K", "Q5_K Q6_K"),
    "Q4_K_S": mix("MOSTLY_Q4_K_S", "Q4_K", "Q5_K Q6_K"),
    "Q4_1": mix("MOSTLY_Q4_1", "Q4_1", "Q6_K"),
    "Q4_0": mix("MOSTLY_Q4_0", "Q4_0", "Q4_1 Q6_K"),
    "IQ4_NL": mix("MOSTLY_IQ4_NL", "IQ4_NL", "Q5_K Q6_K"),
    "IQ4_XS": mix("MOSTLY_IQ4_XS", "IQ4_XS", "Q5_K Q6_K"),
    "Q3_K_L": mix("MOSTLY_Q3_K_L", "Q3_K", "Q4_K Q5_K Q6_K"),
    "Q3_K_M": mix("MOSTLY_Q3_K_M", "Q3_K", "Q4_K Q5_K Q6_K"),
    "Q3_K_S": mix("MOSTLY_Q3_K_S", "Q3_K", "Q6_K"),
    "IQ3_M": mix("MOSTLY_IQ3_M", "IQ3_S", "Q4_K Q5_K Q6_K"),
    "IQ3_S": mix("MOSTLY_IQ3_S", "IQ3_S", "Q4_K Q6_K"),
    "IQ3_XS": mix("MOSTLY_IQ3_XS", "IQ3_XXS", "IQ3_S Q4_K Q5_K Q6_K", needs_importance=True),
    "IQ3_XXS": mix(
        "MOSTLY_IQ3_XXS", "IQ3_XXS", "IQ2_S IQ3_S Q3_K Q4_K Q5_K Q6_K", needs_importance=True
    ),
    "Q2_K": mix("MOSTLY_Q2_K", "Q2_K", "Q3_K Q4_K Q6_K"),
    "Q2_K_S": mix("MOSTLY_Q2_K_S", "Q2_K", "Q4_K Q6_K", needs_importance=True),
    "IQ2_M": mix("MOSTLY_IQ2_M", "IQ2_S", "IQ3_S Q4_K Q5_K Q6_K", needs_importance=True),
    "IQ2_S": mix("MOSTLY_IQ2_S", "IQ2_XS", "IQ2_S IQ3_S Q4_K Q5_K Q6_K", needs_importance=True),
    "IQ2_XS": mix("MOSTLY_IQ2_XS", "IQ2_XS", "IQ3_S Q2_K Q4_K Q5_K Q6_K", needs_importance=True),
    "IQ2_XXS": mix("MOSTLY_IQ2_XXS", "IQ2_XXS", "IQ3_S Q2_K Q4_K Q5_K Q6_K", needs_importance=True),
    "IQ1_M": mix(
        "MOSTLY_IQ1_M", "IQ1_M", "IQ2_S IQ2_XXS IQ3_S Q2_K Q4_K Q5_K Q6_K", needs_importance=True
    ),
    "IQ1_S": mix(
        "MOSTLY_IQ1_S", "IQ1_S", "IQ2_S IQ2_XXS IQ3_S Q2_K Q4_K Q5_K Q6_K", needs_importance=True
    ),
    "TQ2_0": mix("MOSTLY_TQ2_0", "TQ2_0", "Q4_K Q6_K"),
    "TQ1_0": mix("MOSTLY_TQ1_0", "TQ1_0", "Q4_K Q6_K"),
}

OF_BITS = {
    16: ("F16", "half precision, what the checkpoint holds"),
    8: ("Q8_0", "blocks of 32 weights fit nearly every row, and the loss is hardly measurable"),
    7: ("Q6_K", "llama.cpp has no 7-bit block; the next one below is within the 6-bit limits"),
    6: ("Q6_K", "the only 6-bit block"),
    5: ("Q5_K_M", "5-bit blocks, with more bits where the student is sensitive"),
    4: ("Q4_K_M", "4-bit blocks, with more bits where the student is sensitive"),
    3: ("Q3_K_M", "3-bit blocks that every device decodes fast, with more bits where it matters"),
    2: ("IQ2_M", "2-bit blocks from a codebook, which need an importance matrix; much is lost"),
}


def type_named(name: str) -> Type:
    if name not in TYPES:
        raise BadInput(f"type '{name}' is not known; choose one of: {', '.join(TYPES)}")
    return TYPES[name]


def refuse_without_importance(name: str) -> None:
    """For a type that is to be written without an importance matrix."""
    if type_named(name).needs_importance:
        raise BadInput(
            f"type {name} is unusable without an importance matrix; leave --imatrix away, "
            "or name a file of dialogues with it"
        )


def type_of_bits(bits: int) -> tuple[str, str]:
    """The type for a number of bits, and why it is that one."""
    if bits not in OF_BITS:
        known = ", ".join(map(str, OF_BITS))
        raise BadInput(f"--bits {bits} is not known; choose one of {known}, or name a --type")
    return OF_BITS[bits]


def block_named(name: str) -> str:
    """A type that a single tensor can have."""
    if name not in BLOCKS:
        raise BadInput(f"a tensor cannot be '{name}'; choose one of: {', '.join(sorted(BLOCKS))}")
    return name


BLOCKS = frozenset(member for known in TYPES.values() for member in known.members)
