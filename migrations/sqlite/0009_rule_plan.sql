-- The plan that was shown last is found at once, however long the audit trail is.
CREATE INDEX audit_rule_plan ON audit (connection_id, id) WHERE action = 'rule.plan';

-- A mapped group whose members may not be read.
ALTER TABLE directory_group ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
