//! Mails that others have collected and labelled: bounces of some sixty mail systems, complaints,
//! automatic replies, replies with quotations, hard MIME. They are in the folder that `CADENZA_CORPORA`
//! names. What is printed shows where the classifier stands, and what is asserted is the least that
//! folder's README asks for.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cadenza::domain::inbound::{self, Class, Failure, MESSAGE_MAX, TEXT_MAX};
use serde_json::Value;

fn corpora() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA names no folder of test data");
        return None;
    };
    Some(PathBuf::from(folder))
}

/// The entries of a file of JSON lines.
fn labels(path: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let labels = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"));
    labels.collect()
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder whose names end in one of these ways, in order of their names.
fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if path
            .extension()
            .is_some_and(|end| ends.iter().any(|wanted| end == *wanted))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every mail of every set. Replies are texts without a head and get one.
fn mails(corpora: &Path) -> Vec<(String, Vec<u8>)> {
    let mut mails = Vec::new();
    for folder in ["bounces", "autoreply", "mime"] {
        for path in files(&corpora.join(folder), &["eml", "txt"]) {
            mails.push((path.display().to_string(), bytes(&path)));
        }
    }
    for path in files(&corpora.join("replies"), &["txt"]) {
        mails.push((path.display().to_string(), headed(&bytes(&path))));
    }
    mails
}

fn headed(text: &[u8]) -> Vec<u8> {
    let mut mail =
        b"From: ana@example.com\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n".to_vec();
    mail.extend(text);
    mail
}

fn class_name(class: &Class) -> &'static str {
    match class {
        Class::Reply => "reply",
        Class::AutoReply { .. } => "auto-reply",
        Class::Bounce(failures) if failures.iter().any(|failure| failure.hard) => "hard bounce",
        Class::Bounce(_) => "soft bounce",
        Class::Complaint(_) => "complaint",
        Class::OptOut => "opt-out",
        Class::Notice => "notice",
    }
}

/// What was labelled how, and what became of it.
#[derive(Default)]
struct Matrix(BTreeMap<(String, &'static str), usize>);

impl Matrix {
    fn count(&mut self, label: &str, class: &Class) {
        *self
            .0
            .entry((label.to_owned(), class_name(class)))
            .or_default() += 1;
    }

    fn print(&self, title: &str) {
        println!("\n{title}: label, what the classifier says, how many");
        for ((label, class), count) in &self.0 {
            println!("  {label:<14} {class:<12} {count:>4}");
        }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).expect("a count"));
    if whole == 0 {
        1.0
    } else {
        number(part) / number(whole)
    }
}

/// Prints a figure and asserts it.
fn at_least(name: &str, part: usize, whole: usize, least: f64) {
    let share = share(part, whole);
    println!("{name}: {part} of {whole} = {share:.3}, at least {least}");
    assert!(
        share >= least,
        "{name}: {part} of {whole} = {share:.3} is less than {least}"
    );
}

/// How a labelled recipient is to be treated.
fn label(recipient: &Value) -> &'static str {
    match recipient["reason"].as_str().expect("a reason") {
        "feedback" => "complaint",
        "vacation" => "auto-reply",
        "delivered" => "delivered",
        _ if recipient["hardbounce"] == true => "hard bounce",
        _ => "soft bounce",
    }
}

/// The labels do not tell a mail that is given up from one that is still being tried ("expired" is
/// both); a report of delay is a [`Class::Notice`], whose recipients [`inbound::reported`] names.
fn is_reported(class: &Class, raw: &[u8]) -> bool {
    match class {
        Class::Bounce(_) => true,
        Class::Notice => !inbound::reported(raw).is_empty(),
        _ => false,
    }
}

#[test]
fn bounces_are_recognised_and_judged_as_they_are_labelled() {
    let Some(folder) = corpora().map(|corpora| corpora.join("bounces/sisimai")) else {
        return;
    };
    let mut matrix = Matrix::default();
    let (mut recognised, mut all) = (0, 0);
    let (mut rightly_hard, mut wrongly_hard, mut missed) = (0_usize, 0_usize, 0_usize);
    for entry in labels(&folder.join("expected.jsonl")) {
        let file = entry["file"].as_str().expect("a file");
        let raw = bytes(&folder.join(file));
        let class = inbound::read(&raw).class;
        let recipients = entry["recipients"].as_array().expect("recipients");
        let labels: Vec<&str> = recipients.iter().map(label).collect();
        let hard = labels
            .iter()
            .filter(|label| **label == "hard bounce")
            .count();
        let strictest = ["hard bounce", "soft bounce"]
            .into_iter()
            .find(|one| labels.contains(one));
        let labelled = strictest.or(labels.first().copied()).expect("a recipient");
        matrix.count(labelled, &class);

        let bounced = labels.iter().any(|label| label.ends_with("bounce"));
        let right = if bounced {
            is_reported(&class, &raw)
        } else {
            !matches!(class, Class::Bounce(_))
        };
        all += 1;
        recognised += usize::from(right);
        // The labels name no addresses: how many are hard is compared mail by mail.
        let failures = match &class {
            Class::Bounce(failures) => failures.as_slice(),
            _ => &[],
        };
        let found = failures.iter().filter(|failure| failure.hard).count();
        rightly_hard += found.min(hard);
        wrongly_hard += found.saturating_sub(hard);
        missed += hard.saturating_sub(found);
        if !right || found != hard {
            println!(
                "  {file}: {labelled}, and the classifier says {}",
                class_name(&class)
            );
        }
    }
    matrix.print("Bounces");
    at_least("bounce or not", recognised, all, 0.97);
    at_least(
        "hard, precision",
        rightly_hard,
        rightly_hard + wrongly_hard,
        0.97,
    );
    at_least("hard, recall", rightly_hard, rightly_hard + missed, 0.9);
}

#[test]
fn the_addresses_that_failed_are_found() {
    let Some(folder) = corpora().map(|corpora| corpora.join("bounces/flufl")) else {
        return;
    };
    let mut matrix = Matrix::default();
    let (mut found, mut all, mut more) = (0, 0, 0);
    for entry in labels(&folder.join("expected.jsonl")) {
        let file = entry["file"].as_str().expect("a file");
        let raw = bytes(&folder.join(file));
        let lower = |address: &str| address.to_lowercase();
        let wanted = entry["addresses"].as_array().expect("addresses").iter();
        let wanted: Vec<String> = wanted.filter_map(Value::as_str).map(lower).collect();
        let named: Vec<Failure> = inbound::reported(&raw);
        let named: Vec<String> = named
            .iter()
            .filter_map(|one| one.address.as_deref())
            .map(lower)
            .collect();
        let temporary = entry["temporary"] == true;
        let class = inbound::read(&raw).class;
        matrix.count(if temporary { "temporary" } else { "permanent" }, &class);
        assert!(
            !temporary || class_name(&class) != "hard bounce",
            "{file} is about a time"
        );
        all += 1;
        more += usize::from(named.iter().any(|address| !wanted.contains(address)));
        if wanted.iter().all(|address| named.contains(address)) {
            found += 1;
        } else {
            println!("  {file}: {wanted:?}, and the classifier names {named:?}");
        }
    }
    matrix.print("Bounces to mailing lists");
    println!("mails of which an address is named beyond those: {more}");
    at_least("addresses found", found, all, 0.95);
}

#[test]
fn every_feedback_report_is_read() {
    let Some(folder) = corpora().map(|corpora| corpora.join("bounces/arf-stalwart")) else {
        return;
    };
    let mut matrix = Matrix::default();
    for path in files(&folder, &["eml"]) {
        let report: Value =
            serde_json::from_slice(&bytes(&path.with_extension("json"))).expect("a report");
        let kind = report["feedback_type"].as_str().expect("a type");
        let class = inbound::read(&bytes(&path)).class;
        matrix.count(kind, &class);
        // A filter that finds a signature broken is nobody who complains.
        if ["AuthFailure", "NotSpam", "Virus"].contains(&kind) {
            assert_eq!(class, Class::Notice, "{}", path.display());
            continue;
        }
        let Class::Complaint(concerns) = class else {
            panic!("{}: {class:?}", path.display())
        };
        let wanted = report["original_rcpt_to"]
            .as_str()
            .map(|address| address.trim_matches(['<', '>']));
        if wanted.is_some() {
            assert_eq!(concerns[0].address.as_deref(), wanted, "{}", path.display());
        }
    }
    matrix.print("Feedback");
}

#[test]
fn automatic_replies_are_told_from_the_rest() {
    let Some(folder) = corpora().map(|corpora| corpora.join("autoreply")) else {
        return;
    };
    let mut matrix = Matrix::default();
    let (mut right, mut all) = (0, 0);
    for entry in labels(&folder.join("expected.jsonl")) {
        let mail = inbound::read(&bytes(
            &folder.join(entry["file"].as_str().expect("a file")),
        ));
        let label = entry["label"].as_str().expect("a label");
        matrix.count(label, &mail.class);
        let says_bounced = mail.subject.to_lowercase().contains("bounce");
        let fits = match label {
            "auto" => matches!(mail.class, Class::AutoReply { .. }),
            // What calls itself a bounce is one, whether the source of the label knows its form or
            // not; hard it must not be.
            _ if says_bounced => class_name(&mail.class) != "hard bounce",
            _ => mail.class == Class::Reply,
        };
        all += 1;
        right += usize::from(fits);
        if !fits {
            println!(
                "  {}: {label}, and the classifier says {:?}",
                entry["file"], mail.class
            );
        }
    }
    matrix.print("Automatic replies");
    at_least("automatic or not", right, all, 1.0);
}

#[test]
fn of_a_reply_what_is_new_is_kept() {
    let Some(folder) = corpora().map(|corpora| corpora.join("replies/email_reply_trimmer")) else {
        return;
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut equal, mut all) = (0, 0);
    for path in files(&folder.join("emails"), &["txt"]) {
        let name = path.file_name().expect("a name");
        let wanted = fs::read_to_string(folder.join("trimmed").join(name)).expect("what is new");
        let text = inbound::read(&headed(&bytes(&path))).text;
        all += 1;
        if words(&text) == words(&wanted) {
            equal += 1;
        } else {
            println!(
                "  {}:\n    {}\n    {}",
                name.display(),
                words(&wanted),
                words(&text)
            );
        }
    }
    at_least("equal after white space", equal, all, 0.9);
}

#[test]
fn text_is_found_in_hard_mime() {
    let Some(folder) = corpora().map(|corpora| corpora.join("mime/stalwart")) else {
        return;
    };
    let (mut found, mut all) = (0, 0);
    for path in files(&folder, &["eml"]) {
        let message: Value =
            serde_json::from_slice(&bytes(&path.with_extension("json"))).expect("a message");
        let bodies = message["text_body"].as_array().expect("bodies").iter();
        let parts = bodies
            .filter_map(Value::as_u64)
            .map(|at| &message["parts"][usize::try_from(at).expect("a place")]);
        let mut texts = parts.filter_map(|part| part["body"]["Text"].as_str());
        if !texts.any(|text| !text.trim().is_empty()) {
            continue;
        }
        let text = inbound::read(&bytes(&path)).text;
        all += 1;
        found += usize::from(!text.is_empty());
        if text.is_empty() {
            println!("  {}: no text", path.display());
        }
        assert!(!text.contains('\0'), "{}", path.display());
    }
    at_least("text found", found, all, 1.0);
}

/// How long this thread has been on a processor, where the system tells it; else how late it is.
fn worked(begun: Instant) -> Duration {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let counted = counted.and_then(|text| text.split_whitespace().next()?.parse().ok());
    counted.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

/// A mail comes from anybody, and whoever waits for its class holds a connection. Measured is the work
/// of this thread, and the least of three readings is taken, so that what else the machine does at the
/// time does not count; a build without optimisation needs a fifth of the limit for the slowest.
#[test]
fn no_mail_takes_more_than_a_tenth_of_a_second() {
    let Some(corpora) = corpora() else { return };
    let begun = Instant::now();
    let mut slowest = (Duration::ZERO, String::new());
    for (name, raw) in mails(&corpora) {
        let readings = (0..3).map(|_| {
            let before = worked(begun);
            std::hint::black_box(inbound::read(&raw));
            worked(begun).saturating_sub(before)
        });
        let least = readings.min().expect("a reading");
        assert!(least < Duration::from_millis(100), "{name} took {least:?}");
        slowest = slowest.max((least, name));
    }
    println!("the slowest took {:?}: {}", slowest.0, slowest.1);
}

/// Numbers that are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let end = u64::try_from(end.max(1)).expect("a number");
        usize::try_from(self.0 % end).expect("below")
    }

    /// A range of at most so many bytes.
    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..start + self.below((length - start).min(most))
    }
}

/// A mail with some of it changed, lost, doubled, or mixed with another.
fn mutated(mails: &[(String, Vec<u8>)], numbers: &mut Numbers) -> Vec<u8> {
    let syntax: [&[u8]; 8] = [
        b"\n\n",
        b"--",
        b"<",
        b"\r\n",
        b"\xff\xfe",
        b"\nContent-Type: message/rfc822\n\n",
        b"=?utf-8?q?",
        b"&#",
    ];
    let mut mail = mails[numbers.below(mails.len())].1.clone();
    for _ in 0..=numbers.below(8) {
        if mail.is_empty() {
            break;
        }
        let range = numbers.range(mail.len(), 200);
        let at = numbers.below(mail.len());
        let piece = match numbers.below(6) {
            0 => {
                mail[at] = u8::try_from(numbers.below(256)).expect("a byte");
                Vec::new()
            }
            1 => {
                mail.truncate(at.max(range.end));
                Vec::new()
            }
            2 => mail[range].to_vec(),
            3 => {
                mail.drain(range);
                continue;
            }
            4 => syntax[numbers.below(syntax.len())].to_vec(),
            _ => {
                let other = &mails[numbers.below(mails.len())].1;
                other[numbers.range(other.len(), 400)].to_vec()
            }
        };
        let at = at.min(mail.len());
        mail.splice(at..at, piece);
    }
    mail
}

#[test]
fn ten_thousand_mutations_are_read_within_bounds() {
    let Some(corpora) = corpora() else { return };
    let mails = mails(&corpora);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..10_000 {
        let raw = mutated(&mails, &mut numbers);
        let read = catch_unwind(|| inbound::read(&raw));
        let mail = read.unwrap_or_else(|_| panic!("mutation {round} made it panic"));
        assert!(mail.text.chars().count() <= TEXT_MAX, "mutation {round}");
        match mail.class {
            Class::Bounce(failures) => {
                assert!(!failures.is_empty(), "mutation {round}");
                let bounded = |failure: &Failure| failure.message.chars().count() <= MESSAGE_MAX;
                assert!(failures.iter().all(bounded), "mutation {round}");
            }
            Class::Complaint(concerns) => assert!(!concerns.is_empty(), "mutation {round}"),
            _ => {}
        }
    }
}
