-- The audit chain (G-28): entry by entry, each hash over the one before and the entry. Rows are added, never changed.
CREATE TABLE audit_seal (
    position       BIGINT PRIMARY KEY,           -- 1, 2, 3, … without a gap
    entry_id       UUID NOT NULL UNIQUE,
    hash           BYTEA NOT NULL,               -- SHA-256
    sealed_at      BIGINT NOT NULL
);

-- Who does what only one process needs to do (FA-20). The fence is raised by every change of holder.
CREATE TABLE lease (
    name           TEXT PRIMARY KEY,             -- renewer
    holder         UUID,                         -- null: given back
    fence          BIGINT NOT NULL,
    held_until     BIGINT NOT NULL
);

-- The application's role has no right to either; the owner must take the triggers away first.
CREATE FUNCTION audit_refuses() RETURNS TRIGGER LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'audit entries and seals are never changed or removed'; END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuses();
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuses();
CREATE TRIGGER audit_seal_stays BEFORE UPDATE ON audit_seal FOR EACH ROW EXECUTE FUNCTION audit_refuses();
CREATE TRIGGER audit_seal_is_kept BEFORE DELETE ON audit_seal FOR EACH ROW EXECUTE FUNCTION audit_refuses();
