//! The API as the commands use it: a document, its variables, and what it answers.

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use crate::cli::post;

/// Where the API is at a server.
const ENDPOINT: &str = "/graphql";

/// Something that runs documents of the API.
pub trait Api: Sync {
    /// Runs a query or a mutation and answers its data.
    fn ask(
        &self,
        document: &str,
        variables: Value,
    ) -> impl Future<Output = Result<Value, ApiError>> + Send;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is none of the web.
    #[error("{0} is not the address of a server: write one like https://cadenza.example.com")]
    Address(String),
    /// The token cannot be sent.
    #[error("the token holds a character that no token has: copy it again")]
    Token,
    /// The server cannot be reached, or breaks off.
    #[error("{url} does not answer ({what}): is the server running, and is --url right?")]
    Unreachable {
        /// The server.
        url: String,
        /// What went wrong.
        what: String,
    },
    /// Something else than this API answered.
    #[error("{url} answered {status} and is no API of Cadenza: is --url right?")]
    Foreign {
        /// The server.
        url: String,
        /// The status of its answer.
        status: u16,
    },
    /// The API refused the request.
    #[error("{message} ({code})")]
    Refused {
        /// `extensions.code`.
        code: String,
        /// What it said.
        message: String,
    },
}

impl ApiError {
    /// The data of an answer, or its first error.
    ///
    /// # Errors
    /// [`ApiError::Refused`] where the answer has errors.
    pub fn data_of(mut answer: Value) -> Result<Value, Self> {
        let Some(error) = answer["errors"].get(0) else {
            return Ok(answer["data"].take());
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Err(Self::Refused {
            code: text(&error["extensions"]["code"]),
            message: text(&error["message"]),
        })
    }
}

/// A server that is reached over HTTP.
#[derive(Debug)]
pub struct Remote {
    url: Url,
    authorization: HeaderValue,
}

impl Remote {
    /// The server at an address such as `https://cadenza.example.com`, and the token to use there.
    ///
    /// # Errors
    /// [`ApiError::Address`] or [`ApiError::Token`].
    pub fn new(url: &str, token: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::Address(url.to_owned());
        let read = post::endpoint(url, ENDPOINT).ok_or_else(wrong)?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        let mut authorization = bearer.map_err(|_| ApiError::Token)?;
        authorization.set_sensitive(true);
        Ok(Self {
            url: read,
            authorization,
        })
    }

    async fn post(&self, body: String) -> Result<(u16, Bytes), ApiError> {
        let json = HeaderValue::from_static("application/json");
        let headers = [
            (CONTENT_TYPE, json),
            (AUTHORIZATION, self.authorization.clone()),
        ];
        let headers = HeaderMap::from_iter(headers);
        let answered = post::post(&self.url, headers, Bytes::from(body)).await;
        answered.map_err(|error| ApiError::Unreachable {
            url: self.url.to_string(),
            what: error.to_string(),
        })
    }
}

impl Api for Remote {
    async fn ask(&self, document: &str, variables: Value) -> Result<Value, ApiError> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let (status, body) = self.post(body).await?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        match answer {
            Some(answer) if answer.get("data").is_some() || answer.get("errors").is_some() => {
                ApiError::data_of(answer)
            }
            Some(_) | None => Err(ApiError::Foreign {
                url: self.url.to_string(),
                status,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_the_endpoint() {
        for (written, asked) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/graphql"),
            ("https://a.example/", "https://a.example/graphql"),
            ("https://a.example/api/", "https://a.example/api/graphql"),
            ("https://a.example/graphql", "https://a.example/graphql"),
        ] {
            let remote = Remote::new(written, "t").expect("an address");
            assert_eq!(remote.url.as_str(), asked);
        }
        for wrong in ["", "localhost:8080", "ftp://a.example", "nothing"] {
            assert!(
                matches!(Remote::new(wrong, "t"), Err(ApiError::Address(_))),
                "{wrong}"
            );
        }
        assert!(matches!(
            Remote::new("http://a.example", "a\nb"),
            Err(ApiError::Token)
        ));
    }
}
