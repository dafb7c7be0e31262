//! Flows that a seed draws, of every kind of step, and the same edited.

use cadenza::domain::duration::WaitDuration;
use cadenza::domain::flow::{
    Action, Channel, ConditionAction, EmailAction, EmailVariant, EndAction, Flow, MessageAction,
    MessageVariant, MissingPolicy, Predicate, SplitAction, SplitBranch, Step, TaskAction,
    UpdateAction, WebhookAction, WrittenMatch,
};
use cadenza::domain::id::SenderId;
use cadenza::domain::person_filter::{MatchOp, PersonField};
use serde_json::{Value, json};

use crate::draws::Draws;

/// Who may send, by channel; a channel without anybody gets no steps.
#[derive(Debug, Clone, Default)]
pub struct Cast {
    pub email: Vec<SenderId>,
    pub sms: Vec<SenderId>,
    pub whatsapp: Vec<SenderId>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Email,
    Sms,
    Whatsapp,
    Task,
    Condition,
    Split,
    Webhook,
    Update,
    End,
}

fn wait(text: &str) -> WaitDuration {
    text.parse().expect("a duration")
}

/// One straight flow of emails.
pub fn straight(senders: &[SenderId], steps: usize) -> Flow {
    let step = |number: usize| Step {
        key: format!("step-{number}"),
        name: None,
        wait: wait(if number == 0 { "PT0S" } else { "P1DT2H" }),
        business_days: number == 2,
        action: Action::Email(EmailAction {
            senders: senders.to_vec(),
            variants: vec![EmailVariant {
                key: "a".into(),
                weight: 1,
                enabled: true,
                subject: Some(format!("Step {number}")),
                html: None,
                text: Some("[a] Hello {{ first_name }}".into()),
            }],
            in_thread: number > 0,
            track_opens: false,
            track_clicks: false,
        }),
        on_missing_address: MissingPolicy::Skip,
        on_missing_data: MissingPolicy::Hold,
        next: (number + 1 < steps).then(|| format!("step-{}", number + 1)),
    };
    Flow {
        steps: (0..steps).map(step).collect(),
    }
}

/// Emails that are all due at once, and a condition that waits for what is done with the first.
pub fn pressing(senders: &[SenderId]) -> Flow {
    let mut steps = straight(senders, 3).steps;
    for step in &mut steps {
        if let Action::Email(email) = &mut step.action {
            (email.track_opens, email.track_clicks) = (true, true);
        }
    }
    let asks = Step {
        key: "asks".into(),
        action: Action::Condition(ConditionAction {
            predicate: Predicate::Opened("step-0".into()),
            within: wait("P2D"),
            yes: Some("step-1".into()),
            no: Some("step-2".into()),
        }),
        wait: wait("PT0S"),
        next: None,
        ..steps[0].clone()
    };
    steps[0].next = Some("asks".into());
    steps.insert(1, asks);
    Flow { steps }
}

/// A flow of any shape. Every step leads to the next of the list by one way out, so that all can be
/// reached, and by the others to any later one, so that branches meet again.
pub fn drawn(draws: &Draws, cast: &Cast) -> Flow {
    let count = 2 + draws.index(7);
    let keys = (0..count)
        .map(|number| (format!("s{number}"), None))
        .collect();
    Drawing { draws, cast }.flow(keys)
}

/// A flow edited: steps taken out, added, and made into something else; the ways drawn anew.
pub fn edited(draws: &Draws, cast: &Cast, old: &Flow, number: usize) -> Flow {
    let mut keys = Vec::new();
    for (index, step) in old.steps.iter().enumerate() {
        if draws.percent(20) {
            keys.push((format!("n{number}-{index}"), None));
        }
        if draws.percent(75) {
            let same = draws.percent(65).then(|| step.clone());
            keys.push((step.key.clone(), same));
        }
    }
    if keys.is_empty() {
        keys.push((format!("n{number}"), None));
    }
    Drawing { draws, cast }.flow(keys)
}

struct Drawing<'a> {
    draws: &'a Draws,
    cast: &'a Cast,
}

impl Drawing<'_> {
    /// A flow of these steps in this order; those that are given stay, as far as they still can.
    fn flow(&self, keys: Vec<(String, Option<Step>)>) -> Flow {
        let names: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
        let mut steps: Vec<Step> = Vec::new();
        // A branch whose other way may lead behind an end.
        let mut branch: Option<usize> = None;
        for (index, (key, same)) in keys.into_iter().enumerate() {
            let is_last = index + 1 == names.len();
            let mut step = match same {
                Some(same) if self.still_fits(&same, &steps) => same,
                _ => self.step(key, &steps),
            };
            if matches!(step.action, Action::End(_)) && !is_last {
                match branch.take() {
                    Some(before) => {
                        set_other_way(&mut steps[before], &names[before + 1], &names[index + 1]);
                    }
                    None => step.action = self.update(),
                }
            }
            self.lead_on(&mut step, index, &names);
            if matches!(step.action, Action::Condition(_) | Action::Split(_)) {
                branch = Some(index);
            }
            steps.push(step);
        }
        self.shorten_replies(&mut steps);
        Flow { steps }
    }

    fn step(&self, key: String, before: &[Step]) -> Step {
        let is_first = before.is_empty();
        let action = self.action(before);
        let waits = ["PT0S", "PT0S", "PT20M", "PT3H", "P1D", "P1DT2H", "P2D"];
        let policies = [
            MissingPolicy::Skip,
            MissingPolicy::Hold,
            MissingPolicy::Stop,
        ];
        Step {
            key,
            name: None,
            wait: wait(if is_first {
                "PT0S"
            } else {
                self.draws.pick(&waits)
            }),
            business_days: self.draws.percent(30),
            action,
            on_missing_address: self.draws.pick(&policies),
            on_missing_data: self.draws.pick(&policies),
            next: None,
        }
    }

    fn action(&self, before: &[Step]) -> Action {
        let kind = self.draws.weighed(&[
            (6, Kind::Email),
            (if self.cast.sms.is_empty() { 0 } else { 2 }, Kind::Sms),
            (
                if self.cast.whatsapp.is_empty() { 0 } else { 1 },
                Kind::Whatsapp,
            ),
            (3, Kind::Task),
            (4, Kind::Condition),
            (2, Kind::Split),
            (2, Kind::Webhook),
            (2, Kind::Update),
            (1, Kind::End),
        ]);
        match kind {
            Kind::Email => self.email(!before.is_empty()),
            Kind::Sms => Action::Sms(self.text(&self.cast.sms)),
            Kind::Whatsapp => Action::Whatsapp(self.text(&self.cast.whatsapp)),
            Kind::Task => self.task(),
            Kind::Condition => Action::Condition(ConditionAction {
                predicate: self.predicate(before, 0),
                within: wait(self.draws.pick(&["PT0S", "PT2H", "P1D", "P3D"])),
                yes: None,
                no: None,
            }),
            Kind::Split => Action::Split(SplitAction {
                branches: vec![
                    SplitBranch {
                        weight: 1,
                        next: None
                    };
                    2 + self.draws.index(2)
                ],
            }),
            Kind::Webhook => Action::Webhook(WebhookAction {
                url: "https://hooks.example.net/lead".into(),
                headers: None,
                body: self
                    .draws
                    .pick(&[None, Some(r#"{"who": "{{ first_name }}"}"#.to_owned())]),
            }),
            Kind::Update => self.update(),
            Kind::End => Action::End(EndAction { reason: None }),
        }
    }

    /// Some of the senders, in any number.
    fn senders(&self, all: &[SenderId]) -> Vec<SenderId> {
        let from = self.draws.index(all.len());
        let count = 1 + self.draws.index(all.len());
        all.iter().cycle().skip(from).take(count).copied().collect()
    }

    fn greeting(&self, variant: &str) -> String {
        let tags = [
            "Hello {{ first_name }}",
            "Hello {{ first_name | default(\"there\") }}",
            "You are {{ attributes.tier }}",
            "Hello",
        ];
        format!("[{variant}] {}", self.draws.pick(&tags))
    }

    /// Keys, weights, and whether they are enabled; the first always is.
    fn variants(&self) -> Vec<(String, u32, bool)> {
        let weights = |index| match index {
            0 => (1, true),
            _ => (self.draws.pick(&[0, 1, 3]), self.draws.percent(80)),
        };
        (0..=self.draws.index(3))
            .map(|index| {
                let (weight, enabled) = weights(index);
                (["a", "b", "c"][index].to_owned(), weight, enabled)
            })
            .collect()
    }

    fn email(&self, may_reply: bool) -> Action {
        let variant = |(key, weight, enabled): (String, u32, bool)| EmailVariant {
            subject: Some(format!("About {key}")),
            html: None,
            text: Some(self.greeting(&key)),
            key,
            weight,
            enabled,
        };
        Action::Email(EmailAction {
            senders: self.senders(&self.cast.email),
            variants: self.variants().into_iter().map(variant).collect(),
            in_thread: may_reply && self.draws.percent(50),
            track_opens: self.draws.percent(70),
            track_clicks: self.draws.percent(70),
        })
    }

    fn text(&self, senders: &[SenderId]) -> MessageAction {
        let variant = |(key, weight, enabled): (String, u32, bool)| MessageVariant {
            body: self.greeting(&key),
            key,
            weight,
            enabled,
        };
        MessageAction {
            senders: self.senders(senders),
            variants: self.variants().into_iter().map(variant).collect(),
        }
    }

    fn task(&self) -> Action {
        let titles = [
            "Call {{ first_name }}",
            "Look at {{ company | default(\"them\") }}",
            "Do it",
        ];
        let timeouts = [None, Some("PT4H"), Some("P1D"), Some("P2D"), Some("P2D")];
        Action::Task(TaskAction {
            channel: self
                .draws
                .pick(&[Channel::Call, Channel::Linkedin, Channel::Task]),
            title: self.draws.pick(&titles).to_owned(),
            instructions: None,
            assignee: None,
            timeout: self.draws.pick(&timeouts).map(wait),
        })
    }

    fn update(&self) -> Action {
        let set: Value = self.draws.pick(&[
            json!({ "title": "CTO" }),
            json!({ "firstName": "New", "company": null }),
            json!({ "attributes": { "tier": "b", "score": 50 } }),
            json!({ "attributes": { "tier": null } }),
        ]);
        let set = set.as_object().expect("an object").clone();
        Action::Update(UpdateAction { set })
    }

    fn predicate(&self, before: &[Step], depth: usize) -> Predicate {
        let match_of = |name: &str, op, value| {
            let name = name.to_owned();
            Predicate::Attribute(WrittenMatch { name, op, value })
        };
        let deeper = |count: usize| -> Vec<Predicate> {
            (0..count)
                .map(|_| self.predicate(before, depth + 1))
                .collect()
        };
        match self.draws.below(if depth < 2 { 10 } else { 6 }) {
            0 | 1 => {
                let clicked = self.draws.percent(50);
                match self.noted(before, clicked) {
                    Some(key) if clicked => Predicate::Clicked(key),
                    Some(key) => Predicate::Opened(key),
                    None => Predicate::Has(vec![PersonField::Title]),
                }
            }
            2 => Predicate::Replied(self.draws.percent(70)),
            3 => Predicate::Has(self.draws.pick(&[
                vec![PersonField::Phone],
                vec![PersonField::Company, PersonField::Email],
                vec![PersonField::Title],
            ])),
            4 => match_of("score", MatchOp::Gte, json!(50)),
            5 => match self.draws.below(2) {
                0 => match_of("tier", MatchOp::Eq, json!("b")),
                _ => match_of("tier", MatchOp::IsSet, Value::Null),
            },
            6 | 7 => Predicate::Any(deeper(2)),
            8 => Predicate::All(deeper(2)),
            _ => Predicate::Not(Box::new(self.predicate(before, depth + 1))),
        }
    }

    /// An email before, without an end between, that notes openings or clicks.
    fn noted(&self, before: &[Step], clicks: bool) -> Option<String> {
        let since = before
            .iter()
            .rev()
            .take_while(|step| !matches!(step.action, Action::End(_)));
        let noted = since.filter(|step| match &step.action {
            Action::Email(email) if clicks => email.track_clicks,
            Action::Email(email) => email.track_opens,
            _ => false,
        });
        let keys: Vec<String> = noted.map(|step| step.key.clone()).collect();
        if keys.is_empty() {
            return None;
        }
        Some(if self.draws.percent(30) {
            "*".to_owned()
        } else {
            self.draws.pick(&keys)
        })
    }

    /// Whether what a condition asks for still comes before it, and a reply has what it replies to.
    fn still_fits(&self, step: &Step, before: &[Step]) -> bool {
        match &step.action {
            Action::Condition(condition) => {
                let mut fits = true;
                condition.predicate.visit(&mut |one| {
                    fits &= !matches!(one, Predicate::Opened(_) | Predicate::Clicked(_));
                });
                fits
            }
            Action::Email(email) => !before.is_empty() || !email.in_thread,
            _ => true,
        }
    }

    /// The ways out of the step at `index`.
    fn lead_on(&self, step: &mut Step, index: usize, names: &[String]) {
        let next = names.get(index + 1).cloned();
        let later = || {
            names
                .get(index + 1 + self.draws.index(names.len() - index))
                .cloned()
        };
        step.next = None;
        match &mut step.action {
            Action::Condition(condition) => {
                (condition.yes, condition.no) = (next, later());
                if self.draws.percent(50) {
                    std::mem::swap(&mut condition.yes, &mut condition.no);
                }
            }
            Action::Split(split) => {
                for branch in &mut split.branches {
                    branch.next = later();
                    branch.weight = self.draws.pick(&[0, 1, 2]);
                }
                split.branches[0] = SplitBranch { weight: 1, next };
            }
            Action::End(_) => {}
            _ => step.next = next,
        }
    }

    /// Replies that always follow an email may do without a subject.
    fn shorten_replies(&self, steps: &mut [Step]) {
        let mut firsts = vec![false; steps.len()];
        if let Some(first) = firsts.first_mut() {
            *first = true;
        }
        for index in 0..steps.len() {
            if !firsts[index] || matches!(steps[index].action, Action::Email(_)) {
                continue;
            }
            for to in steps[index].exits().into_iter().filter_map(|exit| exit.to) {
                let at = steps
                    .iter()
                    .position(|step| step.key == to)
                    .expect("a step");
                firsts[at] = true;
            }
        }
        for (step, may_be_first) in steps.iter_mut().zip(firsts) {
            if let Action::Email(email) = &mut step.action {
                let shorten = email.in_thread && !may_be_first && self.draws.percent(60);
                for variant in &mut email.variants {
                    variant.subject = (!shorten).then(|| format!("About {}", variant.key));
                }
            }
        }
    }
}

/// Has the way out of a branch that is not the one to `next` lead to another step.
fn set_other_way(step: &mut Step, next: &str, to: &str) {
    let to = Some(to.to_owned());
    match &mut step.action {
        Action::Condition(condition) if condition.yes.as_deref() == Some(next) => condition.no = to,
        Action::Condition(condition) => condition.yes = to,
        Action::Split(split) => {
            if let Some(branch) = split.branches.last_mut() {
                branch.next = to;
            }
        }
        _ => {}
    }
}
