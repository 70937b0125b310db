"""How the page looks: the system's own fonts, quiet colours, light and dark by the system.

In: nothing. Out: a theme and a style sheet; neither names anything outside the page.
"""

from typing import Any

TEXT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
CODE = ("ui-monospace", "Menlo", "Consolas", "monospace")

CSS = """
.gradio-container {
  max-width: 860px !important; width: 100%; margin: 0 auto !important; padding: 0 !important;
}
main.app { padding: 8px 12px !important; }
.prose h1 { font-size: 1.25rem !important; margin: 0 0 4px !important; }
.prose h2 { font-size: 1rem !important; margin: 0 0 4px !important; }
.board { height: calc(100dvh - 320px) !important; min-height: 260px; }
.tabitem:has(.openers) .board { height: calc(100dvh - 385px) !important; }
.openers { gap: 8px; }
.figures { min-height: 1.4em; font-size: 0.9em; }
.entry, .bar { align-items: center; flex-wrap: nowrap; gap: 8px; }
.entry button, .bar button { white-space: nowrap; }
.bar input { text-overflow: ellipsis; padding-right: 24px; }
.board .placeholder { text-align: center; padding: 0 12px; }
.inside table { width: 100%; font-size: 0.9em; }
.inside :is(th, td) { border-color: var(--border-color-primary) !important; padding: 4px 8px; }
.inside :is(th, td):first-child { width: 34%; }
.inside td:last-child { overflow-wrap: anywhere; }
.dark button[role="tab"].selected { color: var(--primary-400) !important; }
@media (max-width: 500px) {
  .board { height: calc(100dvh - 385px) !important; }
  .tabitem:has(.openers) .board { height: calc(100dvh - 475px) !important; }
}
.wrote summary { cursor: pointer; min-height: 24px; }
.wrote div { white-space: pre-wrap; margin-top: 4px; }
.help {
  border-left: 4px solid var(--color-accent); padding: 8px 12px;
  background: var(--background-fill-secondary);
}
"""


def theme() -> Any:
    """Gradio's plain theme: no font that must be fetched, and text that stands out enough."""
    import gradio as gr

    plain = gr.themes.Default(
        primary_hue="teal", neutral_hue="stone", font=list(TEXT), font_mono=list(CODE)
    )
    return plain.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        color_accent="*primary_700",
        input_placeholder_color="*neutral_500",
        block_label_text_color="*neutral_600",
    )
