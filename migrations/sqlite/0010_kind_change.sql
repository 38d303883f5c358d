-- The first of the reads that must agree on another kind of record (M7).
ALTER TABLE directory_user ADD COLUMN kind_seen TEXT;            -- employee | contact
ALTER TABLE directory_user ADD COLUMN kind_read_at INTEGER;
ALTER TABLE directory_user ADD COLUMN kind_rules_version INTEGER;

-- The way back to a former kind: a person's archived records.
CREATE INDEX record_former ON record (connection_id, entra_id) WHERE status = 'archived';
