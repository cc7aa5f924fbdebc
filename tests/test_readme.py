"""The README names what there is, and nothing else."""

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands, load_command_class

from api.examples import told
from payments.management.commands.load_demo import DEMO_KEY, DEMO_LOGIN, DEMO_PARTNER_KEY, DEMO_PASSWORD

README = (settings.BASE_DIR / "README.md").read_text()
OURS = {name: app for name, app in get_commands().items() if (settings.BASE_DIR / app.replace(".", "/")).is_dir()}


def section(title):
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_examples_are_those_that_run():
    assert told(README) == README


def test_every_command_is_in_the_table_and_every_name_in_it_is_a_command():
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section("Commands"), re.MULTILINE)
        for name in re.findall(r"`(\w+)", row)
    }
    assert named == set(OURS)


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_options_that_are_told_exist(name):
    parser = load_command_class(OURS[name], name).create_parser("manage.py", name)
    known = {option for action in parser._actions for option in action.option_strings}
    rows = [row for row in section("Commands").splitlines() if f"`{name}" in row]
    told_options = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
    files, _, files_out = section("Files").partition("\n### Files out\n")
    if name == "import_bills":
        told_options |= set(re.findall(r"--[a-z][a-z-]+", files)) - {"--help"}
    if name.startswith("export_"):
        told_options |= set(re.findall(r"--[a-z-]+", files_out))
    assert told_options <= known


def test_every_variable_of_the_environment_is_in_the_table():
    source = (settings.BASE_DIR / "billing_project" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"|required_outside_debug\("([A-Z_]+)"', source))
    read = {one or other for one, other in read}
    table = set(re.findall(r"`([A-Z_]{4,})`", section("Settings")))
    assert read - table == set()
    elsewhere = "".join(file.read_text() for file in (settings.BASE_DIR / "billing_project").rglob("*.py"))
    assert [name for name in table if f'"{name}"' not in elsewhere] == []


def test_the_demo_is_as_told():
    assert f"Bearer {DEMO_KEY}" in README
    assert f"Bearer {DEMO_PARTNER_KEY}" in README
    assert f"`{DEMO_LOGIN}` / `{DEMO_PASSWORD}`" in README


def test_what_is_pointed_at_exists():
    makefile = (settings.BASE_DIR / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert Path(settings.BASE_DIR / "docs" / "decisions").is_dir()
    layers = re.search(r"`(billing_project → [^`]+)`", README)[1].split(" → ")
    assert set(layers) - {"core"} <= {config.name for config in apps.get_app_configs()}
