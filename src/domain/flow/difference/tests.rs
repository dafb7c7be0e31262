use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn flow(steps: Value) -> Flow {
    serde_json::from_value(json!({ "steps": steps })).expect("a flow")
}

fn email(key: &str, variants: Value) -> Value {
    json!({ "key": key, "wait": "P1D", "next": "end_of_it",
        "action": { "kind": "email", "senders": [], "variants": variants } })
}

fn variant(key: &str, subject: &str) -> Value {
    json!({ "key": key, "weight": 1, "enabled": true, "subject": subject, "text": "Hi" })
}

fn found(old: Value, new: Value) -> Difference {
    let settings = Settings::default();
    difference((&flow(old), &settings), (&flow(new), &settings))
}

/// The only step that differs: how, and in what.
fn only(difference: &Difference) -> (StepChangeKind, Vec<(String, Value, Value)>) {
    assert_eq!((&difference.entry, difference.settings.len()), (&None, 0));
    let [step] = difference.steps.as_slice() else {
        panic!("{difference:#?}");
    };
    let fields = step.fields.iter();
    let told = |field: &FieldDifference| {
        let path = field.path.join(".");
        (path, field.before.clone(), field.after.clone())
    };
    (step.kind, fields.map(told).collect())
}

#[test]
fn a_change_is_told_by_its_fields() {
    let (a, b) = (variant("a", "One"), variant("b", "Two"));
    let old = email("x", json!([a]));
    let mut new = email("x", json!([variant("a", "Other"), b]));
    new["name"] = json!("Hello");
    new["wait"] = json!("P2D");
    let (kind, fields) = only(&found(json!([old]), json!([new])));
    assert_eq!(kind, StepChangeKind::Changed);
    let variants = "action.email.variants";
    assert_eq!(
        fields,
        [
            ("name".to_owned(), Value::Null, json!("Hello")),
            ("wait".to_owned(), json!("P1D"), json!("P2D")),
            (
                format!("{variants}.a.subject"),
                json!("One"),
                json!("Other")
            ),
            (format!("{variants}.b"), Value::Null, b.clone()),
        ]
    );
    let (_, fields) = only(&found(
        json!([email("x", json!([a, b]))]),
        json!([email("x", json!([a]))]),
    ));
    assert_eq!(fields, [(format!("{variants}.b"), b.clone(), Value::Null)]);
    // Who gets which hangs on their order.
    let (was, is) = (json!([a, b]), json!([b, a]));
    let (_, fields) = only(&found(
        json!([email("x", was.clone())]),
        json!([email("x", is.clone())]),
    ));
    assert_eq!(fields, [(variants.to_owned(), was, is)]);
}

#[test]
fn a_way_a_name_and_another_kind_of_work_are_told() {
    let step = |next: &str, name: &str| {
        json!({ "key": "x", "name": name, "next": next,
        "action": { "kind": "update", "set": { "title": null } } })
    };
    let (kind, fields) = only(&found(json!([step("a", "n")]), json!([step("b", "n")])));
    assert_eq!(kind, StepChangeKind::Rewired);
    assert_eq!(fields, [("next".to_owned(), json!("a"), json!("b"))]);
    let (kind, fields) = only(&found(json!([step("a", "n")]), json!([step("a", "m")])));
    assert_eq!(kind, StepChangeKind::Changed);
    assert_eq!(fields, [("name".to_owned(), json!("n"), json!("m"))]);
    let end = json!({ "key": "x", "name": "n", "next": "a", "action": { "kind": "end" } });
    let (kind, fields) = only(&found(json!([step("a", "n")]), json!([end])));
    assert_eq!(kind, StepChangeKind::Changed);
    let update = json!({ "update": { "set": { "title": null } } });
    assert_eq!(
        fields,
        [("action".to_owned(), update, json!({ "end": {} }))]
    );
}

#[test]
fn where_leads_enter_and_settings_are_told() {
    let steps = |keys: [&str; 2]| {
        flow(json!(keys.map(
            |key| json!({ "key": key, "action": { "kind": "end" } })
        )))
    };
    let old = Settings::default();
    let new = Settings {
        max_sends_per_day: Some(7),
        time_zone: "Europe/Lisbon".into(),
        send_windows: Vec::new(),
        ..Settings::default()
    };
    let found = difference((&steps(["a", "b"]), &old), (&steps(["b", "a"]), &new));
    let entry = found.entry.expect("another entry");
    assert_eq!((entry.before, entry.after), (json!("a"), json!("b")));
    assert_eq!(found.steps, []);
    let paths: Vec<String> = found
        .settings
        .iter()
        .map(|one| one.path.join("."))
        .collect();
    assert_eq!(paths, ["maxSendsPerDay", "sendWindows", "timeZone"]);
    assert_eq!(found.settings[0].before, Value::Null);
    assert_eq!(found.settings[0].after, json!(7));
    assert_eq!(found.settings[2].after, json!("Europe/Lisbon"));
}

fn any_variants() -> impl Strategy<Value = Value> {
    let variant = (0..2_u32, any::<bool>(), prop::option::of("[ab]"));
    let keyed = prop::collection::vec(prop::option::of(variant), 3);
    (keyed, any::<bool>()).prop_map(|(given, turned)| {
        let made = given.into_iter().zip(["a", "b", "c"]);
        let mut made: Vec<Value> = made
            .filter_map(|(given, key)| {
                let (weight, enabled, text) = given?;
                Some(json!({ "key": key, "weight": weight, "enabled": enabled, "text": text }))
            })
            .collect();
        if turned {
            made.reverse();
        }
        json!(made)
    })
}

fn any_action() -> impl Strategy<Value = Value> {
    let way = || prop::option::of("[a-d]");
    prop_oneof![
        (any_variants(), any::<bool>()).prop_map(|(variants, in_thread)| json!({ "kind": "email",
            "senders": [], "variants": variants, "inThread": in_thread })),
        (way(), way(), any::<bool>()).prop_map(|(yes, no, replied)| json!({ "kind": "condition",
            "predicate": { "replied": replied }, "yes": yes, "no": no })),
        "[ab]".prop_map(|title| json!({ "kind": "task", "channel": "CALL", "title": title })),
        Just(json!({ "kind": "end" })),
    ]
}

fn any_step(key: &'static str) -> impl Strategy<Value = Value> {
    let name = prop::option::of("[nm]");
    let next = prop::option::of("[a-d]");
    (name, next, 0..2, any::<bool>(), any_action()).prop_map(
        move |(name, next, days, business_days, action)| {
            json!({ "key": key, "name": name, "next": next, "wait": format!("P{days}D"),
                "businessDays": business_days, "action": action })
        },
    )
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let steps = ["a", "b", "c", "d"].map(|key| prop::option::of(any_step(key)));
    (Vec::from(steps), any::<bool>()).prop_map(|(steps, turned)| {
        let mut steps: Vec<Value> = steps.into_iter().flatten().collect();
        if turned {
            steps.reverse();
        }
        flow(json!(steps))
    })
}

fn keys(flow: &Flow) -> BTreeSet<&str> {
    flow.steps.iter().map(|step| step.key.as_str()).collect()
}

/// A step as the paths of a difference see it: variants by their keys, in any order.
fn written(step: &Step) -> Value {
    let mut step_fields = object(step);
    let mut fields = action(&mut step_fields);
    if let Some(variants) = fields.get_mut("variants") {
        *variants = json!(variants_by_key(variants));
    }
    let kind = step.action.field();
    step_fields.insert("action".into(), json!({ kind: fields }));
    step_fields.into()
}

/// Puts `after` where `path` leads to; what was there must be `before`.
fn put(value: &mut Value, change: &FieldDifference) {
    let keyed = |value: &Value| match change.path.last().map(String::as_str) {
        Some("action") => with_keys(value),
        Some("variants") => json!(variants_by_key(value)),
        _ => value.clone(),
    };
    let (last, way) = change.path.split_last().expect("a path");
    let mut place = value;
    for part in way {
        place = place.get_mut(part).expect("a place");
    }
    let fields = place.as_object_mut().expect("an object");
    let was = fields.remove(last).unwrap_or_default();
    assert_eq!(was, keyed(&change.before), "{:?}", change.path);
    if !change.after.is_null() {
        fields.insert(last.clone(), keyed(&change.after));
    }
}

fn variants_by_key(variants: &Value) -> Map<String, Value> {
    let keyed = by_key(variants).expect("keys of their own").into_iter();
    keyed
        .map(|(key, fields)| (key.to_owned(), json!(fields)))
        .collect()
}

/// A whole action with its variants by key.
fn with_keys(action: &Value) -> Value {
    let mut action = action.clone();
    for fields in action.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(variants) = fields.get_mut("variants") {
            *variants = json!(variants_by_key(variants));
        }
    }
    action
}

proptest! {
    #[test]
    fn equal_flows_do_not_differ(flow in any_flow()) {
        let settings = Settings::default();
        let found = difference((&flow, &settings), (&flow, &settings));
        prop_assert_eq!(found, Difference::default());
    }

    #[test]
    fn what_only_one_flow_has_is_added_or_removed(old in any_flow(), new in any_flow()) {
        let settings = Settings::default();
        let found = difference((&old, &settings), (&new, &settings));
        let of = |kind| -> BTreeSet<&str> {
            let steps = found.steps.iter().filter(|step| step.kind == kind);
            steps.map(|step| step.step_key.as_str()).collect()
        };
        let (was, is) = (keys(&old), keys(&new));
        prop_assert_eq!(of(StepChangeKind::Added), is.difference(&was).copied().collect());
        prop_assert_eq!(of(StepChangeKind::Removed), was.difference(&is).copied().collect());
    }

    #[test]
    fn the_old_steps_with_their_changes_are_the_new_ones(old in any_flow(), new in any_flow()) {
        let settings = Settings::default();
        let found = difference((&old, &settings), (&new, &settings));
        for step in &new.steps {
            let Some(was) = old.steps.iter().find(|other| other.key == step.key) else {
                continue;
            };
            let mut value = written(was);
            let change = found.steps.iter().find(|change| change.step_key == step.key);
            prop_assert_eq!(change.is_none(), was == step, "a change is told: {:?}", was);
            for field in change.iter().flat_map(|change| &change.fields) {
                prop_assert_ne!(&field.before, &field.after);
                put(&mut value, field);
            }
            prop_assert_eq!(value, written(step));
        }
    }

    #[test]
    fn what_concerns_leads_is_told_alike(old in any_flow(), new in any_flow()) {
        let settings = Settings::default();
        let found = difference((&old, &settings), (&new, &settings));
        let told: BTreeSet<_> = found.steps.iter().map(|s| (&s.step_key, s.kind.to_string())).collect();
        let planned = super::super::reconcile(&old, &new, &super::super::RemovedStepPolicy::Next);
        for change in &planned {
            prop_assert!(told.contains(&(&change.step_key, change.kind.to_string())), "{change:?}");
        }
    }
}
