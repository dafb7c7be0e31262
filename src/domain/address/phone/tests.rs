//! Numbers right and wrong, and a labelled collection: `phones/expected.jsonl` in the folder that
//! `CADENZA_CORPORA` names.

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn parse(text: &str, region: &str) -> Result<String, PhoneError> {
    let number = PhoneNumber::parse(text, region.parse().ok())?;
    Ok(number.as_str().to_owned())
}

#[test]
fn one_form_for_all_spellings() {
    for text in [
        "+351 912-345.678",
        " +351912345678 ",
        "tel:+351-912-345-678",
        "+351 (912) 345 678",
        "\u{ff0b}\u{ff13}\u{ff15}\u{ff11} 912 345 678",
        "+\u{663}\u{665}\u{661} 912 345 678",
    ] {
        assert_eq!(parse(text, ""), Ok("+351912345678".into()), "{text}");
    }
    for text in ["912 345 678", "00351 912 345 678", "+351 912 345 678"] {
        assert_eq!(parse(text, "PT"), Ok("+351912345678".into()), "{text}");
    }
    // A zero before the town's code stays in Italy and goes in Germany.
    assert_eq!(parse("+39 06 6982 1234", ""), Ok("+390669821234".into()));
    assert_eq!(parse("+49 (0)30 123456", ""), Ok("+4930123456".into()));
}

#[test]
fn what_is_wrong_is_named() {
    for (text, region, expected) in [
        ("  ", "", PhoneError::Empty),
        ("ana", "", PhoneError::Shape),
        ("+", "", PhoneError::Shape),
        ("912345678", "", PhoneError::NoCountry),
        ("+0912345678", "", PhoneError::UnknownCountry),
        ("+999 12345678", "", PhoneError::UnknownCountry),
        ("+351 91234", "", PhoneError::TooShort),
        ("+1 555 0100", "", PhoneError::TooShort),
        ("+351 912 345 678 90", "", PhoneError::TooLong),
        ("+1234567890123456789", "", PhoneError::TooLong),
        ("+351 012 345 678", "", PhoneError::NotInUse),
        ("912 345 678", "US", PhoneError::TooShort),
        ("+351 912 345 678 ext. 12", "", PhoneError::Extension),
    ] {
        assert_eq!(parse(text, region), Err(expected), "{text}");
    }
}

#[test]
fn regions_are_codes_of_two_letters() {
    let region = |text: &str| text.parse::<Region>().map(|region| region.to_string());
    assert_eq!(
        [region("PT"), region("pt")],
        ["PT", "PT"].map(|code| Ok(code.into()))
    );
    for text in ["", "P", "XX", "PRT", "Portugal"] {
        assert_eq!(region(text), Err(UnknownRegion), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), digits in "[+0-9 ().x;=-]{0,40}") {
        for text in [text, digits] {
            for region in [None, "US".parse().ok(), "IT".parse().ok()] {
                if let Ok(number) = PhoneNumber::parse(&text, region) {
                    prop_assert!(number.as_str().starts_with('+'));
                    prop_assert!((5..=16).contains(&number.as_str().len()), "{number:?}");
                    // Read again, it is the same, wherever it is read.
                    prop_assert_eq!(PhoneNumber::parse(number.as_str(), region), Ok(number));
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Labelled {
    input: String,
    default_region: Option<String>,
    parse: String,
    #[serde(flatten)]
    read: Option<Expected>,
}

#[derive(Deserialize, PartialEq, Debug)]
struct Expected {
    possible: bool,
    valid: bool,
    e164: String,
    region: Option<String>,
    r#type: String,
    ext: Option<String>,
}

#[test]
fn agrees_with_libphonenumber() {
    let Some(folder) = std::env::var_os("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA names no folder of test data");
        return;
    };
    let path = PathBuf::from(folder).join("phones/expected.jsonl");
    let text = std::fs::read_to_string(&path).expect("the folder has phones/expected.jsonl");
    let (mut seen, mut agreed) = (0_u32, 0_u32);
    for line in text.lines() {
        let labelled: Labelled = serde_json::from_str(line).expect(line);
        let region = labelled.default_region.as_deref();
        let region = region.map(|code| code.parse().expect(line));
        let read = PhoneReading::read(&labelled.input, region).ok();
        assert_eq!(labelled.parse == "ok", labelled.read.is_some(), "{line}");
        let read = read.map(|number| Expected {
            possible: number.is_possible(),
            valid: number.is_valid(),
            e164: number.e164(),
            region: number.region().map(|region| region.to_string()),
            r#type: number.kind().to_string(),
            ext: number.extension().map(str::to_owned),
        });
        seen += 1;
        if read == labelled.read {
            agreed += 1;
        } else {
            println!("{line}\n   {read:?}");
        }
    }
    let share = f64::from(agreed) / f64::from(seen);
    println!("{agreed} of {seen} numbers are read alike: {share:.4}");
    assert!(seen > 4_000, "{seen} numbers in {}", path.display());
    assert!(share >= 0.995, "{share:.4}");
}
