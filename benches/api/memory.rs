//! What a subscriber costs in memory: the built server in a process of its own, with its clients here.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::audience::{Socket, follow, resident};

const BINARY: &str = env!("CARGO_BIN_EXE_cadenza");
/// Those who are there before it is measured, so that what a server makes once is there too.
const FIRST: usize = 100;
const MORE: usize = 2_000;

/// A server that ends with the measurement.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("it ends");
        self.0.wait().expect("it has ended");
    }
}

/// The bytes that a subscriber takes of the server's memory.
pub async fn of_a_subscriber(url: &str) -> usize {
    let command = || {
        let mut command = Command::new(BINARY);
        command.env("CADENZA_DATABASE", url).env(
            "CADENZA_SECRET_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        );
        command
    };
    let made = command()
        .args([
            "token",
            "create",
            "--workspace",
            "memory",
            "--role",
            "viewer",
        ])
        .output()
        .expect("a token");
    let secret = String::from_utf8(made.stdout).expect("text");
    let mut serve = command();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0"]);
    let mut server = Server(serve.stdout(Stdio::piped()).spawn().expect("it starts"));
    let said = BufReader::new(server.0.stdout.take().expect("its output"));
    let mut lines = said.lines();
    let address = lines.find_map(|line| {
        let line = line.expect("text");
        let address = line.strip_prefix("listening on http://")?;
        Some(address.parse().expect("an address"))
    });
    let address = address.expect("it listens");
    let mut sockets: Vec<Socket> = Vec::new();
    let join = async |sockets: &mut Vec<Socket>, count: usize| {
        for _ in 0..count {
            sockets.push(follow(address, secret.trim()).await);
        }
    };
    join(&mut sockets, FIRST).await;
    let before = resident(server.0.id());
    join(&mut sockets, MORE).await;
    resident(server.0.id()).saturating_sub(before) / MORE
}
