use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::flow::{
    Action, BRANCHES_MAX, Channel, DEPTH_MAX, PREDICATES_MAX, Predicate, VARIANTS_MAX,
};
use crate::domain::person_filter::{MatchOp, PersonField};
use crate::domain::template::MAX_SOURCE_BYTES;

fn read(input: FlowInput) -> Result<Flow, Vec<Refusal>> {
    super::read(input, &ZoneDatabase::bundled())
}

fn step(key: &str, next: Option<&str>) -> StepInput {
    StepInput {
        key: key.into(),
        name: None,
        wait: None,
        business_days: false,
        action: ActionInput::Email(EmailInput {
            sender_ids: vec![],
            variants: vec![],
            in_thread: false,
            track_opens: true,
            track_clicks: true,
        }),
        on_missing_address: MissingPolicy::Skip,
        on_missing_data: MissingPolicy::Hold,
        next: next.map(Into::into),
    }
}

/// A step of another kind.
fn of(key: &str, action: ActionInput) -> StepInput {
    StepInput {
        action,
        ..step(key, None)
    }
}

fn condition(predicate: PredicateInput) -> ActionInput {
    ActionInput::Condition(ConditionInput {
        predicate,
        within: None,
        yes: None,
        no: None,
    })
}

fn webhook(url: &str, headers: Value) -> ActionInput {
    ActionInput::Webhook(WebhookInput {
        url: url.into(),
        headers: Some(headers),
        body: None,
    })
}

fn update(set: Value) -> ActionInput {
    ActionInput::Update(UpdateInput { set })
}

/// Code and place, from the action on, of everything that is wrong with a single step.
fn wrong(action: ActionInput) -> Vec<(RefusalCode, String)> {
    let steps = vec![of("s", action)];
    let refusals = read(FlowInput { steps }).err().unwrap_or_default();
    let place = |refusal: Refusal| {
        let path = refusal.path.join(".");
        let path = path.strip_prefix("flow.steps.0.action.");
        (refusal.code, path.unwrap_or_default().to_owned())
    };
    refusals.into_iter().map(place).collect()
}

fn invalid(place: &str) -> Vec<(RefusalCode, String)> {
    vec![(RefusalCode::Invalid, place.to_owned())]
}

fn limit(place: &str) -> Vec<(RefusalCode, String)> {
    vec![(RefusalCode::Limit, place.to_owned())]
}

#[test]
fn a_step_goes_to_the_following_one_unless_it_says_otherwise() {
    let steps = vec![
        step("a", None),
        step("b", Some("d")),
        step("c", Some("end")),
        step("d", None),
    ];
    let flow = read(FlowInput { steps }).expect("readable");
    let next: Vec<_> = flow.steps.iter().map(|step| step.next.as_deref()).collect();
    assert_eq!(next, [Some("b"), Some("d"), None, None]);
}

#[test]
fn everything_unreadable_is_named_with_its_place() {
    let mut bad_wait = step("b", Some("Not A Key"));
    bad_wait.wait = Some("two days".into());
    let ActionInput::Email(email) = &mut bad_wait.action else {
        panic!("an email");
    };
    email.sender_ids = vec!["nobody".into()];
    email.variants = vec![VariantInput {
        key: String::new(),
        weight: -1,
        enabled: true,
        subject: Some("nul \0".into()),
        html: None,
        text: Some("x".repeat(MAX_SOURCE_BYTES + 1)),
    }];
    let steps = vec![step("A", None), bad_wait, step("end", None)];
    let wrong = read(FlowInput { steps }).expect_err("unreadable");
    let paths: Vec<String> = wrong.iter().map(|refusal| refusal.path.join(".")).collect();
    let email = "flow.steps.1.action.email";
    let expected = [
        "flow.steps.0.key".to_owned(),
        "flow.steps.1.wait".into(),
        "flow.steps.1.next".into(),
        format!("{email}.senderIds.0"),
        format!("{email}.variants.0.key"),
        format!("{email}.variants.0.weight"),
        format!("{email}.variants.0.subject"),
        format!("{email}.variants.0.text"),
        "flow.steps.2.key".into(),
    ];
    assert_eq!(paths, expected);
}

#[test]
fn the_number_of_steps_has_a_bound() {
    let of = |count: usize| {
        let steps = (0..count)
            .map(|index| step(&format!("s{index}"), None))
            .collect();
        read(FlowInput { steps })
    };
    assert!(of(STEPS_MAX).is_ok());
    let wrong = of(STEPS_MAX + 1).expect_err("too long");
    assert_eq!(wrong.len(), 1);
    assert_eq!(
        wrong.first().map(|refusal| refusal.code),
        Some(RefusalCode::Limit)
    );
}

#[test]
fn ways_out_that_are_left_out_lead_to_the_following_step() {
    let branch = |next: Option<&str>| BranchInput {
        weight: 1,
        next: next.map(Into::into),
    };
    let branches = vec![branch(None), branch(Some("end")), branch(Some("a"))];
    let mut asks = condition(PredicateInput::Replied(true));
    let ActionInput::Condition(condition) = &mut asks else {
        panic!("a condition");
    };
    condition.no = Some("end".into());
    let steps = vec![
        of("a", asks),
        of("b", ActionInput::Split(SplitInput { branches })),
        of("c", ActionInput::End(EndInput { reason: None })),
    ];
    let flow = read(FlowInput { steps }).expect("readable");
    let exits: Vec<Vec<Option<&str>>> = flow
        .steps
        .iter()
        .map(|step| step.exits().iter().map(|exit| exit.to).collect())
        .collect();
    let expected = [
        vec![Some("b"), None],
        vec![Some("c"), None, Some("a")],
        vec![],
    ];
    assert_eq!(exits, expected);
    assert!(flow.steps.iter().all(|step| step.next.is_none()));
}

#[test]
fn a_step_that_goes_on_otherwise_takes_no_next() {
    for (action, remedy) in [
        (condition(PredicateInput::Replied(true)), "yes and no"),
        (
            ActionInput::Split(SplitInput { branches: vec![] }),
            "branch",
        ),
        (
            ActionInput::End(EndInput { reason: None }),
            "leave next out",
        ),
    ] {
        let mut wrong = of("s", action);
        wrong.next = Some("end".into());
        let steps = vec![wrong];
        let refusals = read(FlowInput { steps }).expect_err("refused");
        assert_eq!(refusals.len(), 1);
        for refusal in refusals {
            assert_eq!(refusal.path, ["flow", "steps", "0", "next"]);
            assert!(refusal.message.contains(remedy), "{}", refusal.message);
        }
    }
}

#[test]
fn messages_are_read_like_emails() {
    let variant = MessageVariantInput {
        key: "A".into(),
        weight: -1,
        enabled: true,
        body: "\0".into(),
    };
    let message = MessageInput {
        sender_ids: vec!["nobody".into()],
        variants: vec![variant.clone()],
    };
    let places = |action| -> Vec<String> {
        let places = wrong(action).into_iter();
        places.map(|(_, place)| place).collect()
    };
    for (kind, found) in [
        ("sms", places(ActionInput::Sms(message.clone()))),
        ("whatsapp", places(ActionInput::Whatsapp(message))),
    ] {
        let at = |rest: &str| format!("{kind}.{rest}");
        let expected = [
            at("senderIds.0"),
            at("variants.0.key"),
            at("variants.0.weight"),
            at("variants.0.body"),
        ];
        assert_eq!(found, expected);
    }
    let fine = MessageVariantInput {
        key: "a".into(),
        weight: 0,
        body: "x".repeat(MAX_SOURCE_BYTES),
        ..variant
    };
    let many = MessageInput {
        sender_ids: vec![],
        variants: vec![fine; VARIANTS_MAX + 1],
    };
    assert_eq!(wrong(ActionInput::Sms(many)), limit("sms.variants"));
}

#[test]
fn a_task_is_work_that_a_person_does() {
    let task = |channel, timeout: Option<&str>| {
        ActionInput::Task(TaskInput {
            channel,
            title: "Call".into(),
            instructions: Some(" ".into()),
            assignee: None,
            timeout: timeout.map(Into::into),
        })
    };
    for channel in [Channel::Call, Channel::Linkedin, Channel::Task] {
        assert_eq!(wrong(task(channel, Some("P2D"))), []);
    }
    for channel in [
        Channel::Email,
        Channel::Sms,
        Channel::Whatsapp,
        Channel::Webhook,
    ] {
        assert_eq!(wrong(task(channel, None)), invalid("task.channel"));
    }
    for timeout in ["PT0S", "-P1D", "soon"] {
        let found = wrong(task(Channel::Task, Some(timeout)));
        assert_eq!(found, invalid("task.timeout"), "{timeout}");
    }
    let steps = vec![of("s", task(Channel::Task, None))];
    let flow = read(FlowInput { steps }).expect("readable");
    let Some(Action::Task(task)) = flow.steps.first().map(|step| &step.action) else {
        panic!("a task");
    };
    assert_eq!((&task.instructions, task.timeout), (&None, None));
}

#[test]
fn texts_of_tasks_and_ends_have_their_length() {
    let long = || Some("x".repeat(MAX_SOURCE_BYTES + 1));
    let task = ActionInput::Task(TaskInput {
        channel: Channel::Task,
        title: long().unwrap_or_default(),
        instructions: long(),
        assignee: Some("x".repeat(NAME_CHARS_MAX * 4 + 1)),
        timeout: None,
    });
    let expected = [
        limit("task.title"),
        limit("task.instructions"),
        limit("task.assignee"),
    ];
    assert_eq!(wrong(task), expected.concat());
    let end = ActionInput::End(EndInput { reason: long() });
    assert_eq!(wrong(end), limit("end.reason"));
}

#[test]
fn a_condition_names_what_it_cannot_ask() {
    let attribute = |name: &str, op, value| PredicateInput::Attribute {
        name: name.into(),
        op,
        value,
    };
    let all = PredicateInput::All(vec![
        PredicateInput::Opened("*".into()),
        PredicateInput::Opened("Not A Key".into()),
        PredicateInput::Clicked(String::new()),
        PredicateInput::Any(vec![
            attribute("", MatchOp::IsSet, None),
            attribute("n", MatchOp::Eq, None),
            attribute("n", MatchOp::IsSet, Some(json!(1))),
            attribute("n", MatchOp::Eq, Some(json!("a\0"))),
        ]),
        PredicateInput::Not(Box::new(attribute("n", MatchOp::In, Some(json!("a"))))),
    ]);
    let at = |rest: &str| invalid(&format!("condition.predicate.all.{rest}"));
    let expected = [
        at("1.opened"),
        at("2.clicked"),
        at("3.any.0.attribute.name"),
        at("3.any.1.attribute.value"),
        at("3.any.2.attribute.value"),
        at("3.any.3.attribute"),
        at("4.not.attribute.value"),
    ];
    assert_eq!(wrong(condition(all)), expected.concat());
    let long = attribute("n", MatchOp::Eq, Some(json!("x".repeat(65_536))));
    let at = "condition.predicate.attribute.value";
    assert_eq!(wrong(condition(long)), limit(at));
}

#[test]
fn predicates_are_bounded_in_depth_and_number() {
    let deep = |depth: usize| {
        let innermost = PredicateInput::Replied(true);
        (1..depth).fold(innermost, |inner, _| PredicateInput::Not(Box::new(inner)))
    };
    assert_eq!(wrong(condition(deep(DEPTH_MAX))), []);
    let nots = ".not".repeat(DEPTH_MAX);
    let at = limit(&format!("condition.predicate{nots}"));
    assert_eq!(wrong(condition(deep(DEPTH_MAX + 1))), at);
    let many = |count: usize| {
        let inner = vec![PredicateInput::Replied(true); count - 1];
        PredicateInput::Any(inner)
    };
    assert_eq!(wrong(condition(many(PREDICATES_MAX))), []);
    let found = wrong(condition(many(PREDICATES_MAX + 1)));
    assert_eq!(found, limit("condition.predicate"));
}

#[test]
fn a_field_that_is_asked_for_twice_is_asked_for_once() {
    let twice = vec![PersonField::Email, PersonField::Phone, PersonField::Email];
    let steps = vec![of("s", condition(PredicateInput::Has(twice)))];
    let flow = read(FlowInput { steps }).expect("readable");
    let Some(Action::Condition(condition)) = flow.steps.first().map(|step| &step.action) else {
        panic!("a condition");
    };
    let once = Predicate::Has(vec![PersonField::Email, PersonField::Phone]);
    assert_eq!(condition.predicate, once);
}

#[test]
fn a_split_has_weights_and_a_number_of_branches() {
    let branch = |weight| BranchInput { weight, next: None };
    let split = |branches| ActionInput::Split(SplitInput { branches });
    let found = wrong(split(vec![branch(0), branch(-1)]));
    assert_eq!(found, invalid("split.branches.1.weight"));
    let found = wrong(split(vec![branch(1); BRANCHES_MAX + 1]));
    assert_eq!(found, limit("split.branches"));
}

#[test]
fn a_webhook_goes_to_the_web_without_a_login() {
    for url in [
        "https://example.com/hook?x=1",
        "http://10.0.0.7:8080",
        "http://[::1]/",
        "http://hooks/in",
    ] {
        assert_eq!(wrong(webhook(url, json!({}))), [], "{url}");
    }
    let long = format!("https://example.com/{}", "x".repeat(2_048));
    for url in [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///",
        "data:text/plain,x",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://:secret@example.com/",
        " https://example.com/",
        "https://exa\nmple.com/",
        "https://example.com/\0",
        &long,
    ] {
        let found = wrong(webhook(url, json!({})));
        assert_eq!(found, invalid("webhook.url"), "{url:?}");
    }
}

#[test]
fn headers_are_named_and_written_as_http_has_them() {
    let headers = |headers| wrong(webhook("https://example.com/", headers));
    assert_eq!(headers(json!(null)), []);
    assert_eq!(headers(json!({ "Authorization": "Bearer x", "X": "" })), []);
    for none in [json!([]), json!("X: y"), json!(1)] {
        assert_eq!(headers(none), invalid("webhook.headers"));
    }
    let of = |count: usize| -> Value {
        let header = |index| (format!("x-{index}"), json!("y"));
        Value::Object((0..count).map(header).collect())
    };
    assert_eq!(headers(of(20)), []);
    assert_eq!(headers(of(21)), limit("webhook.headers"));
    for name in [
        "",
        "a b",
        "a:",
        "a\r\nb",
        "\0",
        "ä",
        "Host",
        "content-length",
        "Transfer-Encoding",
        "CONNECTION",
        "Webhook-Id",
        "upgrade",
    ] {
        let found = headers(json!({ name: "x" }));
        assert_eq!(found, invalid(&format!("webhook.headers.{name}")));
    }
    for value in [
        json!("a\r\nb: c"),
        json!("a\0"),
        json!("ä"),
        json!(1),
        json!(null),
        json!("x".repeat(4_097)),
    ] {
        let found = headers(json!({ "x": value }));
        assert_eq!(found, invalid("webhook.headers.x"), "{value}");
    }
    let twice = headers(json!({ "X-A": "1", "x-a": "2" }));
    assert_eq!(twice, invalid("webhook.headers.x-a"));
}

#[test]
fn an_update_is_checked_as_a_change_of_a_person_is() {
    let fine = json!({ "firstName": "Ana", "lastName": null, "company": "", "title": "CTO",
        "linkedinUrl": "https://www.linkedin.com/in/ana", "timeZone": "Europe/Lisbon",
        "country": "PT", "attributes": { "stage": "warm", "old": null, "n": 1 } });
    assert_eq!(wrong(update(fine.clone())), []);
    let steps = vec![of("s", update(fine.clone()))];
    let flow = read(FlowInput { steps }).expect("readable");
    let Some(Action::Update(kept)) = flow.steps.first().map(|step| &step.action) else {
        panic!("an update");
    };
    assert_eq!(Value::Object(kept.set.clone()), fine);
    for none in [json!(null), json!([]), json!("x"), json!({})] {
        assert_eq!(wrong(update(none)), invalid("update.set"));
    }
    let at = |field: &str| format!("update.set.{field}");
    for (field, value) in [
        ("email", json!("ana@example.com")),
        ("phone", json!(null)),
        ("first_name", json!("Ana")),
        ("firstName", json!(1)),
        ("firstName", json!("x".repeat(501))),
        ("company", json!("a\0")),
        ("linkedinUrl", json!("linkedin")),
        ("timeZone", json!("Europe/Nowhere")),
        ("country", json!("ZZ")),
        ("title", json!({})),
        ("attributes", json!(null)),
        ("attributes", json!("x")),
        ("attributes", json!({ "": 1 })),
        ("attributes", json!({ "a": "\0" })),
    ] {
        let found = wrong(update(json!({ field: value })));
        assert_eq!(found, invalid(&at(field)), "{field}: {value}");
    }
    let both = wrong(update(json!({ "country": "ZZ", "phone": "1" })));
    let expected = [invalid(&at("phone")), invalid(&at("country"))];
    assert_eq!(both, expected.concat());
}

/// Any predicate: sound and unsound keys, operators and values, some too deep and some too many.
fn predicates() -> impl Strategy<Value = PredicateInput> {
    let operators = [
        MatchOp::Eq,
        MatchOp::Lt,
        MatchOp::Contains,
        MatchOp::In,
        MatchOp::IsSet,
    ];
    let values = prop_oneof![
        Just(None),
        any::<i32>().prop_map(|number| Some(json!(number))),
        "[a-z\0]{0,4}".prop_map(|text| Some(json!(text))),
        Just(Some(json!(["a", 1]))),
    ];
    let attribute = (
        "[a-zA-Z ]{0,3}",
        prop::sample::select(operators.to_vec()),
        values,
    );
    let leaf = prop_oneof![
        "[a-zA*_-]{0,3}".prop_map(PredicateInput::Opened),
        Just(PredicateInput::Clicked("*".into())),
        any::<bool>().prop_map(PredicateInput::Replied),
        Just(PredicateInput::Has(vec![PersonField::Email])),
        attribute.prop_map(|(name, op, value)| PredicateInput::Attribute { name, op, value }),
    ];
    leaf.prop_recursive(10, 120, 6, |inner| {
        let many = || prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            many().prop_map(PredicateInput::All),
            many().prop_map(PredicateInput::Any),
            inner
                .clone()
                .prop_map(|one| PredicateInput::Not(Box::new(one))),
        ]
    })
}

/// How deep and how many.
fn measured(predicate: &Predicate) -> (usize, usize) {
    let inner: Vec<&Predicate> = match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().collect(),
        Predicate::Not(one) => vec![one],
        _ => vec![],
    };
    let inner = inner.into_iter().map(measured);
    let (depth, count) = inner.fold((0, 0), |(depth, count), one| {
        (depth.max(one.0), count + one.1)
    });
    (depth + 1, count + 1)
}

proptest! {
    #[test]
    fn what_is_read_of_a_condition_can_be_kept_and_answered(input in predicates()) {
        let steps = vec![of("s", condition(input))];
        match read(FlowInput { steps }) {
            Err(wrong) => {
                let at = ["flow", "steps", "0", "action", "condition"].map(str::to_owned);
                let is_named = wrong.iter().all(|one| one.path.starts_with(&at));
                prop_assert!(is_named, "{:?}", wrong);
            }
            Ok(flow) => {
                let kept = serde_json::to_string(&flow).expect("JSON");
                prop_assert_eq!(serde_json::from_str::<Flow>(&kept).expect("a flow"), flow.clone());
                let Some(Action::Condition(asks)) = flow.steps.first().map(|step| &step.action) else {
                    return Err(TestCaseError::fail("no condition"));
                };
                let (depth, count) = measured(&asks.predicate);
                prop_assert!(depth <= DEPTH_MAX && count <= PREDICATES_MAX);
                asks.predicate.visit(&mut |one| if let Predicate::Attribute(written) = one {
                    assert!(written.read().is_ok(), "{written:?}");
                });
            }
        }
    }
}
