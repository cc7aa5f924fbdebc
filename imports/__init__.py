"""Files in: the import of a biller's records, a million at a time."""
