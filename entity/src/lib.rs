//! The tables as sea-orm entities, one file each, with nothing but columns.
//!
//! Instants are milliseconds since the Unix epoch. What a state means is the domain's business.

pub mod api_token;
pub mod audit_entry;
pub mod bulk_input;
pub mod bulk_operation;
pub mod bulk_outcome;
pub mod bulk_seen;
pub mod dkim_key;
pub mod event;
pub mod event_counter;
pub mod execution;
pub mod inbound_mailbox;
pub mod inbound_message;
pub mod instance;
pub mod lane;
pub mod lead;
pub mod opportunity;
pub mod outbox_message;
pub mod person;
pub mod pipeline;
pub mod quota;
pub mod sender;
pub mod sender_grant;
pub mod sequence;
pub mod sequence_version;
pub mod stage;
pub mod suppression;
pub mod task;
pub mod token_use;
pub mod upload;
pub mod webhook_subscription;
pub mod worker;
pub mod workflow;
pub mod workflow_run;
pub mod workflow_trigger;
pub mod workspace;
