-- Taking work walks past nothing: not past what is leased, not past what waits for its time, not past a connection that
-- is paused or in trouble.
DROP INDEX due_next;
DROP INDEX due_soonest;
DROP INDEX due_suspect;
-- 2: whoever may be gone, 1: urgent, 0: background. Queries use the expression word for word.
CREATE INDEX due_rank ON due (connection_id,
    (CASE WHEN claim IN ('deleted', 'removed') OR reason = 'missing_agree' THEN 2
    WHEN urgent THEN 1 ELSE 0 END), due_at) WHERE lease_owner IS NULL;
CREATE INDEX due_soonest ON due (connection_id, due_at) WHERE lease_owner IS NULL;
CREATE INDEX due_lease_end ON due (lease_until) WHERE lease_owner IS NOT NULL;

-- Which group the claim added or removed is about: a read can contradict it only there.
ALTER TABLE due ADD COLUMN claim_group UUID;

-- How many events had their time and are no longer shown: what was accepted stays accounted for (G-05).
CREATE TABLE event_swept (
    connection_id  UUID NOT NULL,
    status         TEXT NOT NULL,
    events         BIGINT NOT NULL,
    PRIMARY KEY (connection_id, status)
);
