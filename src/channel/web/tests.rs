use super::*;

async fn post(config: WebConfig, url: &str) -> WebError {
    let posted = Web::new(config)
        .send(Method::POST, url, HeaderMap::new(), "{}")
        .await;
    posted.expect_err("nobody is there")
}

#[tokio::test]
async fn no_request_goes_to_this_machine_or_its_networks() {
    for url in [
        "http://127.0.0.1/",
        "http://127.1:8080/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://localhost/",
        "http://LOCALHOST/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://0.0.0.0/",
        "http://0/",
        "http://[::]/",
        "http://10.0.0.1/",
        "https://192.168.1.1/",
        "http://172.20.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://[64:ff9b::7f00:1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
        "http://127\u{3002}0\u{3002}0\u{3002}1/",
    ] {
        let error = post(WebConfig::default(), url).await;
        assert_eq!(error, WebError::Forbidden, "{url}");
    }
    // Some systems know no such name, and the others are not led there by it.
    let error = post(WebConfig::default(), "http://localhost.:1/").await;
    let unknown = matches!(&error, WebError::NoConnection { what, .. } if what.contains("name"));
    assert!(unknown || error == WebError::Forbidden, "{error:?}");
    // What is allowed is tried, and nothing besides.
    let config = WebConfig {
        allowed_networks: Networks::read(["127.0.0.1/32"]).expect("a network"),
        ..WebConfig::default()
    };
    let refused = post(config.clone(), "http://127.0.0.1:1/").await;
    assert!(
        matches!(refused, WebError::NoConnection { .. }),
        "{refused:?}"
    );
    assert_eq!(
        post(config, "http://127.0.0.2:1/").await,
        WebError::Forbidden
    );
}

#[test]
fn what_belongs_to_the_connection_is_nobodys_to_write() {
    let url = HttpUrl::parse("http://example.com:8080/a?b").expect("an address");
    let mut headers = HeaderMap::new();
    for name in OF_THE_CONNECTION {
        headers.append(name, HeaderValue::from_static("evil"));
        headers.append(name, HeaderValue::from_static("twice"));
    }
    headers.insert("x-own", HeaderValue::from_static("kept"));
    let made = request(Method::POST, &url, headers, Bytes::new()).expect("a request");
    assert!(!format!("{made:?}").contains("evil"), "{made:?}");
    let header = |name| {
        made.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    assert_eq!(header("host"), Some("example.com:8080"));
    assert_eq!(
        (header("x-own"), header("user-agent")),
        (Some("kept"), Some(AGENT))
    );
    assert_eq!(made.uri(), "/a?b");
}
