use serde_json::{Value, json};

use super::*;
use crate::domain::flow::graph::tests::ways_walked;

fn flow(steps: impl Into<Value>) -> Flow {
    serde_json::from_value(json!({ "steps": steps.into() })).expect("a flow")
}

/// An email with one text.
fn email(key: &str, next: Option<&str>, subject: Option<&str>, text: &str) -> Value {
    let variants =
        json!([{ "key": "a", "weight": 1, "enabled": true, "subject": subject, "text": text }]);
    json!({ "key": key, "next": next, "action": { "kind": "email", "senders": [],
        "variants": variants, "trackOpens": true } })
}

fn condition(key: &str, predicate: Value, yes: Option<&str>, no: Option<&str>) -> Value {
    json!({ "key": key, "action": { "kind": "condition", "predicate": predicate, "yes": yes,
        "no": no } })
}

/// What is known where so many people were looked at.
fn known(names: impl IntoIterator<Item = String>, people: usize, is_sample: bool) -> Facts {
    Facts {
        attributes: Some(Attributes {
            names: names.into_iter().collect(),
            people,
            is_sample,
        }),
        ..Facts::default()
    }
}

/// Severity, code, step and the end of the path of what was found, but for senders that are not there.
fn told(found: &[FlowProblem]) -> Vec<String> {
    let meant = found
        .iter()
        .filter(|one| one.code != FlowProblemCode::NoSender);
    let line = |one: &FlowProblem| {
        let step = one.step_key.as_deref().unwrap_or("-");
        let from = one.path.len().saturating_sub(2);
        let path = one.path.get(from..).unwrap_or_default().join(".");
        format!("{} {} {step} {path}", one.severity, one.code)
    };
    meant.map(line).collect()
}

fn checked(steps: impl Into<Value>) -> Vec<String> {
    told(&check(
        &flow(steps),
        &Settings::default(),
        &Facts::default(),
    ))
}

/// The same email with other fields of its action, or of the step where the action has none such.
fn with(mut step: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().cloned().unwrap_or_default() {
        let of_step = ["wait", "next", "onMissingData"].contains(&name.as_str());
        let part = if of_step {
            &mut step
        } else {
            &mut step["action"]
        };
        part[name] = value;
    }
    step
}

const OUT: &str = "To opt out, write.";

/// A hundred emails, and behind them a hundred conditions, each of which asks ninety times.
fn much_asked(asked: &str) -> Flow {
    let key = |index: usize| format!("s{index}");
    let mut steps: Vec<Value> = (0..100)
        .map(|at| {
            email(
                &key(at),
                Some(&key(at + 1)),
                Some("s"),
                "To opt out, write.",
            )
        })
        .collect();
    let any = json!({ "any": vec![json!({ "opened": asked }); 90] });
    steps.extend((100..200).map(|at| {
        let next = (at < 199).then(|| key(at + 1));
        condition(&key(at), any.clone(), next.as_deref(), None)
    }));
    flow(steps)
}

#[test]
fn the_graph_is_searched_once_and_not_for_every_predicate() {
    for asked in ["*", "s0", "s99"] {
        let flow = much_asked(asked);
        let ways = ways_walked(|| {
            let found = check(&flow, &Settings::default(), &Facts::default());
            let unheld = |one: &&FlowProblem| {
                one.code == FlowProblemCode::UntestedCondition && one.severity == Severity::Error
            };
            assert_eq!(found.iter().filter(unheld).count(), 0, "{asked}");
        });
        assert!(ways <= 10 * 200, "{ways} ways for {asked}");
    }
}

#[test]
fn circles_cost_no_more_than_their_steps_times_their_ways() {
    let key = |index: usize| format!("s{}", index % 200);
    let opened = || json!({ "opened": "*" });
    let step = |at: usize| condition(&key(at), opened(), Some(&key(at + 199)), Some(&key(at + 1)));
    let flow = flow((0..200).map(step).collect::<Vec<_>>());
    let ways = ways_walked(|| {
        check(&flow, &Settings::default(), &Facts::default());
    });
    assert!(ways <= 200 * 400, "{ways} ways");
}

#[test]
fn misspelled_attributes_are_compared_with_others_only_so_often() {
    let tags: String = (0..200)
        .map(|at| format!("{{{{ attributes.citty{at:03} }}}} "))
        .collect();
    let task = json!({ "key": "a", "action": { "kind": "task", "channel": "TASK", "title": "x",
        "instructions": tags } });
    let facts = known((0..200).map(|at| format!("city{at:03}")), 1_000, false);
    let found = check(&flow([task]), &Settings::default(), &facts);
    assert_eq!(found.len(), 200);
    let suggested = found
        .iter()
        .filter(|one| one.message.contains("did you mean"));
    assert_eq!(suggested.count(), SUGGESTIONS_MAX);
}

#[test]
fn a_reply_needs_a_subject_where_every_email_before_may_be_skipped() {
    let skips = |text: &str| {
        with(
            email("one", Some("two"), Some("s"), text),
            json!({ "onMissingData": "SKIP" }),
        )
    };
    let reply = |subject| {
        with(
            email("two", None, subject, "Again"),
            json!({ "inThread": true }),
        )
    };
    let lacks = format!("{{{{ first_name }}}} {OUT}");
    let warned = ["WARNING NO_SUBJECT two 0.subject"];
    assert_eq!(checked([skips(&lacks), reply(None)]), warned);
    assert_eq!(checked([skips(&lacks), reply(Some("Re: s"))]), [""; 0]);
    for text in [
        OUT,
        "{{ first_name | default(\"you\") }} opt out",
        "{{ sender.name }} opt out",
    ] {
        assert_eq!(checked([skips(text), reply(None)]), [""; 0], "{text}");
    }
    // Who lacks data waits, and gets it in the end.
    let waits = email("one", Some("two"), Some("s"), &lacks);
    assert_eq!(checked([waits, reply(None)]), [""; 0]);
    // One that is always sent stands between them.
    let sure = email("sure", Some("two"), Some("s"), "Hi");
    let skips = with(skips(&lacks), json!({ "next": "sure" }));
    assert_eq!(checked([skips, sure, reply(None)]), [""; 0]);
    // Without any before it, it is an error as ever.
    let found = checked([reply(None)]);
    assert_eq!(
        found.first().map(String::as_str),
        Some("ERROR NO_SUBJECT two 0.subject")
    );
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_reply_by_another_sender_is_told() {
    use crate::domain::id::SenderId;
    let id = |number: u128| json!(SenderId::from_uuid(uuid::Uuid::from_u128(number)));
    let (a, b) = (id(1), id(2));
    let mail = |key, next, senders: &[&Value], in_thread: bool| {
        let fields = json!({ "senders": senders, "inThread": in_thread });
        with(email(key, next, Some("s"), OUT), fields)
    };
    let of = |steps: &[Value]| -> Vec<(String, String)> {
        let found = check(
            &flow(steps.to_vec()),
            &Settings::default(),
            &Facts::default(),
        );
        let threads = found
            .into_iter()
            .filter(|one| one.code == FlowProblemCode::ThreadSender);
        threads
            .map(|one| (one.step_key.unwrap_or_default(), one.message))
            .collect()
    };
    let pair = |first: &[&Value], second: &[&Value], in_thread| {
        of(&[
            mail("one", Some("two"), first, false),
            mail("two", None, second, in_thread),
        ])
    };
    for (first, second) in [(&[&a][..], &[&b][..]), (&[&a, &b], &[&a])] {
        let found = pair(first, second, true);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "two");
        assert!(found[0].1.contains("step one"), "{found:?}");
    }
    assert_eq!(pair(&[&a], &[&b], false), []);
    assert_eq!(pair(&[&a], &[&b, &a], true), []);
    // An email without a sender, which is a mistake of its own, hides no other.
    let nobody = [
        mail("zero", Some("one"), &[], false),
        mail("one", Some("two"), &[&a], false),
        mail("two", None, &[&b], true),
    ];
    assert_eq!(of(&nobody).len(), 1);
    // Whoever got the first from a has the second from a, too.
    let three = [
        mail("one", Some("two"), &[&a], false),
        mail("two", Some("three"), &[&b, &a], true),
        mail("three", None, &[&a], true),
    ];
    assert_eq!(of(&three), []);
}

#[test]
fn what_is_too_long_for_everybody_is_an_error_with_its_length() {
    let sms = |enabled: bool, body: &str| {
        json!({ "key": "a", "action": { "kind": "sms", "senders": [], "variants": [
            { "key": "a", "weight": 1, "enabled": enabled, "body": body },
            { "key": "b", "weight": 1, "enabled": true, "body": "Hi" }] } })
    };
    let long = "x".repeat(1_601);
    let found = check(
        &flow([sms(true, &long)]),
        &Settings::default(),
        &Facts::default(),
    );
    assert_eq!(told(&found), ["ERROR MESSAGE_TOO_LONG a 0.body"]);
    let message = found.last().map_or("", |one| &one.message);
    assert!(
        message.contains("1601") && message.contains("1600"),
        "{message}"
    );
    assert_eq!(checked([sms(true, &long[1..])]), [""; 0]);
    assert_eq!(
        checked([sms(false, &long)]),
        ["WARNING MESSAGE_TOO_LONG a 0.body"]
    );
    let subject = "s".repeat(999);
    let found = checked([email("a", None, Some(&subject), OUT)]);
    assert_eq!(found, ["ERROR MESSAGE_TOO_LONG a 0.subject"]);
}

#[test]
fn a_variant_that_is_switched_off_keeps_nobody_from_publishing() {
    let variant = |key: &str, enabled: bool, text: &str| json!({ "key": key, "weight": 1, "enabled": enabled, "subject": "s", "text": text });
    let of = |enabled: bool| {
        let variants = json!([variant("a", true, OUT), variant("b", enabled, "")]);
        checked([with(
            email("one", None, None, ""),
            json!({ "variants": variants }),
        )])
    };
    assert_eq!(of(false), ["WARNING EMPTY_MESSAGE one 1.text"]);
    assert_eq!(of(true), ["ERROR EMPTY_MESSAGE one 1.text"]);
}

#[test]
fn a_branch_of_weight_0_leads_nowhere() {
    let end = |key: &str| json!({ "key": key, "action": { "kind": "end" } });
    let split = |weights: [u32; 2]| {
        let branches = json!([{ "weight": weights[0], "next": "a" },
            { "weight": weights[1], "next": "b" }]);
        json!({ "key": "s", "action": { "kind": "split", "branches": branches } })
    };
    let of = |weights| checked([split(weights), end("a"), end("b")]);
    assert_eq!(of([1, 1]), [""; 0]);
    assert_eq!(of([1, 0]), ["WARNING UNREACHABLE_STEP b steps.2"]);
    assert_eq!(of([0, 0]), ["ERROR BAD_WEIGHT s split.branches"]);
}

#[test]
fn conditions_with_one_answer_are_told() {
    let asks = |predicate: Value| {
        checked([
            condition("a", predicate, Some("b"), None),
            json!({ "key": "b", "action": { "kind": "end" } }),
        ])
    };
    let none = json!({ "attribute": { "name": "n", "op": "IN", "value": [] } });
    let error = ["ERROR UNTESTED_CONDITION a condition.predicate"];
    assert_eq!(asks(none), error);
    let warning = ["WARNING UNTESTED_CONDITION a condition.predicate"];
    let has = json!({ "has": ["PHONE"] });
    assert_eq!(asks(json!({ "all": [has, { "not": has }] })), warning);
    assert_eq!(asks(json!({ "any": [has, { "not": has }] })), warning);
    assert_eq!(
        asks(json!({ "all": [has, { "not": { "has": ["EMAIL"] } }] })),
        [""; 0]
    );
}

#[test]
fn an_opening_is_not_asked_for_when_the_email_leaves() {
    let end = json!({ "key": "end", "action": { "kind": "end" } });
    let of = |asked: &str, fields: Value, between: Option<Value>| {
        let first = between.as_ref().map_or("asks", |_| "between");
        let one = email("one", Some("two"), Some("s"), OUT);
        let mut steps = vec![one, email("two", Some(first), Some("s"), OUT)];
        steps.extend(between);
        steps.push(with(
            condition("asks", json!({ "opened": asked }), Some("end"), None),
            fields,
        ));
        steps.push(end.clone());
        checked(steps)
    };
    let split = |wait: &str| {
        json!({ "key": "between", "wait": wait, "action": { "kind": "split", "branches": [
            { "weight": 1, "next": "asks" }] } })
    };
    let task = json!({ "key": "between", "next": "asks", "action": { "kind": "task",
        "channel": "TASK", "title": "x" } });
    let warned = ["WARNING UNTESTED_CONDITION asks condition.predicate"];
    assert_eq!(of("two", json!({}), None), warned);
    assert_eq!(of("two", json!({}), Some(split("PT0S"))), warned);
    assert_eq!(of("two", json!({}), Some(split("P1D"))), [""; 0]);
    assert_eq!(of("two", json!({}), Some(task)), [""; 0]);
    assert_eq!(of("two", json!({ "within": "P1D" }), None), [""; 0]);
    assert_eq!(of("two", json!({ "wait": "P1D" }), None), [""; 0]);
    assert_eq!(of("one", json!({}), None), [""; 0]);
    assert_eq!(of("*", json!({}), None), [""; 0]);
}

#[test]
fn an_attribute_that_nobody_has_is_told_of_conditions_too() {
    let predicate = json!({ "attribute": { "name": "citty", "op": "EQ", "value": "Porto" } });
    let end = json!({ "key": "b", "action": { "kind": "end" } });
    let flow = flow([condition("a", predicate, Some("b"), None), end]);
    let of = |facts: &Facts| {
        let found = check(&flow, &Settings::default(), facts);
        let messages = found
            .iter()
            .map(|one| format!("{} {}", one.code, one.message));
        messages.collect::<Vec<_>>()
    };
    let city = || ["city".to_owned()];
    let [said] = &of(&known(city(), 3, false))[..] else {
        panic!("one problem");
    };
    assert!(
        said.starts_with("UNTESTED_CONDITION Nobody has the attribute citty"),
        "{said}"
    );
    assert!(said.ends_with("did you mean city?"), "{said}");
    let [said] = &of(&known(city(), 1_000, true))[..] else {
        panic!("one problem");
    };
    assert!(
        said.contains("None of the 1000 people who were entered last has"),
        "{said}"
    );
    assert_eq!(
        of(&known([], 3, false)).len(),
        1,
        "people, but no attributes"
    );
    assert_eq!(of(&Facts::default()), [""; 0], "nothing is known");
    assert_eq!(of(&known(["citty".to_owned()], 1, false)), [""; 0]);
}

#[test]
fn windows_that_holidays_cover_never_open() {
    let end = flow([json!({ "key": "b", "action": { "kind": "end" } })]);
    let from: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().expect("an instant");
    let facts = Facts {
        opening: Some((from, Zone::utc())),
        ..Facts::default()
    };
    let of = |days: i64| {
        let dates = (0..days).map(|day| (from + Duration::days(day)).date_naive());
        let settings = Settings {
            holidays: dates.collect(),
            ..Settings::default()
        };
        told(&check(&end, &settings, &facts))
    };
    assert_eq!(of(0), [""; 0]);
    assert_eq!(of(300), [""; 0]);
    assert_eq!(of(372), ["ERROR NO_WINDOW - settings.sendWindows"]);
}

#[test]
fn the_body_of_a_request_is_json() {
    let hook = |headers: Value, body: &str| {
        json!({ "key": "h", "action": { "kind": "webhook", "url": "https://example.com/",
            "headers": headers, "body": body } })
    };
    let error = "ERROR BROKEN_MERGE_TAG h webhook.body";
    let warning = "WARNING BROKEN_MERGE_TAG h webhook.body";
    for (headers, body, expected) in [
        (Value::Null, "{\"a\": \"{{ first_name }}\"}", None),
        (Value::Null, "not json {{ first_name }}", Some(error)),
        (
            Value::Null,
            "{\"a\": {{ first_name }} , \"b\": }",
            Some(error),
        ),
        (Value::Null, "{\"a\": {{ attributes.b }}}", Some(warning)),
        (
            json!({ "content-type": "text/plain" }),
            "Hi {{ first_name }}",
            None,
        ),
        (
            json!({ "Content-Type": "application/vnd.x+JSON" }),
            "Hi",
            Some(error),
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(checked([hook(headers, body)]), expected, "{body}");
    }
}

#[test]
fn a_key_that_is_there_twice_has_no_other_consequences() {
    let end = |key: &str, next: Option<&str>| email(key, next, Some("Hi"), "Hi, unsubscribe?");
    let steps = [end("a", Some("a")), end("a", Some("b")), end("b", None)];
    assert_eq!(checked(steps), ["ERROR UNKNOWN_STEP a 1.key"]);
}

#[test]
fn the_variant_at_fault_is_named() {
    let variant = |key: &str, enabled: bool| json!({ "key": key, "weight": 1, "enabled": enabled, "subject": "Hi", "text": "unsubscribe" });
    let of = |variants: Vec<Value>| {
        let step = json!({ "key": "a", "action": { "kind": "email", "senders": [],
            "variants": variants } });
        let mut found = check(&flow([step]), &Settings::default(), &Facts::default());
        found.retain(|one| one.code == FlowProblemCode::BadWeight);
        let told = |one: FlowProblem| (one.path.join("."), one.message);
        found.into_iter().map(told).collect::<Vec<_>>()
    };
    let twice = of(vec![
        variant("x", true),
        variant("y", true),
        variant("x", true),
    ]);
    let [(path, message)] = &twice[..] else {
        panic!("{twice:?}");
    };
    assert_eq!(path, "steps.0.action.email.variants.2.key");
    assert!(message.contains("key x"), "{message}");
    let off = of(vec![variant("x", false)]);
    assert!(
        off.iter()
            .any(|(_, message)| message.contains(": enable one")),
        "{off:?}"
    );
    let many = of((0..27).map(|at| variant(&at.to_string(), true)).collect());
    assert!(
        many.iter()
            .any(|(_, message)| message.contains("27 variants")),
        "{many:?}"
    );
}

#[test]
fn what_is_wrong_with_a_tag_is_told_as_a_sentence() {
    let step = email("a", None, Some("{{ 1 + }}"), "unsubscribe {% for %}");
    let found = check(&flow([step]), &Settings::default(), &Facts::default());
    let mut broken = found
        .iter()
        .filter(|one| one.code == FlowProblemCode::BrokenMergeTag);
    assert!(broken.clone().count() > 0);
    assert!(
        broken.all(|one| !one.message.starts_with(char::is_lowercase)),
        "{found:?}"
    );
}

#[test]
fn merge_tags_that_go_out_as_they_are_written_are_told() {
    let tag = "{{ first_name }}";
    let task = json!({ "key": "a", "next": "b", "action": { "kind": "task", "channel": "TASK",
        "title": tag, "assignee": tag } });
    let hook = json!({ "key": "b", "next": "c", "action": { "kind": "webhook",
        "url": "https://example.com/%7B%7B%20id", "headers": { "X": tag, "Y": "plain" },
        "body": "{}" } });
    let update = json!({ "key": "c", "action": { "kind": "update", "set": {
        "title": tag, "company": "Acme", "attributes": { "x": [{ "y": "{% if x %}" }] } } } });
    assert_eq!(
        checked([task, hook, update]),
        [
            "WARNING BROKEN_MERGE_TAG a task.assignee",
            "WARNING BROKEN_MERGE_TAG b webhook.url",
            "WARNING BROKEN_MERGE_TAG b headers.X",
            "WARNING BROKEN_MERGE_TAG c set.title",
            "WARNING BROKEN_MERGE_TAG c set.attributes",
        ]
    );
}
