-- The audit chain (G-28): entry by entry, each hash over the one before and the entry. Rows are added, never changed.
CREATE TABLE audit_seal (
    position       INTEGER PRIMARY KEY,          -- 1, 2, 3, … without a gap
    entry_id       BLOB NOT NULL UNIQUE,
    hash           BLOB NOT NULL,                -- SHA-256
    sealed_at      INTEGER NOT NULL
) STRICT;

-- Who does what only one process needs to do (FA-20). The fence is raised by every change of holder.
CREATE TABLE lease (
    name           TEXT PRIMARY KEY,             -- renewer
    holder         BLOB,                         -- null: given back
    fence          INTEGER NOT NULL,
    held_until     INTEGER NOT NULL
) STRICT;

-- On PostgreSQL the application's role has no right to either.
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries are never removed'); END;
CREATE TRIGGER audit_seal_stays BEFORE UPDATE ON audit_seal BEGIN SELECT RAISE(ABORT, 'audit seals are never changed'); END;
CREATE TRIGGER audit_seal_is_kept BEFORE DELETE ON audit_seal BEGIN SELECT RAISE(ABORT, 'audit seals are never removed'); END;
