//! The channels: what makes a message of what was rendered, and hands it to those who deliver it.
//!
//! Owns the wire formats and the connections. Never reads the database, and never decides whether
//! a message may go.

mod carrier;
pub mod dispatch;
pub mod dkim;
pub mod dns;
pub mod email;
pub mod imap;
mod letter;
pub mod mime;
pub mod oauth;
mod outbox;
mod secret;
pub mod smtp;
pub mod text;
pub mod trust;
pub mod twilio;
pub mod web;
pub mod webhook;
