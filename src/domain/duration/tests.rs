use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<(u32, u64), DurationError> {
    text.parse::<WaitDuration>()
        .map(|wait| (wait.days(), wait.seconds()))
}

#[test]
fn reads_days_apart_from_the_exact_part() {
    assert_eq!(parse("P2D"), Ok((2, 0)));
    assert_eq!(parse("P2W"), Ok((14, 0)));
    assert_eq!(parse("P1W1D"), Ok((8, 0)));
    assert_eq!(parse("PT4H30M"), Ok((0, 16_200)));
    assert_eq!(parse("P1DT24H"), Ok((1, 86_400)));
    assert_eq!(parse("PT0S"), Ok((0, 0)));
    assert_eq!(parse("PT5M"), Ok((0, 300)));
    assert_eq!(parse("P3650D"), Ok((3650, 0)));
}

#[test]
fn refuses_what_is_no_wait_and_says_why() {
    for text in [
        "", "P", "PT", "P1DT", "2D", "p2d", "P2", "PD", "PT1D", "P1H", "PT1M1H", "P1D1D", "P1D1W",
        " P1D", "P1D ", "P+1D", "P1DT1H1", "PT1S1S", "P²D", "P١D",
    ] {
        assert_eq!(
            parse(text),
            Err(DurationError::Malformed(text.into())),
            "{text:?}"
        );
    }
    for text in ["P1M", "P1Y", "P1Y2M3DT4H", "P0M"] {
        assert_eq!(parse(text), Err(DurationError::YearsOrMonths(text.into())));
    }
    for text in ["P0.5D", "PT1,5H", "PT0.1S"] {
        assert_eq!(parse(text), Err(DurationError::Fraction(text.into())));
    }
    for text in ["-P1D", "P-1D", "PT-1H"] {
        assert_eq!(parse(text), Err(DurationError::Negative(text.into())));
    }
    for text in [
        "P3651D",
        "P3650DT1S",
        "PT87600H1S",
        "P99999999999999999999D",
        "P4294967296D",
        "PT18446744073709551615H",
    ] {
        assert_eq!(parse(text), Err(DurationError::TooLong), "{text}");
    }
}

#[test]
fn writes_the_canonical_form() {
    for (text, canonical) in [
        ("P0D", "PT0S"),
        ("P2W", "P14D"),
        ("PT90M", "PT1H30M"),
        ("PT24H", "PT24H"),
        ("P1DT3661S", "P1DT1H1M1S"),
        ("PT007M", "PT7M"),
    ] {
        assert_eq!(text.parse::<WaitDuration>().unwrap().to_string(), canonical);
    }
    let wait: WaitDuration = serde_json::from_str("\"P1DT1H\"").unwrap();
    assert_eq!(serde_json::to_string(&wait).unwrap(), "\"P1DT1H\"");
    assert_eq!(wait.exact(), chrono::Duration::hours(25));
    let error = serde_json::from_str::<WaitDuration>("\"P1M\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("write days instead"), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_reads_back(days in 0u32..1800, seconds in 0u64..100_000_000) {
        let wait = WaitDuration::new(days, seconds).unwrap();
        prop_assert_eq!(wait.to_string().parse::<WaitDuration>().unwrap(), wait);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-PTWDHMSY0-9., ]{0,24}|.*") {
        if let Ok(wait) = text.parse::<WaitDuration>() {
            prop_assert_eq!(wait.to_string().parse::<WaitDuration>().unwrap(), wait);
        }
    }
}
