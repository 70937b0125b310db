"""Ask a teacher for responses, now or by batch, or store what it thinks of them."""

from distill.core.command import Entry

GROUP = {
    "responses": Entry("distill.teaching.responses", "A teacher's reply to every dialogue."),
    "states": Entry(
        "distill.teaching.states",
        "Store a teacher's states, so that training needs no teacher.",
        "train",
        ("torch", "transformers"),
    ),
    "status": Entry("distill.teaching.status", "How far the submitted batches are."),
    "collect": Entry("distill.teaching.collect", "Bring the answers of batches into the ledger."),
}
