use serde_json::json;

use super::*;

fn zones() -> ZoneDatabase {
    ZoneDatabase::bundled()
}

fn known() -> Row {
    Row {
        id: uuid::Uuid::from_u128(1),
        workspace_id: uuid::Uuid::from_u128(2),
        email: None,
        email_key: None,
        phone: None,
        linkedin_url: None,
        first_name: Some("Ana".into()),
        last_name: None,
        company: Some("Acme".into()),
        company_key: Some("acme".into()),
        title: None,
        time_zone: None,
        country: None,
        attributes: json!({ "city": "Porto", "size": 3 }),
        erased_at: None,
        search_text: "ana acme".into(),
        created_at: 0,
        updated_at: 0,
    }
}

fn applied(change: Change) -> Result<Row, Vec<&'static str>> {
    let mut row = known();
    match apply(&mut row, change, &zones()) {
        Ok(()) => Ok(row),
        Err(problems) => Err(problems.into_iter().map(|problem| problem.field).collect()),
    }
}

#[test]
fn what_is_not_given_stays_and_an_empty_text_removes() {
    assert_eq!(applied(Change::default()), Ok(known()));
    let company = Some("  ".into());
    let row = applied(Change {
        company,
        ..Change::default()
    })
    .unwrap();
    assert_eq!(
        (row.company, row.first_name, row.search_text.as_str()),
        (None, Some("Ana".into()), "ana")
    );
}

#[test]
fn attributes_are_merged_by_key_and_null_removes_one() {
    let attributes = Some(json!({ "size": null, "city": "Faro", "vip": true }));
    let row = applied(Change {
        attributes,
        ..Change::default()
    })
    .unwrap();
    assert_eq!(row.attributes, json!({ "city": "Faro", "vip": true }));
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let wrong = Change {
        email: Some("ana@".into()),
        phone: Some("12".into()),
        linkedin_url: Some("ana".into()),
        first_name: Some("x".repeat(501)),
        title: Some("a\0b".into()),
        time_zone: Some("Europe/Atlantis".into()),
        country: Some("Portugal".into()),
        attributes: Some(json!([])),
        ..Change::default()
    };
    let fields = [
        "email",
        "phone",
        "linkedinUrl",
        "firstName",
        "title",
        "timeZone",
        "country",
        "attributes",
    ];
    assert_eq!(applied(wrong), Err(fields.to_vec()));
}

#[test]
fn a_country_is_kept_by_its_code() {
    let row = |country: &str| {
        let country = Some(country.into());
        let change = Change {
            country,
            ..Change::default()
        };
        applied(change).unwrap().country
    };
    assert_eq!(row(" pt ").as_deref(), Some("PT"));
    assert_eq!(row("UK").as_deref(), Some("GB"));
    assert_eq!(row(" "), None);
}

#[test]
fn the_email_key_goes_with_the_email() {
    let email = Some(" Ana@EXÄMPLE.com".into());
    let row = applied(Change {
        email,
        ..Change::default()
    })
    .unwrap();
    assert_eq!(row.email.as_deref(), Some("Ana@EXÄMPLE.com"));
    assert_eq!(row.email_key.as_deref(), Some("ana@xn--exmple-cua.com"));
    assert_eq!(row.search_text, "ana ana@exämple.com acme");
}

#[test]
fn somebody_is_known_by_more_than_a_company() {
    let mut row = known();
    assert!(!is_nobody(&row));
    row.first_name = None;
    assert!(is_nobody(&row));
}
