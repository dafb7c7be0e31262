//! Whether a request is Twilio's: `X-Twilio-Signature`, made with the account's token.
//!
//! What is signed (HMAC-SHA1, in base64) is the address that was asked for, as Twilio knows it, and of a
//! form each field's name and value, in the order of the names. Of any other body the query of the address
//! has the SHA-256, as `bodySHA256`. SHA-1 is broken where two texts may be chosen that have the same; a
//! keyed one (RFC 2104) is not, and another one Twilio does not offer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use url::{Url, form_urlencoded};

use crate::channel::secret::Secret;

/// The most fields of a form that are read; Twilio sends some thirty.
const FIELDS_MAX: usize = 500;
/// The field of the query that names the SHA-256 of the body.
const BODY_SHA256: &str = "bodySHA256";

/// A body, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBody<'a> {
    /// The fields of a form, in any order.
    Form(&'a [(String, String)]),
    /// Anything else, as it came.
    Other(&'a [u8]),
}

/// The fields of a form (WHATWG URL, application/x-www-form-urlencoded); `None` where there are too many.
pub fn read_form(body: &[u8]) -> Option<Vec<(String, String)>> {
    let fields: Vec<_> = form_urlencoded::parse(body)
        .take(FIELDS_MAX + 1)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    (fields.len() <= FIELDS_MAX).then_some(fields)
}

/// Whether a request to this address carries a signature that was made with the token. Twilio signs the
/// address sometimes with its port and sometimes without: either will do.
pub fn is_signed(token: &Secret, address: &str, body: &SignedBody<'_>, signature: &str) -> bool {
    let Ok(tag) = STANDARD.decode(signature.trim()) else {
        return false;
    };
    if let SignedBody::Other(bytes) = body
        && !names_body(address, bytes)
    {
        return false;
    }
    let key = hmac::Key::new(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        token.reveal().as_bytes(),
    );
    let fields = match body {
        SignedBody::Form(fields) => joined(fields),
        SignedBody::Other(_) => String::new(),
    };
    // Compared in constant time.
    spellings(address)
        .iter()
        .any(|address| hmac::verify(&key, format!("{address}{fields}").as_bytes(), &tag).is_ok())
}

/// Names and values one after the other; what is there twice with the same value counts once.
fn joined(fields: &[(String, String)]) -> String {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_unstable();
    fields.dedup();
    fields
        .into_iter()
        .fold(String::new(), |mut text, (name, value)| {
            text.push_str(name);
            text.push_str(value);
            text
        })
}

/// Whether the address has the SHA-256 of the body, once.
fn names_body(address: &str, body: &[u8]) -> bool {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let mut named = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == BODY_SHA256)
        .map(|(_, value)| value.into_owned());
    let (Some(named), None) = (named.next(), named.next()) else {
        return false;
    };
    let found = digest::digest(&digest::SHA256, body);
    let found = found.as_ref().iter().map(|byte| format!("{byte:02x}"));
    // It is no secret: the signature is over it.
    named.eq_ignore_ascii_case(&found.collect::<String>())
}

/// The address as it is, and with the other spelling of its port.
fn spellings(address: &str) -> Vec<String> {
    let mut spellings = vec![address.to_owned()];
    if let (Ok(url), Some((scheme, rest))) = (Url::parse(address), address.split_once("://")) {
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
            _ => host,
        };
        if bare.len() < host.len() {
            spellings.push(format!("{scheme}://{bare}{path}"));
        } else if let Some(port) = url.port_or_known_default() {
            spellings.push(format!("{scheme}://{host}:{port}{path}"));
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    fn token() -> Secret {
        Secret::new("12345")
    }

    fn fields(written: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        written.iter().map(own).collect()
    }

    /// The call of Twilio's own documentation.
    fn call() -> Vec<(String, String)> {
        fields(&[
            ("To", "+18005551212"),
            ("From", "+14158675309"),
            ("Digits", "1234"),
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
        ])
    }

    fn sign(address: &str, fields: &[(String, String)]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
        let signed = format!("{address}{}", joined(fields));
        STANDARD.encode(hmac::sign(&key, signed.as_bytes()))
    }

    fn holds(address: &str, fields: &[(String, String)], signature: &str) -> bool {
        is_signed(&token(), address, &SignedBody::Form(fields), signature)
    }

    #[test]
    fn the_published_example_holds() {
        assert!(holds(ADDRESS, &call(), SIGNATURE));
        let mut more = call();
        more.push(("Digits".into(), "1234".into()));
        assert!(holds(ADDRESS, &more, SIGNATURE), "said twice is said once");
        more.push(("Digits".into(), "12345".into()));
        assert!(!holds(ADDRESS, &more, SIGNATURE));
        assert!(!holds(
            "http://mycompany.com/myapp.php?foo=1&bar=2",
            &call(),
            SIGNATURE
        ));
        let other = is_signed(
            &Secret::new("12346"),
            ADDRESS,
            &SignedBody::Form(&call()),
            SIGNATURE,
        );
        assert!(!other);
        for junk in [
            "",
            "RSOYDt4T1cUTdK1PDd93/VVr8B8",
            "====",
            "é",
            &SIGNATURE[1..],
        ] {
            assert!(!holds(ADDRESS, &call(), junk), "{junk}");
        }
    }

    #[test]
    fn the_port_may_be_named_or_not() {
        for (ours, theirs) in [
            ("https://a.example/x?y=1", "https://a.example:443/x?y=1"),
            ("http://a.example/x", "http://a.example:80/x"),
            ("https://a.example:8443/x", "https://a.example/x"),
            ("https://[2001:db8::1]/x", "https://[2001:db8::1]:443/x"),
            ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]/x"),
        ] {
            for signed in [ours, theirs] {
                assert!(
                    holds(ours, &call(), &sign(signed, &call())),
                    "{ours} {signed}"
                );
            }
            assert!(!holds(ours, &call(), &sign("https://b.example/x", &call())));
        }
        let other = sign("https://a.example:444/x", &call());
        assert!(!holds("https://a.example/x", &call(), &other));
    }

    #[test]
    fn another_body_is_named_by_the_address() {
        let body = br#"{"MessageSid":"SM1"}"#;
        let found = digest::digest(&digest::SHA256, body);
        let hex: String = found
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let address = format!("https://a.example/x?bodySHA256={hex}");
        let signature = sign(&address, &[]);
        let check = |address: &str, body: &[u8]| {
            is_signed(&token(), address, &SignedBody::Other(body), &signature)
        };
        assert!(check(&address, body));
        assert!(!check(&address, b"{}"));
        assert!(!check("https://a.example/x", body));
        let twice = format!("{address}&bodySHA256={hex}");
        let signed = sign(&twice, &[]);
        assert!(!is_signed(
            &token(),
            &twice,
            &SignedBody::Other(body),
            &signed
        ));
        // A form's signature does not serve for a body that is passed off as something else.
        assert!(!is_signed(
            &token(),
            ADDRESS,
            &SignedBody::Other(b""),
            SIGNATURE
        ));
    }

    /// Ten thousand changes to what was signed, each of which is found out.
    #[test]
    fn whatever_is_changed_the_signature_holds_no_more() {
        let drawn = std::cell::Cell::new(6_u64);
        // A linear congruential generator (Knuth's MMIX): the same changes in every run.
        let pick = |below: usize| {
            let next = drawn.get().wrapping_mul(6_364_136_223_846_793_005);
            drawn.set(next.wrapping_add(1_442_695_040_888_963_407));
            usize::try_from(drawn.get() >> 33).unwrap_or(0) % below
        };
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(call())
            .finish();
        let mutate = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let (at, byte) = (pick(bytes.len()), u8::try_from(pick(256)).unwrap_or(0));
            match pick(4) {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, byte),
                _ => bytes[at] ^= 1 << pick(8),
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mut refused = 0;
        for round in 0..10_000 {
            let (mut address, mut form, mut signature) =
                (ADDRESS.to_owned(), body.clone(), SIGNATURE.to_owned());
            match round % 3 {
                0 => address = mutate(&address),
                1 => form = mutate(&form),
                _ => signature = mutate(&signature),
            }
            let read = read_form(form.as_bytes()).expect("few fields");
            let mut same = read.clone();
            same.sort_unstable();
            let mut were = call();
            were.sort_unstable();
            let is_same = address == ADDRESS
                && joined(&same) == joined(&were)
                && signature.trim() == SIGNATURE;
            assert_eq!(
                holds(&address, &read, &signature),
                is_same,
                "{address} {form} {signature}"
            );
            refused += u32::from(!is_same);
        }
        assert!(refused > 9_500, "{refused}");
    }

    proptest! {
        #[test]
        fn nothing_that_comes_ends_in_a_panic(
            address in "\\PC{0,60}|https?://\\PC{0,40}", body: Vec<u8>, signature in any::<String>(),
        ) {
            let form = read_form(&body).unwrap_or_default();
            prop_assert!(!is_signed(&token(), &address, &SignedBody::Form(&form), &signature));
            prop_assert!(!is_signed(&token(), &address, &SignedBody::Other(&body), &signature));
        }
    }
}
