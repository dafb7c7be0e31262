//! In process, on both databases: the store, the use cases and the API. See `harness`.

mod bulk;
mod bus;
mod contract;
mod events;
mod harness;
mod http;
mod import;
mod nodes;
mod people;
mod publishing;
mod senders;
mod sequences;
mod tidy;
