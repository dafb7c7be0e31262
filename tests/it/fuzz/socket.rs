//! graphql-transport-ws: whatever is said on a socket, and whatever happens meanwhile, the machine keeps to
//! the protocol. A model of its own says after each step what may have been done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cadenza::http::payload::Payload;
use cadenza::http::socket::machine::{
    Action, Event, HELD_BYTES_MAX, HELD_MAX, ID_MAX, INIT_WITHIN, Machine, OPERATIONS_MAX,
    PING_EVERY, Refusal, SILENT_MOST,
};
use serde_json::{Value, json};

use super::{Dice, JSON, each};

const INIT: &str = r#"{"type":"connection_init","payload":{"authorization":"Bearer cdz_a"}}"#;
const MESSAGES: &[&str] = &[
    INIT,
    r#"{"type":"connection_init"}"#,
    r#"{"type":"connection_init","payload":{"authorization":"cdz_a"}}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"ping","payload":{"a":[1e300,"é"]}}"#,
    r#"{"type":"pong"}"#,
    r#"{"type":"connection_ack"}"#,
    r#"{"type":"next","id":"a"}"#,
    r#"{"id":"a","type":"subscribe","payload":{"query":"{ a }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"0"}}}}"#,
];

/// How a socket ended.
#[derive(Debug, PartialEq)]
enum Ended {
    Close(u16),
    HangUp,
}

/// What is known of a socket without looking into the machine.
struct Model {
    machine: Machine,
    now: Duration,
    came_with_token: bool,
    heard_at: Duration,
    ping_at: Duration,
    has_asked: bool,
    is_acked: bool,
    /// What was sent while somebody is looked up.
    waiting: Vec<String>,
    started: u64,
    live: BTreeMap<u64, String>,
    ended: Option<Ended>,
}

/// What a text asks to begin.
fn subscribed(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    let is_subscribe = value["type"] == "subscribe";
    is_subscribe.then(|| value["id"].as_str().map(str::to_owned))?
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Text(_) => "text",
        Event::Binary => "binary",
        Event::Alive => "alive",
        Event::Admitted => "admitted",
        Event::NotAdmitted(_) => "not admitted",
        Event::Results { .. } => "results",
        Event::Tick => "tick",
        Event::TokenOver => "token over",
        Event::Shutdown => "shutdown",
        Event::Gone => "gone",
    }
}

impl Model {
    fn new(came_with_token: bool) -> Self {
        Self {
            machine: Machine::new(came_with_token),
            now: Duration::ZERO,
            came_with_token,
            heard_at: Duration::ZERO,
            ping_at: PING_EVERY,
            has_asked: false,
            is_acked: false,
            waiting: Vec::new(),
            started: 0,
            live: BTreeMap::new(),
            ended: None,
        }
    }

    fn is_admitting(&self) -> bool {
        self.has_asked && !self.is_acked
    }

    /// Lets something happen, and checks what comes of it.
    fn step(&mut self, event: Event) {
        let was_ended = self.ended.is_some();
        let expected = self.must_end(&event);
        let mut due = self.due_results(&event);
        let bytes_most = bytes_most(&event, &self.waiting);
        let kind = kind(&event);
        // What is obeyed in this step, in its order.
        let mut obeyed: VecDeque<String> = VecDeque::new();
        match &event {
            Event::Text(text) if self.is_admitting() => self.waiting.push(text.clone()),
            Event::Text(text) => obeyed.push_back(text.clone()),
            Event::Admitted if self.is_admitting() => obeyed.extend(self.waiting.drain(..)),
            _ => {}
        }
        let mut begun: VecDeque<String> =
            obeyed.iter().filter_map(|text| subscribed(text)).collect();
        if matches!(event, Event::Text(_) | Event::Alive) {
            self.heard_at = self.now;
        }
        let actions = self.machine.on(self.now, event);
        assert!(
            !was_ended || actions.is_empty(),
            "after the end: {actions:?}"
        );
        let mut bytes = 0;
        for action in actions {
            assert!(self.ended.is_none(), "{action:?} after the end");
            if let Action::Send(text) = &action {
                bytes += text.len();
            }
            self.done(action, kind, &mut begun, &mut due);
        }
        assert!(bytes <= bytes_most, "{bytes} bytes for one {kind}");
        if !was_ended {
            if let Some(expected) = expected {
                assert_eq!(self.ended.as_ref(), Some(&expected), "{kind}");
            }
            assert!(due.is_empty() || self.ended.is_some(), "not sent: {due:?}");
        }
        assert_eq!(self.machine.running(), self.live.len());
        assert!(self.live.len() <= OPERATIONS_MAX);
        assert!(self.machine.held_bytes() <= HELD_BYTES_MAX);
        assert!(self.machine.due_at() <= self.now + PING_EVERY.max(INIT_WITHIN));
    }

    /// How the socket must end by this event, where that is certain.
    fn must_end(&self, event: &Event) -> Option<Ended> {
        let close = |code| Some(Ended::Close(code));
        match event {
            Event::TokenOver => close(4403),
            Event::Shutdown => close(1001),
            Event::Gone => Some(Ended::HangUp),
            Event::Binary => close(4400),
            Event::NotAdmitted(refusal) if !self.is_acked => match refusal {
                Refusal::WrongToken => close(4403),
                Refusal::TooManyTries | Refusal::TooManySockets => close(4429),
                Refusal::Unreachable => close(1013),
            },
            Event::Tick if !self.has_asked && self.now >= INIT_WITHIN => close(4408),
            Event::Tick if self.now >= self.ping_at && self.now - self.heard_at > SILENT_MOST => {
                Some(Ended::HangUp)
            }
            Event::Text(text) if self.is_admitting() => {
                let bytes: usize = self.waiting.iter().map(String::len).sum();
                let is_full = self.waiting.len() >= HELD_MAX || bytes + text.len() > HELD_BYTES_MAX;
                is_full.then_some(Ended::Close(4429))
            }
            Event::Text(text) => self.must_end_by(text),
            _ => None,
        }
    }

    fn must_end_by(&self, text: &str) -> Option<Ended> {
        let close = |code| Some(Ended::Close(code));
        let Ok(Value::Object(message)) = serde_json::from_str(text) else {
            return close(4400);
        };
        if message.get("id").is_some_and(|id| !id.is_string()) {
            return close(4400);
        }
        let id = message.get("id").and_then(Value::as_str);
        match (message.get("type").and_then(Value::as_str), id) {
            (Some("connection_init"), _) if self.has_asked => close(4429),
            (Some("connection_init"), _) => None,
            (Some("ping" | "pong"), _) | (Some("complete"), Some(_)) => None,
            (Some("subscribe"), Some(_)) if !self.is_acked => close(4401),
            (Some("subscribe"), Some(id)) if id.is_empty() || id.len() > ID_MAX => close(4400),
            (Some("subscribe"), Some(id)) if self.live.values().any(|live| live == id) => {
                close(4409)
            }
            (Some("subscribe"), Some(_)) => None,
            _ => close(4400),
        }
    }

    /// What must be sent for results: all of an operation that goes on, nothing of another.
    fn due_results(&self, event: &Event) -> VecDeque<Value> {
        let Event::Results {
            number,
            payloads,
            is_last,
        } = event
        else {
            return VecDeque::new();
        };
        let Some(id) = self.live.get(number) else {
            return VecDeque::new();
        };
        let mut due = VecDeque::new();
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        for payload in payloads {
            if let Some(errors) = &payload.refused {
                due.push_back(json!({ "id": id, "type": "error", "payload": read(errors) }));
                return due;
            }
            due.push_back(json!({ "id": id, "type": "next", "payload": read(&payload.json) }));
        }
        if *is_last {
            due.push_back(json!({ "id": id, "type": "complete" }));
        }
        due
    }

    /// Checks one thing that is to be done.
    fn done(
        &mut self,
        action: Action,
        kind: &str,
        begun: &mut VecDeque<String>,
        due: &mut VecDeque<Value>,
    ) {
        match action {
            Action::Send(text) => self.sent(&text, kind, due),
            Action::Ping => {
                assert_eq!(kind, "tick");
                self.ping_at = self.now + PING_EVERY;
            }
            Action::Admit(token) => {
                assert!(!self.has_asked, "asked twice");
                assert!(token.is_some() || self.came_with_token);
                self.has_asked = true;
            }
            Action::Start { number, .. } => {
                assert!(self.is_acked && number == self.started + 1);
                self.started = number;
                let id = begun.pop_front().expect("a client asked for it");
                assert!((1..=ID_MAX).contains(&id.len()));
                assert!(self.live.values().all(|live| *live != id), "twice: {id}");
                self.live.insert(number, id);
            }
            Action::Refuse { id, .. } => {
                assert_eq!(begun.pop_front().as_ref(), Some(&id));
                assert!(self.is_acked && self.live.len() == OPERATIONS_MAX);
            }
            Action::Abort(number) => {
                // One that was refused in the middle is over by its error.
                let was_live = self.live.remove(&number).is_some();
                assert!(was_live || kind == "results", "{number} does not run");
            }
            Action::Close { code, reason } => {
                assert!(self.live.is_empty() && reason.len() <= 123 && !reason.is_empty());
                self.ended = Some(Ended::Close(code));
            }
            Action::HangUp => {
                assert!(self.live.is_empty());
                assert!(kind == "gone" || kind == "tick");
                self.ended = Some(Ended::HangUp);
            }
        }
    }

    fn sent(&mut self, text: &str, kind: &str, due: &mut VecDeque<Value>) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        match message["type"].as_str().expect("a type") {
            "connection_ack" => {
                assert!(kind == "admitted" && self.is_admitting());
                self.is_acked = true;
            }
            "pong" => assert!(kind == "text" || kind == "admitted"),
            "ping" => assert!(self.is_acked && kind == "tick"),
            name @ ("next" | "error" | "complete") => {
                assert_eq!(due.pop_front().as_ref(), Some(&message));
                if name != "next" {
                    let id = message["id"].as_str().expect("an id");
                    self.live.retain(|_, live| live != id);
                }
            }
            other => panic!("{other} is nothing that a server says"),
        }
    }
}

/// How much may be sent for one event. Numbers may be written longer than they came.
fn bytes_most(event: &Event, waiting: &[String]) -> usize {
    match event {
        Event::Text(text) => 8 * text.len() + 100,
        Event::Admitted => {
            waiting
                .iter()
                .map(|text| 8 * text.len() + 100)
                .sum::<usize>()
                + 100
        }
        Event::Results { payloads, .. } => {
            let lengths = payloads.iter().map(|payload| payload.json.len());
            lengths
                .map(|length| length + 6 * ID_MAX + 100)
                .sum::<usize>()
                + 6 * ID_MAX
                + 100
        }
        _ => 100,
    }
}

fn text(dice: &Dice) -> String {
    let long = "x".repeat(ID_MAX - 1 + dice.below(3));
    let id = if dice.once_in(40) {
        dice.of(&["", long.as_str()])
    } else {
        dice.of(&["a", "b", "c", "d", "e", "é\"\\\n", "\u{7}"])
    };
    let message = match dice.below(10) {
        0..=3 => {
            let payload = dice.of(&[
                r#"{"query":"{ a }"}"#,
                r#"{"query":"subscription { a }","variables":{"a":1}}"#,
                r#"{"documentId":"x"}"#,
                "{}",
            ]);
            // The last one is no request.
            let payload = if payload == "{}" && !dice.once_in(10) {
                r#"{"query":""}"#
            } else {
                payload
            };
            let id = Value::from(id);
            format!(r#"{{"id":{id},"type":"subscribe","payload":{payload}}}"#)
        }
        4..=6 => json!({ "id": id, "type": "complete" }).to_string(),
        7 => r#"{"type":"ping","payload":{"n":1e15}}"#.to_owned(),
        _ => dice.of(MESSAGES).to_owned(),
    };
    match dice.below(120) {
        0 | 1 => dice.changed(&message, JSON),
        2 => dice.pieces(JSON, 30),
        3 if dice.once_in(6) => "x".repeat(HELD_BYTES_MAX / 3),
        _ => message,
    }
}

fn results(dice: &Dice, started: u64) -> Event {
    let payload = |_| {
        let json = dice.of(&[
            r#"{"data":{"a":1}}"#,
            r#"{"data":null,"errors":[{}]}"#,
            "{}",
        ]);
        Payload {
            json: json.into(),
            refused: dice.once_in(8).then(|| r#"[{"message":"no"}]"#.into()),
        }
    };
    Event::Results {
        // Also one that never was.
        number: 1 + u64::try_from(dice.below(usize::try_from(started).expect("few") + 1))
            .expect("few"),
        payloads: (0..dice.below(4)).map(payload).collect(),
        is_last: dice.once_in(4),
    }
}

fn event(dice: &Dice, model: &mut Model) -> Event {
    let refusal = dice.of(&[
        Refusal::WrongToken,
        Refusal::TooManyTries,
        Refusal::TooManySockets,
        Refusal::Unreachable,
    ]);
    match dice.below(100) {
        0..=54 => Event::Text(text(dice)),
        55..=74 => results(dice, model.started),
        75..=82 => {
            model.now += Duration::from_millis(u64::try_from(dice.below(15_000)).expect("few"));
            Event::Tick
        }
        83..=88 => Event::Alive,
        89..=94 => Event::Admitted,
        95 => Event::NotAdmitted(refusal),
        96 if dice.once_in(4) => Event::Binary,
        97 if dice.once_in(4) => Event::TokenOver,
        98 if dice.once_in(4) => Event::Shutdown,
        99 if dice.once_in(4) => Event::Gone,
        _ => Event::Alive,
    }
}

#[test]
fn whatever_is_said_the_protocol_is_kept() {
    let tally = each("socket", 30, |dice| {
        let mut model = Model::new(dice.once_in(2));
        if !dice.once_in(6) {
            model.step(Event::Text(INIT.to_owned()));
            if !dice.once_in(5) {
                model.step(Event::Admitted);
            }
        }
        // Now and then more than a socket carries, or than waits.
        if dice.once_in(30) {
            for n in 0..dice.below(HELD_MAX + 20) {
                let payload = json!({ "query": "{ a }" });
                let subscribe =
                    json!({ "id": format!("n{n}"), "type": "subscribe", "payload": payload });
                model.step(Event::Text(subscribe.to_string()));
            }
        }
        for _ in 0..dice.below(40) {
            let event = event(dice, &mut model);
            model.step(event);
        }
        let outcome = match &model.ended {
            None => "went on",
            Some(Ended::HangUp) => "hung up",
            Some(Ended::Close(1001)) => "1001",
            Some(Ended::Close(1013)) => "1013",
            Some(Ended::Close(4400)) => "4400",
            Some(Ended::Close(4401)) => "4401",
            Some(Ended::Close(4403)) => "4403",
            Some(Ended::Close(4408)) => "4408",
            Some(Ended::Close(4409)) => "4409",
            Some(Ended::Close(4429)) => "4429",
            Some(Ended::Close(code)) => panic!("{code} is none of the protocol's"),
        };
        // Whatever began is over in the end.
        model.step(Event::Gone);
        assert!(model.ended.is_some() && model.live.is_empty());
        outcome
    });
    tally.has_each(&[
        "went on", "hung up", "1001", "1013", "4400", "4401", "4403", "4408", "4409", "4429",
    ]);
}
