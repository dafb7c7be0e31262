use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn attributes() -> Map<String, Value> {
    match json!({
        "city": "Łódź", "Job level": "C & D", "blank": " \u{200b}", "vip": true, "never": false,
        "seats": 12, "none": 0, "list": ["a"], "null": null, "address": {"zip": "90-001"},
        "link": "https://acme.test/a?b=1", "evil": "javascript:alert(1)", "bare": "acme.test",
    }) {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

fn person(attributes: &Map<String, Value>) -> MergeData<'_> {
    MergeData {
        email: Some("ana@acme.test"),
        first_name: Some("Ana"),
        last_name: Some("O'Neil <b>"),
        company: Some("  "),
        title: Some("CEO"),
        attributes: Some(attributes),
        sender_name: Some("Sam"),
        ..MergeData::default()
    }
}

fn render(source: &str, kind: Kind) -> Result<String, RenderError> {
    let attributes = attributes();
    Template::compile(source, kind)
        .unwrap_or_else(|e| panic!("{source}: {e}"))
        .render(&person(&attributes))
}

#[track_caller]
fn text(source: &str, expected: &str) {
    assert_eq!(
        render(source, Kind::Text).as_deref(),
        Ok(expected),
        "{source}"
    );
}

#[track_caller]
fn html(source: &str, expected: &str) {
    assert_eq!(
        render(source, Kind::Html).as_deref(),
        Ok(expected),
        "{source}"
    );
}

#[track_caller]
fn refused(source: &str, kind: Kind, part: &str) {
    match Template::compile(source, kind) {
        Ok(_) => panic!("accepted: {source:.80}"),
        Err(error) => assert!(error.message.contains(part), "{source:.80}: {error}"),
    }
}

#[test]
fn merges_tags_filters_and_conditions() {
    text("Hi {{ first_name }},", "Hi Ana,");
    text("{{ first_name | upper }}", "ANA");
    text("{{ company | default(\"your company\") }}", "your company");
    text("{{ company | upper | default('x') | upper }}", "X");
    text(
        "{{ attributes.city }} {{ attributes[\"Job level\"] }}",
        "Łódź C & D",
    );
    text(
        "{{ attributes.address.zip }} {{ attributes.seats }}",
        "90-001 12",
    );
    text("{{ full_name | replace(\"'\", \"’\") }}", "Ana O’Neil <b>");
    text(
        "{{ title | lower | capitalize }} {{ email | title }}",
        "Ceo Ana@acme.test",
    );
    text(
        "{% if company %}at {{ company }}{% else %}there{% endif %}",
        "there",
    );
    text(
        "{% if not company and title == 'CEO' %}boss{% endif %}",
        "boss",
    );
    text(
        "{% if company %}a{% elif title != 'CEO' %}b{% elif attributes.vip %}c{% endif %}",
        "c",
    );
    text(
        "{% if attributes.never or attributes.none or attributes.list %}x{% endif %}.",
        ".",
    );
    text(
        "{% if company is defined %}x{% endif %}{% if title is defined %}y{% endif %}",
        "y",
    );
    text(
        "{% if attributes.seats == 12 and attributes.vip == true %}z{% endif %}",
        "z",
    );
    text("a{# secret #}b{{- first_name -}} c\n", "abAnac\n");
}

#[test]
fn reports_every_missing_tag_once() {
    let missing = render(
        "{{ company }} {{ phone | upper }} {{ company }} {{ attributes.blank }} {{ attributes.null }}
         {{ attributes.list }} {{ attributes[\"a b\"] }} {{ first_name }} {{ nonsense }}
         {% if phone %}{{ time_zone }}{% endif %}{{ country }}",
        Kind::Text,
    );
    let expected = [
        "company",
        "phone",
        "attributes.blank",
        "attributes.null",
        "attributes.list",
        "attributes[\"a b\"]",
        "nonsense",
        "country",
    ];
    assert_eq!(
        missing,
        Err(RenderError::Missing(expected.map(str::to_owned).to_vec()))
    );
}

#[test]
fn lists_uses_and_whether_they_need_data() {
    let template = Template::compile(
        "{{ first_name | default('') }}{% if company %}{{ company }}{% else %}{{ title }}{% endif %}
         {% if not phone %}{{ phone }}{% else %}{{ phone }}{% endif %}",
        Kind::Text,
    )
    .unwrap();
    let uses: Vec<(String, bool)> = template
        .tags()
        .iter()
        .map(|tag| (tag.path.join("."), tag.has_default))
        .collect();
    let expected = [
        ("first_name", true),
        ("company", true),
        ("title", false),
        ("phone", true),
        ("phone", false),
    ];
    assert_eq!(
        uses,
        expected.map(|(tag, has)| (tag.to_owned(), has)).to_vec()
    );
}

#[test]
fn suggests_the_tag_that_was_meant() {
    let suggest = |path: &str| {
        let path = path.split('.').map(str::to_owned).collect();
        unknown_tags(&[TagUse {
            path,
            has_default: false,
        }])
        .pop()
        .and_then(|(_, meant)| meant)
    };
    for (written, meant) in [
        ("firstname", "first_name"),
        ("FirstName", "first_name"),
        ("fist_name", "first_name"),
        ("person.first_name", "first_name"),
        ("compnay", "company"),
        ("job_title", "title"),
        ("sender.nam", "sender.name"),
        ("sender.email", "sender.address"),
        ("city", "attributes.city"),
        ("atributes.city", "attributes.city"),
        ("first_name.x", "first_name"),
    ] {
        assert_eq!(suggest(written).as_deref(), Some(meant), "{written}");
    }
    assert_eq!(suggest("attributes"), None);
    assert!(
        unknown_tags(
            Template::compile("{{ attributes.x }}{{ sender.name }}", Kind::Text)
                .unwrap()
                .tags()
        )
        .is_empty()
    );
}

#[test]
fn refuses_everything_else_with_line_and_remedy() {
    for (source, part) in [
        ("{% for x in y %}{% endfor %}", "not available"),
        ("{% set x = 1 %}", "not available"),
        ("{% macro x() %}{% endmacro %}", "not available"),
        ("{% call x() %}{% endcall %}", "not available"),
        ("{% include 'x' %}", "not available"),
        ("{% extends 'x' %}", "not available"),
        ("{% block x %}{% endblock %}", "not available"),
        ("{% filter upper %}x{% endfilter %}", "not available"),
        (
            "{% autoescape false %}x{% endautoescape %}",
            "not available",
        ),
        ("{% with x = 1 %}{% endwith %}", "not available"),
        ("{% raw %}{{ first_name }}{% endraw %}", "{% raw %}"),
        ("{{ first_name ~ last_name }}", "cannot compute"),
        ("{{ 'a' * 100000000 }}", "cannot compute"),
        ("{{ attributes.seats + 1 }}", "cannot compute"),
        ("{{ -attributes.seats }}", "cannot compute"),
        ("{{ [1, 2] }}", "only a merge tag"),
        ("{{ {'a': 1} }}", "only a merge tag"),
        ("{{ first_name[0:2] }}", "only a merge tag"),
        ("{{ range(100000000) }}", "functions"),
        ("{{ first_name.upper() }}", "functions"),
        ("{{ first_name | safe }}", "no filter safe"),
        ("{{ first_name | join(',') }}", "no filter join"),
        ("{{ first_name | replace('', 'x') }}", "wrong values"),
        ("{{ first_name | default(last_name) }}", "fixed text"),
        ("{{ first_name if title else 'x' }}", "{% if … %}"),
        ("{% if title is string %}{% endif %}", "is defined"),
        ("{% if title > 1 %}{% endif %}", "operator"),
        ("{% if 'x' in title %}{% endif %}", "operator"),
        ("{% if true %}{% endif %}", "always the same"),
        ("{{ 'text' }}", "outside the braces"),
        ("{{ first_name", "cannot be read"),
        ("{{ }}", "cannot be read"),
        ("{% if title %}", "cannot be read"),
        ("{% endif %}", "cannot be read"),
        ("{{ first_name | default('{{ x }}') }}", "inside quotes"),
        ("Hi {first_name}", "{{ first_name }}"),
        ("Hi { First Name }", "{{ first_name }}"),
        ("nul\0", "U+0000"),
    ] {
        refused(source, Kind::Text, part);
    }
    let error = Template::compile("a\nb\n{{ x ~ y }}", Kind::Text).unwrap_err();
    assert_eq!(error.line, 3);
}

#[test]
fn refuses_bombs() {
    let bombs = [
        "x".repeat(MAX_SOURCE_BYTES + 1),
        format!("{{{{ {} }}}}", ["a"; 20_000].join(" and ")),
        format!("{{{{ a{} }}}}", "|upper".repeat(15_000)),
        format!("{{{{ {}a{} }}}}", "(".repeat(30_000), ")".repeat(30_000)),
        format!("{{{{ {}a }}}}", "not ".repeat(30_000)),
        format!("{{{{ a{} }}}}", ".a".repeat(30_000)),
        format!("{{% if a %}}{}", "{% if a %}".repeat(10_000)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(10_000)),
        "{{ a }}".repeat(10_000),
        "{% set ns = namespace(x='a') %}{% for i in range(26) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}".to_owned(),
        "{{ [1,2]*1000000 }}".to_owned(),
        "{{ range(100000) | join('a') }}".to_owned(),
        "{{ first_name | replace('a', 'b') | replace('a', 'b') }}".replace("'b'", &format!("'{}'", "b".repeat(501))),
    ];
    for bomb in &bombs {
        for kind in [Kind::Text, Kind::Html, Kind::Subject] {
            assert!(Template::compile(bomb, kind).is_err(), "{bomb:.60}");
        }
    }
}

#[test]
fn output_is_bounded() {
    let long = "n".repeat(60_000);
    let data = MergeData {
        first_name: Some(&long),
        ..MergeData::default()
    };
    let many = Template::compile(&"{{ first_name }}".repeat(1_000), Kind::Text).unwrap();
    assert_eq!(
        many.render(&data),
        Err(RenderError::TooLong {
            limit: MAX_OUTPUT_BYTES
        })
    );
    let grow = "|replace('n', 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn')".repeat(5);
    let grow = Template::compile(&format!("{{{{ first_name {grow} }}}}"), Kind::Text).unwrap();
    assert!(matches!(
        grow.render(&data),
        Err(RenderError::TooLong { .. })
    ));
    let subject = Template::compile("{{ first_name }}", Kind::Subject).unwrap();
    assert_eq!(
        subject.render(&data),
        Err(RenderError::TooLong {
            limit: MAX_SUBJECT_BYTES
        })
    );
}

#[test]
fn a_subject_is_one_line() {
    let data = MergeData {
        company: Some("A\r\nBcc: x@y.z\u{2028}\0 B"),
        ..MergeData::default()
    };
    let subject = Template::compile("Hi\r\n {{ company }}\n", Kind::Subject).unwrap();
    assert_eq!(subject.render(&data).as_deref(), Ok("Hi A Bcc: x@y.z B"));
}

#[test]
fn html_values_are_escaped_and_urls_kept_harmless() {
    html("<p>{{ last_name }}</p>", "<p>O&#39;Neil &lt;b&gt;</p>");
    html(
        "<img alt='{{ last_name }}'>",
        "<img alt='O&#39;Neil &lt;b&gt;'>",
    );
    html(
        "<a href=\"{{ attributes.link }}\">",
        "<a href=\"https://acme.test/a?b=1\">",
    );
    html("<a href=\" {{ attributes.evil }}\">", "<a href=\" #\">");
    html(
        "<a href=\"{{ attributes.bare }}/x\">",
        "<a href=\"https://acme.test/x\">",
    );
    html(
        "<a href='https://x.test/?c={{ attributes[\"Job level\"] }}'>",
        "<a href='https://x.test/?c=C%20%26%20D'>",
    );
    html(
        "<a href='mailto:{{ email }}'>",
        "<a href='mailto:ana@acme.test'>",
    );
    html(
        "<a href='{% if company %}{{ company }}{% else %}https://x.test{% endif %}'>x</a>",
        "<a href='https://x.test'>x</a>",
    );
    html(
        "<!--[if mso]><v:rect href='{{ attributes.evil }}'>{{ title }}</v:rect><![endif]-->{{ title }}",
        "<!--[if mso]><v:rect href='#'>CEO</v:rect><![endif]-->CEO",
    );
    html(
        "<title>{{ last_name }}</title>",
        "<title>O&#39;Neil &lt;b&gt;</title>",
    );
    html("a < b <!-- x --> {{ title }}", "a < b <!-- x --> CEO");
    for evil in [
        "javascript:alert(1)",
        " JaVaScript:alert(1)",
        "java\tscript:alert(1)",
        "\u{1}javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "//evil.test",
        "/x",
        "?x",
        "http:evil",
        "file:///etc/passwd",
        "&#106;avascript:x",
    ] {
        let data = MergeData {
            company: Some(evil),
            ..MergeData::default()
        };
        let out = Template::compile("<a href=\"{{ company }}\">", Kind::Html)
            .unwrap()
            .render(&data)
            .unwrap();
        assert!(
            out == "<a href=\"#\">" || out.starts_with("<a href=\"https://"),
            "{evil:?}: {out}"
        );
    }
}

#[test]
fn html_places_that_cannot_be_escaped_are_refused() {
    for (source, part) in [
        ("<script>{{ title }}</script>", "inside <script>"),
        ("<style>a{color:{{ title }}}</style>", "inside <style>"),
        ("<a href={{ title }}>", "needs quotes"),
        ("<a href=x{{ title }}>", "needs quotes"),
        ("<a {{ title }}>", "inside an HTML tag"),
        ("<{{ title }}>", "inside an HTML tag"),
        ("<a onclick=\"{{ title }}\">", "attribute onclick"),
        ("<a style=\"{{ title }}\">", "attribute style"),
        ("<iframe srcdoc=\"{{ title }}\">", "attribute srcdoc"),
        ("<meta content=\"{{ title }}\">", "attribute content"),
        ("<!-- {{ title }} -->", "comment"),
        ("<a href=\"java{{ title }}\">", "beginning of a URL"),
        ("<a href=\"javascript:{{ title }}\">", "beginning of a URL"),
        (
            "<a href=\"java&#115;cript:{{ title }}\">",
            "beginning of a URL",
        ),
        (
            "<a href=\"{% if title %}x{% endif %}{{ title }}\">",
            "beginning of a URL",
        ),
        (
            "<a {% if title %}href=\"{% endif %}x\">",
            "different places",
        ),
        (
            "<{% if title %}script>{% else %}p>{% endif %}{{ title }}",
            "different places",
        ),
        ("<p title=\"", "ends inside"),
        ("<style>", "ends inside"),
    ] {
        refused(source, Kind::Html, part);
    }
}

#[test]
fn naughty_strings_stay_harmless_everywhere() {
    let Ok(corpora) = std::env::var("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA is not set");
        return;
    };
    let file = std::fs::read_to_string(format!("{corpora}/strings/blns/blns.json")).unwrap();
    let strings: Vec<String> = serde_json::from_str(&file).unwrap();
    assert!(strings.len() > 500);
    for string in &strings {
        check_harmless(string);
        for kind in [Kind::Text, Kind::Html, Kind::Subject] {
            // As a source they compile or are refused; neither panics.
            if let Ok(template) = Template::compile(string, kind) {
                assert!(template.tags().is_empty() || string.contains("{{"));
            }
        }
    }
}

/// Merges a string at every kind of place and checks that it stays there.
fn check_harmless(string: &str) {
    let data = MergeData {
        company: Some(string),
        ..MergeData::default()
    };
    let place = "<p>{{ company }}</p><a href=\"{{ company }}\" title='{{ company }}'></a>";
    match Template::compile(place, Kind::Html).unwrap().render(&data) {
        Ok(out) => {
            assert_eq!(out.matches('<').count(), 4, "{out}");
            assert_eq!(out.matches('>').count(), 4, "{out}");
            assert_eq!(out.matches('"').count(), 2, "{out}");
            assert_eq!(out.matches('\'').count(), 2, "{out}");
            let href = out.split('"').nth(1).unwrap().to_lowercase();
            let safe = ["#", "http://", "https://", "mailto:"];
            assert!(safe.iter().any(|scheme| href.starts_with(scheme)), "{out}");
        }
        Err(error) => {
            assert!(value::is_blank(string), "{error}");
            assert_eq!(error, RenderError::Missing(vec!["company".to_owned()]));
        }
    }
    let subject = Template::compile("{{ company | default('x') }}", Kind::Subject).unwrap();
    match subject.render(&data) {
        Ok(line) => assert!(!line.contains(|c: char| c.is_control()), "{line:?}"),
        Err(error) => assert_eq!(
            error,
            RenderError::TooLong {
                limit: MAX_SUBJECT_BYTES
            }
        ),
    }
}

/// Sources that are likely to be templates, made of pieces of the language and of HTML.
fn source() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{{ first_name }}",
            "{{ company | default('x') }}",
            "{{ attributes.a }}",
            "{{",
            "}}",
            "{%",
            "%}",
            "{% if title %}",
            "{% else %}",
            "{% elif phone %}",
            "{% endif %}",
            "{# c #}",
            "{#",
            "{% raw %}",
            "{% endraw %}",
            "{% for x in y %}",
            "{{ a ~ b }}",
            "{{-",
            "-%}",
            "<",
            ">",
            "\"",
            "'",
            "<a href=\"",
            "<p>",
            "</p>",
            "<script>",
            "</script>",
            "<!--",
            "-->",
            "<!--[if mso]>",
            "<![endif]-->",
            " title='",
            "https://",
            "&amp;",
            "|",
            "not",
            "==",
            "\\",
            "\r\n",
            "é",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn never_panics_and_leaves_no_tag(source in source(), value in "\\PC{0,40}", other in ".{0,40}") {
        let attributes = Map::from_iter([("a".to_owned(), Value::String(other.clone()))]);
        let value = value.replace(['{', '}'], "");
        let other = other.replace(['{', '}'], "");
        let data = MergeData {
            first_name: Some(&value), title: Some(&other), attributes: None, ..MergeData::default()
        };
        for kind in [Kind::Text, Kind::Html, Kind::Subject] {
            let Ok(template) = Template::compile(&source, kind) else { continue };
            if let Ok(out) = template.render(&data) {
                prop_assert!(out.len() <= MAX_OUTPUT_BYTES);
                prop_assert!(!out.contains("{{") && !out.contains("{%") && !out.contains("{#"), "{}", out);
            }
            let with = MergeData { attributes: Some(&attributes), ..data };
            if let Err(RenderError::Missing(tags)) = template.render(&with) {
                prop_assert!(!tags.is_empty());
            }
        }
    }

    #[test]
    fn data_never_leaves_its_place(value in ".{1,60}") {
        check_harmless(&value);
    }

    #[test]
    fn html_output_has_only_the_templates_markup(source in source(), value in "[<>\"'&a-z:/ ]{1,20}") {
        if let Ok(template) = Template::compile(&source, Kind::Html) {
            let with = |name| MergeData {
                first_name: Some(name), title: Some("t"), company: Some(name), ..MergeData::default()
            };
            let (evil, tame) = (template.render(&with(value.as_str())), template.render(&with("tame")));
            if let (Ok(evil), Ok(tame)) = (evil, tame) {
                for mark in ['<', '>', '"', '\''] {
                    prop_assert_eq!(evil.matches(mark).count(), tame.matches(mark).count());
                }
            }
        }
    }
}
