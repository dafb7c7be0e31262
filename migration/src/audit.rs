//! Who did what.

pub(crate) const UP: &[&str] = &[
    // Who did what. The token is named as it was then, and has no reference: the entry outlives it.
    "CREATE TABLE audit_entry (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        at BIGINT NOT NULL,
        token_id UUID,
        token_name TEXT NOT NULL,
        role TEXT,
        mutation TEXT NOT NULL,
        input JSON NOT NULL,
        objects JSON NOT NULL,
        outcome TEXT NOT NULL
            CHECK (outcome IN ('UNFINISHED', 'DONE', 'REFUSED', 'FAILED')),
        codes JSON NOT NULL,
        request_id TEXT
    )",
    "CREATE INDEX audit_entry_page ON audit_entry (workspace_id, id)",
    "CREATE INDEX audit_entry_token ON audit_entry (workspace_id, token_id, id)",
    "CREATE INDEX audit_entry_mutation ON audit_entry (workspace_id, mutation, id)",
    // The same objects, to find the entries of one by.
    "CREATE TABLE audit_object (
        workspace_id UUID NOT NULL,
        object_id TEXT NOT NULL,
        entry_id UUID NOT NULL REFERENCES audit_entry (id) ON DELETE CASCADE,
        PRIMARY KEY (workspace_id, object_id, entry_id)
    )",
    "CREATE INDEX audit_object_entry ON audit_object (entry_id)",
];
