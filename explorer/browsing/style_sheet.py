"""Where the panes of the browser are, in the colours of its themes.

`$quiet` and `$rule` are the browser's own, the others those that every theme of textual has.
"""

__all__ = ["STYLE_SHEET"]

STYLE_SHEET = """
Screen { background: $background; color: $foreground; }
#title { text-style: bold; padding: 0 1; height: auto; max-height: 3; }
#sentence, #memory { padding: 0 1; height: auto; max-height: 3; }
#legend { padding: 0 1; height: 1; }
#memory { color: $quiet; }
#strip { padding: 0 1; height: 1; }
#body { height: 1fr; }
#left { width: 1fr; padding: 0 1; }
#header { height: 1; }
#details { width: 46; border-left: solid $rule; padding: 0 1; }
#details { scrollbar-size-vertical: 1; scrollbar-gutter: stable; scrollbar-color: $rule;
    scrollbar-background: $background; }
#details:focus { border-left: solid $primary; }
.narrow #body { layout: vertical; }
.narrow #details { width: 100%; height: 12; border-left: none; border-top: solid $rule; }
.short #memory, .short #strip, .short #legend { display: none; }
.short.narrow #details { height: 9; }
#status { height: 1; padding: 0 1; background: $surface; color: $quiet; }
#search { height: 1; border: none; padding: 0 1; background: $surface; display: none; }
#search > .input--placeholder { color: $quiet; }
RowsPane { background: $background; scrollbar-color: $rule; scrollbar-background: $background; }
Footer { background: $background; }
HelpScreen { align: center middle; background: $background 70%; }
#help { width: 84; max-width: 100%; height: auto; padding: 1 2; border: round $primary; background: $surface; }
"""
