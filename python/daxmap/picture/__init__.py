"""Pictures of what a DAX window shows: text for terminals, SVG, and HTML for notebooks."""
