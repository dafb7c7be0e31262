//! `cadenza inbound` as the pipe of a mail server calls it: by its exit code the mail server keeps the mail and
//! tries again, or returns it.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::web_sink::{Reply, WebSink};
use crate::world::{Database, World};

const MAIL: &str = "From: Carol <carol@example.org>\nTo: ada@example.com\nSubject: Hello\n\
    Message-ID: <one@example.org>\n\nWho are you?\n";

/// Who calls: where the server is, for which workspace, by which secret.
struct Pipe<'a> {
    world: &'a World,
    url: String,
    workspace: String,
    secret: String,
}

impl Pipe<'_> {
    async fn run(&self, arguments: &[&str], secret: Option<&str>, mail: &[u8]) -> Output {
        let mut command = self.world.command(&["inbound"]);
        command.args(arguments).stdin(Stdio::piped());
        if let Some(secret) = secret {
            command.env("CADENZA_WEBHOOK_SECRET", secret);
        }
        let mut child = command.spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("piped");
        // All of it is read, whatever becomes of it: a mail server takes a broken pipe for a failure.
        stdin.write_all(mail).await.expect("all of it is read");
        drop(stdin);
        child.wait_with_output().await.expect("it ends")
    }

    /// The exit code, and what was said.
    async fn ends(&self, mail: &[u8]) -> (Option<i32>, String) {
        self.ends_with(&self.secret, mail).await
    }

    async fn ends_with(&self, secret: &str, mail: &[u8]) -> (Option<i32>, String) {
        let options = ["--url", &self.url, "--workspace-id", &self.workspace];
        let ended = self.run(&options, Some(secret), mail).await;
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!said.contains(secret), "{said}");
        (ended.status.code(), said)
    }
}

async fn workspace(client: &Client) -> (String, String) {
    let found = client
        .run("{ workspace { id webhookSecret } }", json!({}))
        .await;
    let text = |name: &str| {
        found["workspace"][name]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    (text("id"), text("webhookSecret"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_hands_mails_on() {
    let world = World::new(Database::Sqlite).await;
    let server = world.serve().await;
    let (id, secret) = workspace(&server.client(&world)).await;
    let mut pipe = Pipe {
        world: &world,
        url: format!("http://{}", server.address),
        workspace: id,
        secret,
    };
    for is_new in [true, false] {
        let (code, said) = pipe.ends(MAIL.as_bytes()).await;
        assert_eq!(code, Some(0), "{said}");
        let told: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(
            (&told["takenAs"], &told["isNew"]),
            (&json!("REPLY"), &json!(is_new))
        );
    }
    // As some mail servers begin, and one that is longer than what a server takes.
    let with_line = format!("From carol@example.org Mon Mar  2 09:00:00 2026\n{MAIL}");
    assert_eq!(pipe.ends(with_line.as_bytes()).await.0, Some(0));
    let large = format!(
        "{}{}",
        MAIL.replace("<one@", "<large@"),
        "word ".repeat(2_500_000)
    );
    assert_eq!(pipe.ends(large.as_bytes()).await.0, Some(0));
    // By a file, as it is written by an editor.
    let file = world.folder.path().join("secret");
    std::fs::write(&file, format!("{}\n", pipe.secret)).expect("writes");
    let file = file.to_str().expect("a path");
    let options = ["--url", &pipe.url, "--workspace-id", &pipe.workspace];
    let by_file = [&options[..], &["--webhook-secret-file", file]].concat();
    assert_eq!(
        pipe.run(&by_file, None, MAIL.as_bytes())
            .await
            .status
            .code(),
        Some(0)
    );

    for no_mail in ["", "hello", "{\"a\": 1}"] {
        let (code, said) = pipe.ends(no_mail.as_bytes()).await;
        assert_eq!(code, Some(65), "{said}");
    }
    let other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let (code, said) = pipe.ends_with(other, MAIL.as_bytes()).await;
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("signature"), "{said}");
    // What whoever set it up has to correct.
    for (options, secret) in [
        (&options[..], None),
        (&options[..], Some("geheim")),
        (&options[..2], Some(pipe.secret.as_str())),
        (&["--no-such-option"][..], Some(pipe.secret.as_str())),
        (
            &["--url", "nowhere", "--workspace-id", &pipe.workspace][..],
            Some(pipe.secret.as_str()),
        ),
        (
            &[&options[..], &["--webhook-secret-file", "/nowhere"]].concat()[..],
            None,
        ),
    ] {
        let ended = pipe.run(options, secret, MAIL.as_bytes()).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(75), "{options:?}: {said}");
        assert!(said.starts_with("error: "), "{said}");
    }
    // The server is away: the mail server is to try again.
    assert!(server.terminate().await, "a proper goodbye");
    let (code, said) = pipe.ends(MAIL.as_bytes()).await;
    assert_eq!(code, Some(75), "{said}");
    // And while it, or what is before it, takes nothing.
    for status in [429, 500, 502, 503, 504] {
        let answer =
            move |_: &crate::web_sink::Seen| Reply::Say(status, Vec::new(), "later".to_owned());
        let sink = WebSink::start(answer).await.expect("a server");
        pipe.url = sink.url("");
        let (code, said) = pipe.ends(MAIL.as_bytes()).await;
        assert_eq!(code, Some(75), "{status}: {said}");
        assert_eq!(
            sink.seen()[0].target,
            format!("/inbound/mail?workspace={}", pipe.workspace)
        );
    }
}
