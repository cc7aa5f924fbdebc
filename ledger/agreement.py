"""At COMMIT each touched obligation equals its last ledger entry, whichever path wrote it."""

from django.db.migrations import RunSQL


def agreement(kind: str, table: str, amount: str) -> RunSQL:
    """Return the migration that makes COMMIT compare this table's amounts with the ledger, from both sides.

    Deferred, because an entry and its obligation are two rows; in constant time, because `entry_count` and the amount
    are those of the last entry alone.
    """
    name = f"{kind}_agrees_with_ledger"
    return RunSQL(
        f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            about uuid;
        BEGIN
            IF TG_TABLE_NAME = 'ledger_entry' THEN about := NEW.obligation_id; ELSE about := NEW.id; END IF;
            IF NOT EXISTS (
                SELECT FROM {table} AS held LEFT JOIN LATERAL (
                    SELECT total, sequence FROM ledger_entry AS entry
                    WHERE entry.biller_id = held.biller_id AND entry.obligation_id = held.id
                    ORDER BY sequence DESC LIMIT 1
                ) AS last ON true
                WHERE held.biller_id = NEW.biller_id AND held.id = about
                    AND COALESCE(held.{amount}, 0) = COALESCE(last.total, 0)
                    AND held.entry_count = COALESCE(last.sequence, 0)
            ) THEN
                RAISE EXCEPTION 'The {kind} % does not agree with its ledger.', about
                    USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
            END IF;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER {name}_when_new AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.entry_count <> 0 OR COALESCE(NEW.{amount}, 0) <> 0) EXECUTE FUNCTION {name}();
        CREATE CONSTRAINT TRIGGER {name}_when_changed AFTER UPDATE OF {amount}, entry_count ON {table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {name}();
        CREATE CONSTRAINT TRIGGER {name}_when_posted AFTER INSERT ON ledger_entry DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.obligation_kind = '{kind}') EXECUTE FUNCTION {name}();
        """,  # noqa: S608 names of our own tables
        f"""
        DROP TRIGGER {name}_when_posted ON ledger_entry;
        DROP TRIGGER {name}_when_changed ON {table};
        DROP TRIGGER {name}_when_new ON {table};
        DROP FUNCTION {name}();
        """,
    )
