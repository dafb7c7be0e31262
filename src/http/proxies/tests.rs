use axum::http::HeaderValue;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn proxies(texts: &[&str]) -> Proxies {
    Proxies::read(texts.iter().copied()).expect("networks")
}

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        headers.append(name.clone(), value);
    }
    headers
}

const PROXY: &str = "10.0.0.1";

/// Where a request comes from that the proxy hands on with these headers.
fn client(lines: &[(HeaderName, &str)]) -> String {
    let proxies = proxies(&["10.0.0.0/8", "fd00::/8"]);
    proxies.client(ip(PROXY), &headers(lines)).to_string()
}

#[test]
fn only_a_proxy_is_believed() {
    let lines = headers(&[
        (X_FORWARDED_FOR, "203.0.113.9"),
        (header::FORWARDED, "for=203.0.113.9"),
    ]);
    let trusted = proxies(&["10.0.0.0/8"]);
    for (proxies, peer, expected) in [
        (&Proxies::default(), PROXY, PROXY),
        (&trusted, "192.0.2.1", "192.0.2.1"),
        (&trusted, "::ffff:192.0.2.1", "192.0.2.1"),
        (&trusted, PROXY, "203.0.113.9"),
        (&trusted, "::ffff:10.0.0.1", "203.0.113.9"),
    ] {
        assert_eq!(proxies.client(ip(peer), &lines), ip(expected), "{peer}");
    }
    assert_eq!(trusted.client(ip(PROXY), &HeaderMap::new()), ip(PROXY));
}

#[test]
fn the_rightmost_that_is_no_proxy_counts() {
    for (value, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9, 10.2.3.4", "203.0.113.9"),
        ("1.1.1.1,203.0.113.9 ,10.2.3.4,\t10.2.3.5", "203.0.113.9"),
        ("203.0.113.9, , ,", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, fd00::5", "203.0.113.9"),
        // All of them are proxies': the one that began it.
        ("10.9.9.9, 10.2.3.4", "10.9.9.9"),
        ("", PROXY),
        (",", PROXY),
        // What cannot be read hides what lies behind it.
        ("1.1.1.1, unknown", PROXY),
        ("1.1.1.1, _hidden", PROXY),
        ("1.1.1.1, garbage, 10.2.3.4", "10.2.3.4"),
        ("203.0.113.9:99999", PROXY),
        ("203.0.113.999", PROXY),
        ("fe80::1%eth0", PROXY),
        ("\"203.0.113.9\"", PROXY),
        ("[2001:db8::9", PROXY),
        ("[]", PROXY),
        ("é", PROXY),
    ] {
        assert_eq!(client(&[(X_FORWARDED_FOR, value)]), expected, "{value}");
    }
    let lines = [
        (X_FORWARDED_FOR, "1.1.1.1, 203.0.113.9"),
        (X_FORWARDED_FOR, "10.2.3.4"),
    ];
    assert_eq!(client(&lines), "203.0.113.9", "lines follow each other");
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    for (value, expected) in [
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
        ("by=10.0.0.1; FOR = \"203.0.113.9:80\"", "203.0.113.9"),
        ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        ("for=\"[2001:db8:cafe::17]:_a\"", "2001:db8:cafe::17"),
        ("for=1.1.1.1, for=203.0.113.9, for=10.1.1.1", "203.0.113.9"),
        ("for=1.1.1.1,,for=203.0.113.9,", "203.0.113.9"),
        ("for=\"203.0.113.9:_b\"", "203.0.113.9"),
        ("host=\"a,b;for=1.1.1.1\";for=203.0.113.9", "203.0.113.9"),
        ("host=\"a\\\",for=1.1.1.1\";for=203.0.113.9", "203.0.113.9"),
        ("for=\"2\\03.0.113.9\"", "203.0.113.9"),
        ("for=unknown", PROXY),
        ("for=_SEVKISEK", PROXY),
        ("for=1.1.1.1, for=unknown, for=10.1.1.1", "10.1.1.1"),
        ("proto=https", PROXY),
        ("for=203.0.113.9;for=1.1.1.1", PROXY),
        ("for=\"203.0.113.9", PROXY),
        ("for=203.0.113.9, host=\"", PROXY),
        ("for=", PROXY),
        ("for", PROXY),
        ("=", PROXY),
        ("for=\"\\", PROXY),
        ("", PROXY),
    ] {
        assert_eq!(client(&[(header::FORWARDED, value)]), expected, "{value}");
    }
}

#[test]
fn two_headers_must_agree() {
    let both =
        |one: &str, other: &str| client(&[(header::FORWARDED, one), (X_FORWARDED_FOR, other)]);
    assert_eq!(both("for=203.0.113.9", "203.0.113.9"), "203.0.113.9");
    assert_eq!(both("for=203.0.113.9", "1.1.1.1"), PROXY);
    assert_eq!(both("for=unknown", "1.1.1.1"), PROXY);
}

#[test]
fn networks_are_read_or_refused() {
    let networks = [
        " 10.0.0.7 ",
        "192.168.0.0/16",
        "fd00::/8",
        "::1",
        "::ffff:172.16.0.0/108",
    ];
    let trusted = proxies(&networks);
    for (address, is_one) in [
        ("10.0.0.7", true),
        ("10.0.0.8", false),
        ("192.168.4.5", true),
        ("fd12::1", true),
        ("::1", true),
        ("::2", false),
        ("172.31.255.255", true),
        ("172.32.0.0", false),
        ("::ffff:10.0.0.7", true),
    ] {
        assert_eq!(trusted.include(ip(address)), is_one, "{address}");
    }
    for text in [
        "",
        "proxy.example.com",
        "10.0.0.0/33",
        "10.0.0",
        "*",
        "10.0.0.1:80",
    ] {
        assert!(Proxies::read([text]).is_err(), "{text}");
    }
}

#[test]
fn the_host_is_what_a_proxy_was_called_by() {
    let trusted = proxies(&["10.0.0.0/8"]);
    let asked = |peer: &str, lines: &[(HeaderName, &str)]| {
        let request = axum::http::Request::get("/c/token");
        let mut request = request.body(()).expect("a request");
        *request.headers_mut() = headers(lines);
        let peer = ConnectInfo(SocketAddr::new(ip(peer), 4_000));
        request.extensions_mut().insert(peer);
        trusted.host(&request.into_parts().0)
    };
    let own = (header::HOST, "127.0.0.1:8080");
    let named = (X_FORWARDED_HOST, "Go.Example.com:443, inner.example.com");
    for (peer, lines, host) in [
        (
            "10.0.0.7",
            &[own.clone(), named.clone()][..],
            "go.example.com",
        ),
        (
            "::ffff:10.0.0.7",
            &[own.clone(), named.clone()][..],
            "go.example.com",
        ),
        // Anybody can write it.
        ("192.0.2.1", &[own.clone(), named][..], "127.0.0.1"),
        ("10.0.0.7", &[own][..], "127.0.0.1"),
        ("10.0.0.7", &[][..], ""),
    ] {
        assert_eq!(asked(peer, lines), host, "{peer}");
    }
}
