"""The planner takes every biller for an average one."""

from django.db import migrations

# What statistics say of the billers there were is wrong of the next one: taken for a biller of one row, its lists are
# read through whichever index comes first. Without them each biller is taken for a two-hundredth of the table.
TABLES = ("customers_customer", "customers_customerhistory")


def set_statistics(target: int) -> list[str]:
    return [f"ALTER TABLE {table} ALTER COLUMN biller_id SET STATISTICS {target}" for table in TABLES]


class Migration(migrations.Migration):
    dependencies = [("customers", "0004_version_by_default")]

    operations = [migrations.RunSQL(set_statistics(0), set_statistics(-1))]
