"""Files of bills, for tests to import."""


def sheet(*rows):
    """Return a file with a column for every field that any of the rows has."""
    columns = [*dict.fromkeys(name for row in rows for name in row)]
    quoted = [[f'"{str(row.get(name, "")).replace(chr(34), chr(34) * 2)}"' for name in columns] for row in rows]
    return "\n".join(",".join(line) for line in [columns, *quoted]) + "\n"


def row(reference="B1", **fields):
    """Return a good row; a field of None is left out."""
    usual = {"external_reference": reference, "currency": "ZAR", "amount_due": 100, "customer_external_reference": "C1"}
    return {name: value for name, value in (usual | fields).items() if value is not None}
