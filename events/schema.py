"""What the OpenAPI document says of webhooks: each type of event is a POST to the endpoints that asked for it."""

from api import nodes
from api.nodes import TEXT, Node
from events.models import Type

HEADERS = [
    nodes.header("webhook-id", "The event's id, the same however often it is sent.", required=True),
    nodes.header("webhook-timestamp", "When it was sent, in seconds since 1970.", required=True),
    nodes.header("webhook-signature", "By Standard Webhooks; one for each secret that is valid.", required=True),
]
ANSWERS = {
    "2XX": {"description": "Received."},
    "410": {"description": "Nothing more is wanted: the endpoint is disabled."},
    "default": {"description": "Sent again, for three days; `Retry-After` is honoured."},
}


def add_webhooks(result: Node, **_: Node) -> Node:
    """Describe what is posted to the endpoints of billers."""
    result["webhooks"] = {kind: {"post": _posted(kind)} for kind in Type.values}
    return result


def _posted(kind: str) -> Node:
    told = {"allOf": [{"$ref": "#/components/schemas/Event"}, {"properties": {"type": {**TEXT, "const": kind}}}]}
    return {
        "operationId": f"told_{kind.replace('.', '_')}",
        "summary": kind,
        "tags": ["events"],
        "security": [],
        "parameters": HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": told}}},
        "responses": ANSWERS,
    }
