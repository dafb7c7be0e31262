//! Lists as CSV files: what is in them, who gets them, and that nothing in them is run or changed.

use cadenza::app::Role;
use cadenza::app::token::{self, Terms};
use serde_json::{Value, json};

use crate::enrol::{enrol, finish, import, many, people};
use crate::harness::{Harness, both};
use crate::pains::{Receiver, settle};
use crate::sequences::published;
use crate::served::{Served, client};
use crate::steps::person;

/// Status and text of a list as a file.
pub async fn get(served: &Served, token: &str, name: &str, filter: Option<Value>) -> (u16, String) {
    let url = format!("http://{}/export/{name}", served.address);
    let mut url = url::Url::parse(&url).expect("a URL");
    if let Some(filter) = filter {
        url.query_pairs_mut()
            .append_pair("filter", &filter.to_string());
    }
    let answer = client()
        .get(url)
        .bearer_auth(token)
        .send()
        .await
        .expect("answers");
    (
        answer.status().as_u16(),
        answer.text().await.expect("a text"),
    )
}

/// The cells of each line.
pub fn lines(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let records = reader.records().map(|record| record.expect("a record"));
    records
        .map(|record| record.iter().map(str::to_owned).collect())
        .collect()
}

async fn everybody(h: &Harness) -> Value {
    let query =
        "{ people(first: 250) { nodes { id email phone linkedinUrl firstName lastName company
        title timeZone country attributes updatedAt } } }";
    h.data(query, json!({})).await
}

/// Texts that break what reads them.
fn naughty() -> Vec<String> {
    let mut texts: Vec<String> = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\u{201c}x\u{201d}",
        "a,b;c",
        "say \"hi\"",
        "line\nbreak",
        "'=x",
        "''+x",
        "'t Hooft",
        "{{7*7}}",
        "zażółć 日本 🎉",
        "null",
        "1;2\t3|4",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Ok(corpora) = std::env::var("CADENZA_CORPORA") {
        let path = std::path::Path::new(&corpora).join("strings/blns/blns.json");
        let text = std::fs::read_to_string(path).expect("the collection is there");
        let all: Vec<String> = serde_json::from_str(&text).expect("JSON");
        // What is empty, or holds a NUL, is refused where it is entered.
        texts.extend(all.into_iter().filter(|text| !text.contains('\0')));
    } else {
        println!("the naughty strings are left out: CADENZA_CORPORA is not set");
    }
    texts
}

both!(
    an_export_imported_again_changes_nothing,
    |h: Harness| async move {
        let served = Served::new(&h).await;
        let texts = naughty();
        for (n, text) in texts.iter().enumerate() {
            let company: String = text.chars().take(200).collect();
            let input = json!({ "email": format!("p{n}@example.com"), "company": company,
            "phone": if n == 0 { "+351912345678" } else { "" },
            "attributes": { "text": text, "n": n, "list": [true, null], "x": { "=y": "+z" } } });
            person(&h, input).await;
        }
        // Whom no address tells is known by the id.
        for fields in [
            json!({ "firstName": "Nobody" }),
            json!({ "phone": "+351912345678" }),
            json!({ "linkedinUrl": "https://social.example.com/in/x", "attributes": { "id": "7" } }),
        ] {
            person(&h, fields).await;
        }
        let pages = async || {
            let mut all = Vec::new();
            let mut after = Value::Null;
            loop {
                let query = "query($after: String) { people(first: 250, after: $after) {
                nodes { id email phone company attributes updatedAt }
                pageInfo { hasNextPage endCursor } } }";
                let mut page = h.data(query, json!({ "after": after })).await["people"].take();
                all.push(page["nodes"].take());
                after = page["pageInfo"]["endCursor"].take();
                if page["pageInfo"]["hasNextPage"] != true {
                    return all;
                }
            }
        };
        let before = pages().await;
        let mut shown = 0;
        for person in before.iter().filter_map(Value::as_array).flatten() {
            let attributes = &person["attributes"];
            // Nobody of those whom the id alone tells has a text.
            let Some(n) = attributes["n"].as_u64() else {
                continue;
            };
            let text = texts.get(usize::try_from(n).expect("small"));
            assert_eq!(attributes["text"].as_str(), text.map(String::as_str));
            shown += 1;
        }
        assert_eq!(shown, texts.len(), "each is shown as it was entered");
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::days(1));
        let (status, csv) = get(&served, &h.token, "people.csv", None).await;
        assert_eq!(status, 200);
        for line in lines(&csv) {
            for cell in &line {
                assert!(
                    !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                    "{cell:?}"
                );
            }
        }
        let operation = import(&h, json!({ "csv": csv })).await;
        finish(&h).await;
        let query = "query($id: ID!) { bulkOperation(id: $id) { failed succeeded status } }";
        let done = h.data(query, operation).await;
        assert_eq!(done["bulkOperation"]["failed"], 0, "{done}");
        assert_eq!(pages().await, before);
        served.end().await;
    }
);

both!(
    a_file_has_all_of_a_list_and_no_more,
    |h: Harness| async move {
        let served = Served::new(&h).await;
        many(&h, 1_203).await;
        let (_, csv) = get(&served, &h.token, "people.csv", None).await;
        let all = lines(&csv);
        assert_eq!(all.len(), 1_204);
        assert_eq!(all[0][..3], ["id", "email", "phone"]);
        let emails: std::collections::BTreeSet<&str> =
            all.iter().map(|line| line[1].as_str()).collect();
        assert_eq!(emails.len(), 1_204);
        let filter = Some(json!({ "search": "p77@" }));
        let (_, csv) = get(&served, &h.token, "people.csv", filter).await;
        assert_eq!(lines(&csv)[1][1], "p77@example.com");
        let nobody = Some(json!({ "search": "nobody" }));
        let (_, csv) = get(&served, &h.token, "people.csv", nobody).await;
        assert_eq!(lines(&csv).len(), 1, "the header alone");
        let theirs = token::create(
            &h.services.db,
            &h.clock,
            &h.services.entropy,
            "theirs",
            &Terms::of(Role::Viewer),
        )
        .await
        .expect("a token");
        let (_, csv) = get(&served, &theirs.secret, "people.csv", None).await;
        assert_eq!(lines(&csv).len(), 1, "another workspace has none of it");
        served.end().await;
    }
);

both!(
    leads_and_executions_are_exported_within_the_sequences_of_a_token,
    |h: Harness| async move {
        let served = Served::new(&h).await;
        let (ours, _) = published(&h, &["one"]).await;
        let (other, _) = published(&h, &["one"]).await;
        let ids = people(&h, &["ada", "bob"]).await;
        enrol(&h, &ours, json!({ "ids": [&ids[0]] })).await;
        enrol(&h, &other, json!({ "ids": [&ids[1]] })).await;
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::days(1));
        settle(&h, &Receiver::default()).await;
        let (_, csv) = get(&served, &h.token, "leads.csv", None).await;
        let emails: Vec<String> = lines(&csv).iter().map(|line| line[3].clone()).collect();
        assert_eq!(emails, ["email", "ada@example.com", "bob@example.com"]);
        let (_, csv) = get(&served, &h.token, "executions.csv", None).await;
        assert_eq!(lines(&csv).len(), 3);
        assert_eq!(lines(&csv)[1][11], "Subject of one");
        let input = json!({ "name": "limited", "role": "VIEWER", "sequenceIds": [ours] });
        let made = h
            .mutate("tokenCreate", "TokenCreateInput", input, "secret")
            .await;
        let limited = made["secret"].as_str().expect("a secret");
        let (_, csv) = get(&served, limited, "leads.csv", None).await;
        let told = lines(&csv);
        assert_eq!((told.len(), told[1][3].as_str()), (2, "ada@example.com"));
        let (_, csv) = get(&served, limited, "executions.csv", None).await;
        assert_eq!(lines(&csv).len(), 2);
        let by_other = Some(json!({ "sequenceIds": [other] }));
        let (_, csv) = get(&served, limited, "leads.csv", by_other).await;
        assert_eq!(lines(&csv).len(), 1);
        let (status, body) = get(&served, limited, "people.csv", None).await;
        assert_eq!(status, 403, "{body}");
        served.end().await;
    }
);

both!(
    what_is_wrong_with_an_export_is_said,
    |h: Harness| async move {
        let served = Served::new(&h).await;
        assert_eq!(get(&served, "cdz_wrong", "people.csv", None).await.0, 401);
        assert_eq!(get(&served, &h.token, "senders.csv", None).await.0, 404);
        for filter in [
            json!("x"),
            json!({ "nothing": 1 }),
            json!({ "ids": ["x"] }),
            json!([1]),
        ] {
            let (status, body) = get(&served, &h.token, "people.csv", Some(filter.clone())).await;
            assert_eq!(status, 400, "{filter}: {body}");
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(
                body["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
                "{body}"
            );
        }
        // A parameter that is misspelled does not mean everybody.
        let url = format!("http://{}/export/people.csv?fitler=%7B%7D", served.address);
        let answer = client().get(url).bearer_auth(&h.token).send().await;
        assert_eq!(answer.expect("answers").status(), 400);
        assert!(everybody(&h).await["people"].is_object());
        served.end().await;
    }
);
