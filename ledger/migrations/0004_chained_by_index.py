"""Each entry finds the one before it by the index of its own, however empty the ledger was when the plan was made."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0003_entries_of_payments"),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="entry",
            name="chained",
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="entry",
            trigger=pgtrigger.compiler.Trigger(
                name="chained",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n        SET LOCAL enable_seqscan = off;\n        IF EXISTS (\n            SELECT FROM new_values AS entry LEFT JOIN LATERAL (\n                SELECT sequence, total FROM ledger_entry\n                WHERE biller_id = entry.biller_id AND obligation_id = entry.obligation_id\n                    AND sequence < entry.sequence\n                ORDER BY sequence DESC LIMIT 1\n            ) AS previous ON true\n            WHERE entry.total <> entry.amount + COALESCE(previous.total, 0)\n                OR entry.sequence <> COALESCE(previous.sequence, 0) + 1\n        ) THEN\n            RAISE EXCEPTION 'An entry does not continue its obligation''s ledger.'\n                USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_continues_ledger';\n        END IF;\n        SET LOCAL enable_seqscan TO DEFAULT;\n        RETURN NULL;\n    ",
                    hash="ddc4fd7e86771caf8fda9322dcd8979a322f6bfe",
                    level="STATEMENT",
                    operation="INSERT",
                    pgid="pgtrigger_chained_5ff1e",
                    referencing="REFERENCING NEW TABLE AS new_values ",
                    table="ledger_entry",
                    when="AFTER",
                ),
            ),
        ),
    ]
