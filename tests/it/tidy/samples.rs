//! Shows each rule a bad sample that it must catch, and a good one that it must let pass.

use super::*;

/// The lines on which `check` finds something in a file of this name.
fn lines(check: Check, path: &str, raw: &str) -> Vec<usize> {
    check(&Source::new(path, raw))
        .into_iter()
        .map(|finding| finding.line)
        .collect()
}

#[test]
fn the_layers_rule_catches_an_import_upwards() {
    assert_eq!(
        lines(
            layers,
            "src/domain/flow.rs",
            "//! x\nuse crate::store::Db;\n"
        ),
        [2]
    );
    assert_eq!(
        lines(
            layers,
            "src/store/lead.rs",
            "use crate::{\n    domain::id,\n    engine::{self, claim},\n};\n"
        ),
        [3]
    );
    assert_eq!(
        lines(layers, "src/bus.rs", "fn f() { crate::http::serve() }\n"),
        [1]
    );
    assert_eq!(
        lines(layers, "src/domain/mod.rs", "use super::store;\n"),
        [1]
    );
    assert_eq!(
        lines(
            layers,
            "src/domain/id.rs",
            "use super::super::{clock, domain};\n"
        ),
        [1]
    );
    assert_eq!(
        lines(
            layers,
            "src/domain/id.rs",
            "mod t {\n    use super::super::super::store;\n}\n"
        ),
        [2]
    );
    assert_eq!(
        lines(layers, "src/engine/claim.rs", "use entity::lead;\n"),
        [1]
    );
    assert_eq!(lines(layers, "src/novel.rs", ""), [1]);
}

#[test]
fn the_layers_rule_lets_imports_downwards_pass() {
    let none: [usize; 0] = [];
    assert_eq!(
        lines(
            layers,
            "src/store/lead.rs",
            "use crate::domain::id;\nuse crate::store::Db;\nuse entity::lead;\n"
        ),
        none
    );
    assert_eq!(
        lines(
            layers,
            "src/domain/id.rs",
            "mod t {\n    use super::super::lead;\n}\n"
        ),
        none
    );
    assert_eq!(
        lines(
            layers,
            "src/domain/id.rs",
            "// crate::store\nconst X: &str = \"crate::store\";\n"
        ),
        none
    );
    assert_eq!(
        lines(
            layers,
            "src/domain/plain.rs",
            "mod entity;\nuse entity::decode;\n"
        ),
        none
    );
    assert_eq!(
        lines(
            layers,
            "src/server.rs",
            "use crate::{engine, http, store};\n"
        ),
        none
    );
}

#[test]
fn the_purity_rule_catches_effects() {
    for (sample, line) in [
        ("use tokio::time;\n", 1),
        ("use sea_orm::Value;\n", 1),
        ("\nasync fn f() {}\n", 2),
        ("use std::{collections::BTreeMap, time::Duration};\n", 1),
        ("fn f() { std::fs::read(\"x\"); }\n", 1),
        ("use std::net::IpAddr;\n", 1),
        ("fn f() -> u8 { rand::random() }\n", 1),
    ] {
        assert_eq!(
            lines(pure_domain, "src/domain/x.rs", sample),
            [line],
            "{sample}"
        );
        assert!(
            lines(pure_domain, "src/store/x.rs", sample).is_empty(),
            "{sample}"
        );
    }
    assert!(
        lines(
            pure_domain,
            "src/domain/x.rs",
            "// async, tokio\nuse std::fmt;\nlet brand = 1;\n"
        )
        .is_empty()
    );
}

#[test]
fn the_length_rule_counts_lines_outside_tests() {
    let long = "fn f() {}\n".repeat(CODE_LINES_MAX + 1);
    assert_eq!(lines(file_length, "src/x.rs", &long), [CODE_LINES_MAX + 1]);
    let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert!(lines(file_length, "src/x.rs", &tested).is_empty());
    assert!(lines(file_length, "src/x/tests.rs", &long).is_empty());
}

#[test]
fn the_name_rule_catches_names_that_say_nothing() {
    for path in [
        "src/utils.rs",
        "src/store/helpers.rs",
        "src/manager/mod.rs",
        "tests/it/common.rs",
    ] {
        assert_eq!(lines(file_name, path, ""), [1], "{path}");
    }
    assert!(lines(file_name, "src/store/lead.rs", "").is_empty());
}

#[test]
fn the_leftover_rule_catches_notes_and_macros() {
    for sample in [
        concat!("\n// FIX", "ME later\n"),
        concat!("\n// X", "XX\n"),
        "\nfn f() { todo!() }\n",
        "\nfn f() { unimplemented!(\"x\") }\n",
        "\nlet x = dbg!(1);\n",
    ] {
        assert_eq!(lines(leftover, "src/x.rs", sample), [2], "{sample}");
    }
    assert!(lines(leftover, "src/x.rs", "let todo = \"todo!()\"; // dbg!\n").is_empty());
}

#[test]
fn the_sql_rule_catches_the_database_clock() {
    for sample in [
        "\nlet sql = \"update lead set due_at = now()\";\n",
        "\nlet sql = r#\"default CURRENT_TIMESTAMP\"#;\n",
        "\ncolumn.default(Expr::current_timestamp());\n",
        "\nlet sql = \"select datetime('now')\";\n",
    ] {
        assert_eq!(lines(sql_time, "src/store/x.rs", sample), [2], "{sample}");
    }
    assert!(
        lines(
            sql_time,
            "src/store/x.rs",
            "let now = clock.now(); // not now() of SQL\n"
        )
        .is_empty()
    );
}

#[test]
fn the_allow_rule_catches_silenced_lints() {
    for sample in [
        "\n#[allow(dead_code)]\nfn f() {}\n",
        "\n#![allow(unused)]\n",
        "\n#[cfg_attr(test, allow(dead_code))]\nfn f() {}\n",
        "\n#[expect(dead_code)]\nfn f() {}\n",
    ] {
        assert_eq!(lines(allow, "src/x.rs", sample), [2], "{sample}");
    }
    assert!(
        lines(
            allow,
            "src/x.rs",
            "#[expect(\n    dead_code,\n    reason = \"x\"\n)]\nfn allow() {}\n"
        )
        .is_empty()
    );
}

#[test]
fn the_doc_rule_catches_a_module_without_words() {
    assert_eq!(lines(module_doc, "src/x.rs", "use std::fmt;\n"), [1]);
    assert!(lines(module_doc, "src/x.rs", "//! Owns x.\n").is_empty());
    assert!(lines(module_doc, "src/x/tests.rs", "use super::*;\n").is_empty());
}

#[test]
fn the_ignore_rule_catches_a_test_that_never_runs() {
    assert_eq!(
        lines(
            ignored,
            "tests/it/x.rs",
            "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n"
        ),
        [2]
    );
    assert!(lines(ignored, "tests/it/x.rs", "// #[ignore]\nfn ignore() {}\n").is_empty());
}

#[test]
fn the_backend_rule_catches_a_match_elsewhere() {
    let sample = "match b {\n    DatabaseBackend::Sqlite => 1,\n    _ => 2,\n}\n";
    assert_eq!(lines(backend, "src/store/lead.rs", sample), [2]);
    assert_eq!(
        lines(
            backend,
            "src/server.rs",
            "use sea_orm::DbBackend::{self, Postgres};\n"
        ),
        [1, 1]
    );
    assert!(lines(backend, DIALECT, sample).is_empty());
    assert!(
        lines(
            backend,
            "src/store/lead.rs",
            "fn f(backend: DatabaseBackend) {}\n"
        )
        .is_empty()
    );
}

#[test]
fn the_time_rule_catches_a_reading_of_the_clock() {
    for sample in [
        "\nlet t = Instant::now();\n",
        "\nlet t = chrono::Utc::now();\n",
        "\nlet t = std::time::SystemTime::now();\n",
    ] {
        assert_eq!(
            lines(time_reader, "src/engine/mod.rs", sample),
            [2],
            "{sample}"
        );
        assert!(
            lines(time_reader, "src/clock.rs", sample).is_empty(),
            "{sample}"
        );
    }
    assert!(lines(time_reader, "src/engine/mod.rs", "let t = clock.now();\n").is_empty());
}

#[test]
fn code_and_text_are_told_apart() {
    let raw = "let a = 'x'; let b: &'a str = \"in // \\\" text\"; /* out /* deep */ out */ let q = '\\''; // end\nr#\"raw \" text\"# é";
    let source = Source::new("src/x.rs", raw);
    assert_eq!(source.code.len(), raw.len());
    assert_eq!(source.text.len(), raw.len());
    assert_eq!(
        words(&source.code).collect::<Vec<_>>(),
        ["let", "a", "let", "b", "a", "str", "let", "q", "r", "é"]
    );
    assert_eq!(
        words(&source.text).collect::<Vec<_>>(),
        ["in", "text", "raw", "text"]
    );
}
