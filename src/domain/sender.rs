//! Senders: how they send, and how much in a day.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

use super::oauth::MailLogin;

pub mod authentication;
pub mod check;

/// How a sender's messages travel. The password is no part of it: it is sealed and kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Transport {
    /// Through an SMTP server.
    Smtp(SmtpTransport),
    /// Through Twilio's API, or that of a provider which speaks it.
    Twilio(TwilioTransport),
    /// Kept in the database, never sent: for trying things out.
    Outbox {
        /// What people call it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
}

/// An SMTP server and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmtpTransport {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// Who logs in, where the server asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// By what.
    #[serde(default, skip_serializing_if = "MailLogin::is_password")]
    pub login: MailLogin,
}

/// Where Twilio's own API is.
pub const TWILIO_BASE_URL: &str = "https://api.twilio.com";

/// An account with Twilio, or with a provider that speaks its API. The token is no part of it: it
/// is sealed and kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TwilioTransport {
    /// Where the API is; `None`, [`TWILIO_BASE_URL`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The account's name, `AC…`.
    pub account_sid: String,
}

/// How a connection is protected.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum SmtpSecurity {
    /// Not at all: only for servers on the same machine or network.
    None,
    /// Begins in the clear and must become TLS.
    Starttls,
    /// TLS from the first byte.
    Tls,
}

/// The growth of a young sender's daily cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmUp {
    /// The first day, on the sender's clock.
    pub start_at: NaiveDate,
    /// The cap on that day.
    pub first_day_cap: u32,
    /// By how much the cap grows with each day after it.
    pub daily_increase: u32,
}

/// The most messages on `day`; `None`, no limit. A warm-up only ever lowers the daily cap; before
/// its first day the first day's cap holds.
pub fn daily_cap_on(
    day: NaiveDate,
    daily_cap: Option<u32>,
    warm_up: Option<&WarmUp>,
) -> Option<u32> {
    let Some(warm_up) = warm_up else {
        return daily_cap;
    };
    let days = u32::try_from((day - warm_up.start_at).num_days()).unwrap_or(0);
    let warm = warm_up
        .first_day_cap
        .saturating_add(warm_up.daily_increase.saturating_mul(days));
    Some(daily_cap.map_or(warm, |cap| cap.min(warm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_grows_to_the_cap() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).expect("a date");
        let warm_up = WarmUp {
            start_at: day(10),
            first_day_cap: 5,
            daily_increase: 3,
        };
        let on = |at| daily_cap_on(day(at), Some(20), Some(&warm_up));
        assert_eq!(
            [on(1), on(10), on(11), on(14), on(15), on(30)].map(Option::unwrap_or_default),
            [5, 5, 8, 17, 20, 20]
        );
        assert_eq!(daily_cap_on(day(10), None, None), None);
    }
}
