//! Writes marks into HTML: links lead by way of this server, and an image that nobody sees tells that the
//! message was opened. Nothing else of the document changes.

use std::cell::Cell;
use std::rc::Rc;

use lol_html::errors::RewritingError;
use lol_html::html_content::{ContentType, Element};
use lol_html::{RewriteStrSettings, element, end, rewrite_str};
use url::Url;

use super::{CLICKED_AT, Mark, Marker, OPENED_AT};

/// A longer target is left as it is: mail readers and servers cut what is much longer than two thousand
/// characters, and a sealed one is longer by a third; in bytes.
const TARGET_BYTES_MAX: usize = 1_200;

/// The attribute that keeps a link from being followed by way of this server.
const NO_TRACK: &str = "data-no-track";

pub(super) fn rewrite(marker: &Marker, html: &str) -> Result<String, RewritingError> {
    let mut links = 0_u16;
    let is_placed = Rc::new(Cell::new(!marker.opens));
    let (in_body, at_end) = (Rc::clone(&is_placed), Rc::clone(&is_placed));
    let pixel = marker.opens.then(|| pixel(marker));
    let (body_pixel, end_pixel) = (pixel.clone(), pixel);
    let mut settings = RewriteStrSettings::new();
    if marker.clicks {
        let link = move |element: &mut Element<'_, '_>| {
            if let Some(url) = target(marker, element) {
                let mark = Mark::Click { link: links, url };
                links = links.saturating_add(1);
                element.set_attribute("href", &marker.url(CLICKED_AT, mark))?;
            }
            Ok(())
        };
        settings = settings.append_element_content_handler(element!("a[href], area[href]", link));
    }
    if let Some(pixel) = body_pixel {
        let body = move |element: &mut Element<'_, '_>| {
            let (pixel, placed) = (pixel.clone(), Rc::clone(&in_body));
            if let Some(handlers) = element.end_tag_handlers() {
                handlers.push(Box::new(move |end| {
                    if !placed.replace(true) {
                        end.before(&pixel, ContentType::Html);
                    }
                    Ok(())
                }));
            }
            Ok(())
        };
        settings = settings.append_element_content_handler(element!("body", body));
    }
    if let Some(pixel) = end_pixel {
        // Who writes mails seldom writes a body.
        let end = end!(move |end| {
            if !at_end.replace(true) {
                end.append(&pixel, ContentType::Html);
            }
            Ok(())
        });
        settings = settings.append_document_content_handler(end);
    }
    rewrite_str(html, settings)
}

fn pixel(marker: &Marker) -> String {
    let url = marker.url(OPENED_AT, Mark::Open);
    format!("<img src=\"{url}\" width=\"1\" height=\"1\" alt=\"\" style=\"border:0\">")
}

/// Where a link leads that is to be followed by way of this server: to a page of the web, and not where
/// contacts opt out.
fn target(marker: &Marker, link: &Element<'_, '_>) -> Option<String> {
    if link.has_attribute(NO_TRACK) {
        return None;
    }
    let of_relation = link.get_attribute("rel").unwrap_or_default();
    let written = decoded(link.get_attribute("href")?.trim())?;
    let lower = written.to_ascii_lowercase();
    let opts_out = ["unsubscribe", "opt-out", "optout"];
    let is_way_out = |text: &str| opts_out.iter().any(|word| text.contains(word));
    if written.starts_with(marker.base.as_str())
        || is_way_out(&lower)
        || is_way_out(&of_relation.to_ascii_lowercase())
    {
        return None;
    }
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return None;
    }
    // What a browser cannot read leads nowhere by either way; and what it reads is what is kept.
    let url = Url::parse(&written).ok()?;
    let url = String::from(url);
    (url.len() <= TARGET_BYTES_MAX).then_some(url)
}

/// The references that stand in addresses of mails.
const REFERENCES: [(&str, &str); 9] = [
    ("amp", "&"),
    ("#38", "&"),
    ("#x26", "&"),
    ("quot", "\""),
    ("#34", "\""),
    ("apos", "'"),
    ("#39", "'"),
    ("lt", "<"),
    ("gt", ">"),
];

/// The value of an attribute without its character references (WHATWG HTML §13.2.5.72); `None` where it has
/// one that is not known here, for then nobody knows where the link leads.
fn decoded(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let behind = behind.get(1..)?;
        let name = |c: char| c.is_ascii_alphanumeric() || c == '#';
        let length = behind.find(|c| !name(c)).unwrap_or(behind.len());
        let (reference, after) = behind.split_at(length);
        match after.strip_prefix(';').filter(|_| !reference.is_empty()) {
            Some(after) => {
                let lower = reference.to_ascii_lowercase();
                let known = REFERENCES.iter().find(|(name, _)| *name == lower);
                out.push_str(known?.1);
                rest = after;
            }
            None => {
                out.push('&');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests;
