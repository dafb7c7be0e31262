//! Many who listen: how fast events reach all of them, how soon, and what each costs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message as ServerMessage, Utf8Bytes, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use cadenza::domain::event::{EventKind, NewEvent};
use cadenza::store::event;
use futures_util::{SinkExt, StreamExt};
use sea_orm::DatabaseTransaction;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{BATCH, FOLLOW, World, per_second, serve};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What was measured of many who listen.
pub struct Audience {
    /// Events a second, of all together, where they are ready: committed, or texts.
    pub rate: f64,
    /// The same where they are written meanwhile.
    pub rate_with_writing: f64,
    /// The median, and of a hundred the last but one.
    pub delay: (Duration, Duration),
}

impl Audience {
    /// A broadcast of texts that are ready, over sockets.
    pub async fn plain(subscribers: usize, events: usize) -> Self {
        let (say, _) = broadcast::channel::<Utf8Bytes>(events.next_power_of_two().max(64));
        let router = Router::new()
            .route("/", get(broadcast_by_hand))
            .with_state(say.clone());
        let address = serve(router).await;
        let mut sockets = Vec::new();
        for _ in 0..subscribers {
            sockets.push(connect(address, "/").await);
        }
        while say.receiver_count() < subscribers {
            tokio::task::yield_now().await;
        }
        let text = r#"{"id":"s","type":"next","payload":{"data":{"executionEvents":{"cursor":"evt_0000000000000001","kind":"SEQUENCE_PUBLISHED","at":"2026-11-24T15:00:00.000Z","stepKey":null}}}}"#;
        let send = || drop(say.send(text.into()));
        let (sockets, rate) =
            measure_rate(sockets, events, async || (0..events).for_each(|_| send())).await;
        let delay = measure_delay(sockets, async || send()).await;
        Self {
            rate,
            rate_with_writing: rate,
            delay,
        }
    }

    /// Live events, from the commit on.
    pub async fn live(world: &World, subscribers: usize, events: usize) -> Self {
        let mut sockets = Vec::new();
        for _ in 0..subscribers {
            sockets.push(follow(world.address, &world.secret).await);
        }
        while world.api.followers() < subscribers {
            tokio::task::yield_now().await;
        }
        let mark = mark(world).await;
        for socket in &mut sockets {
            while !hear(socket, "next").await.contains(&mark) {}
        }
        // Nobody can see them before the commit, and the commit counts.
        let written = begin(world, events).await;
        let (sockets, rate) = measure_rate(sockets, events, async || {
            written.commit().await.expect("committed");
            world.services.wake.log();
        })
        .await;
        let (sockets, rate_with_writing) = measure_rate(sockets, events, async || {
            let mut left = events;
            while left > 0 {
                let now = left.min(BATCH);
                append(world, now).await;
                left -= now;
            }
        })
        .await;
        let delay = measure_delay(sockets, async || append(world, 1).await).await;
        Self {
            rate,
            rate_with_writing,
            delay,
        }
    }
}

async fn broadcast_by_hand(
    State(say): State<broadcast::Sender<Utf8Bytes>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |mut socket| async move {
        let mut said = say.subscribe();
        while let Ok(text) = said.recv().await {
            if socket.send(ServerMessage::Text(text)).await.is_err() {
                return;
            }
        }
    })
}

async fn connect(address: SocketAddr, path: &str) -> Socket {
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .expect("a URL");
    if path == "/graphql" {
        let protocol = "graphql-transport-ws".parse().expect("a header");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
    }
    // As little as the server itself takes, so that what is measured is not the client's.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let connected = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await;
    connected.expect("connects").0
}

async fn say(socket: &mut Socket, message: Value) {
    socket
        .send(Message::text(message.to_string()))
        .await
        .expect("sent");
}

/// The next message of this type.
async fn hear(socket: &mut Socket, of: &str) -> String {
    loop {
        let message = socket.next().await.expect("a message").expect("is read");
        if let Message::Text(text) = message {
            assert!(!text.contains("\"error\""), "{text}");
            if text.contains(of) {
                return text.to_string();
            }
        }
    }
}

async fn append(world: &World, count: usize) {
    let written = begin(world, count).await;
    written.commit().await.expect("committed");
    world.services.wake.log();
}

/// Writes so many events, which are there once they are committed.
async fn begin(world: &World, count: usize) -> DatabaseTransaction {
    let now = world.services.clock.now();
    let one = NewEvent::of_sequence(now, EventKind::SequencePublished, world.sequence);
    let tx = world.services.db.begin().await.expect("a transaction");
    event::append(&tx, world.workspace, vec![one; count])
        .await
        .expect("appended");
    tx
}

/// The cursor of an event that was appended just now.
async fn mark(world: &World) -> String {
    append(world, 1).await;
    let last = event::last_seq(world.services.db.read(), world.workspace)
        .await
        .expect("a number");
    format!("evt_{last:016x}")
}

/// How many events a second all of them together get, where each gets so many.
async fn measure_rate(
    sockets: Vec<Socket>,
    events: usize,
    send: impl AsyncFnOnce(),
) -> (Vec<Socket>, f64) {
    let subscribers = sockets.len();
    let mut tasks = tokio::task::JoinSet::new();
    for mut socket in sockets {
        tasks.spawn(async move {
            for _ in 0..events {
                hear(&mut socket, "next").await;
            }
            socket
        });
    }
    let began = Instant::now();
    send().await;
    let mut sockets = Vec::new();
    while let Some(socket) = tasks.join_next().await {
        sockets.push(socket.expect("hears"));
    }
    (sockets, per_second(subscribers * events, began.elapsed()))
}

/// How long an event takes to reach each of them, where there is time between events.
async fn measure_delay(sockets: Vec<Socket>, send: impl AsyncFn()) -> (Duration, Duration) {
    const EVENTS: usize = 20;
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
    let subscribers = sockets.len();
    for mut socket in sockets {
        let heard = heard.clone();
        tokio::spawn(async move {
            for _ in 0..EVENTS {
                hear(&mut socket, "next").await;
                heard.send(Instant::now()).expect("somebody counts");
            }
        });
    }
    let mut delays = Vec::new();
    for _ in 0..EVENTS {
        send().await;
        let sent = Instant::now();
        for _ in 0..subscribers {
            let at: Instant = hearing.recv().await.expect("heard");
            delays.push(at.saturating_duration_since(sent));
        }
    }
    delays.sort();
    (delays[delays.len() / 2], delays[delays.len() * 99 / 100])
}

/// A socket that follows the log, once that stands.
pub async fn follow(address: SocketAddr, secret: &str) -> Socket {
    let mut socket = connect(address, "/graphql").await;
    let payload = json!({ "authorization": format!("Bearer {secret}") });
    let init = json!({ "type": "connection_init", "payload": payload });
    say(&mut socket, init).await;
    hear(&mut socket, "connection_ack").await;
    let subscribe = |id: &str, query: &str| json!({ "id": id, "type": "subscribe", "payload": { "query": query } });
    say(&mut socket, subscribe("s", FOLLOW)).await;
    say(&mut socket, subscribe("q", "{ __typename }")).await;
    hear(&mut socket, "complete").await;
    socket
}

/// The memory of a process, in bytes.
pub fn resident(process: u32) -> usize {
    let status = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(status).expect("Linux tells");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a line");
    let kilobytes: usize = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kilobytes * 1_024
}
