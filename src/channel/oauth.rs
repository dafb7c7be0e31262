//! Access tokens of OAuth 2 on their way to those who log in with them: asking token servers, and whom a
//! login asks for its token.
//!
//! Owns the request to a token server (RFC 6749 §6) and what its failure means for a message. Never keeps
//! a token: who does is asked by [`AccessTokens`].

use std::fmt;
use std::sync::Arc;

use chrono::Duration;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::form_urlencoded;

use super::carrier::Doing;
use super::secret::Secret;
use super::web::{Web, WebConfig, WebError};
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::oauth::{Grant, Granted, NotGranted, Tokens, read_answer, remedy};
use crate::domain::outcome::{Outcome, Phase, RetryReason, Scope};

/// Why there is no access token, in words for people, with what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It will be the same until somebody acts.
    #[error("{0}")]
    Refused(String),
    /// It may be otherwise later.
    #[error("{what}")]
    Later {
        /// The kind of trouble.
        reason: RetryReason,
        /// What happened, as a sentence.
        what: String,
    },
}

impl TokenError {
    /// The grant cannot be used as it is in the database.
    pub fn unreadable(what: impl fmt::Display) -> Self {
        Self::Later {
            reason: RetryReason::ConnectionFailed,
            what: format!("The sender's OAuth grant cannot be read ({what})."),
        }
    }

    /// Whether somebody must act.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// How long the token server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later {
                reason: RetryReason::RateLimited { after } | RetryReason::Unavailable { after },
                ..
            } => *after,
            Self::Later { .. } | Self::Refused(_) => None,
        }
    }

    /// What becomes of a message whose login needs the token: the trouble is the sender's, and none of the
    /// message's.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(what) => Outcome::Rejected {
                phase: Phase::Auth,
                code: 0,
                enhanced: None,
                response: what.clone(),
                scope: Scope::Sender,
            },
            Self::Later { reason, what } => Outcome::Retry {
                phase: Phase::Auth,
                code: None,
                response: Some(what.trim_end_matches('.').to_owned()),
                reason: *reason,
                scope: Scope::Sender,
            },
        }
    }
}

/// Whose grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantOf {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The sender.
    pub sender: SenderId,
}

/// Gives out the access tokens of grants, and replaces them in time. A function of whoever keeps them, so
/// that channels know nothing of databases and keys.
pub trait AccessTokens: Send + Sync {
    /// An access token that is of use, and another one than `refused`, which a mail server did not take. It
    /// ends in bounded time.
    fn token<'a>(
        &'a self,
        of: GrantOf,
        refused: Option<&'a Secret>,
    ) -> Doing<'a, Result<Secret, TokenError>>;
}

/// Where the access token of a login comes from.
#[derive(Clone)]
pub enum TokenSource {
    /// Somebody has written it down, and there is no other.
    Written(Secret),
    /// A grant.
    Grant(Arc<dyn AccessTokens>, GrantOf),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(secret) => f.debug_tuple("Written").field(secret).finish(),
            Self::Grant(_, of) => f.debug_tuple("Grant").field(of).finish(),
        }
    }
}

impl TokenSource {
    /// The access token to log in with.
    ///
    /// # Errors
    /// [`TokenError`] where there is none.
    pub async fn token(&self) -> Result<Secret, TokenError> {
        match self {
            Self::Written(secret) => Ok(secret.clone()),
            Self::Grant(tokens, of) => tokens.token(*of, None).await,
        }
    }

    /// Another one than the one that a mail server refused; `None` where there is no other.
    ///
    /// # Errors
    /// [`TokenError`] where the token server gives none.
    pub async fn instead_of(&self, refused: &Secret) -> Result<Option<Secret>, TokenError> {
        match self {
            Self::Written(_) => Ok(None),
            Self::Grant(tokens, of) => Ok(Some(tokens.token(*of, Some(refused)).await?)),
        }
    }
}

/// Asks token servers.
#[derive(Clone, Debug)]
pub struct TokenServer {
    web: Web,
}

impl TokenServer {
    /// Asks within these limits.
    pub fn new(config: WebConfig) -> Self {
        Self {
            web: Web::new(config),
        }
    }

    /// Asks for an access token once; it ends in bounded time. The client says who it is in the body
    /// (RFC 6749 §2.3.1), as the big providers document it, and as clients without a secret do.
    ///
    /// # Errors
    /// [`NoToken`] where there is none.
    pub async fn refresh(&self, grant: &Grant, tokens: &Tokens) -> Result<Granted, NoToken> {
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let (url, body) = (&grant.token_url, body(grant, tokens));
        let answer = self.web.send(Method::POST, url, headers, body).await;
        let answer = answer.map_err(|error| unanswered(&error))?;
        read_answer(answer.status, answer.body(), tokens).map_err(|not| match not {
            NotGranted::Refused { code, words } => refused(&code, words).into(),
            NotGranted::Later { what, refresh } => NoToken {
                error: TokenError::Later {
                    reason: match answer.status {
                        200..=299 => RetryReason::Protocol,
                        429 => RetryReason::RateLimited {
                            after: answer.retry_after,
                        },
                        _ => RetryReason::Unavailable {
                            after: answer.retry_after,
                        },
                    },
                    what: format!("The token server gives no access token: {what}."),
                },
                refresh,
            },
        })
    }
}

/// What came of a request that brought no access token.
pub struct NoToken {
    /// Why there is none.
    pub error: TokenError,
    /// The refresh token from now on, where another one came all the same.
    pub refresh: Option<String>,
}

impl fmt::Debug for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoToken")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl From<TokenError> for NoToken {
    fn from(error: TokenError) -> Self {
        Self {
            error,
            refresh: None,
        }
    }
}

fn body(grant: &Grant, tokens: &Tokens) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", &tokens.refresh)
        .append_pair("client_id", &grant.client_id);
    if let Some(secret) = &tokens.client_secret {
        form.append_pair("client_secret", secret);
    }
    if let Some(scope) = &grant.scope {
        form.append_pair("scope", scope);
    }
    form.finish()
}

fn refused(code: &str, words: Option<String>) -> TokenError {
    let said = match words {
        Some(words) => format!("{code}: {}", words.trim_end_matches('.')),
        None => code.to_owned(),
    };
    TokenError::Refused(format!(
        "The token server refuses the refresh token ({said}). {}",
        remedy(code)
    ))
}

fn unanswered(error: &WebError) -> TokenError {
    match error {
        WebError::Url(_) | WebError::Forbidden => {
            TokenError::Refused(format!("The token server cannot be asked. {error}"))
        }
        WebError::NoConnection { reason, what } | WebError::NoAnswer { reason, what, .. } => {
            TokenError::Later {
                reason: *reason,
                what: format!(
                    "The token server does not answer: {}.",
                    what.trim_end_matches('.')
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            refresh: "re&fresh".into(),
            client_secret: Some("client=secret".into()),
            access: None,
        }
    }

    #[test]
    fn a_request_is_a_form() {
        let mut grant = Grant {
            token_url: "https://login.example.com/token".into(),
            client_id: "me".into(),
            scope: Some("a b".into()),
        };
        assert_eq!(
            body(&grant, &tokens()),
            "grant_type=refresh_token&refresh_token=re%26fresh&client_id=me\
             &client_secret=client%3Dsecret&scope=a+b"
        );
        grant.scope = None;
        let public = Tokens {
            client_secret: None,
            ..tokens()
        };
        let body = body(&grant, &public);
        assert!(
            !body.contains("scope") && !body.contains("secret"),
            "{body}"
        );
    }

    #[test]
    fn a_refusal_names_the_remedy() {
        let words = "Token has been revoked.".to_owned();
        assert_eq!(
            refused("invalid_grant", Some(words)).to_string(),
            "The token server refuses the refresh token (invalid_grant: Token has been revoked). \
             Authorise again, and give the sender the new refresh token in oauth, with enabled: true if it \
             was switched off."
        );
        let outcome = refused("invalid_grant", None).outcome();
        assert_eq!(
            outcome.error_code(),
            Some(crate::domain::outcome::ErrorCode::AuthFailed)
        );
        assert!(outcome.explain().contains("Authorise again"));
    }

    #[test]
    fn trouble_of_the_token_server_is_tried_again() {
        let late = unanswered(&WebError::NoConnection {
            reason: RetryReason::Timeout,
            what: "nothing within 10s".into(),
        });
        assert!(!late.is_final());
        let outcome = late.outcome();
        assert!(matches!(
            outcome,
            Outcome::Retry {
                scope: Scope::Sender,
                ..
            }
        ));
        assert_eq!(
            outcome.explain(),
            "The server did not answer in time at logging in: The token server does not answer: \
             nothing within 10s."
        );
        assert!(unanswered(&WebError::Forbidden).is_final());
    }
}
