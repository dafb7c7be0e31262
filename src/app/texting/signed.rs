//! Whether a request is the provider's, and for which sender.

use std::collections::HashMap;

use crate::app::Services;
use crate::channel::smtp::Secret;
use crate::channel::twilio::signature::{SignedBody, is_signed, read_form};
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::sender::Transport;
use crate::store::StoreError;
use crate::store::sender::{self, Sender};

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The address that was asked for, as the provider knows it.
    pub address: &'a str,
    /// Whether the body is a form; otherwise it is JSON.
    pub is_form: bool,
    /// The body.
    pub body: &'a [u8],
    /// The signature that it carries.
    pub signature: &'a str,
}

/// A request that is the provider's.
#[derive(Debug)]
pub struct Admitted {
    /// Whose sender it is for.
    pub workspace: WorkspaceId,
    /// The sender.
    pub sender: Sender,
    fields: HashMap<String, String>,
}

impl Admitted {
    /// A field of the body; empty where there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// A sender whose provider's requests can be told from others'.
#[derive(Debug)]
pub struct Known {
    workspace: WorkspaceId,
    sender: Sender,
    account_sid: String,
    token: Secret,
}

/// The sender of this id with what its provider signs by; `None` where there is no such sender, or nothing that
/// is said of it could be checked. To be asked before a body is read.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn known(services: &Services, id: SenderId) -> Result<Option<Known>, StoreError> {
    let Some((workspace, sender)) = sender::of_any(services.db.read(), id).await? else {
        return Ok(None);
    };
    let (Transport::Twilio(transport), Some(sealed)) = (&sender.transport, &sender.secret) else {
        return Ok(None);
    };
    // The key that sealed it is another one: nothing can be checked.
    let Ok(token) = services.secrets.open(workspace, id.uuid(), sealed) else {
        return Ok(None);
    };
    Ok(Some(Known {
        workspace,
        account_sid: transport.account_sid.clone(),
        sender,
        token: Secret::new(token),
    }))
}

impl Known {
    /// What a request says, if it is signed with the token of the account that the sender sends by, and is about
    /// that account; otherwise nothing, whatever is wrong with it.
    pub fn admit(self, request: &Signed<'_>) -> Option<Admitted> {
        let fields = read(&self.token, request)
            .filter(|fields| fields.get("AccountSid") == Some(&self.account_sid))?;
        Some(Admitted {
            workspace: self.workspace,
            sender: self.sender,
            fields,
        })
    }
}

/// The fields of a request that is signed.
fn read(token: &Secret, request: &Signed<'_>) -> Option<HashMap<String, String>> {
    let holds = |body: &SignedBody<'_>| is_signed(token, request.address, body, request.signature);
    if request.is_form {
        let fields = read_form(request.body)?;
        return holds(&SignedBody::Form(&fields)).then(|| fields.into_iter().collect());
    }
    holds(&SignedBody::Other(request.body)).then(|| read_json(request.body))
}

/// The texts and numbers of an object; of anything else, none.
fn read_json(body: &[u8]) -> HashMap<String, String> {
    let read: HashMap<String, serde_json::Value> = serde_json::from_slice(body).unwrap_or_default();
    let texts = read.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::String(text) => Some((name, text)),
        serde_json::Value::Number(number) => Some((name, number.to_string())),
        _ => None,
    });
    texts.collect()
}
