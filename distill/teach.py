"""Ask a teacher for responses, now or by batch."""

from distill.core.command import Entry

GROUP = {
    "responses": Entry("distill.teaching.responses", "A teacher's reply to every dialogue."),
    "status": Entry("distill.teaching.status", "How far the submitted batches are."),
    "collect": Entry("distill.teaching.collect", "Bring the answers of batches into the ledger."),
}
