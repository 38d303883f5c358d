-- What an admin does by hand, with who did it; when Microsoft ended somebody's sign-ins.
ALTER TABLE record ADD COLUMN local_edits TEXT NOT NULL DEFAULT '{}';        -- json by field: who, when, what Entra said (Y4)
ALTER TABLE record ADD COLUMN by_hand_lifted BOOLEAN NOT NULL DEFAULT FALSE; -- by_hand goes with the next fresh read
ALTER TABLE record ADD COLUMN sessions_valid_from BIGINT;                    -- the latest acted on (D5)
-- One way in for the day when nobody else has one (G-24).
CREATE UNIQUE INDEX record_root ON record (realm) WHERE root;

ALTER TABLE history ADD COLUMN actor TEXT;                                   -- null: sync, or the import
ALTER TABLE history ADD COLUMN reason TEXT;                                  -- as the admin gave it

-- Whoever was signed in as this record is out since then (D3, D5).
CREATE TABLE session_end (
    id             UUID PRIMARY KEY,
    connection_id  UUID,                         -- null: a record that nobody is linked to
    record_id      UUID NOT NULL,
    at             BIGINT NOT NULL,
    cause          TEXT NOT NULL                 -- deactivated | archived | revoked (in Microsoft)
);
CREATE INDEX session_end_record ON session_end (record_id, at);
ALTER TABLE session_end ENABLE ROW LEVEL SECURITY;
CREATE POLICY session_end_scope ON session_end USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
