//! In process, on both databases: the store, the use cases and the API. See `harness`.

mod attempts;
mod bulk;
mod bus;
mod contract;
mod enrol;
mod events;
mod executions;
mod fanout;
mod harness;
mod http;
mod import;
mod leads;
mod nodes;
mod pains;
mod people;
mod protocols;
mod publishing;
mod senders;
mod sequences;
mod served;
mod smtp;
mod statements;
mod store;
mod tidy;
mod tokens;
mod walls;
