-- When the credential took the place of another (C7).
ALTER TABLE connection ADD COLUMN credential_since BIGINT;
