"""How billers send files to be imported, and ask what became of them."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from rest_framework.request import Request

from api import nodes
from api.answers import json_response
from api.nodes import TEXT, Node
from api.operations import Operation
from api.problems import invalid_parameter
from api.tables import CsvRenderer
from api.views import ListViewSet
from billers.acts import Act
from core.refusals import Missing, absent
from core.text import is_reference
from imports.columns import BadOption
from imports.filters import ImportFilter
from imports.kinds import KINDS, Kind
from imports.models import PROFILE_NAME, Import, Piece, Profile, What
from imports.options import BY_NAME, OPTIONS, Option, as_field, combined, named_in, read, understood
from imports.reading import OWN_COLUMNS
from imports.serializers import ImportAnswer, Nothing
from imports.uploading import FORM, PART, PLAIN, Upload, last_part, uploaded

KIND: Node = {"type": "string", "enum": list(KINDS)}
FILE_NAME: Node = {"type": "string", "minLength": 1, "maxLength": 255}
PROFILE: Node = {"type": "string", "pattern": PROFILE_NAME}
_OURS = ("kind", "file_name", "profile")


def schema_of(option: Option) -> Node:
    """Return what the document says of an option."""
    if option.is_flag:
        return {"type": "boolean", "default": False}
    if option.is_number:
        return {"type": "integer"}
    if option.repeats:
        return {"type": "array", "items": TEXT}
    schema: Node = {"type": "string", **({"enum": list(option.choices)} if option.choices else {})}
    return {**schema, "default": option.default} if option.default else schema


def _told(option: Option) -> str:
    only = f" Only of {' and '.join(map(str, option.kinds))}." if len(option.kinds) < len(KINDS) else ""
    return f"{option.help.replace('{kind}', 'rows')[:1].upper()}{option.help.replace('{kind}', 'rows')[1:]}.{only}"


IN_QUERY = [
    nodes.query("kind", KIND, "What the rows are. Needed, here or in the form."),
    nodes.query("file_name", FILE_NAME, "What the file is called."),
    nodes.query("profile", PROFILE, "Understand the file as this profile says, which the command saved."),
    *(nodes.query(option.name, schema_of(option), _told(option)) for option in OPTIONS),
]
IN_FORM: Node = {
    "type": "object",
    "required": [PART],
    "properties": {
        PART: {"type": "string", "contentMediaType": "application/octet-stream"},
        "kind": KIND,
        "file_name": FILE_NAME,
        "profile": PROFILE,
        **{option.name: schema_of(option) for option in OPTIONS},
    },
}
_SHOWN = "external_reference,currency,amount_due,customer_external_reference\r\nINV-7,ZAR,2000,C-7\r\n"


class ImportViewSet(ListViewSet):
    """Files that were sent to be imported, and every import there was."""

    queryset = Import.objects.all()
    answer = ImportAnswer
    filters = ImportFilter
    collection = "/billing/imports"
    cancel_shape = Nothing()
    operations = {
        "create": Operation(
            "create",
            "Send a file to be imported",
            {202: "It waits for a worker; what is waiting or running already, file and options, is answered as it is."},
            bodies={
                **{media: {"schema": TEXT, "example": _SHOWN} for media in PLAIN},
                FORM: {"schema": IN_FORM, "example": {PART: _SHOWN, "kind": "bills"}},
            },
            versioned=False,
            parameters=IN_QUERY,
            refuses={400: ["file_required"]},
        ),
        "retrieve": Operation("get", "Get one", {200: "The import as it is now."}, versioned=False),
        "cancel": Operation(
            "cancel",
            "End one where it stands",
            {200: "Cancelled, or about to be: `cancelling`. What was written stays, and its counts tell how much."},
            shape="cancel_shape",
            bodiless=True,
            versioned=False,
            refuses={409: ["import_finished", "import_of_command"]},
        ),
        "errors": Operation(
            "errors",
            "Get the refused rows",
            {200: "The columns of the file, and `_line` and `_errors`; mended, it imports as it is."},
            versioned=False,
            table=OWN_COLUMNS,
            table_alone=True,
            refuses={404: ["no_refused_rows"]},
        ),
    }

    def get_renderers(self) -> list[Any]:
        renderers: list[Any] = super().get_renderers()
        return [CsvRenderer()] if self.action_map.get("get") == "errors" else renderers

    def create(self, request: Request) -> HttpResponse:
        """Keep a file and have it imported by a worker."""
        asked = self._asked(request.query_params.lists())
        with uploaded(request._request) as upload:  # noqa: SLF001 the body is read as it comes, by no parser
            for name, texts in self._asked(upload.fields.items()).items():
                if name in asked:
                    raise invalid_parameter(name, "This stands in the address and in the form.", "repeated_parameter")
                asked[name] = texts
            kind, file_name = self._kind(asked), self._file_name(asked, upload)
            options = self._options(kind, asked)

            def queued(act: Act) -> HttpResponse:
                imported = Import.objects.upload(act, upload.file, kind=kind.name, file_name=file_name, asked=options)
                response = self._shown(imported, 202)
                response.headers["Location"] = f"{self.collection}/{imported.pk}"
                return response

            said = [kind.name, file_name, options, upload.digest]
            return self.once(self.biller, queued, said=said)

    def retrieve(self, request: Request, key: str) -> HttpResponse:
        """Answer one import."""
        self.asked()
        return self._shown(self._found(key))

    def cancel(self, request: Request, key: str) -> HttpResponse:
        """End one import where it stands."""
        self.asked()
        self.cancel_shape.run_validation(self.body(required=False))
        self._nameable(key)
        return self.once(self.biller, lambda act: self._shown(Import.objects.cancel(act, key)))

    def errors(self, request: Request, key: str) -> StreamingHttpResponse:
        """Answer the refused rows of one import."""
        self.asked()
        found = self._found(key)
        pieces = Piece.objects.bytes_of(found, What.REFUSED)
        first = next(pieces, None)
        if first is None:
            raise Missing.because("no_refused_rows", "There are no refused rows, or none yet, or none any more.")

        def streamed() -> Any:
            yield first
            yield from pieces

        response = StreamingHttpResponse(streamed(), content_type="text/csv")
        name = content_disposition_header(as_attachment=True, filename=f"{found.file_name}.errors.csv")
        response.headers["Content-Disposition"] = str(name)
        return response

    def _shown(self, imported: Import, status: int = 200) -> HttpResponse:
        biller = self.biller
        return json_response(ImportAnswer.told(ImportAnswer.row(imported), biller, biller.today()), status)

    def _nameable(self, key: str) -> None:
        if not Import.objects.nameable(key):
            raise absent(Import, key)

    def _found(self, key: str) -> Import:
        self._nameable(key)
        found: Import | None = self.rows().named(key).first()
        if found is None:
            raise absent(Import, key)
        return found

    def _asked(self, said: Any) -> dict[str, list[str]]:
        """Return what an address or a form says, by name; what is unknown is refused."""
        known = [*_OURS, *(option.name for option in OPTIONS)]
        asked: dict[str, list[str]] = {}
        for name, texts in said:
            if name not in known:
                detail = f"“{name[:100]}” is not a parameter here. Known: {', '.join(known)}."
                raise invalid_parameter(name[:100], detail, "unknown_parameter")
            if len(texts) > 1 and not (name in BY_NAME and BY_NAME[name].repeats):
                raise invalid_parameter(name, "This parameter stands twice.", "repeated_parameter")
            asked[name] = list(texts)
        return asked

    def _options(self, kind: Kind, asked: Mapping[str, list[str]]) -> dict[str, Any]:
        """Return what is said of the file, else what its profile says."""
        texts = {name: texts for name, texts in asked.items() if name not in _OURS}
        try:
            if "profile" not in asked:
                return read(kind, texts)
            profile = Profile.objects.named(self.biller, asked["profile"][0])
            if profile is None:
                raise invalid_parameter("profile", "There is no profile of this name.")
            options = combined(profile.options, read(kind, texts, usual=True))
            understood(kind, options)
        except BadOption as refusal:
            raise invalid_parameter(named_in(str(refusal)) or "", as_field(str(refusal))) from None
        return options

    def _kind(self, asked: Mapping[str, list[str]]) -> Kind:
        kind = KINDS.get(asked.get("kind", [""])[0])
        if kind is None:
            raise invalid_parameter("kind", f"Say what the rows are: {', '.join(KINDS)}.")
        return kind

    def _file_name(self, asked: Mapping[str, list[str]], upload: Upload) -> str:
        if "file_name" in asked:
            [name] = asked["file_name"]
            if not is_reference(name):
                raise invalid_parameter("file_name", "Give 1 to 255 printable characters, no blank at either end.")
            return name
        name = last_part(upload.name)
        return name if is_reference(name) else "upload"
