//! OAuth 2 grants of senders: what access tokens are got with (RFC 6749 §6), and what a token server
//! answers.
//!
//! Owns when a token is to be replaced and how an answer is read. Never connects to anything, and never
//! keeps a token.

use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, Duration, Utc};
use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString, IntoStaticStr};

/// By what somebody logs in at a mail server.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum MailLogin {
    /// A password.
    #[default]
    Password,
    /// An access token of OAuth 2, by SASL XOAUTH2.
    Xoauth2,
}

impl MailLogin {
    /// Whether it is by a password.
    pub fn is_password(&self) -> bool {
        *self == Self::Password
    }
}

/// What a grant is, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where the token server is.
    pub token_url: String,
    /// The name of the client that the grant was given to.
    pub client_id: String,
    /// What access is asked for, with spaces between (RFC 6749 §3.3); `None`, all that was granted.
    pub scope: Option<String>,
}

/// How a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum GrantState {
    /// No access token was asked for yet.
    Waiting,
    /// The token server gave an access token the last time.
    Ready,
    /// The token server could not be asked the last time, or could not answer.
    Failing,
    /// The token server refused the last time: somebody must act.
    Refused,
}

/// What is secret of a grant. It shows itself to nobody by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// What access tokens are got for.
    pub refresh: String,
    /// The client's own secret, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The last access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(***)")
    }
}

/// So many characters of a token in a row tell too much of it.
const PART_CHARS: usize = 16;
/// How often a text may have been written as a part of an address, one over the other.
const ENCODINGS_MAX: usize = 3;

impl Tokens {
    /// Whether a text holds one of them, or a long part of one, as it is or as forms and addresses write it.
    /// It is to be asked of a whole text: the beginning of one may end in the midst of a token.
    pub fn are_told_by(&self, text: &str) -> bool {
        let secrets = [
            Some(&self.refresh),
            self.client_secret.as_ref(),
            self.access.as_ref(),
        ];
        let secrets: Vec<&[u8]> = secrets
            .into_iter()
            .flatten()
            .map(String::as_bytes)
            .collect();
        let tells = |text: &[u8]| secrets.iter().any(|secret| holds(text, secret));
        let mut text = text.as_bytes().to_vec();
        for _ in 0..=ENCODINGS_MAX {
            let spaced: Vec<u8> = text
                .iter()
                .map(|byte| if *byte == b'+' { b' ' } else { *byte })
                .collect();
            let (form, plain): (Vec<u8>, Vec<u8>) = (
                percent_decode(&spaced).collect(),
                percent_decode(&text).collect(),
            );
            if tells(&text) || tells(&form) {
                return true;
            }
            if plain == text {
                return false;
            }
            text = plain;
        }
        tells(&text)
    }
}

/// Whether a text holds a secret, or [`PART_CHARS`] of it in a row.
fn holds(text: &[u8], secret: &[u8]) -> bool {
    let length = secret.len().min(PART_CHARS);
    if length == 0 {
        return false;
    }
    let parts: HashSet<&[u8]> = secret.windows(length).collect();
    text.windows(length).any(|part| parts.contains(part))
}

/// The longest token, in characters: with a name before it, it fits the line of a login in base64
/// (RFC 4954 §4: 12,288 octets).
pub const TOKEN_CHARS_MAX: usize = 8_192;

/// Whether a text may be a token or a secret: one line of visible ASCII (RFC 6749, appendix A).
pub fn is_token(text: &str) -> bool {
    (1..=TOKEN_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

/// A token is replaced so long before its end, or half of its life before it if that is shorter.
const MARGIN: Duration = Duration::minutes(2);

/// The life of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was given.
    pub since: Option<DateTime<Utc>>,
    /// When it ends; `None` where the token server did not say.
    pub until: Option<DateTime<Utc>>,
}

impl Life {
    /// Whether the token is of no use any more.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it is time to replace the token.
    pub fn is_ending(&self, now: DateTime<Utc>) -> bool {
        let Some(until) = self.until else {
            return false;
        };
        let half = self.since.map_or(MARGIN, |since| (until - since) / 2);
        until - MARGIN.min(half) <= now
    }
}

/// What a token server gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// The access token.
    pub access: String,
    /// The refresh token from now on, where it is another one.
    pub refresh: Option<String>,
    /// How long the access token is of use; `None` where the server does not say.
    pub lives: Option<Duration>,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("lives", &self.lives)
            .finish_non_exhaustive()
    }
}

/// An answer without an access token that is of use. What is told of it holds no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum NotGranted {
    /// It will be the same until somebody acts (RFC 6749 §5.2).
    Refused {
        /// The server's code, such as `invalid_grant`.
        code: String,
        /// The server's words, where it has any.
        words: Option<String>,
    },
    /// It may be otherwise later.
    Later {
        /// What the answer was, for people.
        what: String,
        /// The refresh token from now on, where another one came all the same: the old one may be spent.
        refresh: Option<String>,
    },
}

impl fmt::Debug for NotGranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, words } => f
                .debug_struct("Refused")
                .field("code", code)
                .field("words", words)
                .finish(),
            Self::Later { what, .. } => f
                .debug_struct("Later")
                .field("what", what)
                .finish_non_exhaustive(),
        }
    }
}

/// The longest life that is believed.
const LIFE_MAX: Duration = Duration::days(365);
/// The longest code and the longest words that are shown, in characters.
const CODE_CHARS_MAX: usize = 60;
const WORDS_CHARS_MAX: usize = 200;
/// Codes that say that the server has trouble of its own: those of RFC 6749 §4.1.2.1 that servers answer
/// here, too, and what they say where there are too many requests.
const PASSING: &[&str] = &[
    "server_error",
    "temporarily_unavailable",
    "slow_down",
    "rate_limit_exceeded",
    "internal_failure",
];

/// Reads the answer of a token server to a refresh token (RFC 6749 §5), which was asked with these tokens.
///
/// # Errors
/// [`NotGranted`] where it holds no access token that is of use.
pub fn read_answer(status: u16, body: &[u8], asked: &Tokens) -> Result<Granted, NotGranted> {
    let read: Option<Value> = serde_json::from_slice(body).ok();
    let text = |name: &str| read.as_ref()?.get(name)?.as_str();
    // A server that repeats what it was told must not make it known.
    let shown = |text: &str, chars_max| match asked.are_told_by(text) {
        true => None,
        false => Some(line(text, chars_max)).filter(|line| !line.is_empty()),
    };
    let later = |what: &str, refresh: Option<&str>| {
        Err(NotGranted::Later {
            what: what.to_owned(),
            refresh: refresh.map(str::to_owned),
        })
    };
    if let Some(code) = text("error").filter(|code| !code.is_empty())
        && status < 500
        && !matches!(status, 408 | 429)
        && !PASSING.contains(&code)
    {
        return Err(NotGranted::Refused {
            code: shown(code, CODE_CHARS_MAX).unwrap_or_else(|| "an error".to_owned()),
            words: text("error_description").and_then(|words| shown(words, WORDS_CHARS_MAX)),
        });
    }
    if !(200..=299).contains(&status) {
        let what = match text("error").and_then(|code| shown(code, CODE_CHARS_MAX)) {
            Some(code) => format!("it answered {status} {code}"),
            None if (300..=399).contains(&status) => {
                format!("it answered {status}, and redirects are not followed: correct tokenUrl")
            }
            None => format!("it answered {status}"),
        };
        return later(&what, None);
    }
    let refresh = text("refresh_token").filter(|token| !token.is_empty());
    if refresh.is_some_and(|token| !is_token(token)) {
        return later("its refresh token is none that can be kept", None);
    }
    let Some(access) = text("access_token") else {
        let what = "its answer holds no access token: check tokenUrl";
        return later(what, refresh);
    };
    if !is_token(access) {
        let what = "its access token is none that a login can hold";
        return later(what, refresh);
    }
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        let what = "its access token is not one of the type Bearer";
        return later(what, refresh);
    }
    let lives = read
        .as_ref()
        .and_then(|read| seconds(read.get("expires_in")?));
    Ok(Granted {
        access: access.to_owned(),
        refresh: refresh.map(str::to_owned),
        lives,
    })
}

/// A number of seconds, which some servers write as a text.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let seconds = seconds.filter(|seconds| *seconds >= 0)?;
    Some(Duration::try_seconds(seconds).map_or(LIFE_MAX, |life| life.min(LIFE_MAX)))
}

/// The beginning of a text, on one line.
fn line(text: &str, chars_max: usize) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(chars_max).collect()
}

/// What somebody has to do about a refusal, as a sentence.
pub fn remedy(code: &str) -> &'static str {
    match code {
        "invalid_grant" | "interaction_required" | "consent_required" | "login_required" => {
            "Authorise again, and give the sender the new refresh token in oauth, with enabled: true if it was \
             switched off."
        }
        "invalid_client" | "unauthorized_client" | "disabled_client" | "deleted_client" => {
            "Give the sender oauth with the right clientId and clientSecret; a secret may have expired."
        }
        "invalid_scope" => "Give the sender oauth with a scope that was granted, or without one.",
        _ => "Correct the sender's oauth.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Granted, NotGranted> {
        read_answer(status, body.as_bytes(), &tokens("re fresh&1"))
    }

    fn tokens(refresh: &str) -> Tokens {
        Tokens {
            refresh: refresh.into(),
            client_secret: Some("client=secret".into()),
            access: None,
        }
    }

    #[test]
    fn an_answer_is_read_as_servers_write_it() {
        let granted = read(
            200,
            r#"{"access_token":"a.b","token_type":"Bearer","expires_in":3599,"scope":"x"}"#,
        );
        let granted = granted.expect("a token");
        assert_eq!((granted.access.as_str(), granted.refresh), ("a.b", None));
        assert_eq!(granted.lives, Some(Duration::seconds(3599)));
        // Microsoft's older servers write numbers as texts, and rotate the refresh token.
        let granted = read(
            200,
            r#"{"access_token":"a","token_type":"bearer","expires_in":"60","refresh_token":"r2"}"#,
        );
        let granted = granted.expect("a token");
        assert_eq!(granted.refresh.as_deref(), Some("r2"));
        assert_eq!(granted.lives, Some(Duration::minutes(1)));
        for (expires_in, lives) in [
            ("null", None),
            ("-5", None),
            ("\"soon\"", None),
            ("99999999999999999", Some(LIFE_MAX)),
        ] {
            let body =
                format!(r#"{{"access_token":"a","refresh_token":"","expires_in":{expires_in}}}"#);
            let granted = read(200, &body).expect("a token");
            assert_eq!(
                (granted.lives, granted.refresh),
                (lives, None),
                "{expires_in}"
            );
        }
    }

    #[test]
    fn a_refusal_is_told_from_trouble_that_passes() {
        let refused = read(
            400,
            r#"{"error":"invalid_grant","error_description":"Token has been\r\nexpired or revoked."}"#,
        );
        assert_eq!(
            refused,
            Err(NotGranted::Refused {
                code: "invalid_grant".into(),
                words: Some("Token has been expired or revoked.".into())
            })
        );
        // Some answer errors under 200.
        assert!(matches!(
            read(200, r#"{"error":"bad_refresh_token"}"#),
            Err(NotGranted::Refused { .. })
        ));
        for (status, body) in [
            (500, ""),
            (503, r#"{"error":"invalid_grant"}"#),
            (429, r#"{"error":"invalid_request"}"#),
            (400, r#"{"error":"temporarily_unavailable"}"#),
            (404, "<html>"),
            (302, ""),
            (200, ""),
            (200, "{}"),
            (200, r#"{"access_token":""}"#),
            (200, "{\"access_token\":\"a\\u0001auth=\"}"),
            (200, r#"{"access_token":"é"}"#),
            (200, r#"{"access_token":"a","token_type":"mac"}"#),
            (200, r#"{"access_token":"a","refresh_token":"\n"}"#),
            (200, r#"{"access_token":7}"#),
        ] {
            let read = read(status, body);
            assert!(
                matches!(read, Err(NotGranted::Later { refresh: None, .. })),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_new_refresh_token_counts_whatever_the_access_token_is() {
        let long = "a".repeat(TOKEN_CHARS_MAX + 1);
        for rest in [
            r#""token_type":"Bearer""#.to_owned(),
            r#""access_token":"é""#.to_owned(),
            r#""access_token":"a","token_type":"mac""#.to_owned(),
            format!(r#""access_token":"{long}""#),
        ] {
            let answer = read(200, &format!(r#"{{"refresh_token":"geheim",{rest}}}"#));
            assert!(!format!("{answer:?}").contains("geheim"));
            let Err(NotGranted::Later { refresh, .. }) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(refresh.as_deref(), Some("geheim"));
        }
    }

    #[test]
    fn no_word_of_a_server_holds_a_secret_or_a_part_of_one() {
        // Only its beginning would be shown of the long one.
        let mark = |n: u32| format!("{:08x}", n.wrapping_mul(2_654_435_761));
        let long: String = (1..=188).map(mark).collect();
        let spaced = tokens("re fresh&1");
        for (asked, told) in [
            (tokens(&long), format!("invalid token {long}")),
            (tokens(&long), format!("invalid token {}", &long[400..430])),
            (spaced.clone(), "no re fresh&1 here".into()),
            (spaced.clone(), "no re+fresh%261 here".into()),
            (spaced.clone(), "no re%20fresh&1 here".into()),
            (spaced.clone(), "no re%2520fresh%25261 here".into()),
            (spaced, "client%3Dsecret is wrong".into()),
        ] {
            for status in [200, 400, 408, 429, 500, 503] {
                let body = serde_json::json!({ "error": told, "error_description": told });
                let answer = read_answer(status, body.to_string().as_bytes(), &asked);
                match answer.expect_err("no token") {
                    NotGranted::Refused { code, words } => {
                        assert_eq!((code.as_str(), words), ("an error", None));
                    }
                    NotGranted::Later { what, .. } => {
                        assert_eq!(what, format!("it answered {status}"), "{told}");
                    }
                }
            }
        }
        // Words that hold none are shown.
        let body = r#"{"error":"invalid_grant","error_description":"100% re fresh"}"#;
        let words = Some("100% re fresh".to_owned());
        let code = "invalid_grant".to_owned();
        assert_eq!(read(400, body), Err(NotGranted::Refused { code, words }));
    }

    #[test]
    fn a_token_is_replaced_before_its_end() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0);
        let now = |seconds| at(seconds).expect("an instant");
        let life = |seconds| Life {
            since: at(0),
            until: at(seconds),
        };
        let hour = life(3600);
        assert!(!hour.is_ending(now(3479)) && hour.is_ending(now(3480)));
        assert!(!hour.is_over(now(3599)) && hour.is_over(now(3600)));
        // A short life is not spent on refreshing.
        let minute = life(60);
        assert!(!minute.is_ending(now(29)) && minute.is_ending(now(30)));
        let unknown = Life {
            since: at(0),
            until: None,
        };
        assert!(!unknown.is_ending(now(99_999_999)) && !unknown.is_over(now(99_999_999)));
    }

    #[test]
    fn tokens_are_shown_to_nobody() {
        let tokens = Tokens {
            refresh: "geheim".into(),
            client_secret: Some("geheim".into()),
            access: Some("geheim".into()),
        };
        let granted = read(200, r#"{"access_token":"geheim","refresh_token":"geheim"}"#);
        assert!(!format!("{tokens:?} {granted:?}").contains("geheim"));
        let text = serde_json::to_string(&tokens).expect("JSON");
        assert_eq!(serde_json::from_str::<Tokens>(&text).ok(), Some(tokens));
    }
}
