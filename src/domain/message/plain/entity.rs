//! Character references of HTML: all numeric ones, and the names that occur in mails.

/// The names of U+00A1..=U+00FF in their order.
const LATIN_1: &str = "iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr \
    deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest \
    Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc \
    Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute \
    THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave \
    iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc \
    uuml yacute thorn yuml";

/// Names outside Latin-1; white space and invisible characters of layout become a plain space or
/// nothing.
const NAMES: [(&str, &str); 35] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("ensp", " "),
    ("emsp", " "),
    ("thinsp", " "),
    ("zwnj", ""),
    ("zwj", ""),
    ("lrm", ""),
    ("rlm", ""),
    ("ndash", "–"),
    ("mdash", "—"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("sbquo", "‚"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bdquo", "„"),
    ("lsaquo", "‹"),
    ("rsaquo", "›"),
    ("hellip", "…"),
    ("bull", "•"),
    ("trade", "™"),
    ("euro", "€"),
    ("dagger", "†"),
    ("larr", "←"),
    ("uarr", "↑"),
    ("rarr", "→"),
    ("darr", "↓"),
    ("minus", "−"),
    ("hearts", "♥"),
    ("check", "✓"),
];

/// Longest reference looked for, in bytes.
const MAX_REFERENCE: usize = 12;

/// Decodes the references in a piece of HTML text; what is none stays as it is. Control characters
/// never come out.
pub(super) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        push_visible(before, &mut out);
        rest = reference.get(1..).unwrap_or_default();
        let end = rest
            .bytes()
            .take(MAX_REFERENCE)
            .position(|byte| byte == b';');
        let named = end.and_then(|end| Some((rest.get(..end)?, rest.get(end + 1..)?)));
        match named.and_then(|(name, after)| Some((character(name)?, after))) {
            Some((decoded, after)) => {
                push_visible(&decoded, &mut out);
                rest = after;
            }
            None => out.push('&'),
        }
    }
    push_visible(rest, &mut out);
    out
}

fn push_visible(text: &str, out: &mut String) {
    out.extend(text.chars().filter_map(|c| match c {
        '\u{a0}' => Some(' '),
        '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{feff}' => None,
        '\n' | '\t' => Some(c),
        c if c.is_control() => None,
        c => Some(c),
    }));
}

fn character(name: &str) -> Option<String> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).map(String::from);
    }
    if let Some((_, text)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some((*text).to_owned());
    }
    let latin = ('\u{a1}'..='\u{ff}').zip(LATIN_1.split_whitespace());
    latin
        .into_iter()
        .find(|(_, known)| *known == name)
        .map(|(c, _)| c.to_string())
}
