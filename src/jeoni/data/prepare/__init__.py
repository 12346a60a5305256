"""From raw text to token stores."""
