//! The messages of a client of graphql-transport-ws, as they are read; what they mean at the moment is
//! the machine's to say.

use serde_json::Value;

/// What a client says.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// It introduces itself, maybe with what its `authorization` says.
    Init(Option<String>),
    /// It wants to hear a pong with the same payload.
    Ping(Option<Value>),
    /// It is there.
    Pong,
    /// It begins an operation.
    Subscribe {
        /// The name that it gives the operation.
        id: String,
        /// The request.
        payload: Option<Value>,
    },
    /// It wants to hear no more of an operation.
    Complete {
        /// The operation's name.
        id: String,
    },
}

impl Message {
    /// Reads a text frame.
    ///
    /// # Errors
    /// Why it is no message, as the reason of a close.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let Ok(Value::Object(mut message)) = serde_json::from_str::<Value>(text) else {
            return Err("Messages are JSON objects");
        };
        let payload = message
            .remove("payload")
            .filter(|payload| !payload.is_null());
        let id = match message.remove("id") {
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err("An id is a text"),
            None => None,
        };
        match (message.get("type").and_then(Value::as_str), id) {
            (Some("connection_init"), _) => Ok(Self::Init(payload.and_then(authorization))),
            (Some("ping"), _) => Ok(Self::Ping(payload)),
            (Some("pong"), _) => Ok(Self::Pong),
            (Some("subscribe"), Some(id)) => Ok(Self::Subscribe { id, payload }),
            (Some("complete"), Some(id)) => Ok(Self::Complete { id }),
            (Some("subscribe" | "complete"), None) => Err("The message has no id"),
            (Some(_), _) => Err("Unknown type of message"),
            (None, _) => Err("The message has no type"),
        }
    }
}

/// What a connection_init gives by any spelling of `authorization`.
fn authorization(payload: Value) -> Option<String> {
    let Value::Object(fields) = payload else {
        return None;
    };
    let mut fields = fields.into_iter();
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
