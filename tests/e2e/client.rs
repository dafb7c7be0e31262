//! A plain client of the API: POST, and graphql-transport-ws.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, http::HeaderValue};

#[derive(Clone)]
pub struct Client {
    address: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    pub fn new(address: &str, token: &str) -> Self {
        Self {
            address: address.into(),
            token: token.into(),
            http: reqwest::Client::new(),
        }
    }

    /// Runs a document; top-level errors end the test.
    pub async fn run(&self, query: &str, variables: Value) -> Value {
        match self.try_run(query, variables).await {
            Ok(data) => data,
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn try_run(&self, query: &str, variables: Value) -> Result<Value, String> {
        let answer = self
            .http
            .post(format!("http://{}/graphql", self.address))
            .bearer_auth(&self.token)
            .json(&json!({ "query": query, "variables": variables }))
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        match answer.get("errors") {
            Some(errors) => Err(format!("{errors}")),
            None => Ok(answer["data"].take()),
        }
    }

    /// Runs a mutation with one input; user errors end the test.
    pub async fn mutate(&self, field: &str, input_type: &str, input: Value, select: &str) -> Value {
        let query = format!(
            "mutation ($input: {input_type}!) {{ {field}(input: $input) {{ {select} userErrors {{ code message path }} }} }}"
        );
        let mut data = self.run(&query, json!({ "input": input })).await;
        let payload = data[field].take();
        assert_eq!(payload["userErrors"], json!([]), "{field}: {payload}");
        payload
    }

    /// Follows a subscription until `take` says that it has seen enough.
    pub async fn follow(
        &self,
        query: &str,
        variables: Value,
        mut take: impl FnMut(&Value) -> bool,
    ) {
        let mut request = format!("ws://{}/graphql", self.address)
            .into_client_request()
            .expect("a URL");
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("graphql-transport-ws"),
        );
        let (mut socket, _) = tokio_tungstenite::connect_async(request)
            .await
            .expect("a WebSocket opens");
        let bearer = format!("Bearer {}", self.token);
        let init = json!({ "type": "connection_init", "payload": { "authorization": bearer } });
        let subscribe = json!({ "id": "1", "type": "subscribe",
                                "payload": { "query": query, "variables": variables } });
        socket
            .send(Message::text(init.to_string()))
            .await
            .expect("sends");
        while let Some(message) = socket.next().await {
            let Ok(Message::Text(text)) = message else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            match message["type"].as_str() {
                Some("connection_ack") => {
                    socket
                        .send(Message::text(subscribe.to_string()))
                        .await
                        .expect("sends");
                }
                Some("ping") => {
                    socket
                        .send(Message::text(r#"{"type":"pong"}"#))
                        .await
                        .expect("sends");
                }
                Some("next") => {
                    assert!(message["payload"]["errors"].is_null(), "{message}");
                    if take(&message["payload"]["data"]) {
                        return;
                    }
                }
                Some("complete") => return,
                other => panic!("an unexpected message {other:?}: {message}"),
            }
        }
        panic!("the stream broke");
    }
}

/// A sender through the SMTP receiver on `port`.
pub async fn smtp_sender(client: &Client, name: &str, port: u16) -> Value {
    let input = json!({ "name": name, "channel": "EMAIL",
        "address": format!("{}@cadenza.example", name.to_lowercase()),
        "transport": { "smtp": { "host": "127.0.0.1", "port": port, "security": "NONE" } } });
    client
        .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await["sender"]["id"]
        .clone()
}

/// Settings whose window never closes.
pub fn always_open() -> Value {
    let days = [
        "MONDAY",
        "TUESDAY",
        "WEDNESDAY",
        "THURSDAY",
        "FRIDAY",
        "SATURDAY",
        "SUNDAY",
    ];
    let windows: Vec<Value> = days
        .iter()
        .map(|day| json!({ "day": day, "from": "00:00", "to": "24:00" }))
        .collect();
    json!({ "timeZone": "UTC", "windowClock": "SEQUENCE", "sendWindows": windows })
}

/// A published sequence of these steps: wait and subject; the second and later ones reply in the
/// thread when they have no subject.
pub async fn sequence(client: &Client, senders: &[Value], steps: &[(&str, Option<&str>)]) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(number, (wait, subject))| {
            json!({ "key": format!("s{number}"), "wait": wait, "action": { "email": {
                "senderIds": senders, "inThread": subject.is_none(),
                "variants": [{ "subject": subject,
                    "html": "<p>Hello {{ first_name | default(\"there\") }},</p><p>From {{ sender.name }}: <a href=\"https://cadenza.example/\">a link</a>.</p>" }] } } })
        })
        .collect();
    let input = json!({ "name": "E2E", "flow": { "steps": steps }, "settings": always_open() });
    let made = client
        .mutate(
            "sequenceCreate",
            "SequenceCreateInput",
            input,
            "sequence { id }",
        )
        .await;
    let id = made["sequence"]["id"].clone();
    let input = json!({ "id": id });
    client
        .mutate(
            "sequencePublish",
            "SequencePublishInput",
            input,
            "sequence { status } problems { message }",
        )
        .await;
    id
}

/// Imports a CSV file and waits for its end.
pub async fn import(client: &Client, csv: &str) -> Value {
    let payload = client
        .mutate(
            "peopleImport",
            "PeopleImportInput",
            json!({ "csv": csv }),
            "operation { id status }",
        )
        .await;
    finished(client, &payload["operation"]["id"]).await
}

/// Enrols everybody whose search text holds `search` and waits for the end.
pub async fn enrol(client: &Client, sequence: &Value, search: &str) -> Value {
    let input = json!({ "sequenceId": sequence, "people": { "filter": { "search": search } } });
    let payload = client
        .mutate(
            "leadsEnrol",
            "LeadsEnrolInput",
            input,
            "operation { id status }",
        )
        .await;
    finished(client, &payload["operation"]["id"]).await
}

async fn finished(client: &Client, id: &Value) -> Value {
    let query = "query ($id: ID!) { bulkOperation(id: $id) {
        status total processed succeeded skipped failed } }";
    crate::world::until("the operation ends", 120, async || {
        let data = client.run(query, json!({ "id": id })).await;
        let operation = data["bulkOperation"].clone();
        (operation["status"] == "COMPLETED").then_some(operation)
    })
    .await
}
