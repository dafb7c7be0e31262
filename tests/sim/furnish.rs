//! What a world begins with: senders, sequences, people; and how a sequence is published.

use std::sync::Arc;

use cadenza::app::sequence::publish::{self, PolicyInput, Publish};
use cadenza::app::workspace;
use cadenza::domain::bulk::BulkKind;
use cadenza::domain::flow::{Channel, Flow};
use cadenza::domain::id::{PersonId, SenderId, SequenceId};
use cadenza::domain::person_filter::same_company;
use cadenza::domain::sender::WarmUp;
use cadenza::domain::sequence::SequenceStatus;
use cadenza::domain::settings::{LocalTime, SendWindow, Settings, Weekday, WindowClock};
use cadenza::store;
use chrono::{Days, Duration, NaiveDate};
use entity::{person, sender};
use sea_orm::{ActiveModelTrait, ActiveValue::Set};

use crate::book::{self, Edition, Removed};
use crate::flows;
use crate::options::Press;
use crate::oracle::clock::{self, ZONES, day};
use crate::world::World;

/// The Wednesday of the first week, a holiday.
fn holiday() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 11).expect("a date")
}

/// What windows there are: one range in a day or several, the whole day, the night.
fn windows(pattern: usize) -> Vec<SendWindow> {
    let ranges: &[(&[Weekday], u16, u16)] = match pattern {
        0 => &[(&Weekday::ALL, 0, 24 * 60)],
        1 => &[(&WORKDAYS, 9 * 60, 12 * 60), (&WORKDAYS, 13 * 60, 17 * 60)],
        2 => &[
            (&LATE_DAYS, 8 * 60 + 30, 10 * 60),
            (&LATE_DAYS, 10 * 60, 11 * 60),
            (&LATE_DAYS, 15 * 60, 20 * 60 + 30),
        ],
        // Over midnight.
        3 => &[(&WORKDAYS, 20 * 60, 24 * 60), (&LATE_DAYS, 0, 2 * 60)],
        _ => &[(&WORKDAYS, 9 * 60, 17 * 60)],
    };
    let time = |minutes| LocalTime::from_minutes(minutes).expect("a time of day");
    let window = |day: &Weekday, from, to| SendWindow {
        day: *day,
        from: time(from),
        to: time(to),
    };
    let each = |(days, from, to): &(&[Weekday], u16, u16)| -> Vec<SendWindow> {
        days.iter().map(|day| window(day, *from, *to)).collect()
    };
    ranges.iter().flat_map(each).collect()
}

const WORKDAYS: [Weekday; 5] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
];
const LATE_DAYS: [Weekday; 5] = [
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
];

impl World {
    pub async fn furnish(&mut self) {
        if self.options.plain {
            self.furnish_plainly().await;
        } else {
            self.furnish_richly().await;
        }
    }

    async fn furnish_plainly(&mut self) {
        self.book.workspace_zone = "UTC";
        for _ in 0..self.options.senders {
            let (cap, gap) = (Some(self.options.cap), self.options.gap);
            let pace = (gap, Duration::zero());
            self.engage(Channel::Email, "UTC", cap, pace, None).await;
        }
        let flow = flows::straight(&self.cast.email, self.options.steps);
        let settings = Settings {
            window_clock: WindowClock::Contact,
            holidays: [holiday()].into(),
            ..Settings::default()
        };
        self.write_sequence(flow, settings).await;
        let mut people = Vec::new();
        for number in 0..self.options.people {
            let email = Some(format!("p{number}@example.org"));
            let person = person::ActiveModel {
                first_name: Set(Some(format!("P{number}"))),
                ..Default::default()
            };
            people.push(self.meet(number, email, person).await);
        }
        self.enrol(0, &people, false).await;
    }

    async fn furnish_richly(&mut self) {
        self.book.workspace_zone = self.draws.pick(&ZONES);
        self.limit_workspace().await;
        for (channel, count) in [
            (Channel::Email, 3),
            (Channel::Sms, 2),
            (Channel::Whatsapp, 1),
        ] {
            let least = usize::from(channel == Channel::Email);
            for _ in 0..least + self.draws.index(count) {
                let zone = self.draws.pick(&ZONES);
                let cap = self.draws.pick(&[None, Some(2), Some(self.options.cap)]);
                let gap = Duration::seconds(self.draws.pick(&[0, 0, 90, 600]));
                let jitter = Duration::seconds(self.draws.pick(&[0, 30, 300]));
                let today = day(self.clock.now(), zone);
                let press = self.options.press;
                let cap = match press {
                    None => cap,
                    Some(Press::Caps) => Some(2),
                    Some(Press::WarmUp | Press::Domain) => None,
                };
                let warms_up = match press {
                    None => self.draws.percent(25),
                    Some(press) => press == Press::WarmUp,
                };
                let warm_up = warms_up.then(|| WarmUp {
                    start_at: today - Days::new(self.draws.below(2)),
                    // Low, or six to fourteen people seldom come up to it.
                    first_day_cap: 1,
                    daily_increase: 1,
                });
                self.engage(channel, zone, cap, (gap, jitter), warm_up)
                    .await;
            }
        }
        let mut people = Vec::new();
        for number in 0..self.options.people.min(14) {
            let person = self.drawn_person(number);
            let domain = self.draws.pick(&["example.org", "example.net"]);
            let email = self
                .draws
                .percent(85)
                .then(|| format!("p{number}@{domain}"));
            people.push(self.meet(number, email, person).await);
        }
        for index in 0..1 + self.draws.index(2) {
            let flow = match self.options.press {
                Some(_) => flows::pressing(&self.cast.email),
                None => flows::drawn(&self.draws, &self.cast),
            };
            let settings = self.drawn_settings();
            self.write_sequence(flow, settings).await;
            // The same people, or some of them.
            let from = if index == 0 {
                0
            } else {
                self.draws.index(people.len())
            };
            self.enrol(index, &people[from..], false).await;
        }
    }

    async fn limit_workspace(&mut self) {
        let cap = |cap: u32| i32::try_from(cap).expect("small");
        self.book.per_person = self.draws.pick(&[None, None, Some(1), Some(2)]);
        self.book.per_domain = self.draws.pick(&[None, None, None, Some(4)]);
        if let Some(press) = self.options.press {
            self.book.per_person = None;
            self.book.per_domain = (press == Press::Domain).then_some(2);
        }
        let change = workspace::Change {
            name: None,
            time_zone: Some(self.book.workspace_zone.to_owned()),
            max_messages_per_person_per_day: self.book.per_person.map(cap),
            max_messages_per_domain_per_day: self.book.per_domain.map(cap),
        };
        workspace::update(&self.services, &self.caller, change)
            .await
            .expect("limits");
    }

    fn drawn_person(&self, number: usize) -> person::ActiveModel {
        let draws = &self.draws;
        let text = |share: u64, text: String| Set(draws.percent(share).then_some(text));
        let mut attributes = serde_json::Map::new();
        if draws.percent(70) {
            attributes.insert("score".into(), draws.below(100).into());
        }
        if draws.percent(70) {
            attributes.insert("tier".into(), draws.pick(&["a", "b"]).into());
        }
        let zone = draws.percent(70).then(|| draws.pick(&ZONES));
        // The holidays of no other country are known to the oracle.
        let is_known = zone.is_none_or(|zone| clock::country_of(zone).is_ok());
        let country = match self.options.press {
            // The one that has a holiday while such a world lasts.
            Some(Press::Caps) => Some("JP"),
            _ => (draws.percent(40) || !is_known).then(|| draws.pick(&["DE", "US", "JP"])),
        };
        person::ActiveModel {
            phone: text(75, format!("+1415555{:04}", 2600 + number)),
            linkedin_url: text(50, format!("https://www.linkedin.com/in/p{number}")),
            first_name: text(80, format!("P{number}")),
            company: text(60, format!("Company {}", number % 3)),
            time_zone: Set(zone.map(str::to_owned)),
            country: Set(country.map(str::to_owned)),
            attributes: Set(attributes.into()),
            ..Default::default()
        }
    }

    pub fn drawn_settings(&self) -> Settings {
        let draws = &self.draws;
        let zone = draws.pick(&ZONES);
        let clocks = [
            WindowClock::Contact,
            WindowClock::Sender,
            WindowClock::Sequence,
        ];
        let today = day(self.clock.now(), zone);
        let german = draws.percent(25).then(|| "DE".parse().expect("a country"));
        let drawn = Settings {
            time_zone: zone.to_owned(),
            window_clock: draws.pick(&clocks),
            send_windows: windows(draws.index(5)),
            holidays: (0..draws.below(3))
                .map(|_| today + Days::new(draws.below(6)))
                .collect(),
            holiday_countries: german.into_iter().collect(),
            contact_holidays: draws.percent(40),
            max_new_leads_per_day: draws.pick(&[None, None, Some(2), Some(5)]),
            max_sends_per_day: draws.pick(&[None, None, Some(4), Some(8)]),
            max_lateness: draws
                .pick(&[None, None, None, Some("PT6H"), Some("P1D")])
                .map(|text| text.parse().expect("a duration")),
            stop_on_reply: draws.percent(60),
            stop_company_on_reply: draws.percent(20),
            auto_reply_hold: draws
                .percent(50)
                .then(|| "P2D".parse().expect("a duration")),
            ..Settings::default()
        };
        match self.options.press {
            Some(Press::Caps) => Settings {
                contact_holidays: true,
                max_new_leads_per_day: Some(2),
                max_sends_per_day: draws.pick(&[None, Some(3)]),
                max_lateness: None,
                ..drawn
            },
            // Nothing else is to keep messages back.
            Some(Press::WarmUp | Press::Domain) => Settings {
                send_windows: windows(0),
                max_new_leads_per_day: None,
                max_sends_per_day: None,
                ..drawn
            },
            None => drawn,
        }
    }

    async fn engage(
        &mut self,
        channel: Channel,
        zone: &'static str,
        cap: Option<u32>,
        (gap, jitter): (Duration, Duration),
        warm_up: Option<WarmUp>,
    ) {
        let now = self.clock.now().timestamp_millis();
        let number = self.book.senders.len();
        let id: SenderId = self.entropy.id(self.clock.now());
        let address = match channel {
            Channel::Email => format!("s{number}@example.com"),
            _ => format!("+1415555{:04}", 2500 + number),
        };
        let row = sender::ActiveModel {
            id: Set(id.uuid()),
            workspace_id: Set(self.caller.workspace.uuid()),
            name: Set(format!("Sender {number}")),
            channel: Set(channel.to_string()),
            address: Set(address),
            enabled: Set(true),
            time_zone: Set(zone.into()),
            daily_cap: Set(cap.map(|cap| i32::try_from(cap).expect("small"))),
            min_gap_ms: Set(gap.num_milliseconds()),
            gap_jitter_ms: Set(jitter.num_milliseconds()),
            warm_up: Set(warm_up.map(|warm_up| serde_json::to_value(warm_up).expect("json"))),
            transport: Set(serde_json::json!({ "kind": "outbox" })),
            tagged_replies: Set(channel == Channel::Email && number.is_multiple_of(2)),
            revision: Set(1),
            next_free_at: Set(0),
            failures: Set(0),
            created_at: Set(now),
            updated_at: Set(now),
            ..Default::default()
        };
        row.insert(self.services.db.write()).await.expect("sender");
        match channel {
            Channel::Email => self.cast.email.push(id),
            Channel::Sms => self.cast.sms.push(id),
            _ => self.cast.whatsapp.push(id),
        }
        let warm_up = warm_up.map(|it| (it.start_at, it.first_day_cap, it.daily_increase));
        self.book.senders.push(book::Sender {
            id,
            zone,
            cap,
            gap,
            jitter,
            warm_up,
        });
    }

    async fn meet(
        &self,
        number: usize,
        email: Option<String>,
        person: person::ActiveModel,
    ) -> PersonId {
        let now = self.clock.now().timestamp_millis();
        let id: PersonId = self.entropy.id(self.clock.now());
        let attributes = match person.attributes {
            Set(attributes) => attributes,
            _ => serde_json::json!({}),
        };
        let company_key = match &person.company {
            Set(Some(company)) => Some(same_company(company)),
            _ => None,
        };
        let person = person::ActiveModel {
            id: Set(id.uuid()),
            workspace_id: Set(self.caller.workspace.uuid()),
            email: Set(email.clone()),
            email_key: Set(email),
            attributes: Set(attributes),
            company_key: Set(company_key),
            search_text: Set(format!("p{number}")),
            created_at: Set(now),
            updated_at: Set(now),
            ..person
        };
        person
            .insert(self.services.db.write())
            .await
            .expect("person");
        id
    }

    pub async fn enrol(&mut self, index: usize, people: &[PersonId], again: bool) {
        // People are selected as they were a moment ago.
        self.clock
            .advance_to(self.clock.now() + Duration::seconds(1));
        let people: Vec<String> = people.iter().map(ToString::to_string).collect();
        let request = serde_json::json!({
            "sequenceId": self.book.sequences[index].id.to_string(),
            "people": { "ids": people },
            "reEnrol": again,
        });
        self.bulk(BulkKind::Enrol, request).await;
    }

    async fn write_sequence(&mut self, flow: Flow, settings: Settings) {
        let now = self.clock.now();
        let id: SequenceId = self.entropy.id(now);
        let draft = store::sequence::Sequence {
            id,
            name: format!("Sequence {}", self.book.sequences.len()),
            status: SequenceStatus::Draft,
            revision: 1,
            flow: Arc::new(flow),
            settings,
            published_version: None,
            created_at: now,
            updated_at: now,
            published_at: None,
        };
        let (db, workspace) = (self.services.db.write(), self.caller.workspace);
        store::sequence::insert(db, workspace, &draft)
            .await
            .expect("a draft");
        self.book.sequences.push(book::Sequence {
            id,
            editions: Vec::new(),
        });
        let index = self.book.sequences.len() - 1;
        assert!(
            self.publish(index, Removed::Next).await,
            "a drawn flow can be published: {}",
            self.last_refusal
        );
    }

    /// Publishes a sequence; `false` where that was refused.
    pub async fn publish(&mut self, index: usize, removed: Removed) -> bool {
        let sequence = &mut self.book.sequences[index];
        let input = Publish {
            id: sequence.id,
            expected_revision: None,
            on_removed_step: match &removed {
                Removed::Next => PolicyInput::Next,
                Removed::Map(map) => PolicyInput::Map(map.clone()),
                Removed::Stop => PolicyInput::Stop,
            },
            dry_run: false,
            plan: false,
        };
        let published = match publish::publish(&self.services, &self.caller, input).await {
            Ok(published) => published,
            Err(cadenza::app::AppError::Refused(_)) => return false,
            Err(error) => panic!("publishing failed: {error}"),
        };
        if !published.refusals.is_empty() {
            self.last_refusal = format!("{:?}", published.problems);
            return false;
        }
        let row = published.sequence;
        let version = row.published_version.expect("a version").uuid();
        if sequence
            .editions
            .iter()
            .all(|edition| edition.version != version)
        {
            sequence.editions.push(Edition {
                version,
                flow: Flow::clone(&row.flow),
                settings: row.settings,
                removed,
            });
        }
        true
    }
}
