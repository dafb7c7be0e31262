//! The address by which this server is reached from outside.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// A longer one leaves too little of a URL to what stands behind it; in bytes.
const BYTES_MAX: usize = 200;

/// Why an address was refused; each names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// No address of the web.
    #[error("Write a host or an address like https://go.example.com.")]
    Shape,
    /// Another protocol.
    #[error("The address begins with https:// or http://: correct it.")]
    Scheme,
    /// More than a host and a path.
    #[error("The address has a login, a query or a fragment: leave them out.")]
    More,
    /// Too long.
    #[error("The address is longer than {BYTES_MAX} bytes: give a shorter one.")]
    Length,
}

/// An address of http or https with a host and perhaps a path, without a slash at its end. A host alone is
/// one of https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`BaseUrlError`], with the remedy.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        if text.len() > BYTES_MAX {
            return Err(BaseUrlError::Length);
        }
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("https://{text}"),
        };
        let url = Url::parse(&whole).map_err(|_| BaseUrlError::Shape)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseUrlError::Scheme);
        }
        let has_login = !url.username().is_empty() || url.password().is_some();
        if has_login || url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::More);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(BaseUrlError::Shape);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of https.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_enough_and_more_than_a_path_is_too_much() {
        let read = |text: &str| BaseUrl::parse(text).map(|base| base.to_string());
        let same = |text: &str| Ok(text.to_owned());
        assert_eq!(read(" go.example.com "), same("https://go.example.com"));
        assert_eq!(read("https://Example.com/"), same("https://example.com"));
        assert_eq!(
            read("https://example.com/mail/"),
            same("https://example.com/mail")
        );
        assert_eq!(read("http://127.0.0.1:8080"), same("http://127.0.0.1:8080"));
        assert_eq!(
            read("bücher.example"),
            same("https://xn--bcher-kva.example")
        );
        for (wrong, error) in [
            ("", BaseUrlError::Shape),
            ("https://", BaseUrlError::Shape),
            ("ftp://example.com", BaseUrlError::Scheme),
            ("https://a:b@example.com", BaseUrlError::More),
            ("https://example.com/?a", BaseUrlError::More),
            ("https://example.com/#a", BaseUrlError::More),
        ] {
            assert_eq!(read(wrong), Err(error), "{wrong}");
        }
        assert_eq!(read(&"a".repeat(201)), Err(BaseUrlError::Length));
    }
}
