"""The policy: what counts as a crisis, as one YAML file that may be replaced.

In: a file like `policy.yaml`. Out: `Policy`, with its patterns ready to search. Refused: a file
that is missing (MissingInput), and anything in it that is unknown, absent or of a wrong type,
pattern by pattern (BadInput).
"""

from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.core.errors import BadInput, MissingInput
from runtime.guarding.patterns import Patterns

BUNDLED = "policy.yaml"
MAX_FILE_BYTES = 1024 * 1024
HARMLESS, SIGNAL, CONTEXT = "harmless", "signals.", "contexts."
Kind = Literal["crisis", "emergency", "violence", "children"]
Texts = Annotated[list[str], Field(min_length=1)]


class Entry(BaseModel):
    """One kind of crisis: which signals suffice alone, in which contexts they do not."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    id: str = ""
    says: str
    resources: Annotated[list[Kind], Field(min_length=1)]
    alone: list[str]
    unless: list[str]


class Policy(BaseModel):
    """A whole file."""

    model_config = ConfigDict(strict=True, extra="forbid")

    version: Literal[1]
    threshold: float = Field(gt=0, lt=1)
    threshold_of_words: float = Field(default=1, gt=0, le=1)
    entries: dict[Literal["self", "other", "danger"], Entry]
    words: dict[str, Texts]
    harmless: list[str]
    signals: dict[str, Texts]
    contexts: dict[str, Texts]

    @cached_property
    def patterns(self) -> Patterns:
        lists = {
            HARMLESS: self.harmless,
            **{SIGNAL + name: patterns for name, patterns in self.signals.items()},
            **{CONTEXT + name: patterns for name, patterns in self.contexts.items()},
        }
        return Patterns(lists, self.words)

    def check(self) -> None:
        """Every entry names lists that are there, and every pattern can be read."""
        missing = {"self", "other", "danger"} - set(self.entries)
        if missing:
            raise BadInput(f"there is no entry {min(missing)}")
        for name, entry in self.entries.items():
            for found, where in ((entry.alone, self.signals), (entry.unless, self.contexts)):
                for wanted in found:
                    if wanted not in where:
                        raise BadInput(f"the entry {name} names {wanted!r}, which is not there")
        _ = self.patterns


def read_policy(path: Path | None = None) -> Policy:
    """The policy of a file, or the bundled one."""
    return bundled_policy() if path is None else parsed(path.name, content_of(path))


@lru_cache(maxsize=1)
def bundled_policy() -> Policy:
    return parsed(BUNDLED, (resources.files(__package__) / BUNDLED).read_bytes())


def content_of(path: Path) -> bytes:
    if not path.is_file():
        raise MissingInput(f"{path} is no file; leave --guard-policy out to use the bundled policy")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BadInput(f"{path} is larger than {MAX_FILE_BYTES} bytes; that is no policy")
    return path.read_bytes()


def parsed(name: str, content: bytes) -> Policy:
    try:
        policy = Policy.model_validate(yaml.load(content, Loader=Plain))
        for id, entry in policy.entries.items():
            policy.entries[id] = entry.model_copy(update={"id": id})
        policy.check()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise BadInput(f"the guard policy {name} is not valid YAML{place}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"the guard policy {name}: {place}: {first['msg']}") from error
    except (BadInput, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the guard policy {name}: {error}") from error
    return policy


class Plain(yaml.SafeLoader):
    """YAML without anchors: a short file stays short once it is read."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(problem="an alias")
        return super().compose_node(parent, index)
