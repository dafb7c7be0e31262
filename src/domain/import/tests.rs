//! Files that people really have.

use proptest::prelude::*;

use super::*;
use crate::domain::csv_cell::unguarded;

fn read(file: &[u8]) -> Result<Vec<ImportLine>, ImportError> {
    Ok(ImportReader::new(file, None)?.collect())
}

fn emails(file: &[u8]) -> Vec<(u64, Result<Option<String>, String>)> {
    let lines = read(file).expect("a header");
    lines
        .into_iter()
        .map(|line| (line.number, line.record.map(|person| person.email)))
        .collect()
}

fn ok(number: u64, email: &str) -> (u64, Result<Option<String>, String>) {
    (number, Ok(Some(email.into())))
}

#[test]
fn separators_line_ends_and_marks() {
    for file in [
        "email,first name\na@x.org,A\nb@x.org,B\n",
        "\u{feff}Email;First Name\r\na@x.org;A\r\nb@x.org;B\r\n",
        "E-Mail\tgiven_name\na@x.org\tA\nb@x.org\tB",
        "\"email\"|\"First, or given, name\"\na@x.org|A\nb@x.org|B",
        "email|\"The \"\"first, given\"\" name, or so\"\na@x.org|A\nb@x.org|B",
    ] {
        assert_eq!(
            emails(file.as_bytes()),
            [ok(2, "a@x.org"), ok(3, "b@x.org")],
            "{file:?}"
        );
    }
}

#[test]
fn bad_lines_are_named_and_the_rest_goes_on() {
    let file = b"email,company\na@x.org,\"A\nB, Inc.\"\nb@x.org\nc@x.org,C,extra\n\nd@x.org,\xff\ne@x.org,E\n";
    let lines = emails(file);
    let numbers: Vec<u64> = lines.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2, 4, 5, 7, 8]);
    let good: Vec<bool> = lines.iter().map(|(_, email)| email.is_ok()).collect();
    assert_eq!(good, [true, false, false, false, true]);
}

#[test]
fn a_country_is_a_code_and_a_name_is_an_attribute() {
    let file = b"email,Country\na@x.org,pt\nb@x.org,Portugal\nc@x.org,\n".as_slice();
    let reader = ImportReader::new(file, None).expect("a header");
    let people = reader.map(|line| line.record.expect("a person"));
    let told: Vec<_> = people
        .map(|person| (person.country, person.attributes.get("country").cloned()))
        .collect();
    let expected = [
        (Some("pt".to_owned()), None),
        (None, Some("Portugal".into())),
        (None, None),
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_open_quote_is_named() {
    let lines = emails(b"email,company\na@x.org,A\nb@x.org,\"B\nc@x.org,C\n");
    assert_eq!(lines.first(), Some(&ok(2, "a@x.org")));
    assert_eq!(
        lines
            .get(1)
            .map(|(number, email)| (*number, email.is_err())),
        Some((3, true))
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_quote_within_a_cell_means_nothing() {
    let file = b"email;size 12\" more\na@x.org;12\" Pizza Ltd\nb@x.org;\"B \"\"b\"\"\"\n";
    assert_eq!(emails(file), [ok(2, "a@x.org"), ok(3, "b@x.org")]);
    let lines = emails(b"email,company\na@x.org,12\" Pizza\nb@x.org,\"B\nc@x.org,C\n");
    assert_eq!(lines.len(), 2, "an open quote after a stray one: {lines:?}");
    assert!(lines.iter().any(|(_, email)| email.is_err()), "{lines:?}");
}

#[test]
fn a_quote_that_swallows_a_large_file_is_given_up() {
    let start = b"email,company\na@x.org,A\nb@x.org,\"B\n";
    let endless = std::io::repeat(b'x').take(1 << 40);
    let reader = ImportReader::new(start.chain(endless), None).expect("a header");
    let lines: Vec<_> = reader.collect();
    let errors: Vec<_> = lines.iter().map(|line| line.record.is_err()).collect();
    assert_eq!(errors, [false, true]);
    let error = lines.get(1).and_then(|line| line.record.as_ref().err());
    assert!(
        error.is_some_and(|error| error.contains("16 MB")),
        "{error:?}"
    );
}

#[test]
fn a_mapping_names_a_header_whatever_spaces_are_around_it() {
    let mapping = serde_json::json!({ "Adresse ": "email" });
    let reader = ImportReader::new(&b"Adresse ,x\na@x.org,1\n"[..], mapping.as_object());
    assert_eq!(
        reader.expect("a header").targets(),
        [Target::Email, Target::Attribute("x".into())]
    );
    let twice = serde_json::json!({ "Adresse ": "email", "Adresse": "phone" });
    assert_eq!(
        ImportReader::new(&b"Adresse\na@x.org\n"[..], twice.as_object()).err(),
        Some(ImportError::DuplicateColumn("Adresse".into()))
    );
}

#[test]
fn headers_that_refuse_the_file() {
    assert_eq!(read(b""), Err(ImportError::Empty));
    assert_eq!(read(b"\xef\xbb\xbf \n"), Err(ImportError::Empty));
    assert_eq!(read(b"email,,x\n"), Err(ImportError::NamelessColumn(2)));
    assert_eq!(
        read(b"email,E-Mail\n"),
        Err(ImportError::DuplicateColumn("email".into()))
    );
    for (mapping, header) in [
        (
            serde_json::json!({ "E-Mail": "email", "Tel": "email" }),
            "E-Mail,Tel\n",
        ),
        (serde_json::json!({ "Tel": "email" }), "Tel,E-Mail\n"),
        (serde_json::json!({ "Tel": "email" }), "E-Mail,Tel\n"),
    ] {
        assert_eq!(
            ImportReader::new(header.as_bytes(), mapping.as_object()).err(),
            Some(ImportError::MappedTwice("email".into())),
            "{header}"
        );
    }
    assert_eq!(read(b"shoe size\n42\n"), Err(ImportError::NobodyKnown));
    assert_eq!(read(b"e\0m\0\n"), Err(ImportError::NotText));
    let mapping = serde_json::json!({ "Mail to": "email", "x": "attributes.size" });
    let mapping = mapping.as_object();
    let reader = ImportReader::new(&b"Mail to,x\na@x.org,42\n"[..], mapping).expect("a header");
    assert_eq!(
        reader.targets(),
        [Target::Email, Target::Attribute("size".into())]
    );
    assert_eq!(
        ImportReader::new(&b"email\n"[..], mapping).err(),
        Some(ImportError::UnknownHeader("Mail to".into()))
    );
    let wrong = serde_json::json!({ "email": "e-male" });
    assert_eq!(
        ImportReader::new(&b"email\n"[..], wrong.as_object()).err(),
        Some(ImportError::UnknownField("e-male".into()))
    );
}

#[test]
fn a_header_alone_has_no_lines() {
    assert_eq!(read(b"email,x\n"), Ok(vec![]));
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(cells in proptest::collection::vec("[^\0\r\u{feff}]{0,20}", 1..30)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["email", "note"]).expect("writes");
        for (number, cell) in cells.iter().enumerate() {
            writer.write_record([&format!("p{number}@x.org"), cell]).expect("writes");
        }
        let file = writer.into_inner().expect("writes");
        let lines = read(&file).expect("a header");
        prop_assert_eq!(lines.len(), cells.len());
        for (line, cell) in lines.iter().zip(&cells) {
            let person = line.record.as_ref().expect("readable");
            let note = person.attributes.get("note").and_then(Value::as_str).unwrap_or_default();
            // An apostrophe before what a spreadsheet would run is an export's.
            prop_assert_eq!(note, unguarded(cell.trim()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(file in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        if let Ok(lines) = read(&file) {
            prop_assert!(lines.len() <= file.len());
        }
    }
}
