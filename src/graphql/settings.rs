//! The settings of a sequence in the API.

use async_graphql::{Enum, InputObject, Object, SimpleObject};

use super::scalar::{CountryCode, Date, Duration, LocalTime, TimeZone};
use crate::app::sequence::{SettingsChange, WindowInput};
use crate::domain::settings as domain;

/// Whose clock the send window is read on.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::WindowClock")]
pub enum WindowClock {
    /// The person's own, or the sequence's where the person's is unknown.
    Contact,
    /// The sender's.
    Sender,
    /// The one that `timeZone` of the settings names.
    Sequence,
}

/// A day of the week.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::Weekday")]
pub enum Weekday {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

/// A stretch of one weekday in which messages may leave.
#[derive(SimpleObject, Debug)]
pub struct SendWindow {
    /// The weekday.
    day: Weekday,
    /// The first minute in which messages may leave.
    from: LocalTime,
    /// The first minute in which they may not; 24:00 is the midnight that ends the day.
    to: LocalTime,
}

/// When a sequence sends, how much, and what makes its leads stop.
pub struct SequenceSettings(domain::Settings);

/// When a sequence sends, how much, and what makes its leads stop.
#[Object]
impl SequenceSettings {
    /// The sequence's own clock.
    async fn time_zone(&self) -> TimeZone {
        self.0.time_zone.as_str().into()
    }

    /// Whose clock the send window is read on.
    async fn window_clock(&self) -> WindowClock {
        self.0.window_clock.into()
    }

    /// When messages may leave; none at all means never.
    async fn send_windows(&self) -> Vec<SendWindow> {
        let windows = self.0.send_windows.iter();
        windows
            .map(|window| SendWindow {
                day: window.day.into(),
                from: window.from.to_string().into(),
                to: window.to.to_string().into(),
            })
            .collect()
    }

    /// Days on which nothing leaves, on the same clock as the windows, besides the public holidays of
    /// `holidayCountries` and of the contact's country.
    async fn holidays(&self) -> Vec<Date> {
        self.0.holidays.iter().copied().map(Date).collect()
    }

    /// Countries whose public holidays are holidays, too: the days that are free in the whole
    /// country, not those of a part of it. Days that follow the moon, or that a government moves, are
    /// estimates until they are announced and the server is updated.
    async fn holiday_countries(&self) -> Vec<CountryCode> {
        let countries = self.0.holiday_countries.iter();
        countries.map(|country| country.code().into()).collect()
    }

    /// The last day for which the public holidays of all `holidayCountries` are known to this
    /// server; later days count as ordinary ones until it is updated. Null where no country is chosen.
    async fn holidays_known_until(&self) -> Option<Date> {
        self.0.holidays_known_until().map(Date)
    }

    /// The public holidays of the contact's own country are holidays for that contact. Whose country
    /// is not known lives in the country of its time zone, if that belongs to one.
    async fn contact_holidays(&self) -> bool {
        self.0.contact_holidays
    }

    /// At most so many leads get their first message in a day; null, no limit.
    async fn max_new_leads_per_day(&self) -> Option<i32> {
        self.0
            .max_new_leads_per_day
            .map(|cap| i32::try_from(cap).unwrap_or(i32::MAX))
    }

    /// At most so many messages leave in a day, follow-ups before first messages whoever sends them; null, no limit.
    async fn max_sends_per_day(&self) -> Option<i32> {
        self.0
            .max_sends_per_day
            .map(|cap| i32::try_from(cap).unwrap_or(i32::MAX))
    }

    /// A message that is later than this, behind the instant for which it was planned, is skipped
    /// and not sent; null sends it however late. Waiting for a cap, a pace or a window makes late, too:
    /// where ten of a hundred contacts are written to in a day, the last are ten days late, and with P2D
    /// most get nothing. It is meant for messages that are about a date, such as reminders.
    async fn max_lateness(&self) -> Option<Duration> {
        self.0.max_lateness.map(|span| span.to_string().into())
    }

    /// A reply stops the lead.
    async fn stop_on_reply(&self) -> bool {
        self.0.stop_on_reply
    }

    /// A reply from one contact stops the others of the sequence who are at the same company (reason
    /// COMPANY_REPLIED): whose `company` is the same but for upper and lower case and white space. An
    /// automatic reply stops nobody.
    async fn stop_company_on_reply(&self) -> bool {
        self.0.stop_company_on_reply
    }

    /// How long an automatic reply (out of office) that states no date of return keeps the lead quiet,
    /// instead of stopping it; null ignores automatic replies. Wherever the lead is, messages wait for
    /// the first open send window after that, and so does work that would be given to somebody.
    /// Whatever else the lead does goes on meanwhile: conditions, tasks that somebody has already,
    /// webhooks, updates.
    async fn auto_reply_hold(&self) -> Option<Duration> {
        self.0.auto_reply_hold.map(|hold| hold.to_string().into())
    }

    /// A won opportunity stops the lead.
    async fn stop_on_opportunity_won(&self) -> bool {
        self.0.stop_on_opportunity_won
    }
}

impl From<domain::Settings> for SequenceSettings {
    fn from(settings: domain::Settings) -> Self {
        Self(settings)
    }
}

/// Settings to change; a field that is left out or null stays as it is. A new sequence begins with
/// office hours, Monday to Friday from nine to five on the contact's clock.
#[derive(InputObject, Debug)]
pub struct SequenceSettingsInput {
    /// The sequence's own clock.
    time_zone: Option<TimeZone>,
    /// Whose clock the send window is read on.
    window_clock: Option<WindowClock>,
    /// All send windows; they replace those there are.
    send_windows: Option<Vec<SendWindowInput>>,
    /// All holidays; they replace those there are.
    holidays: Option<Vec<Date>>,
    /// All countries whose public holidays are holidays, too, at most 50; they replace those there
    /// are.
    holiday_countries: Option<Vec<CountryCode>>,
    /// The public holidays of the contact's own country are holidays for that contact.
    contact_holidays: Option<bool>,
    /// At most so many leads get their first message in a day; 0 takes the limit away.
    max_new_leads_per_day: Option<i32>,
    /// At most so many messages leave in a day, follow-ups before first messages whoever sends them; 0 takes the limit away.
    max_sends_per_day: Option<i32>,
    /// A message that is later than this is skipped and not sent; PT0S sends it however late.
    max_lateness: Option<Duration>,
    /// A reply stops the lead.
    stop_on_reply: Option<bool>,
    /// A reply from one contact stops the others of the sequence who are at the same company (reason
    /// COMPANY_REPLIED): whose `company` is the same but for upper and lower case and white space. An
    /// automatic reply stops nobody.
    stop_company_on_reply: Option<bool>,
    /// How long an automatic reply that states no date of return keeps the lead quiet; PT0S ignores
    /// automatic replies.
    auto_reply_hold: Option<Duration>,
    /// A won opportunity stops the lead.
    stop_on_opportunity_won: Option<bool>,
}

/// A stretch of one weekday in which messages may leave.
#[derive(InputObject, Debug)]
pub struct SendWindowInput {
    /// The weekday.
    day: Weekday,
    /// The first minute in which messages may leave.
    from: LocalTime,
    /// The first minute in which they may not; 24:00 is the midnight that ends the day. A window
    /// past midnight is written as two.
    to: LocalTime,
}

impl From<SequenceSettingsInput> for SettingsChange {
    fn from(input: SequenceSettingsInput) -> Self {
        let windows = |windows: Vec<SendWindowInput>| windows.into_iter().map(Into::into).collect();
        Self {
            time_zone: input.time_zone.map(|name| name.0),
            window_clock: input.window_clock.map(Into::into),
            send_windows: input.send_windows.map(windows),
            holidays: input
                .holidays
                .map(|days| days.into_iter().map(|day| day.0).collect()),
            holiday_countries: input
                .holiday_countries
                .map(|codes| codes.into_iter().map(|code| code.0).collect()),
            contact_holidays: input.contact_holidays,
            max_new_leads_per_day: input.max_new_leads_per_day,
            max_sends_per_day: input.max_sends_per_day,
            max_lateness: input.max_lateness.map(|span| span.0),
            stop_on_reply: input.stop_on_reply,
            stop_company_on_reply: input.stop_company_on_reply,
            auto_reply_hold: input.auto_reply_hold.map(|hold| hold.0),
            stop_on_opportunity_won: input.stop_on_opportunity_won,
        }
    }
}

impl From<SendWindowInput> for WindowInput {
    fn from(input: SendWindowInput) -> Self {
        Self {
            day: input.day.into(),
            from: input.from.0,
            to: input.to.0,
        }
    }
}
