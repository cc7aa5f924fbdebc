"""What the OpenAPI document says of an action of a viewset, beyond what its shapes, answers and filters tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api import nodes
from api.cursors import DEFAULT_LIMIT, MAX_LIMIT
from api.nodes import Node

LIMIT = nodes.query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT})
_THEN = "How it stood at that moment"
AS_OF_MOMENT = nodes.query("as_of", {"type": "string", "format": "date-time"}, f"{_THEN}.")
AS_OF = nodes.query("as_of", nodes.TEXT, f"{_THEN}, ISO 8601, or at the end of that day in the biller's time zone.")


@dataclass(frozen=True)
class Operation:
    """One action: how it is called, what it answers, and what it refuses beside what every operation does."""

    name: str
    summary: str
    answers: Mapping[int, str]
    """What each status of success means."""
    shape: str = ""
    """The viewset's attribute that holds the shape of the body, where there is one."""
    bodies: Mapping[str, Node] = field(default_factory=dict)
    """What the body may be instead, by media type: a schema and an example."""
    bodiless: bool = False
    """Whether the body may be left out."""
    key_required: bool = False
    versioned: bool = True
    """Whether the record has a version: an ETag, and If-Match or If-None-Match."""
    locates: bool = True
    """Whether a 201 says where the new record is."""
    table: Sequence[str] = ()
    """The columns of its answer as text/csv, where it has one."""
    table_alone: bool = False
    """Whether it answers nothing but that."""
    parameters: Sequence[Node] = ()
    refuses: Mapping[int, Sequence[str]] = field(default_factory=dict)
    envelope: Callable[[Node], Node] = lambda schema: schema
    """What the schema of a record becomes where many are answered."""

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return bool(self.shape or self.bodies)


LIST = Operation(
    "list",
    "List",
    {200: "A page."},
    versioned=False,
    refuses={400: ["invalid_limit", "invalid_sort", "invalid_cursor"]},
    envelope=nodes.page_of,
)
CREATE = Operation("create", "Create", {201: "Created."}, shape="create_shape")
RETRIEVE = Operation("get", "Get one by id or external reference", {200: "The record.", 304: "Not changed."})
NOW = {200: "The record as it is now."}
UPDATE = Operation("update", "Change the fields that are sent", NOW, shape="patch_shape")
PUT = Operation(
    "put",
    "Create or update by external reference",
    {201: "Created.", **NOW},
    shape="put_shape",
    refuses={400: ["invalid_reference"]},
)
BY_ACTION: dict[str, Operation] = {
    "list": LIST,
    "create": CREATE,
    "retrieve": RETRIEVE,
    "partial_update": UPDATE,
    "upsert": PUT,
}


def of(view: Any) -> Operation:
    """Return the operation of the action that a viewset is asked for."""
    found: Operation = {**BY_ACTION, **view.operations}[str(view.action)]
    return found
