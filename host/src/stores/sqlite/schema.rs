//! The tables, and how a file of an older version gets the newest ones. Refuses files of a newer version and files
//! that are somebody else's.

use rusqlite::Connection;

use super::OpenError;

/// What `PRAGMA application_id` says of our files: `tnon`.
const APPLICATION_ID: i32 = 0x746e_6f6e;

/// Step `n` leads from version `n` to `n + 1`. Released steps never change; new ones go to the end.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE tenants (
    id       TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    document TEXT -- JSON; null once deleted, so that the revision goes on
) STRICT;
CREATE INDEX tenants_present ON tenants (id) WHERE document IS NOT NULL;

CREATE TABLE documents (
    tenant   TEXT NOT NULL,
    module   TEXT NOT NULL,
    model    TEXT NOT NULL,
    id       TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body     BLOB NOT NULL, -- JSON, byte for byte as the module wrote it
    PRIMARY KEY (tenant, module, model, id)
) STRICT;

CREATE TABLE entries (
    tenant    TEXT NOT NULL,
    module    TEXT NOT NULL,
    model     TEXT NOT NULL,
    document  TEXT NOT NULL,
    field     TEXT NOT NULL,
    value     BLOB NOT NULL, -- a type tag, then bytes in the order of the values
    is_unique INTEGER NOT NULL,
    PRIMARY KEY (tenant, module, model, document, field),
    FOREIGN KEY (tenant, module, model, document) REFERENCES documents (tenant, module, model, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_value ON entries (tenant, module, model, field, value, document);
CREATE UNIQUE INDEX entries_unique ON entries (tenant, module, model, field, value) WHERE is_unique = 1;

CREATE TABLE collections (
    tenant TEXT NOT NULL,
    module TEXT NOT NULL,
    model  TEXT NOT NULL,
    fields TEXT NOT NULL,    -- JSON: the fields that all its documents have entries of
    mixed  INTEGER NOT NULL, -- 1 once a document was written under other fields
    PRIMARY KEY (tenant, module, model)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE deliveries (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        TEXT NOT NULL,
    module        TEXT NOT NULL,    -- who is to handle it
    kind          INTEGER NOT NULL, -- 1 an event, 2 a wake-up
    queue         TEXT NOT NULL,    -- an event's publisher; a wake-up's key
    name          TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    body          BLOB NOT NULL,    -- JSON
    published_at  INTEGER NOT NULL, -- this and all times: milliseconds since 1970
    due           INTEGER,          -- null while another of its queue goes first, and once dead
    again         INTEGER,          -- to when a wake-up was set while it was handled
    failures      INTEGER NOT NULL DEFAULT 0,
    fence         INTEGER NOT NULL DEFAULT 0,
    claimed_until INTEGER,
    dead_at       INTEGER,
    error         TEXT
) STRICT;
CREATE INDEX deliveries_due ON deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX deliveries_queue ON deliveries (tenant, module, kind, queue, id) WHERE dead_at IS NULL;
CREATE INDEX deliveries_dead ON deliveries (id) WHERE dead_at IS NOT NULL;
CREATE INDEX deliveries_claimed ON deliveries (tenant, claimed_until) WHERE claimed_until IS NOT NULL;
CREATE UNIQUE INDEX deliveries_wake ON deliveries (tenant, module, queue) WHERE kind = 2 AND dead_at IS NULL;
",
    "
CREATE TABLE marks (
    module    TEXT NOT NULL,
    hash      TEXT NOT NULL,    -- SHA-256 of the file
    tenant    TEXT NOT NULL,    -- empty: for all
    kind      INTEGER NOT NULL, -- 1 bad, 2 quarantined
    version   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    marked_at INTEGER NOT NULL, -- milliseconds since 1970
    PRIMARY KEY (module, hash, tenant, kind)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE waiting (
    tenant    TEXT NOT NULL,
    publisher TEXT NOT NULL,
    events    INTEGER NOT NULL, -- deliveries of its events that are not dead; kept by the triggers below
    PRIMARY KEY (tenant, publisher)
) STRICT, WITHOUT ROWID;
INSERT INTO waiting SELECT tenant, queue, count(*) FROM deliveries WHERE kind = 1 AND dead_at IS NULL GROUP BY 1, 2;
CREATE TRIGGER waiting_begins AFTER INSERT ON deliveries WHEN new.kind = 1 AND new.dead_at IS NULL BEGIN
    INSERT INTO waiting VALUES (new.tenant, new.queue, 1)
        ON CONFLICT (tenant, publisher) DO UPDATE SET events = events + 1;
END;
CREATE TRIGGER waiting_begins_again AFTER UPDATE OF dead_at ON deliveries
WHEN new.kind = 1 AND old.dead_at IS NOT NULL AND new.dead_at IS NULL BEGIN
    INSERT INTO waiting VALUES (new.tenant, new.queue, 1)
        ON CONFLICT (tenant, publisher) DO UPDATE SET events = events + 1;
END;
CREATE TRIGGER waiting_is_given_up AFTER UPDATE OF dead_at ON deliveries
WHEN new.kind = 1 AND old.dead_at IS NULL AND new.dead_at IS NOT NULL BEGIN
    UPDATE waiting SET events = events - 1 WHERE tenant = old.tenant AND publisher = old.queue;
    DELETE FROM waiting WHERE tenant = old.tenant AND publisher = old.queue AND events = 0;
END;
CREATE TRIGGER waiting_ends AFTER DELETE ON deliveries WHEN old.kind = 1 AND old.dead_at IS NULL BEGIN
    UPDATE waiting SET events = events - 1 WHERE tenant = old.tenant AND publisher = old.queue;
    DELETE FROM waiting WHERE tenant = old.tenant AND publisher = old.queue AND events = 0;
END;
",
    "
CREATE TABLE definitions (
    only       INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), -- one row, for all tenants
    revision   INTEGER NOT NULL,
    text       TEXT,             -- null once taken away, so that the revision goes on
    updated_at INTEGER NOT NULL  -- milliseconds since 1970
) STRICT;
",
];

/// Refuses a database that [`migrate`] must not touch; changes nothing.
pub(super) fn check(connection: &Connection) -> Result<(), OpenError> {
    version(connection, MIGRATIONS).map(drop)
}

/// Brings a database to the newest version, each step in a commit of its own.
pub(super) fn migrate(connection: &Connection) -> Result<(), OpenError> {
    migrate_by(connection, MIGRATIONS)
}

fn migrate_by(connection: &Connection, steps: &[&str]) -> Result<(), OpenError> {
    let done = version(connection, steps)?;
    for (sql, version) in steps[done..].iter().zip(done + 1..) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version as i64)?;
        transaction.commit()?;
    }
    Ok(())
}

/// How many steps have been taken, at most all.
fn version(connection: &Connection, steps: &[&str]) -> Result<usize, OpenError> {
    let read = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application, found) = (read("application_id")?, read("user_version")?);
    let tables: i32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_fresh = application == 0 && found == 0 && tables == 0;
    if !is_fresh && application != APPLICATION_ID {
        return Err(OpenError::Foreign);
    }
    let known = steps.len();
    usize::try_from(found).ok().filter(|found| *found <= known).ok_or(OpenError::Newer { found, known })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_once_and_a_failing_one_leaves_the_version_before_it() {
        let connection = Connection::open_in_memory().unwrap();
        migrate_by(&connection, &["CREATE TABLE a (x)"]).unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x)", "CREATE TABLE c (x); CREATE TABLE b (x)"];
        assert!(matches!(migrate_by(&connection, &steps), Err(OpenError::Sqlite(_))));
        assert_eq!(version(&connection, &steps).unwrap(), 2);
        assert!(connection.prepare("SELECT * FROM c").is_err());
        migrate_by(&connection, &[steps[0], steps[1], "CREATE TABLE c (x)"]).unwrap();
        assert_eq!(version(&connection, &steps).unwrap(), 3);
    }
}
