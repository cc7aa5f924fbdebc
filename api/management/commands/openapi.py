"""Write the OpenAPI document, or check that the committed one is true."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

from api.examples import told, worked
from api.pages import DOCUMENT

README = settings.BASE_DIR / "README.md"


class Command(BaseCommand):
    help = "Write docs/openapi.json and the README's examples; with --check, fail when the committed ones differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="compare, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        schema = described()
        text = json.dumps(schema, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        readme = README.read_text()
        true = {DOCUMENT: text, README: told(readme)}
        if not options["check"]:
            for file, content in true.items():
                file.write_text(content)
            self.stdout.write(f"{DOCUMENT.name}: {len(schema['paths'])} paths. README.md: {len(worked())} examples.")
            return
        stale = [file.name for file, content in true.items() if not file.exists() or file.read_text() != content]
        if stale:
            differ = f"{' and '.join(stale)} {'differ' if len(stale) > 1 else 'differs'}"
            raise CommandError(f"{differ} from the code: run “manage.py openapi” and commit.")
        validate(schema)


def described() -> dict[str, Any]:
    """Return the document, once nothing about it is in doubt."""
    GENERATOR_STATS.reset()
    with GENERATOR_STATS.silence():
        schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    doubts = [*GENERATOR_STATS._error_cache, *GENERATOR_STATS._warn_cache]  # noqa: SLF001 told nowhere else
    GENERATOR_STATS.reset()
    if doubts:
        raise CommandError(f"The OpenAPI document is in doubt: {doubts[0]}")
    return schema


def validate(schema: dict[str, Any]) -> None:
    """Refuse a document that is not valid OpenAPI."""
    # Installed for development alone, where documents are made.
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415

    for error in OpenAPIV31SpecValidator(schema).iter_errors():
        place = "/".join(map(str, error.absolute_path))
        raise CommandError(f"The OpenAPI document is invalid at “{place}”: {error.message}")
