"""A file is looked at before native code opens it.

In: a path. Out: nothing, when it may be opened. Refused: what is missing, no GGUF file and no ONNX
folder, a header or chat template that is unsound or beyond bounds (BadInput, Unsupported), and a
file that differs from the manifest beside it (CheckFailed).
"""

from pathlib import Path

from distill.core.errors import BadInput, KindredError
from distill.core.manifest import check_files, manifest_path
from distill.core.naming import exported_artifact
from runtime.header import MAGIC, Header, check_model, read_header


def check(path: Path) -> None:
    """Refuse what is not, or is no longer, the file that an export wrote."""
    exported_artifact(path)
    if path.is_dir():
        check_folder(path)
        return
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if head != MAGIC:
        raise BadInput(
            f"{path} is not a GGUF file (it begins with {head!r}); "
            "write one with: distill export gguf STUDENT --bits 4"
        )
    try:
        header = read_header(path)
        check_model(header)
        check_template(header)
    except KindredError as error:
        raise type(error)(f"{path} cannot be opened: {error}; export it again") from error
    if manifest_path(path).exists():
        check_files(path)


def check_folder(path: Path) -> None:
    """An ONNX folder: its manifest, and its template; the backend looks at the rest itself."""
    from runtime.backends.onnx import template_of
    from runtime.template import ChatTemplate

    if manifest_path(path).exists():
        check_files(path)
    if (template := template_of(path)) is not None:
        try:
            ChatTemplate(template).probe()
        except KindredError as error:
            raise type(error)(f"{path} cannot be opened: {error}; export it again") from error


def check_template(header: Header) -> None:
    """Compile the chat template and render a short conversation: a hostile one stops here."""
    if header.template is not None:
        from runtime.template import ChatTemplate

        ChatTemplate(header.template).probe()
