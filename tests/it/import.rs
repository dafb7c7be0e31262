//! Importing people: every line has its outcome, whatever is in the file and whoever dies.

use std::fmt::Write as _;

use cadenza::bulk::runner::Runner;
use cadenza::domain::id::WorkerId;
use cadenza::store::sql::{self, Arguments};
use cadenza::store::worker;
use serde_json::{Value, json};

use crate::harness::{Harness, both, until};

const OPERATION: &str = "operation { id kind status total processed succeeded skipped failed error
    startedAt finishedAt
    outcomes(first: 250) { nodes { subject code message } totalCount } }";
const PEOPLE: &str = "query($search: String) {
    people(filter: { search: $search }, first: 250) {
        totalCount
        nodes { email firstName lastName phone company title timeZone country attributes } } }";

pub async fn import(h: &Harness, input: Value) -> Value {
    h.mutate("peopleImport", "PeopleImportInput", input, OPERATION)
        .await["operation"]
        .take()
}

async fn people(h: &Harness, search: &str) -> Vec<Value> {
    let data = h.data(PEOPLE, json!({ "search": search })).await;
    data["people"]["nodes"].as_array().expect("people").clone()
}

async fn how_many(h: &Harness) -> i64 {
    h.data("{ people { totalCount } }", json!({})).await["people"]["totalCount"]
        .as_i64()
        .expect("a count")
}

/// Subject and code of each outcome.
pub fn outcomes(operation: &Value) -> Vec<(String, String)> {
    let nodes = operation["outcomes"]["nodes"].as_array().expect("outcomes");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    nodes
        .iter()
        .map(|node| (text(&node["subject"]), text(&node["code"])))
        .collect()
}

pub fn message(operation: &Value, subject: &str) -> String {
    let nodes = operation["outcomes"]["nodes"].as_array().expect("outcomes");
    let found = nodes.iter().find(|node| node["subject"] == subject);
    found
        .and_then(|node| node["message"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// A file of `count` people.
fn file(count: usize) -> String {
    let mut csv = "email,first_name,row\n".to_owned();
    for n in 0..count {
        writeln!(csv, "p{n}@example.com,Name {n},{n}").expect("a text takes a line");
    }
    csv
}

both!(
    the_usual_dialects_of_csv_are_read,
    |h: Harness| async move {
        for (n, file) in [
            "email,first name,city\nX,\"Ana, \"\"the\"\" boss\",Porto\n",
            "\u{feff}E-Mail;First Name;city\r\nX;\"Ana, \"\"the\"\" boss\";Porto\r\n",
            "email\tgiven_name\tcity\nX\tAna, \"the\" boss\tPorto",
        ]
        .into_iter()
        .enumerate()
        {
            let email = format!("ana{n}@example.com");
            let done = import(&h, json!({ "csv": file.replace('X', &email) })).await;
            assert_eq!(done["status"], "COMPLETED", "{done}");
            assert_eq!(outcomes(&done), [("line 2".into(), "DONE".into())]);
            let found = people(&h, &email).await;
            assert_eq!(found.len(), 1);
            assert_eq!(found[0]["firstName"], "Ana, \"the\" boss");
            assert_eq!(found[0]["attributes"], json!({ "city": "Porto" }));
        }
    }
);

both!(
    every_field_can_be_imported_and_mapped,
    |h: Harness| async move {
        let csv = "Mail to,phone,linkedin,first_name,last_name,company,job title,tz,Country,Town\n\
               ana@example.com,+351 912 345 678,https://www.linkedin.com/in/ana,Ana,Sá,Acme,CTO,\
               Europe/Lisbon,pt,Porto\n";
        let mapping = json!({ "Mail to": "email", "Town": "attributes.city" });
        let done = import(&h, json!({ "csv": csv, "mapping": mapping })).await;
        assert_eq!(
            (&done["status"], &done["succeeded"]),
            (&json!("COMPLETED"), &json!(1)),
            "{done}"
        );
        assert_eq!(
            people(&h, "").await,
            [json!({
                "email": "ana@example.com", "phone": "+351912345678", "firstName": "Ana",
                "lastName": "Sá", "company": "Acme", "title": "CTO", "timeZone": "Europe/Lisbon", "country": "PT",
                "attributes": { "city": "Porto" },
            })]
        );
    }
);

both!(
    each_bad_line_is_named_and_the_good_ones_come_in,
    |h: Harness| async move {
        let csv = "email,phone,time zone,company\n\
               good@example.com,,,Acme\n\
               not an address,12,Europe/Atlantis,Acme\n\
               short@example.com,\n\
               long@example.com,,,Acme,more\n\
               ,,,Acme\n\
               \n\
               two@example.com,,,\"Two\nlines\"\n\
               good2@example.com,,,\n\
               open@example.com,,,\"Acme\n";
        let done = import(&h, json!({ "csv": csv })).await;
        let expected = [
            ("line 2", "DONE"),
            ("line 3", "INVALID"),
            ("line 4", "INVALID"),
            ("line 5", "INVALID"),
            ("line 6", "INVALID"),
            ("line 8", "DONE"),
            ("line 10", "DONE"),
            ("line 11", "INVALID"),
        ];
        let expected = expected.map(|(subject, code)| (subject.to_owned(), code.to_owned()));
        assert_eq!(outcomes(&done), expected, "{done:#}");
        let all = message(&done, "line 3");
        for part in ["email address", "phone number", "time zone"] {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(message(&done, "line 4").contains("2 columns"), "{done:#}");
        assert!(
            message(&done, "line 6").contains("at least one"),
            "{done:#}"
        );
        assert!(message(&done, "line 11").contains("quote"), "{done:#}");
        assert_eq!(
            (
                &done["total"],
                &done["processed"],
                &done["succeeded"],
                &done["skipped"],
                &done["failed"]
            ),
            (&json!(8), &json!(8), &json!(3), &json!(0), &json!(5)),
        );
        assert_eq!(how_many(&h).await, 3);
    }
);

both!(
    a_file_that_cannot_be_read_is_refused_at_once,
    |h: Harness| async move {
        for (input, field) in [
            (json!({ "csv": "" }), "csv"),
            (json!({ "csv": "email,,x\n" }), "csv"),
            (
                json!({ "csv": "email,E-Mail\na@example.com,b@example.com\n" }),
                "csv",
            ),
            (json!({ "csv": "shoe size\n42\n" }), "csv"),
            (
                json!({ "csv": "email,first\na@example.com,A\u{0}\n" }),
                "csv",
            ),
            (
                json!({ "csv": "email\n", "mapping": { "Town": "attributes.city" } }),
                "mapping",
            ),
            (
                json!({ "csv": "email\n", "mapping": { "email": "shoeSize" } }),
                "mapping",
            ),
            (json!({ "csv": "email\n", "mapping": ["email"] }), "mapping"),
        ] {
            let refused = h
                .try_mutate(
                    "peopleImport",
                    "PeopleImportInput",
                    input.clone(),
                    OPERATION,
                )
                .await;
            assert_eq!(refused["operation"], Value::Null, "{input}");
            let error = &refused["userErrors"][0];
            assert_eq!(
                (&error["code"], &error["path"]),
                (&json!("INVALID"), &json!([field])),
                "{input}"
            );
        }
    }
);

both!(
    the_same_email_updates_what_the_file_has,
    |h: Harness| async move {
        import(
            &h,
            json!({ "csv": "email,first_name,company,city\nANA@exämple.com,Ana,Acme,Porto\n" }),
        )
        .await;
        // The same address in its other spellings, twice in one file; blank cells say nothing.
        let csv = "email,company,title,size\n\
               ana@EXÄMPLE.com,,CTO,3\n\
               ana@xn--exmple-cua.com,Bolt,,\n";
        let done = import(&h, json!({ "csv": csv })).await;
        assert_eq!(
            (&done["succeeded"], &done["skipped"]),
            (&json!(2), &json!(0)),
            "{done:#}"
        );
        let found = people(&h, "").await;
        assert_eq!(found.len(), 1, "{found:?}");
        let ana = &found[0];
        assert_eq!(ana["firstName"], "Ana");
        assert_eq!(
            (&ana["company"], &ana["title"]),
            (&json!("Bolt"), &json!("CTO"))
        );
        assert_eq!(ana["attributes"], json!({ "city": "Porto", "size": "3" }));
        assert_eq!(
            people(&h, "bolt").await.len(),
            1,
            "it is found by what it is called now"
        );
    }
);

both!(the_same_email_may_be_left_alone, |h: Harness| async move {
    import(
        &h,
        json!({ "csv": "email,company\nana@example.com,Acme\n" }),
    )
    .await;
    let csv = "email,company\nAna@Example.com,Bolt\nrui@example.com,Core\nrui@example.com,Dune\n";
    let done = import(&h, json!({ "csv": csv, "onConflict": "SKIP" })).await;
    let codes: Vec<String> = outcomes(&done).into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["ALREADY_IN_STATE", "DONE", "ALREADY_IN_STATE"]);
    assert_eq!(
        (&done["succeeded"], &done["skipped"]),
        (&json!(1), &json!(2))
    );
    let mut companies: Vec<Value> = people(&h, "")
        .await
        .into_iter()
        .map(|mut person| person["company"].take())
        .collect();
    companies.sort_by_key(Value::to_string);
    assert_eq!(companies, [json!("Acme"), json!("Core")]);
});

both!(
    people_without_an_email_always_come_in,
    |h: Harness| async move {
        let csv = "first_name,phone\nAna,\nAna,\n,+351912345678\n";
        for _ in 0..2 {
            assert_eq!(import(&h, json!({ "csv": csv })).await["succeeded"], 3);
        }
        assert_eq!(how_many(&h).await, 6);
    }
);

/// A runner under a worker's name that is registered.
async fn runner(h: &Harness) -> (Runner, WorkerId) {
    let now = h.clock.now();
    let id: WorkerId = h.services.entropy.id(now);
    let until = now + chrono::Duration::hours(1);
    worker::register(h.services.db.write(), id, now, until)
        .await
        .expect("registered");
    (Runner::new(h.services.clone(), move || id), id)
}

async fn state(h: &Harness, id: &Value) -> Value {
    let query = format!(
        "query($id: ID!) {{ bulkOperation(id: $id) {{ {} }} }}",
        OPERATION
            .trim_start_matches("operation {")
            .trim_end_matches('}')
    );
    h.data(&query, json!({ "id": id })).await["bulkOperation"].take()
}

async fn pieces(h: &Harness) -> i64 {
    let count = "SELECT count(*) AS n FROM bulk_input";
    sql::number(h.services.db.read(), count, Arguments::new())
        .await
        .expect("counted")
}

async fn distinct_subjects(h: &Harness) -> i64 {
    let count = "SELECT count(DISTINCT subject) AS n FROM bulk_outcome";
    sql::number(h.services.db.read(), count, Arguments::new())
        .await
        .expect("counted")
}

both!(
    an_import_that_was_cut_off_goes_on_where_it_was,
    |h: Harness| async move {
        let begun = import(&h, json!({ "csv": file(3_210) })).await;
        assert_eq!(
            (&begun["status"], &begun["processed"]),
            (&json!("RUNNING"), &json!(1_000))
        );
        let id = &begun["id"];
        assert!(pieces(&h).await > 0);

        let (mut first, dead) = runner(&h).await;
        first.round().await.expect("a round");
        assert_eq!(state(&h, id).await["processed"], 1_500);
        // As kill -9 would: nothing is given back, and the worker's row goes when its lease ends.
        drop(first);
        let (mut second, _) = runner(&h).await;
        second.round().await.expect("a round");
        assert_eq!(
            state(&h, id).await["processed"],
            1_500,
            "it belongs to a worker that may live"
        );
        worker::remove(h.services.db.write(), dead)
            .await
            .expect("removed");
        for _ in 0..10 {
            second.round().await.expect("a round");
        }

        let done = state(&h, id).await;
        assert_eq!(done["status"], "COMPLETED", "{done}");
        assert_eq!(
            (&done["total"], &done["processed"], &done["succeeded"]),
            (&json!(3_210), &json!(3_210), &json!(3_210)),
        );
        assert_eq!(done["outcomes"]["totalCount"], 3_210);
        assert_eq!(distinct_subjects(&h).await, 3_210, "each line once");
        assert_eq!(how_many(&h).await, 3_210);
        assert_eq!(pieces(&h).await, 0, "the file is forgotten");
    }
);

both!(
    an_import_killed_at_any_point_ends_with_each_line_once,
    |h: Harness| async move {
        let begun = import(&h, json!({ "csv": file(4_000) })).await;
        let id = &begun["id"];
        let mut processed = 1_000;
        // Each runner is dropped at another point of its work.
        for polls in [1_usize, 3, 7, 20, 50, 120] {
            let (runner, worker) = runner(&h).await;
            let mut work = Box::pin(runner.run(h.shutdown.clone()));
            for _ in 0..polls {
                let waited = std::time::Duration::from_millis(2);
                // An error is what is expected: the runner works until it is dropped.
                let ended = tokio::time::timeout(waited, work.as_mut()).await;
                assert!(ended.is_err(), "the runner ended by itself");
            }
            drop(work);
            worker::remove(h.services.db.write(), worker)
                .await
                .expect("removed");
            let now = state(&h, id).await["processed"].as_i64().expect("a count");
            assert!(now >= processed && now <= 4_000, "{now} after {processed}");
            processed = now;
        }
        let (mut last, _) = runner(&h).await;
        // The database may still be undoing what the last one was in the middle of.
        let done = until("the import ends", async || {
            last.round().await.expect("a round");
            let now = state(&h, id).await;
            (now["status"] == "COMPLETED").then_some(now)
        })
        .await;
        assert_eq!(done["processed"], 4_000);
        assert_eq!(done["outcomes"]["totalCount"], 4_000);
        assert_eq!(distinct_subjects(&h).await, 4_000);
        assert_eq!(how_many(&h).await, 4_000);
    }
);

both!(
    a_file_of_several_pieces_is_read_as_one,
    |h: Harness| async move {
        // Two bytes a letter, so that pieces end inside of lines and beside letters.
        let filler = "é".repeat(1_500);
        let mut csv = "email,note\n".to_owned();
        for n in 0..1_200 {
            writeln!(csv, "p{n}@example.com,{filler}").expect("a text takes a line");
        }
        let begun = import(&h, json!({ "csv": csv })).await;
        assert!(pieces(&h).await >= 3);
        let (mut runner, _) = runner(&h).await;
        for _ in 0..3 {
            runner.round().await.expect("a round");
        }
        let done = state(&h, &begun["id"]).await;
        assert_eq!(
            (&done["status"], &done["succeeded"]),
            (&json!("COMPLETED"), &json!(1_200))
        );
        let found = people(&h, "p1199@").await;
        assert_eq!(found[0]["attributes"]["note"], filler);
    }
);

both!(only_an_editor_imports, |h: Harness| async move {
    let mutation = "mutation($input: PeopleImportInput!) {
        peopleImport(input: $input) { operation { id } } }";
    let input = json!({ "input": { "csv": file(1) } });
    let answer = h.execute_as(&h.viewer, mutation, input.clone()).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
        "{answer}"
    );
    assert_eq!(how_many(&h).await, 0);
    let answer = h.execute_as(&h.editor, mutation, input).await;
    assert!(
        answer["data"]["peopleImport"]["operation"]["id"].is_string(),
        "{answer}"
    );
    assert_eq!(how_many(&h).await, 1);
});

both!(
    a_dry_run_tells_and_writes_nothing,
    |h: Harness| async move {
        let input = json!({ "email": "known@example.com", "firstName": "Known" });
        h.mutate("personCreate", "PersonInput", input, "person { id }")
            .await;
        // The address of the first line comes again in another chunk.
        let mut csv =
            String::from("email,first_name\nfirst@example.com,A\nknown@example.com,B\nnone,C\n");
        for n in 0..600 {
            csv.push_str(&format!("p{n}@example.com,P\n"));
        }
        csv.push_str("first@example.com,Again\n");
        let select = "operation { id isDryRun status succeeded failed
        outcomeCounts { code message count }
        outcomes(code: [INVALID], first: 5) { nodes { subject message } } }";
        let told = |payload: &Value| {
            let counts = payload["operation"]["outcomeCounts"].as_array();
            let counts = counts.into_iter().flatten();
            let counts = counts.map(|one| {
                let message = one["message"]
                    .as_str()
                    .unwrap_or_default()
                    .replace("would be ", "was ");
                (message, one["count"].as_i64().unwrap_or_default())
            });
            counts.collect::<Vec<_>>()
        };
        let input = json!({ "csv": csv, "dryRun": true });
        let tried = h
            .mutate("peopleImport", "PeopleImportInput", input, select)
            .await;
        let operation = &tried["operation"];
        assert_eq!(
            (&operation["isDryRun"], &operation["status"]),
            (&json!(true), &json!("COMPLETED"))
        );
        assert_eq!(operation["outcomes"]["nodes"][0]["subject"], "line 4");
        let people =
            "{ people(filter: { search: \"example\" }) { totalCount nodes { firstName } } }";
        let there = h.data(people, json!({})).await;
        assert_eq!(
            there["people"],
            json!({ "totalCount": 1, "nodes": [{ "firstName": "Known" }] })
        );
        let input = json!({ "csv": csv });
        let done = h
            .mutate("peopleImport", "PeopleImportInput", input, select)
            .await;
        assert_eq!(done["operation"]["isDryRun"], false);
        assert_eq!(told(&tried), told(&done), "what is done is what was told");
        assert_eq!(done["operation"]["succeeded"], 603);
    }
);
