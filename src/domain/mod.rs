//! The pure core: what a sequence is, where a lead goes next, when, and with what text.
//!
//! Nothing in here does I/O, reads a clock or draws a random number: time and randomness come in
//! as arguments. The same input gives the same output, on any machine.

pub mod address;
pub mod analytics;
pub mod attributes;
pub mod audit;
pub mod bulk;
pub mod csv_cell;
pub mod dkim;
pub mod duration;
pub mod erasure;
pub mod event;
pub mod execution;
pub mod flow;
pub mod forecast;
pub mod gate;
pub mod holidays;
pub mod http_header;
pub mod http_url;
pub mod id;
pub mod import;
pub mod inbound;
pub mod inbox;
pub mod lead;
pub mod lead_filter;
pub mod merge;
pub mod message;
pub mod network;
pub mod oauth;
pub mod outcome;
pub mod pace;
pub mod person_filter;
pub mod pipeline;
pub mod planning;
pub mod preview;
pub mod retry;
pub mod schedule;
pub mod scope;
pub mod sender;
pub mod sequence;
pub mod settings;
pub mod suppression;
pub mod task;
pub mod template;
pub mod texting;
pub mod thread;
pub mod tracking;
pub mod webhook;
pub mod workflow;
pub mod zone;
