//! Files of people that others have collected: edge cases of CSV, each with what is in it, and files with
//! something wrong. They are in the folder that `CADENZA_CORPORA` names.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::harness::{Harness, both};

const OPERATION: &str = "operation { status total succeeded failed
    outcomes(first: 250, code: [INVALID]) { nodes { subject message } } }";

fn corpus() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA names no folder of test data");
        return None;
    };
    Some(PathBuf::from(folder).join("csv"))
}

/// The columns of a file.
fn header(file: &[u8]) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new().from_reader(file);
    let header = reader.byte_headers().expect("a header");
    let names = header.iter().map(String::from_utf8_lossy);
    names.map(|name| name.trim().to_owned()).collect()
}

/// What the API makes of a file of which this column is the last name; nothing in these files says otherwise
/// who somebody is.
async fn import(h: &Harness, file: &[u8], name: Option<&str>) -> Value {
    // The API takes text: what is no text comes by `/import/people`, which has tests of its own.
    let csv = String::from_utf8_lossy(file);
    let mut input = json!({ "csv": csv });
    if let Some(name) = name {
        input["mapping"] = json!({ name: "lastName" });
    }
    h.try_mutate("peopleImport", "PeopleImportInput", input, OPERATION)
        .await
}

/// A line break inside a cell has one form for us.
fn one_form(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace("\r\n", "\n").trim().into(),
        other => other.clone(),
    }
}

both!(
    every_edge_case_of_csv_is_read_as_it_is_meant,
    |h: Harness| async move {
        let Some(corpus) = corpus().map(|folder| folder.join("csv-spectrum")) else {
            return;
        };
        let files = std::fs::read_dir(corpus.join("csvs")).expect("the files are there");
        let mut read = 0;
        for entry in files {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            // What is said to be in this one is not what is in it, not even the number.
            if name == "location_coordinates" {
                continue;
            }
            let file = std::fs::read(&path).expect("readable");
            let first = header(&file).remove(0);
            let done = import(&h, &file, Some(&first)).await;
            let told = std::fs::read(corpus.join(format!("json/{name}.json"))).expect("readable");
            let wanted: Vec<Map<String, Value>> = serde_json::from_slice(&told).expect("a list");
            assert_eq!(done["userErrors"], json!([]), "{name}");
            assert_eq!(
                done["operation"]["succeeded"],
                wanted.len(),
                "{name}: {done}"
            );
            let people = people(&h, &first).await;
            let wanted: Vec<Value> = wanted
                .iter()
                .map(|row| {
                    let cells = row.iter().map(|(key, cell)| (key.clone(), one_form(cell)));
                    Value::Object(cells.filter(|(_, cell)| cell != "").collect())
                })
                .collect();
            assert_eq!(people, wanted, "{name}");
            read += 1;
        }
        assert!(read >= 11, "{read} files");
    }
);

/// Everybody there is as rows of the file, in the order in which they came; they are then deleted.
async fn people(h: &Harness, name: &str) -> Vec<Value> {
    let query = "{ people(first: 250) { nodes { id lastName attributes } } }";
    let mut data = h.data(query, json!({})).await;
    let mut rows = Vec::new();
    for node in data["people"]["nodes"].as_array_mut().expect("people") {
        let mut row = node["attributes"].take();
        row[name] = node["lastName"].take();
        rows.push(row);
        let input = json!({ "id": node["id"] });
        h.mutate("personDelete", "PersonIdInput", input, "person { id }")
            .await;
    }
    rows
}

/// What is wrong with a file.
enum Wrong {
    /// Nothing can be read, and the refusal says this.
    Refused(&'static str),
    /// These lines, and no others.
    Lines(&'static [u64]),
}

use Wrong::{Lines, Refused};

/// What is wrong by the names of the files, as far as it concerns the form of a file of people.
const WRONG: &[(&str, Wrong)] = &[
    ("blacklisted_value", Lines(&[])),
    ("case_insensitive_headers", Lines(&[])),
    ("custom_constraint", Lines(&[])),
    ("defective_rows", Lines(&[2, 3])),
    ("deviated_value", Lines(&[])),
    ("duplicate_columns", Refused("Two columns are for id")),
    ("duplicate_rows", Lines(&[])),
    ("empty", Refused("The file is empty")),
    ("empty_rows", Lines(&[4])),
    ("empty_rows_custom", Lines(&[])),
    (
        "empty_rows_multiple",
        Lines(&[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
    ),
    ("encoding-274", Lines(&[])),
    ("fail_fast_two_schema_errors", Lines(&[4, 5])),
    ("fail_fast_two_structure_errors", Lines(&[4, 5])),
    ("headerless_columns", Refused("Column 2 has no name")),
    ("invalid", Refused("Column 3 has no name")),
    ("invalid-on-bis-modified-schema", Lines(&[])),
    ("invalid-on-structure", Refused("Column 2 has no name")),
    (
        "invalid_header_index_1",
        Lines(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ),
    ("invalid_no_headers", Lines(&[3])),
    ("issue277", Lines(&[])),
    ("report_limit_schema", Lines(&[])),
    ("report_limit_structure", Lines(&[4, 5])),
    ("required_false", Lines(&[6])),
    ("row_limit_schema", Lines(&[4, 5])),
    ("row_limit_structure", Lines(&[4, 5])),
    ("sequential_value", Lines(&[])),
    ("table10", Refused("The file is empty")),
    ("table5", Refused("The file is empty")),
    ("truncated_value", Lines(&[])),
    ("unique_field", Lines(&[])),
    ("valid", Lines(&[])),
    ("valid_header_index_3", Refused("Column 1 has no name")),
];

both!(
    each_bad_file_is_refused_or_its_bad_lines_are_named,
    |h: Harness| async move {
        let Some(corpus) = corpus().map(|folder| folder.join("goodtables")) else {
            return;
        };
        for (name, wrong) in WRONG {
            let file = read(&corpus, name);
            let columns = header(&file);
            let is_name = |column: &&String| column.eq_ignore_ascii_case("name");
            let of_name = columns.iter().find(is_name).or(columns.first());
            let done = import(&h, &file, of_name.map(String::as_str)).await;
            match wrong {
                Refused(part) => {
                    let message = done["userErrors"][0]["message"].as_str();
                    let is_told = message.is_some_and(|message| message.contains(part));
                    assert!(is_told, "{name}: {done}");
                    assert_eq!(done["operation"], Value::Null, "{name}");
                }
                Lines(numbers) => {
                    let named = done["operation"]["outcomes"]["nodes"].as_array();
                    let named: Vec<&str> = (named.into_iter().flatten())
                        .filter_map(|node| node["subject"].as_str())
                        .collect();
                    let numbers = numbers.iter().map(|number| format!("line {number}"));
                    assert_eq!(named, numbers.collect::<Vec<_>>(), "{name}: {done}");
                    let operation = &done["operation"];
                    let count = |field: &str| operation[field].as_u64().unwrap_or_default();
                    assert_eq!(count("failed"), named.len() as u64, "{name}");
                    assert_eq!(
                        count("succeeded") + count("failed"),
                        count("total"),
                        "{name}: each line has its outcome"
                    );
                }
            }
        }
    }
);

fn read(corpus: &Path, name: &str) -> Vec<u8> {
    std::fs::read(corpus.join(format!("{name}.csv"))).expect("the file is there")
}

both!(
    a_file_in_another_encoding_is_named_where_it_begins,
    |h: Harness| async move {
        let Some(corpus) = corpus().map(|folder| folder.join("goodtables")) else {
            return;
        };
        let served = crate::served::Served::new(&h).await;
        let answer = crate::served::client()
            .post(format!("http://{}/import/people", served.address))
            .bearer_auth(&h.token)
            .query(&[("mapping", r#"{"name":"lastName"}"#)])
            .header("content-type", "text/csv")
            .body(read(&corpus, "latin1"))
            .send()
            .await
            .expect("answers");
        assert_eq!(answer.status(), 422);
        let told: Value = answer.json().await.expect("JSON");
        let detail = told["detail"].as_str().expect("a detail");
        assert!(detail.contains("UTF-8 from byte 20"), "{detail}");
        served.end().await;
    }
);
