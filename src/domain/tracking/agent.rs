//! Who fetches a page, as it says of itself: a browser or a mail reader, or a program.
//!
//! What people read mail with says so in one of a few forms, and names little beside itself. Everything else
//! is taken for a program: there are too many to know them by name, and new ones every day.

/// What somebody says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// A browser or a mail reader; or the proxy of a mail service that fetches images when a person opens a
    /// message.
    Person,
    /// A service that fetches images for the sake of privacy, whether or not anybody opens the message.
    PrivacyProxy,
    /// A program: a crawler, a scanner, a preview.
    Robot,
}

/// Nobody says more of itself; in bytes.
const BYTES_MAX: usize = 1_024;

/// Proxies that fetch an image when somebody opens the message.
const PROXIES_OF_READERS: [&str; 2] = ["googleimageproxy", "yahoomailproxy"];

/// Words by which programs call themselves, also those that pretend to be browsers beside.
const ROBOTS: [&str; 20] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "http://",
    "https://",
    "www.",
    "@",
    "headless",
    "scrap",
    "fetch",
    "scan",
    "monitor",
    "preview",
    "validator",
    "archiv",
    "curl",
    "wget",
    "python",
    "java/",
];

/// The products that browsers and mail readers name.
const PRODUCTS: &str = "mozilla applewebkit chrome safari version mobile gecko firefox edg edga edgios \
    edge opr opera crios fxios opios opt samsungbrowser vivaldi yabrowser yowser ucbrowser \
    miuibrowser huaweibrowser heytapbrowser vivobrowser qqbrowser duckduckgo ddg brave whale puffin \
    focus klar silk chromium ubuntu coc_coc_browser presto trident like gsa fban fbav instagram line \
    micromessenger slack teams thunderbird postbox seamonkey betterbird evolution kmail airmail spark \
    yahoomobile outlook-ios outlook-android microsoft office outlook mail ms-office dalvik tablet";

/// How the parts of what they say of the machine begin.
const MACHINES: &str = "windows win64 wow64 x64 x86_64 i686 aarch64 arm arm64 macintosh intel ppc x11 \
    linux ubuntu fedora debian cros wayland openbsd freebsd android iphone ipad ipod cpu rv: tablet \
    mobile wv khtml trident touch slcc2 media .net infopath microsoft ms-office msoffice playstation \
    nintendo xbox smart-tv web0s tizen";

impl Agent {
    /// Who says this of itself.
    pub fn of(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        // All that Apple's Mail Privacy Protection says.
        if text == "mozilla/5.0" {
            return Self::PrivacyProxy;
        }
        if is_of_person(&text) {
            Self::Person
        } else {
            Self::Robot
        }
    }
}

fn is_of_person(text: &str) -> bool {
    if PROXIES_OF_READERS.iter().any(|proxy| text.contains(proxy)) {
        return true;
    }
    let begins = [
        "mozilla/5.0 (",
        "mozilla/4.0 (",
        "opera/9",
        "microsoft office/",
        "outlook-",
        "thunderbird/",
    ];
    if text.len() > BYTES_MAX
        || !begins.iter().any(|begin| text.starts_with(begin))
        || ROBOTS.iter().any(|word| text.contains(word))
    {
        return false;
    }
    let Some((products, comments)) = parts(text) else {
        return false;
    };
    let is_office = text.starts_with("microsoft office/");
    let product = |word: &str| {
        let name = word.split('/').next().unwrap_or_default();
        PRODUCTS.split_ascii_whitespace().any(|known| known == name)
    };
    products.split_whitespace().all(product)
        && (is_office || comments.iter().all(|comment| is_machine(comment)))
}

/// What stands outside of the outermost brackets, and what stands in each of them; `None` where they do not
/// close.
fn parts(text: &str) -> Option<(String, Vec<String>)> {
    let (mut outside, mut comments, mut comment) = (String::new(), Vec::new(), String::new());
    let mut depth = 0_usize;
    for c in text.chars() {
        match (c, depth) {
            ('(', 0) => depth = 1,
            (')', 0) => return None,
            (')', 1) => {
                comments.push(std::mem::take(&mut comment));
                outside.push(' ');
                depth = 0;
            }
            (_, 0) => outside.push(c),
            _ => {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                comment.push(c);
            }
        }
    }
    (depth == 0).then_some((outside, comments))
}

/// Whether a comment tells of a machine only.
fn is_machine(comment: &str) -> bool {
    let parts: Vec<&str> = comment.split(';').map(str::trim).collect();
    if parts.first() == Some(&"compatible") {
        let of_mail = |part: &&str| part.contains("office") || part.contains("outlook");
        return parts.iter().any(of_mail);
    }
    // Devices have any name.
    let is_android = parts.iter().any(|part| part.starts_with("android"));
    parts.into_iter().all(|part| {
        let begins = |known: &str| part.starts_with(known);
        let is_known = match part.starts_with("khtml") {
            true => part == "khtml, like gecko",
            false => MACHINES.split_ascii_whitespace().any(begins),
        };
        part.is_empty() || is_language(part) || is_known || is_android
    })
}

/// `u`, or a language like `en` or `en-us`.
fn is_language(part: &str) -> bool {
    let letters = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_lowercase());
    match part.split_once(['-', '_']) {
        Some((language, country)) => letters(language) && letters(country),
        None => part == "u" || letters(part),
    }
}

#[cfg(test)]
mod tests;
