use proptest::prelude::*;

use super::*;

fn person() -> MergeData<'static> {
    MergeData {
        email: Some("ana@acme.test"),
        first_name: Some("Ana"),
        company: Some("Acme & <Co>"),
        sender_name: Some("Sam"),
        ..MergeData::default()
    }
}

#[track_caller]
fn compile(subject: Option<&str>, html: Option<&str>, text: Option<&str>) -> EmailContent {
    EmailContent::compile(subject, html, text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[track_caller]
fn text_of(html: &str) -> String {
    compile(Some("s"), Some(html), None)
        .render(&person())
        .unwrap()
        .text
}

#[track_caller]
fn html_of(text: &str) -> String {
    compile(Some("s"), None, Some(text))
        .render(&person())
        .unwrap()
        .html
        .unwrap()
}

#[test]
fn text_is_derived_from_html() {
    let text = text_of(
        "<head><title>x</title><style>p{}</style></head><body>\n<h1>Hi {{ first_name }}</h1>
         <p>About <b>{{ company }}</b>,\n see <a href='https://x.test/?c={{ company }}'>our  page</a>.</p>
         <ul><li>one<li>two &amp; &eacute;</ul><p>a<br>b</p><hr><table><tr><td>1</td><td>2</td></tr></table>
         <span style='display: none'>hidden</span><!-- c --><!--[if mso]><p>outlook</p><![endif]-->
         <p><a href='https://x.test/'>x.test</a> <a href='mailto:{{ email }}'>{{ email }}</a>
         <a href='#top'>top</a> <a href='https://i.test'><img alt=logo src=x></a></p>",
    );
    assert_eq!(
        text,
        "Hi Ana\n\nAbout Acme & <Co>, see our page (https://x.test/?c=Acme%20%26%20%3CCo%3E).\n\n\
         * one\n* two & é\n\na\nb\n\n----\n\n1 2\n\n\
         x.test ana@acme.test (mailto:ana@acme.test) top logo (https://i.test)\n"
    );
}

#[test]
fn conditions_stay_in_the_derived_text() {
    assert_eq!(
        text_of("<p>a</p>{% if phone %}<p>{{ phone }}</p>{% else %}<p>b</p>{% endif %}<p>c</p>"),
        "a\n\nb\n\nc\n"
    );
    assert_eq!(
        text_of("a {% if phone %} {{ phone }} {% endif %} c"),
        "a c\n"
    );
    assert_eq!(
        text_of(
            "<a href='{% if phone %}tel:{{ phone }}{% else %}https://x.test{% endif %}'>call</a>"
        ),
        "call (https://x.test)\n"
    );
    assert_eq!(
        text_of(
            "<table>{% if company %}<tr><td>{{ company }}</td></tr>{% endif %}<tr><td>z</td></tr></table>"
        ),
        "Acme & <Co>\nz\n"
    );
}

#[test]
fn html_is_derived_from_text() {
    assert_eq!(
        html_of(
            "Hi {{ first_name }},\nat {{ company }}\n\n\nSee https://x.test/?a=1&b=(2). <b>Bye</b>\n"
        ),
        "<p>Hi Ana,<br>\nat Acme &amp; &lt;Co&gt;</p>\n<p>See <a href=\"https://x.test/?a=1&amp;b=(2)\">\
         https://x.test/?a=1&amp;b=(2)</a>. &lt;b&gt;Bye&lt;/b&gt;</p>\n"
    );
    assert_eq!(
        html_of("(http://x.test) javascript:x https://"),
        "<p>(<a href=\"http://x.test\">http://x.test</a>) javascript:x https://</p>\n"
    );
}

#[test]
fn all_problems_come_at_once() {
    let problems = |subject, html, text| {
        let problems = EmailContent::compile(subject, html, text).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        problems(None, None, Some(" ")),
        [
            "subject: the subject is empty: write one",
            "text: the message is empty: write html or text",
        ]
    );
    let all = problems(
        Some("{{ firstname }}"),
        Some("<p>{{ a ~ b }}"),
        Some("x\n{{ city }}{{"),
    );
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(
        all[0],
        "subject: there is no merge tag firstname: did you mean first_name?"
    );
    assert!(
        all[1].starts_with("html: line 1: merge tags cannot compute"),
        "{all:?}"
    );
    assert!(
        all[2].starts_with("text: line 2: this merge tag cannot be read"),
        "{all:?}"
    );
    assert_eq!(
        problems(Some("s"), Some("<p> <br></p>"), None),
        ["html: the message is empty: write html or text"]
    );
    assert!(EmailContent::compile_with(None, None, Some("x"), SubjectRule::FromThread).is_ok());
}

#[test]
fn missing_tags_of_all_parts_are_reported_together() {
    let content = compile(
        Some("{{ phone }}"),
        Some("{{ title }}"),
        Some("{{ phone }}{{ last_name }}"),
    );
    let missing = ["phone", "title", "last_name"].map(str::to_owned).to_vec();
    assert_eq!(
        content.render(&person()),
        Err(RenderError::Missing(missing))
    );
}

#[test]
fn what_comes_out_blank_is_not_sent() {
    let blank = "{% if phone %}x{% endif %}";
    for (subject, html, text) in [
        (blank, None, Some("t")),
        ("s", None, Some(blank)),
        ("s", Some(blank), None),
    ] {
        let result = compile(Some(subject), html, text).render(&person());
        assert!(matches!(result, Err(RenderError::Failed(_))), "{result:?}");
    }
}

/// The words our derived text shows are those that a full HTML parser shows.
#[test]
fn real_newsletters_keep_their_words() {
    let Ok(corpora) = std::env::var("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA is not set");
        return;
    };
    let mut seen = 0;
    let root = std::path::Path::new(&corpora).join("html/ActiveCampaign");
    for path in html_files(&root) {
        let source = without_sections(&std::fs::read_to_string(&path).unwrap())
            .replace("{{", "(")
            .replace("}}", ")");
        // Their own conditional sections and comments are no part of ours.
        let source = source.replace("{#", "(").replace("{%", "(");
        let content = compile(Some("s"), Some(&source), None);
        let ours = content.render(&person()).unwrap().text;
        let body = source.replace("class=\"preheader\"", "hidden");
        let theirs = html2text::config::with_decorator(html2text::render::TrivialDecorator::new())
            .raw_mode(true)
            .string_from_read(without_hidden(&body).as_bytes(), 100_000)
            .unwrap();
        let mut ours = words(&ours).into_iter();
        let theirs = words(&theirs);
        assert!(theirs.len() > 20, "{} in {}", theirs.len(), path.display());
        for word in theirs {
            assert!(ours.any(|own| own == word), "{word} in {}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

fn html_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(html_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "html")
        {
            files.push(path);
        }
    }
    files
}

/// Removes `{{#each …}}` and `{{/each}}`: the logic of another template language, no words. Between
/// the rows of a table, an HTML parser would even move them in front of it.
fn without_sections(source: &str) -> String {
    let mut pieces = source.split("{{");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once("}}") {
            Some((tag, rest)) if tag.starts_with(['#', '/', '^']) => text.push_str(rest),
            _ => text.extend(["{{", piece]),
        }
    }
    text
}

/// Removes `<span hidden …>…</span>`, which the other converter would show.
fn without_hidden(html: &str) -> String {
    match html.split_once("<span hidden") {
        Some((before, rest)) => {
            format!(
                "{before}{}",
                rest.split_once("</span>").map_or("", |(_, after)| after)
            )
        }
        None => html.to_owned(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

proptest! {
    #[test]
    fn never_panics(html in "[<>a-z=\"'/!\\-\\[\\]&;# {}%|]{0,80}", text in "\\PC{0,80}", value in ".{0,40}") {
        let data = MergeData { first_name: Some(&value), ..person() };
        for (html, text) in [(Some(html.as_str()), None), (None, Some(text.as_str()))] {
            if let Ok(content) = EmailContent::compile(Some("{{ first_name }}"), html, text)
                && let Ok(mail) = content.render(&data)
            {
                prop_assert!(!mail.subject.contains(|c: char| c.is_control()));
                // Braces that a tag stood between come together where the tag goes.
                let is_joined = html.is_some_and(|html| html.contains('<'));
                prop_assert!(is_joined || !mail.text.contains("{{"));
                let is_mark = |c: char| ('\u{1}'..='\u{4}').contains(&c);
                prop_assert!(!mail.text.contains(is_mark));
            }
        }
    }

    #[test]
    fn derived_html_holds_no_markup_of_the_data(value in ".{1,60}") {
        let data = MergeData { first_name: Some(&value), ..person() };
        if let Ok(mail) = compile(Some("s"), None, Some("{{ first_name }}")).render(&data) {
            let html = mail.html.unwrap_or_default();
            let own = ["<p>", "</p>", "<br>", "<a href=", "</a>"];
            let known: usize = own.iter().map(|tag| html.matches(tag).count()).sum();
            prop_assert_eq!(html.matches('<').count(), known, "{}", html);
        }
    }
}
