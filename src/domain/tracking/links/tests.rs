use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::domain::id::{ExecutionId, WorkspaceId};
use crate::domain::tracking::{BaseUrl, Marks, Seal, Token};

/// Shows what it seals.
#[derive(Debug)]
struct Open;

impl Seal for Open {
    fn token(&self, plain: &[u8]) -> String {
        plain.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn tag(&self, _: WorkspaceId, message: ExecutionId) -> String {
        message.to_string()
    }
}

fn marker(opens: bool, clicks: bool) -> Marker {
    let marks = Marks {
        seal: Arc::new(Open),
        base: Some(BaseUrl::parse("https://go.example").expect("a base")),
    };
    let (workspace, execution) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let of = (
        WorkspaceId::from_uuid(workspace),
        ExecutionId::from_uuid(execution),
    );
    let marker = marks.marker(None, of.0, of.1, (opens, clicks));
    marker.expect("a base is known")
}

/// The links of the marks in a text, by their numbers.
fn targets(html: &str) -> Vec<String> {
    let behind = html.split("https://go.example/c/").skip(1);
    let urls = behind.enumerate().map(|(number, rest)| {
        let end = rest.find('"').expect("the end of the link");
        let bytes: Vec<u8> = (0..end / 2)
            .map(|at| u8::from_str_radix(&rest[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect();
        match Token::read(&bytes).expect("a token").mark {
            Mark::Click { link, url } => {
                assert_eq!(usize::from(link), number);
                url
            }
            other => panic!("no link: {other:?}"),
        }
    });
    urls.collect()
}

#[test]
fn links_of_the_web_lead_by_way_of_the_server() {
    let html = "<p>Hi <a class=x href='https://example.com/?a=1&amp;b=2#c' title=\"T\">there</a>\n\
                <A HREF=http://example.org>x</A><map><area href=\"https://example.net/a b\"></map>";
    let marked = marker(false, true).mark(html);
    let wanted = [
        "https://example.com/?a=1&b=2#c",
        "http://example.org/",
        "https://example.net/a%20b",
    ];
    assert_eq!(targets(&marked), wanted);
    assert!(marked.starts_with("<p>Hi <a class=x href=\"https://go.example/c/"));
    assert!(marked.contains("\" title=\"T\">there</a>\n"), "{marked}");
    assert!(!marked.contains("<img"));
}

#[test]
fn what_is_no_link_of_the_web_stays_as_it_is() {
    let long = format!("https://example.com/{}", "a".repeat(TARGET_BYTES_MAX));
    let html = format!(
        "<a href=\"mailto:ada@example.com\">m</a><a href='tel:+351912345678'>t</a><a href=#top>a</a>\
         <a name=top>n</a><a href=\"\">e</a><a href=\"/here\">r</a><a href=\"//example.com\">s</a>\
         <a href=\"https://example.com/unsubscribe?x=1\">u</a><a rel=\"Unsubscribe\" href=\"https://a.example\">\
         v</a><a data-no-track href=\"https://example.com\">w</a>\
         <a href=\"https://go.example/u/abc\">o</a><a href=\"javascript:alert(1)\">j</a>\
         <a href=\"https://example.com/&para;\">p</a><a href=\"https://\">x</a><a href=\"{long}\">l</a>\
         <link href=\"https://example.com/style.css\"><img src=\"https://example.com/a.png\">\
         <!-- <a href=\"https://example.com\"> --><script>'<a href=\"https://example.com\">'</script>"
    );
    assert_eq!(marker(false, true).mark(&html), html);
    assert_eq!(marker(false, false).mark(&html), html);
}

#[test]
fn the_image_stands_once_at_the_end_of_the_body() {
    let marker = marker(true, false);
    let pixel = pixel(&marker);
    for (html, wanted) in [
        ("<p>Hi</p>".to_owned(), format!("<p>Hi</p>{pixel}")),
        (
            "<html><body><p>Hi</body></html>".to_owned(),
            format!("<html><body><p>Hi{pixel}</body></html>"),
        ),
        (
            "<html><body><p>Hi".to_owned(),
            format!("<html><body><p>Hi{pixel}"),
        ),
        (String::new(), pixel.clone()),
    ] {
        assert_eq!(marker.mark(&html), wanted);
    }
    assert_eq!(marker.mark("<p>x"), marker.mark("<p>x"), "always the same");
}

/// The document with what stands in `href` taken out, and without white space: between the attributes of a tag
/// that is written anew there is one space.
fn without_targets(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find("href=") {
        let (before, behind) = rest.split_at(at + "href=".len());
        out.push_str(before);
        let quote = behind.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (skip, end) = match quote {
            Some(quote) => (
                1,
                behind[1..].find(quote).map_or(behind.len(), |end| end + 2),
            ),
            None => (0, behind.find([' ', '>']).unwrap_or(behind.len())),
        };
        assert!(skip <= end);
        rest = &behind[end..];
    }
    out.push_str(rest);
    out.retain(|c| !c.is_whitespace());
    out
}

/// Newsletters of others: nothing changes but where links lead, and they read the same.
#[test]
fn newsletters_of_the_test_data_stay_the_same_but_for_their_links() {
    let Ok(corpora) = std::env::var("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA is not set");
        return;
    };
    let mut folders = vec![std::path::PathBuf::from(format!("{corpora}/html"))];
    let (mut documents, mut links) = (0, 0);
    let (marker, pixel) = (marker(true, true), pixel(&marker(true, true)));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "html") {
                continue;
            }
            let html = std::fs::read_to_string(&path).expect("is read");
            // Where they would merge a URL stands one.
            let html = html.replace("_url}}", "?a=1&amp;b=2");
            let html = html.replace("\"{{", "\"https://app.example/");
            let marked = marker.mark(&html);
            assert_eq!(marked.matches(&pixel).count(), 1, "{}", path.display());
            let bare = marked.replacen(&pixel, "", 1);
            assert_eq!(
                without_targets(&bare),
                without_targets(&html),
                "{}",
                path.display()
            );
            let text = |html: &str| {
                html2text::from_read(html.as_bytes(), 10_000).map(|text| {
                    // What it lists of targets is not what is read.
                    text.lines()
                        .filter(|line| !line.starts_with('['))
                        .collect::<Vec<_>>()
                        .join("\n")
                })
            };
            assert_eq!(text(&bare).expect("is read"), text(&html).expect("is read"));
            documents += 1;
            links += targets(&marked).len();
        }
    }
    println!("{documents} documents, {links} links");
    assert!(documents > 50 && links > 200, "{documents} {links}");
}
