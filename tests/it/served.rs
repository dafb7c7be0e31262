//! The API of a harness on a port, and a client of each protocol.

use std::time::Duration;

use cadenza::graphql::CadenzaSchema;
use cadenza::http::{Http, Options};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use crate::harness::Harness;

pub const UPLOAD_MAX: usize = 8 << 20;

/// The API of a harness on a port.
pub struct Served {
    pub address: String,
    api: Http,
    pub shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Served {
    pub async fn new(h: &Harness) -> Self {
        Self::with(h, Options::default()).await
    }

    pub async fn with(h: &Harness, options: Options) -> Self {
        Self::start(h, h.schema.clone(), options).await
    }

    pub async fn over(h: &Harness, schema: CadenzaSchema) -> Self {
        Self::start(h, schema, Options::default()).await
    }

    async fn start(h: &Harness, schema: CadenzaSchema, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shutdown = h.shutdown.child_token();
        let options = Options {
            upload_max: UPLOAD_MAX,
            ..options
        };
        let services = schema.services().clone();
        let http = Http::new(schema, options, shutdown.clone());
        let api = http.clone();
        let (access, until) = (services.access, shutdown.clone());
        let access = tokio::spawn(async move { access.run(until).await });
        let running = tokio::spawn(async move {
            http.clone().serve(listener).await;
            http.closed().await;
            access.await.expect("ends well");
        });
        Self {
            address,
            api,
            shutdown,
            running,
        }
    }

    /// How many streams of live events there are.
    pub fn followers(&self) -> usize {
        self.api.followers()
    }

    pub fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }

    pub fn post(&self, token: &str) -> reqwest::RequestBuilder {
        client().post(self.url()).bearer_auth(token)
    }

    pub async fn end(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.running).await;
        ended.expect("ends in time").expect("ends well");
    }

    pub async fn socket(&self) -> Socket {
        self.socket_with(&[("sec-websocket-protocol", "graphql-transport-ws")])
            .await
    }

    pub async fn socket_with(&self, headers: &[(&'static str, &str)]) -> Socket {
        let mut request = format!("ws://{}/graphql", self.address)
            .into_client_request()
            .expect("a URL");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header");
            request.headers_mut().insert(*name, value);
        }
        let (socket, _) = tokio_tungstenite::connect_async(request)
            .await
            .expect("it opens");
        Socket(socket)
    }
}

/// An HTTP client.
pub fn client() -> reqwest::Client {
    // A connection of its own for each request: none is left open when the server ends.
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .build()
        .expect("a client")
}

/// A client of graphql-transport-ws.
pub struct Socket(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

#[derive(Debug, PartialEq)]
pub enum Heard {
    Message(Value),
    Closed(u16),
    Gone,
}

impl Socket {
    pub async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .expect("sends");
    }

    /// The next message that is no ping.
    pub async fn hear(&mut self) -> Heard {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(30), self.0.next()).await;
            match next.expect("something is heard") {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["type"] != "ping" {
                        return Heard::Message(message);
                    }
                }
                Some(Ok(Message::Close(Some(frame)))) => return Heard::Closed(frame.code.into()),
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Heard::Gone,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn message(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            other => panic!("a message was expected: {other:?}"),
        }
    }

    pub async fn init(&mut self, token: &str) {
        let payload = json!({ "Authorization": format!("Bearer {token}") });
        self.say(json!({ "type": "connection_init", "payload": payload }))
            .await;
        assert_eq!(self.message().await, json!({ "type": "connection_ack" }));
    }

    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.say(json!({ "id": id, "type": "subscribe", "payload": payload }))
            .await;
    }
}
