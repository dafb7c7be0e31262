//! Flows through the API: every kind of step written and read again, what is refused with its place,
//! and every problem that there is.

use cadenza::graphql::CadenzaSchema;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::sequences::{call, done, refusals, sender};

/// Everything of a flow; predicates to the depth that the tests write.
const FLOW: &str = "flow { steps { key name wait businessDays channel next onMissingAddress
        onMissingData action { __typename
            ... on EmailAction { senders { id } inThread trackOpens trackClicks
                variants { key weight enabled subject html text } }
            ... on MessageAction { channel senders { id } texts: variants { key weight enabled body } }
            ... on TaskAction { channel title instructions assignee timeout }
            ... on ConditionAction { within yes no predicate { ...P all { ...P any { ...P }
                not { ...P } } } }
            ... on SplitAction { branches { weight next } }
            ... on WebhookAction { url headers body }
            ... on UpdateAction { set }
            ... on EndAction { reason } } } }";
const PREDICATE: &str = "fragment P on Predicate { opened clicked replied has
        attribute { name op value } }";

/// The steps of a sequence as the API shows them.
async fn shown(h: &Harness, id: &Value) -> Vec<Value> {
    let document = format!("query($id: ID!) {{ sequence(id: $id) {{ {FLOW} }} }} {PREDICATE}");
    let answer = h.data(&document, json!({ "id": id })).await;
    let steps = answer["sequence"]["flow"]["steps"].as_array();
    steps.expect("steps").clone()
}

/// A step that says nothing but what it does.
fn step(key: &str, kind: &str, action: Value) -> Value {
    json!({ "key": key, "action": { kind: action } })
}

fn email(key: &str, senders: &[&str]) -> Value {
    let text = "Hello. Write back to opt out.";
    let variants = json!([{ "subject": "Hello", "text": text }]);
    step(
        key,
        "email",
        json!({ "senderIds": senders, "variants": variants }),
    )
}

fn task(key: &str, title: &str) -> Value {
    step(key, "task", json!({ "title": title }))
}

/// A draft with these steps; answers its id.
async fn draft(h: &Harness, steps: Value) -> Value {
    let input = json!({ "name": "n", "flow": { "steps": steps } });
    done(h, "sequenceCreate", input).await["id"].take()
}

/// What is shown of a step that says no more than it must.
fn plain(key: &str, channel: Option<&str>, next: Option<&str>, action: Value) -> Value {
    json!({ "key": key, "name": null, "wait": "PT0S", "businessDays": false, "channel": channel,
        "next": next, "onMissingAddress": "SKIP", "onMissingData": "HOLD", "action": action })
}

/// A predicate that asks this and nothing else.
fn asked(field: &str, value: Value) -> Value {
    let mut all = json!({ "opened": null, "clicked": null, "replied": null, "has": null,
        "attribute": null });
    all[field] = value;
    all
}

both!(
    every_kind_of_step_reads_back_as_it_was_written,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let message = json!({ "senderIds": [ada], "variants": [
            { "key": "x", "weight": 3, "enabled": false, "body": "Hi {{ first_name }}" },
            { "body": "Hi" }] });
        let predicate = json!({ "all": [
            { "opened": "*" }, { "clicked": "mail" }, { "replied": false },
            { "has": ["PHONE", "LINKEDIN_URL"] },
            { "attribute": { "name": "Job level", "op": "IN", "value": ["CTO", 3] } },
            { "attribute": { "name": "n", "op": "IS_SET" } },
            { "any": [{ "replied": true }] }, { "not": { "opened": "mail" } }] });
        let set = json!({ "title": "CTO", "company": null, "attributes": { "stage": { "n": 1 } } });
        let headers = json!({ "Authorization": "Bearer x", "X-Y": "" });
        let mut sms = step("text", "sms", message.clone());
        sms["name"] = json!("A text");
        sms["wait"] = json!("P2DT30M");
        sms["businessDays"] = json!(true);
        sms["onMissingAddress"] = json!("STOP");
        sms["onMissingData"] = json!("SKIP");
        sms["next"] = json!("call");
        let steps = json!([
            email("mail", &[&ada]),
            sms,
            step("wa", "whatsapp", message),
            step(
                "call",
                "task",
                json!({ "channel": "CALL", "title": "Call {{ first_name }}",
                "instructions": "Be kind.", "assignee": "Bob", "timeout": "P3D" })
            ),
            step("todo", "task", json!({ "title": "Look" })),
            step(
                "asks",
                "condition",
                json!({ "predicate": predicate, "within": "PT48H",
                "yes": "hook", "no": "end" })
            ),
            step(
                "once",
                "condition",
                json!({ "predicate": { "replied": true } })
            ),
            step(
                "split",
                "split",
                json!({ "branches": [{ "weight": 2, "next": "writes" },
                { "weight": 0 }, { "weight": 1, "next": "end" }] })
            ),
            step(
                "hook",
                "webhook",
                json!({ "url": "https://example.com/in?x=1",
                "headers": headers, "body": "{\"name\": \"{{ first_name }}\"}" })
            ),
            step("bare", "webhook", json!({ "url": "http://hooks:8080/in" })),
            step("writes", "update", json!({ "set": set })),
            step("ends", "end", json!({ "reason": "Enough" })),
            step("over", "end", json!({})),
        ]);
        let id = draft(&h, steps).await;
        let found = shown(&h, &id).await;
        let texts = json!([
            { "key": "x", "weight": 3, "enabled": false, "body": "Hi {{ first_name }}" },
            { "key": "a", "weight": 1, "enabled": true, "body": "Hi" }]);
        let message = |channel: &str| {
            json!({ "__typename": "MessageAction", "channel": channel, "senders": [{ "id": ada }],
                "texts": texts })
        };
        let mut sms = plain("text", Some("SMS"), Some("call"), message("SMS"));
        sms["name"] = json!("A text");
        sms["wait"] = json!("P2DT30M");
        sms["businessDays"] = json!(true);
        sms["onMissingAddress"] = json!("STOP");
        sms["onMissingData"] = json!("SKIP");
        let inner = |mut one: Value, any: Value, not: Value| {
            one["any"] = any;
            one["not"] = not;
            one
        };
        let leaf = |field, value| inner(asked(field, value), Value::Null, Value::Null);
        let none = asked("opened", Value::Null);
        let mut all = none.clone();
        all["all"] = json!([
            leaf("opened", json!("*")),
            leaf("clicked", json!("mail")),
            leaf("replied", json!(false)),
            leaf("has", json!(["PHONE", "LINKEDIN_URL"])),
            leaf(
                "attribute",
                json!({ "name": "Job level", "op": "IN", "value": ["CTO", 3] })
            ),
            leaf(
                "attribute",
                json!({ "name": "n", "op": "IS_SET", "value": null })
            ),
            inner(
                none.clone(),
                json!([asked("replied", json!(true))]),
                Value::Null
            ),
            inner(none, Value::Null, asked("opened", json!("mail"))),
        ]);
        let mut once = asked("replied", json!(true));
        once["all"] = Value::Null;
        let expected = [
            plain(
                "mail",
                Some("EMAIL"),
                Some("text"),
                json!({ "__typename": "EmailAction",
                "senders": [{ "id": ada }], "inThread": false, "trackOpens": true,
                "trackClicks": true, "variants": [{ "key": "a", "weight": 1, "enabled": true,
                    "subject": "Hello", "html": null, "text": "Hello. Write back to opt out." }] }),
            ),
            sms,
            plain("wa", Some("WHATSAPP"), Some("call"), message("WHATSAPP")),
            plain(
                "call",
                Some("CALL"),
                Some("todo"),
                json!({ "__typename": "TaskAction",
                "channel": "CALL", "title": "Call {{ first_name }}", "instructions": "Be kind.",
                "assignee": "Bob", "timeout": "P3D" }),
            ),
            plain(
                "todo",
                Some("TASK"),
                Some("asks"),
                json!({ "__typename": "TaskAction",
                "channel": "TASK", "title": "Look", "instructions": null, "assignee": null,
                "timeout": null }),
            ),
            plain(
                "asks",
                None,
                None,
                json!({ "__typename": "ConditionAction", "within": "PT48H",
                "yes": "hook", "no": null, "predicate": all }),
            ),
            plain(
                "once",
                None,
                None,
                json!({ "__typename": "ConditionAction", "within": "PT0S",
                "yes": "split", "no": "split", "predicate": once }),
            ),
            plain(
                "split",
                None,
                None,
                json!({ "__typename": "SplitAction", "branches": [
                { "weight": 2, "next": "writes" }, { "weight": 0, "next": "hook" },
                { "weight": 1, "next": null }] }),
            ),
            plain(
                "hook",
                Some("WEBHOOK"),
                Some("bare"),
                json!({ "__typename": "WebhookAction",
                "url": "https://example.com/in?x=1", "headers": headers,
                "body": "{\"name\": \"{{ first_name }}\"}" }),
            ),
            plain(
                "bare",
                Some("WEBHOOK"),
                Some("writes"),
                json!({ "__typename": "WebhookAction",
                "url": "http://hooks:8080/in", "headers": null, "body": null }),
            ),
            plain(
                "writes",
                None,
                Some("ends"),
                json!({ "__typename": "UpdateAction", "set": set }),
            ),
            plain(
                "ends",
                None,
                None,
                json!({ "__typename": "EndAction", "reason": "Enough" }),
            ),
            plain(
                "over",
                None,
                None,
                json!({ "__typename": "EndAction", "reason": null }),
            ),
        ];
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{found:#}\nis not\n{expected:#}");
        }
        assert_eq!(found.len(), expected.len());
        // A copy has the same, however it was kept.
        let copy = done(&h, "sequenceDuplicate", json!({ "id": id })).await;
        assert_eq!(shown(&h, &copy["id"]).await, found);
    }
);

both!(
    what_no_step_can_do_is_refused_with_its_place,
    |h: Harness| async move {
        let mut asks = step(
            "asks",
            "condition",
            json!({ "within": "soon", "yes": "Not a key",
            "predicate": { "any": [{ "opened": "Not a key" },
                { "not": { "attribute": { "name": "n", "op": "LT" } } }] } }),
        );
        asks["next"] = json!("end");
        let steps = json!([
            step(
                "text",
                "sms",
                json!({ "senderIds": ["nobody"],
                "variants": [{ "key": "A", "weight": -1, "body": "\0" }] })
            ),
            step(
                "mails",
                "task",
                json!({ "channel": "EMAIL", "title": "x", "timeout": "PT0S" })
            ),
            asks,
            step(
                "split",
                "split",
                json!({ "branches": [{ "weight": -1, "next": "B" }] })
            ),
            step(
                "hook",
                "webhook",
                json!({ "url": "https://me:secret@example.com/",
                "headers": { "Host": "x", "a b": "x", "ok": "a\r\nb: c" }, "body": "\0" })
            ),
            step(
                "writes",
                "update",
                json!({ "set": { "email": "x@example.com", "country": "ZZ" } })
            ),
            step("ends", "end", json!({ "reason": "\0" })),
        ]);
        let input = json!({ "name": "n", "flow": { "steps": steps } });
        let payload = call(&h, "sequenceCreate", input).await;
        assert_eq!(payload["sequence"], Value::Null);
        let expected = [
            "0.action.sms.senderIds.0",
            "0.action.sms.variants.0.key",
            "0.action.sms.variants.0.weight",
            "0.action.sms.variants.0.body",
            "1.action.task.channel",
            "1.action.task.timeout",
            "2.next",
            "2.action.condition.predicate.any.0.opened",
            "2.action.condition.predicate.any.1.not.attribute.value",
            "2.action.condition.within",
            "2.action.condition.yes",
            "3.action.split.branches.0.weight",
            "3.action.split.branches.0.next",
            "4.action.webhook.url",
            "4.action.webhook.body",
            "4.action.webhook.headers.Host",
            "4.action.webhook.headers.a b",
            "4.action.webhook.headers.ok",
            "5.action.update.set.email",
            "5.action.update.set.country",
            "6.action.end.reason",
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|place| ("INVALID".to_owned(), format!("flow.steps.{place}")))
            .collect();
        assert_eq!(refusals(&payload), expected, "{payload:#}");
    }
);

/// Severity, code, step and path of every problem.
fn told(problems: &Value) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let problems = problems.as_array().expect("problems").iter();
    problems
        .map(|one| {
            let path = one["path"].as_array().expect("a path").iter();
            let path: Vec<&str> = path.filter_map(Value::as_str).collect();
            assert!(!text(&one["message"]).is_empty(), "{one}");
            (
                text(&one["severity"]),
                text(&one["code"]),
                text(&one["stepKey"]),
                path.join("."),
            )
        })
        .collect()
}

/// The problems of a sequence as it is shown.
async fn problems(h: &Harness, id: &Value) -> Value {
    let document = "query($id: ID!) { sequence(id: $id) {
        problems { severity code message stepKey path } } }";
    h.data(document, json!({ "id": id })).await["sequence"]["problems"].take()
}

/// Every code that the schema has.
async fn codes(h: &Harness) -> Vec<String> {
    let document = "{ __type(name: \"FlowProblemCode\") { enumValues { name } } }";
    let answer = h.data(document, json!({})).await;
    let values = answer["__type"]["enumValues"].as_array();
    let mut codes: Vec<String> = values
        .expect("values")
        .iter()
        .filter_map(|value| value["name"].as_str().map(str::to_owned))
        // A preview tells these, which is for somebody.
        .filter(|code| !["MISSING_ADDRESS", "MISSING_DATA"].contains(&code.as_str()))
        .collect();
    codes.sort();
    codes
}

both!(
    every_problem_is_found_in_one_pass_with_its_step_and_place,
    |mut h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let eve = sender(&h, "eve").await;
        let input = json!({ "name": "Bob", "channel": "SMS", "address": "+12025550143",
            "timeZone": "UTC", "transport": { "outbox": {} } });
        let bob = h
            .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
            .await["sender"]["id"]
            .take();
        let off = sender(&h, "off").await;
        let input = json!({ "id": off, "enabled": false });
        h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
            .await;
        let mut silent = email("silent", &[]);
        silent["action"]["email"]["variants"][0]["text"] = json!("Hello");
        silent["action"]["email"]["trackOpens"] = json!(false);
        let mut reply = email("reply", &[&eve]);
        reply["action"]["email"]["inThread"] = json!(true);
        let mut bare = email("bare", &[&ada]);
        bare["action"]["email"]["variants"][0]["subject"] = Value::Null;
        let mut spell = task("spell", "Look");
        spell["action"]["task"]["instructions"] = json!("Ask {{ frist_name }}");
        let long = json!([{ "body": "x".repeat(1_601) }]);
        let mut round = step("round", "webhook", json!({ "url": "https://example.com/" }));
        round["next"] = json!("split");
        let steps = json!([
            silent,
            email("off", &[&off]),
            step(
                "text",
                "sms",
                json!({ "senderIds": [ada], "variants": [{ "body": "Hi" }] })
            ),
            task("empty", " "),
            bare,
            task("broken", "Call {{ first_name"),
            spell,
            step(
                "asks",
                "condition",
                json!({ "predicate": { "any": [{ "opened": "nobody" },
                { "opened": "silent" }, { "clicked": "later" }] }, "no": "nowhere" })
            ),
            step(
                "both",
                "condition",
                json!({ "predicate": { "replied": true } })
            ),
            step(
                "split",
                "split",
                json!({ "branches": [{ "weight": 0, "next": "round" },
                { "weight": 0, "next": "later" }] })
            ),
            round,
            step("island", "update", json!({ "set": { "title": "CTO" } })),
            email("later", &[&ada]),
            reply,
            step(
                "long",
                "sms",
                json!({ "senderIds": [bob], "variants": long })
            ),
            step("ends", "end", json!({})),
        ]);
        let input =
            json!({ "name": "n", "flow": { "steps": steps }, "settings": { "sendWindows": [] } });
        let made = done(&h, "sequenceCreate", input).await;
        let payload = call(&h, "sequencePublish", json!({ "id": made["id"] })).await;
        let found = told(&payload["problems"]);
        let error = |code: &str, step: &str, path: &str| {
            let texts = ["ERROR", code, step, path].map(str::to_owned);
            let [severity, code, step, path] = texts;
            (severity, code, step, path)
        };
        let warning = |code: &str, step: &str, path: &str| {
            let (_, code, step, path) = error(code, step, path);
            ("WARNING".to_owned(), code, step, path)
        };
        let expected = [
            error("NO_WINDOW", "", "settings.sendWindows"),
            error("NO_SENDER", "silent", "steps.0.action.email.senderIds"),
            warning(
                "MISSING_UNSUBSCRIBE",
                "silent",
                "steps.0.action.email.variants.0",
            ),
            error("SENDER_DISABLED", "off", "steps.1.action.email.senderIds"),
            error("WRONG_CHANNEL", "text", "steps.2.action.sms.senderIds.0"),
            error("EMPTY_MESSAGE", "empty", "steps.3.action.task.title"),
            error(
                "NO_SUBJECT",
                "bare",
                "steps.4.action.email.variants.0.subject",
            ),
            error("BROKEN_MERGE_TAG", "broken", "steps.5.action.task.title"),
            error(
                "UNKNOWN_MERGE_TAG",
                "spell",
                "steps.6.action.task.instructions",
            ),
            error("UNKNOWN_STEP", "asks", "steps.7.action.condition.predicate"),
            error(
                "UNTESTED_CONDITION",
                "asks",
                "steps.7.action.condition.predicate",
            ),
            error(
                "UNTESTED_CONDITION",
                "asks",
                "steps.7.action.condition.predicate",
            ),
            warning(
                "UNTESTED_CONDITION",
                "both",
                "steps.8.action.condition.predicate",
            ),
            warning("UNTESTED_CONDITION", "both", "steps.8.action.condition.yes"),
            error("BAD_WEIGHT", "split", "steps.9.action.split.branches"),
            warning("THREAD_SENDER", "reply", "steps.13.action.email.senderIds"),
            error(
                "MESSAGE_TOO_LONG",
                "long",
                "steps.14.action.sms.variants.0.body",
            ),
            error("UNKNOWN_STEP", "asks", "steps.7.action.condition.no"),
            error("CYCLE", "split", "steps.9"),
            error("UNREACHABLE_STEP", "island", "steps.11"),
        ];
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{:#}", payload["problems"]);
        }
        assert_eq!(found.len(), expected.len(), "{:#}", payload["problems"]);
        let errors = expected.iter().filter(|one| one.0 == "ERROR").count();
        let said = payload["userErrors"][0]["message"].as_str().unwrap_or("");
        assert!(said.contains(&format!("{errors} problems")), "{said}");
        assert_eq!(problems(&h, &made["id"]).await, payload["problems"]);
        // With the empty flow's these are nearly all that there are.
        let empty = draft(&h, json!([])).await;
        let empty = told(&problems(&h, &empty).await);
        assert_eq!(empty, [error("NO_STEPS", "", "steps")]);
        // And where nobody outside reaches the server, this.
        h.services = h.services.clone().at(None);
        h.schema = CadenzaSchema::new(h.services.clone());
        let marked = json!([crate::steps::email(
            "mail",
            "PT0S",
            &[&sender(&h, "bea").await]
        )]);
        let marked = told(&problems(&h, &draft(&h, marked).await).await);
        let unreached = (marked.into_iter()).filter(|one| one.1 == "NO_PUBLIC_URL");
        let all = found.into_iter().chain(empty).chain(unreached);
        let mut seen: Vec<String> = all.map(|one| one.1).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, codes(&h).await);
    }
);

both!(
    warnings_alone_let_a_flow_be_published,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let mut first = email("first", &[&ada]);
        first["action"]["email"]["variants"][0]["text"] = json!("Hello");
        let id = draft(&h, json!([first])).await;
        let payload = call(&h, "sequencePublish", json!({ "id": id })).await;
        assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
        assert_eq!(payload["sequence"]["status"], "PUBLISHED");
        let found = told(&payload["problems"]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1, "MISSING_UNSUBSCRIBE");
    }
);

/// Enters a person with these attributes.
async fn person(h: &Harness, attributes: Value) {
    let input = json!({ "firstName": "Ana", "attributes": attributes });
    h.mutate("personCreate", "PersonInput", input, "person { id }")
        .await;
}

both!(
    an_attribute_that_nobody_has_is_probably_misspelled,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let mut first = email("first", &[&ada]);
        first["action"]["email"]["variants"][0]["text"] = json!(
            "In {{ attributes.citty }}? {{ attributes.zzz | default(1) }} To opt out, write."
        );
        let mut spell = task("spell", "{{ attributes[\"Job levl\"] }}");
        spell["action"]["task"]["instructions"] = json!("{{ attributes.city }}");
        let id = draft(&h, json!([first, spell])).await;
        // Where there is nobody, nothing is known of attributes.
        assert_eq!(problems(&h, &id).await, json!([]));
        let theirs = h
            .execute_as(
                &h.stranger,
                "mutation { personCreate(input: { firstName: \"x\", attributes: { zzz: 1 } }) {
                    person { id } } }",
                json!({}),
            )
            .await;
        assert!(theirs.get("errors").is_none(), "{theirs}");
        assert_eq!(problems(&h, &id).await, json!([]));
        // There are people, and none has any attribute.
        person(&h, json!({})).await;
        let found = problems(&h, &id).await;
        assert_eq!(told(&found).len(), 4, "{found:#}");
        assert!(found.to_string().contains("Nobody has the attribute citty"));
        person(&h, json!({ "city": "Porto", "n": 1 })).await;
        person(&h, json!({ "city": "Braga", "Job level": { "n": [1] } })).await;
        let found = problems(&h, &id).await;
        let warning = |step: &str, path: &str| {
            let texts = ["WARNING", "UNKNOWN_MERGE_TAG", step, path].map(str::to_owned);
            let [severity, code, step, path] = texts;
            (severity, code, step, path)
        };
        let expected = [
            warning("first", "steps.0.action.email.variants.0.text"),
            warning("first", "steps.0.action.email.variants.0.text"),
            warning("spell", "steps.1.action.task.title"),
        ];
        assert_eq!(told(&found), expected, "{found:#}");
        let message = |index: usize| found[index]["message"].as_str().unwrap_or("");
        assert!(
            message(0).contains("did you mean attributes.city?"),
            "{found:#}"
        );
        assert!(message(1).contains("zzz"), "{found:#}");
        assert!(
            message(2).contains("did you mean attributes.Job level?"),
            "{found:#}"
        );
        let published = call(&h, "sequencePublish", json!({ "id": id })).await;
        assert_eq!(published["problems"], found);
        assert_eq!(published["sequence"]["status"], "PUBLISHED");
    }
);

both!(
    an_attribute_that_an_update_on_the_way_writes_is_known,
    |h: Harness| async move {
        person(&h, json!({ "city": "Porto" })).await;
        let update = json!({ "key": "set", "action": { "update": {
            "set": { "attributes": { "tier": "a", "gone": null } } } } });
        let asks = |key: &str| task(key, "{{ attributes.tier }} {{ attributes.gone }}");
        let mut apart = json!({ "key": "apart", "action": { "split": { "branches": [
            { "weight": 1, "next": "set" }, { "weight": 1, "next": "after" }] } } });
        apart["next"] = Value::Null;
        let steps = json!([asks("before"), apart, update, asks("after")]);
        let id = draft(&h, steps).await;
        let found = problems(&h, &id).await;
        let told: Vec<_> = told(&found)
            .into_iter()
            .map(|(_, _, step, path)| (step, path))
            .collect();
        let title = |index: usize| format!("steps.{index}.action.task.title");
        assert_eq!(
            told,
            [
                ("before".to_owned(), title(0)),
                ("before".to_owned(), title(0)),
                ("after".to_owned(), title(3)),
            ],
            "{found:#}"
        );
        let message = found[2]["message"].as_str().unwrap_or("");
        assert!(message.contains("attribute gone"), "{message}");
    }
);
