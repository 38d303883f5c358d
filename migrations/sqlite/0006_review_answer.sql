-- What was asked exactly, and what somebody answered: an answer overrules what was shown with the question, nothing else.
ALTER TABLE review ADD COLUMN about TEXT;                        -- the address or username in question, in compared form
ALTER TABLE review ADD COLUMN doubts TEXT NOT NULL DEFAULT '[]'; -- json list
ALTER TABLE review ADD COLUMN choice TEXT;                       -- once settled
ALTER TABLE review ADD COLUMN record_id BLOB;                    -- the record it was chosen for
ALTER TABLE review ADD COLUMN username TEXT;                     -- the username given
ALTER TABLE review ADD COLUMN reason TEXT;                       -- why, in the words of whoever answered
ALTER TABLE review ADD COLUMN settled_by TEXT;                   -- cli | sync: a link that left no doubt
ALTER TABLE review ADD COLUMN applied_at INTEGER;                -- when the answer was carried out, or first remembered
CREATE INDEX review_answer ON review (connection_id, entra_id) WHERE state = 'settled';
