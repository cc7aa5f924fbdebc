"""The same endpoints over the same tables with the same guarantees, as DRF's tutorial would have them."""
