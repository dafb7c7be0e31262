//! What comes back of text messages: how far the provider says that one is, and what a contact means who
//! answers with a word.

/// Where a provider sends what comes back, below the address by which this server is reached: the sender
/// follows, and the execution if it is told how far a message is.
pub const INBOUND_AT: &str = "/inbound/twilio/";

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The provider has it.
    OnItsWay,
    /// It is on the contact's telephone.
    Arrived,
    /// The contact has read it: WhatsApp tells that of those who let it.
    Read,
    /// It will not come to that.
    Failed {
        /// The provider's code for why, where it gave one.
        code: Option<u32>,
    },
}

impl Receipt {
    /// What a status of Twilio's means, with the code of an error; `None` for a word that is none.
    pub fn of(status: &str, code: Option<&str>) -> Option<Self> {
        Some(match status {
            "accepted" | "scheduled" | "queued" | "sending" | "sent" => Self::OnItsWay,
            "delivered" => Self::Arrived,
            "read" => Self::Read,
            "undelivered" | "failed" | "canceled" => Self::Failed {
                code: code
                    .and_then(|code| code.trim().parse().ok())
                    .filter(|code| *code != 0),
            },
            _ => return None,
        })
    }

    /// How it is kept: its kind, and the provider's code.
    pub const fn parts(self) -> (&'static str, Option<u32>) {
        match self {
            Self::OnItsWay => ("ON_ITS_WAY", None),
            Self::Arrived => ("ARRIVED", None),
            Self::Read => ("READ", None),
            Self::Failed { code } => ("FAILED", code),
        }
    }

    /// What [`Self::parts`] wrote; `None` for anything else.
    pub fn of_parts(kind: &str, code: Option<u32>) -> Option<Self> {
        Some(match kind {
            "ON_ITS_WAY" => Self::OnItsWay,
            "ARRIVED" => Self::Arrived,
            "READ" => Self::Read,
            "FAILED" => Self::Failed { code },
            _ => return None,
        })
    }
}

/// What a message of one word asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// No more messages.
    Stop,
    /// Messages again. It lifts nothing by itself: who may lift an opt-out leaves a trace in the audit.
    Start,
}

/// The words for no more messages: those that Twilio and the operators of North America act upon by
/// themselves, and the same in other languages. As they are compared: without accents of theirs where people
/// leave them out.
const STOP: &[&str] = &[
    // English, and everywhere.
    "stop",
    "stopall",
    "stop all",
    "unsubscribe",
    "cancel",
    "end",
    "quit",
    "revoke",
    "optout",
    "opt out",
    "opt-out",
    "remove",
    // French, as Canada's operators have it.
    "arret",
    "arrêt",
    "arrete",
    "arrêter",
    "arreter",
    "désabonner",
    "desabonner",
    // German, Dutch, Scandinavian.
    "stopp",
    "abmelden",
    "abbestellen",
    "afmelden",
    "uitschrijven",
    "stoppen",
    "avsluta",
    "avregistrera",
    "stans",
    "avslutt",
    "afmeld",
    "lopeta",
    // Spanish, Portuguese, Italian, Romanian, Catalan.
    "parar",
    "alto",
    "baja",
    "detener",
    "cancelar",
    "sair",
    "remover",
    "descadastrar",
    "ferma",
    "annulla",
    "cancella",
    "disiscrivi",
    "opreste",
    "oprește",
    "atura",
    // Slavic, Baltic, Hungarian, Turkish, Greek.
    "стоп",
    "отписаться",
    "отписка",
    "відписатися",
    "koniec",
    "rezygnuje",
    "rezygnuję",
    "konec",
    "odhlasit",
    "odhlásit",
    "leállít",
    "leiratkozás",
    "dur",
    "iptal",
    "σταματηστε",
    "στοπ",
    "διαγραφη",
    "διαγραφή",
    // Hebrew, Arabic, Hindi, Indonesian, Vietnamese, Thai.
    "הסר",
    "הסרה",
    "עצור",
    "توقف",
    "إيقاف",
    "الغاء",
    "إلغاء",
    "रोकें",
    "बंद",
    "berhenti",
    "dừng",
    "หยุด",
    // Chinese, Japanese, Korean.
    "停止",
    "退订",
    "退訂",
    "取消",
    "配信停止",
    "중지",
    "수신거부",
];
/// The words for messages again.
const START: &[&str] = &["start", "unstop"];

/// What a message asks for that is nothing but a word for it; `None` for everything else, which somebody has
/// to read. "Please stop by on Monday" opts nobody out.
pub fn keyword(text: &str) -> Option<Keyword> {
    // Nobody means a word that is longer, however long the message.
    let beginning: String = text.trim().chars().take(40).collect();
    let word = beginning.to_lowercase();
    let is_around = |letter: char| {
        letter.is_whitespace()
            || matches!(letter, '.' | '!' | '?' | ',' | '"' | '\'' | '。' | '！')
            || matches!(
                letter,
                '“' | '”' | '„' | '«' | '»' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            )
    };
    let word = word.trim_matches(is_around);
    let words: Vec<&str> = word.split_whitespace().collect();
    let word = words.join(" ");
    if STOP.contains(&word.as_str()) {
        Some(Keyword::Stop)
    } else if START.contains(&word.as_str()) {
        Some(Keyword::Start)
    } else {
        None
    }
}

/// The number in an address of Twilio's, which names WhatsApp before it, in E.164 (ITU-T); `None` for what
/// is none, as a short code is.
pub fn number(address: &str) -> Option<&str> {
    let number = address.strip_prefix("whatsapp:").unwrap_or(address);
    let digits = number.strip_prefix('+')?;
    let is_number = (7..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_is_what_twilio_means_by_it() {
        for status in ["accepted", "scheduled", "queued", "sending", "sent"] {
            assert_eq!(
                Receipt::of(status, None),
                Some(Receipt::OnItsWay),
                "{status}"
            );
        }
        for (status, meant) in [("delivered", Receipt::Arrived), ("read", Receipt::Read)] {
            let receipt = Receipt::of(status, Some("0"));
            assert_eq!(receipt, Some(meant), "{status}");
        }
        for receipt in [
            Receipt::OnItsWay,
            Receipt::Arrived,
            Receipt::Read,
            Receipt::Failed { code: None },
            Receipt::Failed { code: Some(30_005) },
        ] {
            let (kind, code) = receipt.parts();
            assert_eq!(Receipt::of_parts(kind, code), Some(receipt));
        }
        assert_eq!(Receipt::of_parts("LOST", None), None);
        for status in ["undelivered", "failed", "canceled"] {
            let code = Some(30_005);
            let failed = Receipt::of(status, Some(" 30005"));
            assert_eq!(failed, Some(Receipt::Failed { code }), "{status}");
            for none in [None, Some(""), Some("0"), Some("x"), Some("-3")] {
                let failed = Receipt::of(status, none);
                assert_eq!(failed, Some(Receipt::Failed { code: None }), "{none:?}");
            }
        }
        for status in ["", "Delivered", "receiving", "received", "unknown"] {
            assert_eq!(Receipt::of(status, None), None, "{status}");
        }
    }

    #[test]
    fn one_word_opts_out_and_a_sentence_does_not() {
        for stop in [
            "STOP",
            " stop. ",
            "Stop!",
            "\"STOP\"",
            "StopAll",
            "STOP  ALL",
            "Unsubscribe",
            "ARRÊT",
            "Arret",
            "стоп",
            "СТОП!",
            "停止",
            "Opt-Out",
            "STOPP",
            "BAJA",
            "\u{200f}הסר",
        ] {
            assert_eq!(keyword(stop), Some(Keyword::Stop), "{stop}");
        }
        for start in ["START", "unstop", " Start "] {
            assert_eq!(keyword(start), Some(Keyword::Start), "{start}");
        }
        for other in [
            "",
            "Yes",
            "HELP",
            "INFO",
            "stop by on Monday",
            "Do not stop",
            "nonstop",
            "stopped",
            "Stop it, and tell me more about the price of it",
            "end of the week?",
            "👍",
            "st op",
        ] {
            assert_eq!(keyword(other), None, "{other}");
        }
    }

    #[test]
    fn a_number_is_read_with_and_without_its_channel() {
        assert_eq!(number("+351912345678"), Some("+351912345678"));
        assert_eq!(number("whatsapp:+351912345678"), Some("+351912345678"));
        for none in [
            "",
            "+",
            "12345",
            "+12",
            "+0351912345678",
            "whatsapp:",
            "sms:+351912345678",
            "+35191234567x",
            "+1234567890123456",
            "whatsapp:whatsapp:+351912345678",
        ] {
            assert_eq!(number(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_ends_in_a_panic(text in any::<String>(), other in any::<String>()) {
            let word = keyword(&text);
            prop_assert_eq!(word, keyword(&format!(" {} ", text.trim())));
            let _is_known: Option<Receipt> = Receipt::of(&text, Some(&other));
            if let Some(number) = number(&text) {
                prop_assert!(number.starts_with('+') && text.ends_with(number));
            }
        }
    }
}
