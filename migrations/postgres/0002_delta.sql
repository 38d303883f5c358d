-- Where each delta round of a connection goes on (G-12).
CREATE TABLE delta_link (
    connection_id  UUID NOT NULL,
    round          TEXT NOT NULL,                -- users_access | users_profile | groups
    link           TEXT NOT NULL,                -- where the next round begins
    taken_at       BIGINT NOT NULL,             -- no later than Graph gave the link: its age by our own clock
    expired_at     BIGINT,                      -- Graph forgot it: kept until a full sync brings another (FA-13)
    step           BIGINT NOT NULL,             -- raised by every write: compare and set
    next_link      TEXT,                         -- the round under way: its next page
    started_at     BIGINT,                      -- the round under way: when it began
    pages          BIGINT NOT NULL,             -- the round under way: pages, rows, unusable rows so far
    told           BIGINT NOT NULL,
    refused        BIGINT NOT NULL,
    covered_at     BIGINT,                      -- when the last complete round began: what Graph showed then is due
    completed_at   BIGINT,
    PRIMARY KEY (connection_id, round)
);

-- Was this object notified lately? Changes that only a delta found are counted (FA-22).
CREATE INDEX event_object_named ON event_object (connection_id, object_id, event_id);
