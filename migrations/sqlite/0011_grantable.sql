-- The roles and permissions that a connection's rules may give: a json list of the operator's; null is whatever they name (TH-10).
ALTER TABLE connection ADD COLUMN grantable TEXT NOT NULL DEFAULT 'null';
