"""Words everyone shares: ids, money, text, refusals. No models, no web."""
