//! A server that speaks Twilio's API as far as sending goes, and keeps a ledger of what it took: the
//! ground truth of "never twice".
//!
//! The text of a message decides what happens; anything else is taken:
//!
//! | text | what happens |
//! | --- | --- |
//! | `refuse STATUS CODE` | refused, with the code and words |
//! | `status STATUS` | the status and some HTML |
//! | `wait STATUS SECONDS` | the status and `Retry-After: SECONDS` |
//! | `wait-html STATUS SECONDS` | the same, with some HTML instead of the API's words |
//! | `wait-date STATUS` | the status and a `Retry-After` 90 seconds after its `Date` |
//! | `fail CODE` | taken, and failed at once with the code |
//! | `hang` | taken, and no answer, ever |
//! | `garbage`, `nameless` | taken, 201 with what is no JSON, with JSON that names no message |
//! | `hang-in-body`, `cut-in-body`, `endless` | taken, 201 with a body that does not end |
//!
//! A message whose key it knows is answered as before and not taken again. Another account or token
//! than [`SID`] and [`TOKEN`] is refused with 401.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::web_sink::{Reply, Seen, WebSink};

/// The account.
pub const SID: &str = "AC0123456789abcdef0123456789abcdef";
/// Its token.
pub const TOKEN: &str = "a:token";

/// Its only number.
pub const NUMBER: &str = "+15005550006";

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The sender.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// The text.
    pub body: String,
    /// The key of the message.
    pub key: String,
}

type Ledger = Arc<Mutex<Vec<Taken>>>;

/// The server; it ends with this value.
pub struct TwilioSink {
    /// What it was asked.
    pub web: WebSink,
    ledger: Ledger,
}

impl TwilioSink {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start() -> io::Result<Self> {
        let ledger = Ledger::default();
        let kept = Arc::clone(&ledger);
        let web = WebSink::start(move |seen| answer(seen, &kept)).await?;
        Ok(Self { web, ledger })
    }

    /// The messages that it took, in order.
    pub fn taken(&self) -> Vec<Taken> {
        locked(&self.ledger).clone()
    }
}

fn locked(ledger: &Ledger) -> MutexGuard<'_, Vec<Taken>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(seen: &Seen, ledger: &Ledger) -> Reply {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{SID}:{TOKEN}"));
    let path = format!("/2010-04-01/Accounts/{SID}/Messages.json");
    if seen.header("authorization") != format!("Basic {login}") {
        return refuse(401, 20003, "Authenticate");
    }
    if seen.method == "GET" {
        return look(&seen.target);
    }
    if seen.method != "POST" || seen.target != path {
        return refuse(404, 20404, "The requested resource was not found");
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(seen.body.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let taken = Taken {
        from: field("From"),
        to: field("To"),
        body: field("Body"),
        key: seen.header("i-twilio-idempotency-token").to_owned(),
    };
    let words: Vec<&str> = taken.body.split(' ').collect();
    let number = |text: &str| text.parse().unwrap_or(0);
    match words.as_slice() {
        ["refuse", status, code] => return refuse(number(status), number(code).into(), "No"),
        ["status", status] => {
            let html = "<html>\r\n<h1>Trouble</h1>".to_owned();
            return Reply::Say(number(status), Vec::new(), html);
        }
        ["wait", status, seconds] => {
            return wait(number(status), vec![("retry-after", (*seconds).into())]);
        }
        ["wait-html", status, seconds] => {
            let headers = vec![("retry-after", (*seconds).into())];
            return Reply::Say(number(status), headers, "<html>Busy".into());
        }
        ["wait-date", status] => {
            let dates = [
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("retry-after", "Sun, 06 Nov 1994 08:51:07 GMT"),
            ];
            return wait(
                number(status),
                dates.map(|(name, text)| (name, text.into())).into(),
            );
        }
        _ => {}
    }
    let body = taken.body.clone();
    let sid = take(ledger, taken);
    let made = |status: &str, code: Option<u32>| {
        let body = json!({ "sid": sid, "status": status, "error_code": code,
            "error_message": code.map(|_| "Gave up") });
        Reply::Say(201, Vec::new(), body.to_string())
    };
    match body.split_once(' ').unwrap_or((&body, "")) {
        ("fail", code) => made("failed", code.parse().ok()),
        ("hang", "") => Reply::Hang,
        ("hang-in-body", "") => Reply::HangInBody(201),
        ("cut-in-body", "") => Reply::CutInBody(201),
        ("endless", "") => Reply::Endless(201),
        ("garbage", "") => Reply::Say(201, Vec::new(), "{\"sid\": \"SM".into()),
        ("nameless", "") => Reply::Say(201, Vec::new(), "{}".into()),
        _ => made("queued", None),
    }
}

/// The account, and its numbers: it has [`NUMBER`].
fn look(target: &str) -> Reply {
    let account = format!("/2010-04-01/Accounts/{SID}");
    let numbers = format!("{account}/IncomingPhoneNumbers.json?PhoneNumber=");
    if target == format!("{account}.json") {
        let body = json!({ "sid": SID, "status": "active" });
        return Reply::Say(200, Vec::new(), body.to_string());
    }
    let Some(asked) = target.strip_prefix(&numbers) else {
        return refuse(404, 20404, "The requested resource was not found");
    };
    let found = asked == NUMBER.replace('+', "%2B");
    let found = found.then(|| json!({ "phone_number": NUMBER }));
    let body = json!({ "incoming_phone_numbers": Vec::from_iter(found) });
    Reply::Say(200, Vec::new(), body.to_string())
}

/// Takes a message, once for each key; answers its name.
fn take(ledger: &Ledger, taken: Taken) -> String {
    let mut ledger = locked(ledger);
    let known = ledger.iter().position(|other| other.key == taken.key);
    let at = known.unwrap_or_else(|| {
        ledger.push(taken);
        ledger.len() - 1
    });
    format!("SM{at:032x}")
}

fn refuse(status: u16, code: u32, message: &str) -> Reply {
    let body = json!({ "status": status, "code": code, "message": message,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}") });
    Reply::Say(status, Vec::new(), body.to_string())
}

fn wait(status: u16, headers: Vec<(&'static str, String)>) -> Reply {
    let body = json!({ "status": status, "code": 20429, "message": "Too Many Requests" });
    Reply::Say(status, headers, body.to_string())
}
