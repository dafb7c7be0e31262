//! Black box: the built binary, over HTTP and WebSocket, with a real SMTP receiver, on both
//! databases.

mod analytics;
mod chaos;
mod client;
mod inbound;
mod inbound_pipe;
mod kill;
mod kill_bulk;
mod kill_inbound;
mod kill_workflows;
mod mail_world;
mod main_job;
mod process;
mod sequence_files;
#[path = "../support/smtp_sink.rs"]
#[expect(dead_code, reason = "other tests ask the receiver for more")]
mod smtp_sink;
#[path = "../support/web_sink.rs"]
#[expect(dead_code, reason = "other tests have the server misbehave")]
mod web_sink;
mod world;
