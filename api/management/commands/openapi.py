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
        with GENERATOR_STATS.silence():
            schema = SchemaGenerator().get_schema(request=None, public=True)
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
            raise CommandError(f"{' and '.join(stale)} differ from the code: run “manage.py openapi” and commit.")
