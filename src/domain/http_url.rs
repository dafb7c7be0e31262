//! Addresses of the web that requests are sent to.

use std::fmt;
use std::str::FromStr;

use url::{Host, Position, Url};

/// The longest address, in bytes.
const BYTES_MAX: usize = 2_048;

/// Why an address was refused; each names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// No address of the web.
    #[error("Write the address in full, like https://example.com/hook.")]
    Shape,
    /// Another protocol.
    #[error("The address begins with https:// or http://: correct it.")]
    Scheme,
    /// A name or a password in it.
    #[error(
        "The address holds a user name or a password, which would be shown with it: put them into a header."
    )]
    Login,
    /// Too long.
    #[error("The address is longer than {BYTES_MAX} bytes: shorten it.")]
    Length,
}

/// An address that a request can be sent to: http or https, a host, no login. Unlike
/// [`WebUrl`](super::address::WebUrl), its host may be a name of the local network; whether a
/// request may go there is decided where it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// Reads an address as browsers do (WHATWG URL). What follows a # is dropped, as it is never
    /// sent.
    ///
    /// # Errors
    /// [`HttpUrlError`], with the remedy.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let text = text.trim();
        if text.len() > BYTES_MAX {
            return Err(HttpUrlError::Length);
        }
        let mut url = Url::parse(text).map_err(|_| HttpUrlError::Shape)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HttpUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HttpUrlError::Login);
        }
        if url.host().is_none() {
            return Err(HttpUrlError::Shape);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The address, in its normal form.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the way there is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host: a name, or an address however it was written.
    pub fn host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// The host as a request names it: with its port, unless that is the usual one.
    pub fn authority(&self) -> &str {
        &self.0[Position::BeforeHost..Position::AfterPort]
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// What a request asks for: the path and the query.
    pub fn target(&self) -> &str {
        &self.0[Position::BeforePath..Position::AfterQuery]
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
