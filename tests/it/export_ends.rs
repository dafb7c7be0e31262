//! Files that end before they are whole: their token is over, their reader is slow or gone, or there are too
//! many of them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cadenza::app::Services;
use cadenza::app::token::access::RateLimit;
use cadenza::domain::id::TokenId;
use cadenza::graphql::CadenzaSchema;
use chrono::Duration;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::enrol::finish;
use crate::export::get;
use crate::harness::{Harness, both, until};
use crate::served::{Served, client};

/// So many people, of whom each takes about so many bytes: more than what systems keep on the way.
const PEOPLE: usize = 5_000;
const LONG: usize = 3_000;
/// As many of them are read at a time.
const CHUNK: usize = 500;
/// So many files are sent to a token at a time.
const AT_ONCE: usize = 4;

async fn many_long(h: &Harness) {
    let note = "x".repeat(LONG);
    let mut csv = String::from("email,note\n");
    for n in 0..PEOPLE {
        writeln!(csv, "p{n}@example.com,{note}").expect("a text takes a line");
    }
    let select = "operation { id }";
    h.mutate(
        "peopleImport",
        "PeopleImportInput",
        json!({ "csv": csv }),
        select,
    )
    .await;
    finish(h).await;
}

/// A client that has asked for all people and reads nothing by itself.
struct Reader(TcpStream);

impl Reader {
    /// Asks, and waits until the answer has begun.
    async fn new(server: &Served, token: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // What is not read stays with the server.
        socket.set_recv_buffer_size(16 << 10).expect("a small one");
        let address = server.address.parse().expect("an address");
        let mut stream = socket.connect(address).await.expect("connects");
        let head = format!(
            "GET /export/people.csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sends");
        let mut begin = [0; 15];
        stream.read_exact(&mut begin).await.expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 200 OK");
        Self(stream)
    }

    /// Everything up to the end of the connection.
    async fn rest(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        // An answer that is cut off may end in a reset.
        if let Err(error) = self.0.read_to_end(&mut all).await {
            println!("the connection ended: {error}");
        }
        all
    }
}

/// Whether an answer in chunks is whole (RFC 9112, section 7.1).
fn is_whole(answer: &[u8]) -> bool {
    answer.ends_with(b"\r\n0\r\n\r\n")
}

fn has_last(answer: &[u8]) -> bool {
    let last = format!("p{}@example.com", PEOPLE - 1);
    answer
        .windows(last.len())
        .any(|part| part == last.as_bytes())
}

/// Outcome and codes of the entries of exports, oldest first.
async fn entered(h: &Harness) -> Vec<Value> {
    let query = "{ auditEntries(filter: { mutations: [\"peopleExport\"] }, first: 250) {
        nodes { outcome codes } } }";
    let data = h.data(query, json!({})).await;
    let mut all = data["auditEntries"]["nodes"]
        .as_array()
        .expect("entries")
        .clone();
    all.reverse();
    all
}

async fn token(h: &Harness, more: Value) -> (TokenId, String) {
    let mut input = json!({ "name": "takes", "role": "VIEWER" });
    let more = more.as_object().cloned().unwrap_or_default();
    input.as_object_mut().expect("an object").extend(more);
    let select = "token { id } secret";
    let made = h
        .mutate("tokenCreate", "TokenCreateInput", input, select)
        .await;
    let id = made["token"]["id"].as_str().expect("an id");
    let secret = made["secret"].as_str().expect("a secret");
    (id.parse().expect("an id of a token"), secret.to_owned())
}

both!(
    an_export_is_cut_off_when_its_token_is_revoked_or_expires,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        many_long(&h).await;
        // Whole, it says so at its end.
        let whole = Reader::new(&server, &h.token).await.rest().await;
        assert!(is_whole(&whole) && has_last(&whole));
        let soon = h.clock.now() + Duration::hours(1);
        let (revoked, first) = token(&h, json!({})).await;
        let (expired, second) = token(&h, json!({ "expiresAt": soon })).await;
        for (id, secret) in [(revoked, first), (expired, second)] {
            let reader = Reader::new(&server, &secret).await;
            if id == revoked {
                let input = json!({ "id": id.to_string() });
                h.mutate("tokenRevoke", "TokenRevokeInput", input, "token { id }")
                    .await;
            } else {
                h.clock.advance_to(soon);
            }
            let over = h.services.access.over(id);
            let noticed = tokio::time::timeout(std::time::Duration::from_secs(20), over);
            noticed.await.expect("it is noticed soon");
            let cut = reader.rest().await;
            assert!(!is_whole(&cut), "nobody takes it for the whole");
            assert!(!has_last(&cut) && cut.len() < whole.len() / 10 * 7);
            assert_eq!(get(&server, &secret, "people.csv", None).await.0, 401);
        }
        let cut = json!({ "outcome": "UNFINISHED", "codes": ["UNAUTHENTICATED"] });
        let done = json!({ "outcome": "DONE", "codes": [] });
        assert_eq!(entered(&h).await, [done, cut.clone(), cut]);
        server.end().await;
    }
);

both!(
    a_slow_reader_costs_little_and_one_that_goes_away_nothing,
    |h: Harness| async move {
        many_long(&h).await;
        let pages = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&pages);
        let db = h.services.db.clone().observed(move |statement| {
            if statement.starts_with("SELECT p.* FROM person AS p") {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let services = Services {
            db,
            ..h.services.clone()
        };
        let server = Served::over(&h, CadenzaSchema::new(services)).await;
        let (_, secret) = token(&h, json!({})).await;
        let mut readers = Vec::new();
        for _ in 0..AT_ONCE {
            readers.push(Reader::new(&server, &secret).await);
        }
        // One more has to wait until another is through, whoever else is served.
        let (status, body) = get(&server, &secret, "people.csv", None).await;
        assert_eq!(status, 429, "{body}");
        let error: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(error["errors"][0]["extensions"]["code"], "RATE_LIMITED");
        // None of them keeps its token from anything else, and while so much else is answered the server
        // reads no further than what is on its way.
        for _ in 0..100 {
            let asked = server
                .post(&secret)
                .json(&json!({ "query": "{ __typename }" }));
            assert_eq!(asked.send().await.expect("answers").status(), 200);
        }
        let read = pages.load(Ordering::SeqCst);
        let all = PEOPLE / CHUNK;
        assert!(
            read <= AT_ONCE * all * 7 / 10,
            "{read} of {} pages",
            AT_ONCE * all
        );
        // The first goes on and gets everything; the others go away.
        let first = readers.remove(0);
        drop(readers);
        let whole = first.rest().await;
        assert!(is_whole(&whole) && has_last(&whole));
        until("they are noticed", async || {
            let ended = entered(&h).await;
            let written = ended.iter().filter(|one| one["outcome"] == "DONE").count();
            (ended.len() == AT_ONCE && written == 1).then_some(())
        })
        .await;
        until("their places are free", async || {
            let mut taken = Vec::new();
            for _ in 0..AT_ONCE {
                let asked = client().get(format!("http://{}/export/people.csv", server.address));
                let answer = asked.bearer_auth(&secret).send().await.expect("answers");
                if answer.status() != 200 {
                    return None;
                }
                taken.push(answer);
            }
            Some(())
        })
        .await;
        let gone = entered(&h).await;
        assert!(
            gone.iter()
                .filter(|one| one["outcome"] == "UNFINISHED")
                .count()
                >= AT_ONCE - 1
        );
        server.end().await;
    }
);

both!(
    an_export_is_one_of_the_requests_that_a_token_may_make,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let (_, secret) = token(&h, json!({})).await;
        h.services.access.limit(RateLimit {
            per_second: 1,
            burst: 2,
        });
        let names = ["people.csv", "leads.csv", "executions.csv"];
        let mut asked = names.iter().cycle();
        let refused = until("there are too many", async || {
            let name = asked.next().expect("a name");
            let (status, body) = get(&server, &secret, name, None).await;
            (status == 429).then_some(body)
        });
        let refused: Value = serde_json::from_str(&refused.await).expect("JSON");
        let extensions = &refused["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "RATE_LIMITED", "{refused}");
        assert!(extensions["retryAfterMs"].is_u64(), "{refused}");
        h.services.access.limit(RateLimit::default());
        assert_eq!(get(&server, &secret, "people.csv", None).await.0, 200);
        server.end().await;
    }
);
