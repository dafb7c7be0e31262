//! Cadenza: an open, self-hosted sequence engine with one GraphQL API.
//!
//! The code map, from the ground up; each layer imports only those above it in this list:
//!
//! - [`domain`]: the pure rules. No I/O, no clock, no randomness.
//! - [`clock`], [`entropy`], [`wake`], [`zones`], [`secrets`]: the only readers of time, randomness,
//!   zone rules and keys; the bells.
//! - [`store`]: every read and write of the database.
//! - [`bus`]: the event log, live.
//! - [`app`]: use cases and their refusals.
//! - [`bulk`]: mutations over many leads or people, a chunk at a time.
//! - [`webhook`]: what other programs are told of the event log, delivered.
//! - [`workflow`]: the rules that enrol by themselves, run.
//! - [`inbound`]: what comes in by mail, and what is done about it.
//! - [`graphql`], [`http`]: the API, and the protocols it is spoken over.
//! - [`cli`], [`server`], [`telemetry`]: commands, the composition root, the log.

pub mod app;
pub mod bulk;
pub mod bus;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod entropy;
pub mod graphql;
pub mod http;
pub mod inbound;
pub mod secrets;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod wake;
pub mod webhook;
pub mod workflow;
pub mod zones;
