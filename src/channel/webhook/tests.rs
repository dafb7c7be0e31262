use proptest::prelude::*;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).expect("a secret")
}

fn headers(written: &[(&str, &str)]) -> Result<HeaderMap, HeaderError> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    read_headers(&written.iter().map(own).collect::<Vec<_>>())
}

/// The example that the libraries of Standard Webhooks are tested with.
#[test]
fn signs_as_the_published_example_has_it() {
    let at = DateTime::from_timestamp(1_614_265_330, 0).expect("an instant");
    assert_eq!(
        secret().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at,
            r#"{"test": 2432232314}"#
        ),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[test]
fn a_secret_has_its_form_and_shows_itself_to_nobody() {
    let of_length = |bytes: usize| format!("{SECRET_PREFIX}{}", STANDARD.encode(vec![7; bytes]));
    for (bytes, good) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
        assert_eq!(
            WebhookSecret::parse(&of_length(bytes)).is_ok(),
            good,
            "{bytes}"
        );
    }
    for text in [
        "",
        "whsec_",
        "whsec_!!",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsk_AAAA",
    ] {
        assert!(WebhookSecret::parse(text).is_err(), "{text}");
    }
    assert_eq!(format!("{:?}", secret()), "***");
}

#[test]
fn headers_of_a_user_are_sent_as_written_or_not_at_all() {
    let made = headers(&[("Authorization", " Bearer x "), ("X-A", "1"), ("x-a", "2")]);
    let made = made.expect("headers");
    let all: Vec<_> = made
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let value = HeaderValue::from_static;
    assert_eq!(
        all,
        [
            ("authorization", &value("Bearer x")),
            ("x-a", &value("1")),
            ("x-a", &value("2"))
        ]
    );
    let refused = headers(&[("Webhook-Id", "x")]);
    assert_eq!(refused, Err(HeaderError::Ours("Webhook-Id".into())));
}

proptest! {
    #[test]
    fn nothing_in_a_request_adds_a_header(
        name in any::<String>(), value in any::<String>(), body in any::<String>(), id in any::<String>(),
    ) {
        let request = WebhookRequest {
            url: "https://example.com".into(),
            headers: vec![(name, value), ("X-Other".into(), "1".into())],
            body,
            id,
            at: DateTime::UNIX_EPOCH,
        };
        if let Ok(made) = signed(&request, &[secret()]) {
            prop_assert!(made.len() <= 6, "{made:?}");
            for (name, value) in &made {
                prop_assert!(!value.as_bytes().contains(&b'\n'), "{name}");
                prop_assert!(!value.as_bytes().contains(&b'\r'), "{name}");
            }
        }
    }
}
