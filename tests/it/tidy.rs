//! Rules of the house that no compiler checks, read off the sources as text.
//!
//! Each rule is a function from one source file to its findings; each finding names the place and
//! the remedy, and each rule is shown a bad sample that it must catch. This module never changes a
//! file and depends on nothing but the standard library.

mod samples;
mod source;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use source::{Finding, Source, has_macro, read_sources, words};

/// Which top-level modules of `src` each one may use; `entity` and `migration` are the member
/// crates. A module may always use itself. Edit this table when a module is added.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("entropy", &["domain"]),
    ("wake", &[]),
    ("zones", &["domain"]),
    ("secrets", &["domain", "entropy"]),
    ("telemetry", &[]),
    (
        "store",
        &[
            "domain",
            "clock",
            "entropy",
            "wake",
            "zones",
            "entity",
            "migration",
        ],
    ),
    ("channel", &["domain"]),
    ("bus", &["domain", "store", "wake", "entity"]),
    (
        "app",
        &[
            "domain", "store", "channel", "clock", "entropy", "wake", "zones", "secrets", "bus",
        ],
    ),
    (
        "engine",
        &[
            "domain", "store", "channel", "clock", "entropy", "wake", "zones",
        ],
    ),
    (
        "bulk",
        &[
            "domain", "store", "app", "clock", "entropy", "wake", "zones",
        ],
    ),
    (
        "workflow",
        &["domain", "store", "app", "bulk", "clock", "wake"],
    ),
    (
        "inbound",
        &["domain", "store", "channel", "app", "clock", "secrets"],
    ),
    (
        "webhook",
        &[
            "domain", "store", "channel", "app", "bulk", "clock", "entity",
        ],
    ),
    (
        "graphql",
        &[
            "domain", "store", "app", "bulk", "webhook", "bus", "clock", "secrets", "zones",
            "entity",
        ],
    ),
    (
        "http",
        &[
            "domain", "secrets", "store", "app", "bulk", "bus", "graphql", "inbound",
        ],
    ),
    ("server", EVERYTHING),
    ("cli", EVERYTHING),
    ("demo", EVERYTHING),
];
const EVERYTHING: &[&str] = &["*"];

/// Files that one rule leaves alone, with the reason. One that is no longer needed is a finding.
const EXEMPT: &[(Rule, &str, &str)] = &[
    (
        Rule::SqlTime,
        DIALECT,
        "at start it compares the database's clock with the machine's, and stores neither",
    ),
    (
        Rule::PureDomain,
        "src/domain/import.rs",
        "it parses what any reader hands it, and opens none: a file of 200 MB is no argument",
    ),
    (
        Rule::PureDomain,
        "src/domain/network.rs",
        "it names addresses and opens no connection",
    ),
    (
        Rule::PureDomain,
        "src/domain/retry.rs",
        "it names a span of time and reads no clock",
    ),
];

/// The files, seen from the repository's root, that read the machine's clock.
const TIME_READERS: &[&str] = &[
    "src/clock.rs",
    // Deadlines of sockets and of a process's start and end are real time, whatever the clock says.
    "src/app/token/access.rs",
    "src/bus.rs",
    "src/channel/web/mod.rs",
    "src/cli/database.rs",
    "src/http/body.rs",
    "src/http/socket.rs",
    "src/http/stream.rs",
    "src/server.rs",
    "src/store/db.rs",
    "src/webhook/runner.rs",
];
/// The one file that may name the kinds of database.
const DIALECT: &str = "src/store/dialect.rs";
const CODE_LINES_MAX: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Layers,
    PureDomain,
    FileLength,
    FileName,
    Leftover,
    SqlTime,
    Allow,
    ModuleDoc,
    Ignored,
    Backend,
    TimeReader,
}

type Check = fn(&Source) -> Vec<Finding>;

/// Every rule with what checks it.
const RULES: &[(Rule, Check)] = &[
    (Rule::Layers, layers),
    (Rule::PureDomain, pure_domain),
    (Rule::FileLength, file_length),
    (Rule::FileName, file_name),
    (Rule::Leftover, leftover),
    (Rule::SqlTime, sql_time),
    (Rule::Allow, allow),
    (Rule::ModuleDoc, module_doc),
    (Rule::Ignored, ignored),
    (Rule::Backend, backend),
    (Rule::TimeReader, time_reader),
];

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = read_sources(root);
    assert!(
        sources.iter().any(|source| source.path == "src/lib.rs"),
        "no src/lib.rs under {}: the test reads the wrong folder",
        root.display()
    );
    let mut report = String::new();
    let mut used = BTreeSet::new();
    for source in &sources {
        for (rule, check) in RULES {
            let findings = check(source);
            if findings.is_empty() {
                continue;
            }
            if EXEMPT
                .iter()
                .any(|(exempt, path, _)| exempt == rule && *path == source.path)
            {
                used.insert((*rule, source.path.as_str()));
                continue;
            }
            for finding in findings {
                writeln!(
                    report,
                    "{}:{}: {}",
                    source.path, finding.line, finding.message
                )
                .expect("writing to a String cannot fail");
            }
        }
    }
    for (rule, path, reason) in EXEMPT {
        if !used.contains(&(*rule, *path)) {
            writeln!(
                report,
                "{path}: exempt from {rule:?} ({reason}) without need: delete the exemption"
            )
            .expect("writing to a String cannot fail");
        }
    }
    assert!(report.is_empty(), "the house rules are broken:\n{report}");
}

// ------------------------------------------------------------------------------------- the rules

fn layers(source: &Source) -> Vec<Finding> {
    let Some(module) = source.top_module() else {
        return Vec::new();
    };
    if matches!(module, "lib" | "main") {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![Finding::new(
            1,
            format!("the module `{module}` is in no layer: add it to LAYERS in tests/it/tidy.rs"),
        )];
    };
    if *allowed == EVERYTHING {
        return Vec::new();
    }
    let mut uses = source.uses_of("crate");
    uses.extend(source.uses_by_super());
    // A module of a file's own may bear a member crate's name.
    for member in ["entity", "migration"] {
        if !source.code.contains(&format!("mod {member}")) {
            uses.extend(
                source
                    .statements_using(member)
                    .into_iter()
                    .map(|line| (line, member.to_owned())),
            );
        }
    }
    uses.retain(|(_, name)| {
        let known = LAYERS.iter().any(|(layer, _)| layer == name)
            || matches!(name.as_str(), "entity" | "migration");
        known && name != module && !allowed.contains(&name.as_str())
    });
    uses.sort();
    uses.dedup();
    uses.into_iter()
        .map(|(line, name)| {
            let may = if allowed.is_empty() {
                "nothing".to_owned()
            } else {
                allowed.join(", ")
            };
            Finding::new(
                line,
                format!(
                    "`{module}` may not use `{name}` (it may use {may}): take what is needed as an \
                     argument, or move it to a lower layer"
                ),
            )
        })
        .collect()
}

fn pure_domain(source: &Source) -> Vec<Finding> {
    // Its tests may read samples from files.
    if source.top_module() != Some("domain") || source.is_test_file() {
        return Vec::new();
    }
    let crates = [
        "tokio",
        "tokio_util",
        "futures_util",
        "sea_orm",
        "sea_query",
        "sqlx",
        "lettre",
        "axum",
        "async_graphql",
        "ring",
        "rand",
        "reqwest",
        "tracing",
    ];
    let mut findings = Vec::new();
    for (line, text) in source.code_lines() {
        for word in words(text) {
            if crates.contains(&word) || matches!(word, "async" | "await") {
                findings.push(Finding::new(
                    line,
                    format!(
                        "the domain is pure and may not use `{word}`: take the result as an argument, \
                         and do this in a layer above"
                    ),
                ));
            }
        }
    }
    for (line, name) in source.uses_of("std") {
        if matches!(
            name.as_str(),
            "time" | "fs" | "net" | "env" | "process" | "thread" | "io"
        ) {
            findings.push(Finding::new(
                line,
                format!(
                    "the domain is pure and may not use `std::{name}`: take the instant, the duration \
                     (chrono) or the text as an argument"
                ),
            ));
        }
    }
    findings
}

fn file_length(source: &Source) -> Vec<Finding> {
    if source.is_test_file() {
        return Vec::new();
    }
    let count = source.lines_outside_test_modules();
    if count <= CODE_LINES_MAX {
        return Vec::new();
    }
    vec![Finding::new(
        CODE_LINES_MAX + 1,
        format!(
            "{count} lines without its tests, and {CODE_LINES_MAX} is the most: split it by subject"
        ),
    )]
}

fn file_name(source: &Source) -> Vec<Finding> {
    let empty = [
        "util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "shared",
        "prelude",
    ];
    source
        .path
        .split('/')
        .map(|part| part.strip_suffix(".rs").unwrap_or(part))
        .filter(|part| empty.contains(part))
        .map(|part| {
            Finding::new(
                1,
                format!("`{part}` says nothing: name the module after what it owns"),
            )
        })
        .collect()
}

fn leftover(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in source.raw_lines() {
        for word in words(text) {
            if word == concat!("FIX", "ME") || word == concat!("X", "XX") {
                findings.push(Finding::new(
                    line,
                    format!(
                        "`{word}` is left over: do it now, or file an issue and delete the note"
                    ),
                ));
            }
        }
    }
    for (line, text) in source.code_lines() {
        for name in ["todo", "unimplemented", "dbg"] {
            if has_macro(text, name) {
                findings.push(Finding::new(
                    line,
                    format!("`{name}!` is left over: finish it or take it out"),
                ));
            }
        }
    }
    findings
}

fn sql_time(source: &Source) -> Vec<Finding> {
    if source.is_test_file()
        || source.path.starts_with("benches/")
        || source.path.starts_with("examples/")
    {
        return Vec::new();
    }
    let in_statements = [
        "current_timestamp",
        "current_time",
        "current_date",
        "now()",
        "clock_timestamp",
        "datetime('now",
        "date('now",
        "strftime(",
        "unixepoch(",
    ];
    let message = |found: &str| {
        format!(
            "`{found}` reads the database's clock: bind the instant that the Clock gave, as milliseconds"
        )
    };
    let mut findings = Vec::new();
    for (line, text) in source.text_lines() {
        let text = text.to_lowercase();
        if let Some(found) = in_statements.iter().find(|word| text.contains(*word)) {
            findings.push(Finding::new(line, message(found)));
        }
    }
    for (line, text) in source.code_lines() {
        if let Some(found) = words(text).find(|word| {
            matches!(
                *word,
                "current_timestamp" | "CurrentTimestamp" | "current_time" | "current_date"
            )
        }) {
            findings.push(Finding::new(line, message(found)));
        }
    }
    findings
}

fn allow(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, attribute) in source.attributes() {
        let names = words(&attribute).collect::<Vec<_>>();
        if names.contains(&"allow") && matches!(names.first(), Some(&("allow" | "cfg_attr"))) {
            findings.push(Finding::new(
                line,
                "`allow` outlives its cause: repair it, or write #[expect(lint, reason = \"…\")]"
                    .to_owned(),
            ));
        }
        if names.first() == Some(&"expect") && !names.contains(&"reason") {
            findings.push(Finding::new(
                line,
                "an expectation needs its reason: #[expect(lint, reason = \"…\")]".to_owned(),
            ));
        }
    }
    findings
}

fn module_doc(source: &Source) -> Vec<Finding> {
    // A module's tests need no introduction: what they are about stands beside them.
    if source.path.ends_with("/tests.rs") || source.raw.starts_with("//!") {
        return Vec::new();
    }
    vec![Finding::new(
        1,
        "the file does not start with `//!`: say what the module owns and what it never does"
            .to_owned(),
    )]
}

fn ignored(source: &Source) -> Vec<Finding> {
    source
        .attributes()
        .into_iter()
        .filter(|(_, attribute)| words(attribute).next() == Some("ignore"))
        .map(|(line, _)| {
            Finding::new(
                line,
                "a test that is ignored tests nothing: repair it or delete it".to_owned(),
            )
        })
        .collect()
}

fn backend(source: &Source) -> Vec<Finding> {
    if source.path == DIALECT || !source.path.starts_with("src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for kind in ["DatabaseBackend", "DbBackend"] {
        for (line, name) in source.uses_of(kind) {
            findings.push(Finding::new(
                line,
                format!("`{kind}::{name}`: only {DIALECT} tells the databases apart; give it a function for this"),
            ));
        }
    }
    findings
}

fn time_reader(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/")
        || source.is_test_file()
        || TIME_READERS.contains(&source.path.as_str())
    {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for kind in ["Instant", "SystemTime", "Utc", "Local"] {
        for (line, name) in source.uses_of(kind) {
            if name == "now" {
                findings.push(Finding::new(
                    line,
                    format!("`{kind}::now` reads the machine's clock: ask the Clock, which tests and the demo set"),
                ));
            }
        }
    }
    findings
}
