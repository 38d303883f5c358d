-- Where each delta round of a connection goes on (G-12).
CREATE TABLE delta_link (
    connection_id  BLOB NOT NULL,
    round          TEXT NOT NULL,                -- users_access | users_profile | groups
    link           TEXT NOT NULL,                -- where the next round begins
    taken_at       INTEGER NOT NULL,             -- no later than Graph gave the link: its age by our own clock
    expired_at     INTEGER,                      -- Graph forgot it: kept until a full sync brings another (FA-13)
    step           INTEGER NOT NULL,             -- raised by every write: compare and set
    next_link      TEXT,                         -- the round under way: its next page
    started_at     INTEGER,                      -- the round under way: when it began
    pages          INTEGER NOT NULL,             -- the round under way: pages, rows, unusable rows so far
    told           INTEGER NOT NULL,
    refused        INTEGER NOT NULL,
    covered_at     INTEGER,                      -- when the last complete round began: what Graph showed then is due
    completed_at   INTEGER,
    PRIMARY KEY (connection_id, round)
) STRICT;

-- Was this object notified lately? Changes that only a delta found are counted (FA-22).
CREATE INDEX event_object_named ON event_object (connection_id, object_id, event_id);
