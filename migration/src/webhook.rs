//! Subscriptions of other programs to the event log.

pub(crate) const UP: &[&str] = &[
    // What other programs are told of the log, each from its own place on. `turn` counts whoever had it:
    // only the last one goes on.
    "CREATE TABLE webhook_subscription (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        url TEXT NOT NULL,
        kinds JSON,
        sequence_ids JSON,
        secret TEXT NOT NULL,
        old_secret TEXT,
        old_secret_until BIGINT,
        after_seq BIGINT NOT NULL CHECK (after_seq >= 0),
        switched_off TEXT CHECK (switched_off IN ('REQUESTED', 'GONE', 'FAILING')),
        failures INTEGER NOT NULL CHECK (failures >= 0),
        failing_since BIGINT,
        retry_at BIGINT,
        last_success_at BIGINT,
        last_failure_at BIGINT,
        last_failure TEXT,
        worker_id UUID,
        turn BIGINT NOT NULL,
        taken_at BIGINT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
        CHECK ((failing_since IS NULL) = (failures = 0))
    )",
    "CREATE INDEX webhook_subscription_list ON webhook_subscription (workspace_id, id)",
    // What the runner asks.
    "CREATE INDEX webhook_subscription_on ON webhook_subscription (retry_at) WHERE switched_off IS NULL",
];
