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

    /// Its host in lower case, without a port and without the dot that may end it.
    pub fn host(&self) -> String {
        let behind = self.0.split_once("://").map_or("", |(_, behind)| behind);
        let authority = behind.split('/').next().unwrap_or_default();
        host_of(authority)
    }

    /// Whether it is one of https.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }
}

/// The host of `host` or `host:port`, in the form of [`BaseUrl::host`].
pub fn host_of(authority: &str) -> String {
    // The colons of an address of IPv6 are within its brackets.
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
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
    fn a_host_is_the_same_however_it_is_asked_for() {
        let host = |text: &str| BaseUrl::parse(text).map(|base| base.host());
        for written in [
            "go.example.com",
            "https://GO.example.com:8443/mail/",
            "http://go.example.com.",
        ] {
            assert_eq!(host(written), Ok("go.example.com".to_owned()), "{written}");
        }
        assert_eq!(host("http://[::1]:8080"), Ok("[::1]".to_owned()));
        for asked in ["go.example.com", "Go.Example.com:443", "go.example.com."] {
            assert_eq!(host_of(asked), "go.example.com", "{asked}");
        }
        assert_eq!(host_of("[::1]"), "[::1]");
        assert_eq!(host_of("[::1]:8080"), "[::1]");
    }

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
