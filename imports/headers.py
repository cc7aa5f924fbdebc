"""Which column of a header is meant by a name, however it is spelled: never one of two."""

from collections.abc import Iterable, Sequence


class Ambiguous(Exception):  # noqa: N818 said of a header, with a sentence
    """Two columns answer to one name."""


def spelled(name: str) -> str:
    """Return what is left of a name without case, blanks and punctuation."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def lenient(header: Sequence[str], fields: Iterable[str], metadata: Iterable[str]) -> dict[str, str]:
    """Return the columns by the fields that they spell in another way; those of `metadata` keep the key as it stands.

    Raises:
        Ambiguous: two columns spell one field.
    """
    meant = {spelled(field): field for field in fields}
    starts = {spelled(start): start for start in metadata}
    found: dict[str, str] = {}
    for name in header:
        start, dot, key = name.partition(".")
        field = starts[spelled(start)] + key.strip() if dot and spelled(start) in starts else meant.get(spelled(name))
        if field is None or field == name:
            continue
        if field in found:
            raise Ambiguous(f"The columns “{found[field]}” and “{name}” both look like {field}: say which with --map.")
        found[field] = name
    return found


def named(source: str, header: Sequence[str]) -> str | None:
    """Return the column that a name means: the one that is called so, or else the only one that is spelled alike.

    Raises:
        Ambiguous: several are.
    """
    if source in header or "{" in source:  # which is a template
        return source if source in header else None
    alike = [name for name in dict.fromkeys(header) if spelled(name) == spelled(source) != ""]
    if len(alike) > 1:
        told = " and ".join(f"“{name}”" for name in alike)
        raise Ambiguous(f"The columns {told} both look like “{source}”: write it as the header does.")
    return alike[0] if alike else None
