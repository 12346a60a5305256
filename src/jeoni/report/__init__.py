"""Floor 2: self-contained HTML reports."""
