"""The project: settings, the public map of addresses, and the private database of a development checkout."""
