//! The OAuth 2 grants of senders.

pub(crate) const UP: &[&str] = &[
    // What access tokens are got with. `grant_id` is another one whenever a grant is written, also where there
    // was none any more, and `generation` counts how often the tokens became others: what a refresh brings
    // counts only where it began with those that are still there. Whoever refreshes them is
    // `refresher`, until the time is over.
    "CREATE TABLE sender_grant (
        sender_id UUID PRIMARY KEY REFERENCES sender (id),
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        grant_id UUID NOT NULL,
        token_url TEXT NOT NULL,
        client_id TEXT NOT NULL,
        scope TEXT,
        tokens TEXT NOT NULL,
        expires_at BIGINT,
        refreshed_at BIGINT,
        generation BIGINT NOT NULL,
        refresher UUID,
        refreshing_until BIGINT,
        state TEXT NOT NULL CHECK (state IN ('WAITING', 'READY', 'FAILING', 'REFUSED')),
        problem TEXT,
        failures INTEGER NOT NULL CHECK (failures >= 0),
        retry_at BIGINT,
        CHECK ((refresher IS NULL) = (refreshing_until IS NULL)),
        CHECK ((problem IS NOT NULL) = (state IN ('FAILING', 'REFUSED')))
    )",
];
