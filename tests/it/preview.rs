//! Previews through the API: every path of a working copy, for a sample and for real people.

use serde_json::{Value, json};

use crate::enrol::{enrol, people};
use crate::harness::{Harness, both};
use crate::leads::enrolled;
use crate::sequences::{done, sender};

const PREVIEW: &str = "query($id: ID!, $person: ID, $scenario: ScenarioInput, $at: DateTime) {
    sequence(id: $id) { preview(personId: $person, scenario: $scenario, startAt: $at) { pathsLeftOut
        paths { answers { stepKey yes branch }
            entries { stepKey at channel subject html text
                problems { severity code message stepKey path } } }
        problems { severity code stepKey path } } problems { severity code stepKey path } } }";

/// What a preview of a sequence answers.
async fn preview(h: &Harness, id: &Value, mut asked: Value) -> Value {
    asked["id"] = id.clone();
    let sequence = h.data(PREVIEW, asked).await["sequence"].take();
    assert_eq!(sequence["preview"]["problems"], sequence["problems"]);
    sequence["preview"].clone()
}

/// The message of a preview that is refused.
async fn refused(h: &Harness, id: &Value, mut asked: Value) -> String {
    asked["id"] = id.clone();
    let answer = h.execute(PREVIEW, asked).await;
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{answer:#}");
    error["message"].as_str().expect("a message").to_owned()
}

async fn draft(h: &Harness, steps: Value) -> Value {
    let input = json!({ "name": "n", "flow": { "steps": steps } });
    done(h, "sequenceCreate", input).await["id"].take()
}

/// A mail, a condition that it was opened, and an ending for each answer.
async fn branched(h: &Harness) -> Value {
    let ada = sender(h, "ada").await;
    let email = |variants: Value, in_thread: bool| {
        json!({ "email": { "senderIds": [ada],
        "variants": variants, "inThread": in_thread } })
    };
    let hello = json!([
        { "key": "a", "subject": "Hello {{ first_name }}", "text": "From {{ sender.name }}. Write back to opt out." },
        { "key": "b", "subject": "Hi", "html": "<p>{{ attributes.city }}</p>", "enabled": false }]);
    let again = json!([{ "text": "Still interested, {{ company }}?" }]);
    let steps = json!([
        { "key": "hello", "action": email(hello, false), "next": "opened", "onMissingData": "STOP" },
        { "key": "opened", "wait": "P1D", "action": { "condition": {
            "predicate": { "opened": "hello" }, "within": "P1D", "yes": "call", "no": "again" } } },
        { "key": "call", "action": { "task": { "channel": "CALL", "title": "Call {{ full_name }}",
            "instructions": "At {{ phone }}" } }, "next": "end" },
        { "key": "again", "wait": "P2D", "businessDays": true, "action": email(again, true) },
    ]);
    draft(h, steps).await
}

/// Key, time and subject of each entry of a path.
fn told(path: &Value) -> Vec<String> {
    let entries = path["entries"].as_array().expect("entries").iter();
    let line = |entry: &Value| {
        let part = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", part("stepKey"), part("at"), part("subject"))
    };
    entries.map(line).collect()
}

both!(a_sample_takes_every_path, |h: Harness| async move {
    let id = branched(&h).await;
    // A Friday, when the windows have closed.
    let found = preview(&h, &id, json!({ "at": "2026-11-27T18:00:00+00:00" })).await;
    let paths = found["paths"].as_array().expect("paths");
    assert_eq!((paths.len(), &found["pathsLeftOut"]), (2, &json!(0)));
    let yes = json!([{ "stepKey": "opened", "yes": true, "branch": null }]);
    assert_eq!(paths[0]["answers"], yes);
    assert_eq!(
        told(&paths[0]),
        [
            "hello 2026-11-30T09:00:00.000Z Hello Ana",
            "opened 2026-12-01T09:00:00.000Z -",
            "call 2026-12-01T09:00:00.000Z Call Ana Silva"
        ]
    );
    assert_eq!(
        told(&paths[1]),
        [
            "hello 2026-11-30T09:00:00.000Z Hello Ana",
            "opened 2026-12-01T09:00:00.000Z -",
            "again 2026-12-04T09:00:00.000Z Re: Hello Ana"
        ]
    );
    let [hello, again] = [&paths[1]["entries"][0], &paths[1]["entries"][2]];
    assert_eq!(hello["text"], "From ada. Write back to opt out.");
    assert_eq!(hello["channel"], "EMAIL");
    assert!(
        hello["html"]
            .as_str()
            .is_some_and(|html| html.contains("From ada"))
    );
    assert_eq!(hello["problems"], json!([]));
    assert_eq!(again["text"], "Still interested, Acme?");
    assert_eq!(paths[0]["entries"][2]["text"], "At +12025550143");
    assert_eq!(paths[0]["entries"][2]["channel"], "CALL");
});

both!(a_scenario_picks_its_path, |h: Harness| async move {
    let id = branched(&h).await;
    let answers =
        json!([{ "stepKey": "opened", "yes": false }, { "stepKey": "hello", "variant": "b" }]);
    let found = preview(&h, &id, json!({ "scenario": { "answers": answers } })).await;
    let paths = found["paths"].as_array().expect("paths");
    assert_eq!((paths.len(), &found["pathsLeftOut"]), (1, &json!(0)));
    assert_eq!(paths[0]["entries"][0]["subject"], "Hi");
    assert_eq!(paths[0]["entries"][0]["text"], "[city]\n");
    assert_eq!(paths[0]["entries"][2]["subject"], "Re: Hi");
    for (answers, word) in [
        (json!([{ "stepKey": "gone" }]), "no step"),
        (json!([{ "stepKey": "hello", "yes": true }]), "no condition"),
        (
            json!([{ "stepKey": "hello", "variant": "c" }]),
            "no variant",
        ),
        (json!([{ "stepKey": "hello", "branch": 0 }]), "no split"),
        (json!(vec![json!({ "stepKey": "hello" }); 2]), "twice"),
        (json!(vec![json!({ "stepKey": "hello" }); 201]), "200"),
    ] {
        let message = refused(&h, &id, json!({ "scenario": { "answers": answers } })).await;
        assert!(message.contains(word), "{message}");
    }
    for at in [
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "9999-12-31T00:00:00Z",
    ] {
        let message = refused(&h, &id, json!({ "at": at })).await;
        assert!(message.contains("startAt"), "{message}");
    }
});

both!(a_person_is_told_what_it_lacks, |h: Harness| async move {
    let id = branched(&h).await;
    let bob = people(&h, &["bob"]).await.remove(0);
    let set = json!({ "timeZone": "Asia/Tokyo", "firstName": "", "company": "", "phone": "" });
    let input = json!({ "id": bob, "set": set });
    h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
        .await;
    let at = "2026-11-30T00:00:00Z";
    let found = preview(&h, &id, json!({ "person": bob, "at": at })).await;
    let paths = found["paths"].as_array().expect("paths");
    // On the contact's clock it is nine already.
    assert_eq!(
        told(&paths[0])[0],
        format!("hello {} Hello [first_name]", at.replace('Z', ".000Z"))
    );
    let problems = |entry: &Value| -> Vec<String> {
        let problems = entry["problems"].as_array().expect("problems").iter();
        let line = |problem: &Value| {
            let path: Vec<&str> = problem["path"]
                .as_array()
                .expect("a path")
                .iter()
                .filter_map(Value::as_str)
                .skip(1)
                .collect();
            let part = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", part("severity"), part("code"), path.join("."))
        };
        problems.map(line).collect()
    };
    assert_eq!(
        problems(&paths[0]["entries"][0]),
        ["ERROR MISSING_DATA 0.action.email.variants.0.subject"]
    );
    assert_eq!(
        problems(&paths[0]["entries"][2]),
        [
            "WARNING MISSING_DATA 2.action.task.title",
            "WARNING MISSING_DATA 2.action.task.instructions",
            "WARNING MISSING_ADDRESS 2.action.task"
        ]
    );
    assert_eq!(
        problems(&paths[1]["entries"][2]),
        ["WARNING MISSING_DATA 3.action.email.variants.0.text"]
    );
    for person in [
        "person_00000000000000000000000000",
        "ana",
        id.as_str().expect("an id"),
    ] {
        let message = refused(&h, &id, json!({ "person": person })).await;
        assert!(message.contains("no such person"), "{message}");
    }
});

both!(
    an_update_is_seen_by_the_steps_behind_it,
    |h: Harness| async move {
        let bob = people(&h, &["bob"]).await.remove(0);
        let set = json!({ "firstName": "", "timeZone": "UTC" });
        let input = json!({ "id": bob, "set": set });
        h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
            .await;
        let task = |key: &str| json!({ "key": key, "action": { "task": { "title": "Call {{ first_name }}" } } });
        let set = json!({ "firstName": "Bea", "timeZone": "Asia/Tokyo" });
        let steps = json!([
            task("before"),
            { "key": "set", "action": { "update": { "set": set } } },
            task("after"),
        ]);
        let id = draft(&h, steps).await;
        let asked = json!({ "person": bob, "at": "2026-11-30T10:00:00Z" });
        let found = preview(&h, &id, asked).await;
        assert_eq!(
            told(&found["paths"][0]),
            [
                "before 2026-11-30T10:00:00.000Z Call [first_name]",
                "set 2026-11-30T10:00:00.000Z -",
                "after 2026-12-01T00:00:00.000Z Call Bea",
            ]
        );
        let problems = |at: usize| found["paths"][0]["entries"][at]["problems"].clone();
        assert_eq!(problems(0)[0]["code"], "MISSING_DATA");
        assert_eq!(problems(2), json!([]));
    }
);

both!(
    a_lead_is_shown_the_variant_that_it_gets,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let variant = |key: &str, weight: u32| {
            json!({ "key": key, "weight": weight, "subject": key,
            "text": "Write back to opt out." })
        };
        let variants = json!([variant("never", 0), variant("a", 1), variant("b", 1)]);
        let action = json!({ "email": { "senderIds": [ada], "variants": variants } });
        let steps = json!([{ "key": "mail", "wait": "P9D", "action": action }]);
        let id = draft(&h, steps).await;
        let subject = async |person: Value| {
            let found = preview(&h, &id, json!({ "person": person })).await;
            found["paths"][0]["entries"][0]["subject"].clone()
        };
        assert_eq!(
            subject(Value::Null).await,
            "a",
            "the first that is ever sent"
        );
        let somebody = people(
            &h,
            &["ann", "ben", "cyd", "dan", "eva", "flo", "gus", "hal"],
        )
        .await;
        done(&h, "sequencePublish", json!({ "id": id })).await;
        let key = id.as_str().expect("an id");
        enrol(&h, key, json!({ "ids": somebody })).await;
        let db = h.services.db.read();
        let sequence: cadenza::domain::id::SequenceId = key.parse().expect("an id");
        let version = cadenza::store::sequence::find(db, h.admin.workspace, sequence).await;
        let flow = version.expect("read").expect("a sequence").flow;
        let flow = cadenza::domain::flow::CompiledFlow::compile(&flow).expect("it compiles");
        let step = flow.step("mail").expect("a step");
        for person in &somebody {
            let known = person.parse().expect("an id");
            let bucket = cadenza::store::lead::bucket_of(db, h.admin.workspace, sequence, known);
            let bucket = bucket.await.expect("read").expect("a lead");
            let own = step.variant(bucket).expect("a variant");
            assert_eq!(subject(json!(person)).await, own.key.as_str());
        }
    }
);

both!(
    what_cannot_be_published_is_still_shown,
    |h: Harness| async move {
        let task = |title: &str| json!({ "task": { "title": title } });
        let broken = json!([
            { "key": "a", "action": task("{{ first_nam }}"), "next": "b" },
            { "key": "b", "action": task("Look"), "next": "a" },
            { "key": "mail", "action": { "email": { "senderIds": [], "variants": [] } } },
        ]);
        let id = draft(&h, broken).await;
        let found = preview(&h, &id, json!({})).await;
        let [path] = found["paths"].as_array().expect("paths").as_slice() else {
            panic!("one path: {found:#}");
        };
        let first = &path["entries"][0];
        assert_eq!(first["subject"], Value::Null);
        assert_eq!(first["problems"][0]["code"], "UNKNOWN_MERGE_TAG");
        assert_eq!(path["entries"][1]["subject"], "Look");
        assert_eq!(path["entries"].as_array().map(Vec::len), Some(2));
        let empty = draft(&h, json!([])).await;
        assert_eq!(preview(&h, &empty, json!({})).await["paths"], json!([]));
    }
);

both!(
    more_paths_than_can_be_shown_are_counted,
    |h: Harness| async move {
        let split = |index: usize| {
            let next = (index < 59).then(|| format!("s{}", index + 1));
            let branch = json!({ "weight": 1, "next": next });
            json!({ "key": format!("s{index}"), "action": { "split": { "branches": [branch, branch] } } })
        };
        let id = draft(&h, (0..60).map(split).collect()).await;
        let found = preview(&h, &id, json!({})).await;
        assert_eq!(found["paths"].as_array().map(Vec::len), Some(64));
        assert_eq!(found["pathsLeftOut"], i32::MAX);
        // A page of sequences is no place for it.
        let page = "{ sequences { nodes { preview { pathsLeftOut } } } }";
        let answer = h.execute(page, json!({})).await;
        assert!(answer.to_string().contains("TOO_COMPLEX"), "{answer:#}");
    }
);

both!(
    a_limited_token_previews_for_its_own_people,
    |h: Harness| async move {
        let (ours, leads) = enrolled(&h, &["ada"]).await;
        let (_, others) = enrolled(&h, &["bob"]).await;
        let person = async |lead: &str| {
            let query = "query ($id: ID!) { lead(id: $id) { person { id } } }";
            h.data(query, json!({ "id": lead })).await["lead"]["person"]["id"].take()
        };
        let sequence = ours.parse().expect("an id");
        let limited = cadenza::app::Caller {
            scope: cadenza::domain::scope::SequenceScope::only([sequence]),
            ..h.admin.clone()
        };
        let ask = async |person: Value| {
            let variables = json!({ "id": ours, "person": person });
            h.execute_as(&limited, PREVIEW, variables).await
        };
        let own = ask(person(&leads[0]).await).await;
        assert!(own.get("errors").is_none(), "{own:#}");
        let theirs = ask(person(&others[0]).await).await;
        assert_eq!(theirs["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }
);
