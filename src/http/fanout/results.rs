//! The results of a subscription over entries of the log: written straight from the entries where it
//! asks for nothing else, else by the library.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Request, Response};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use super::Ask;
use crate::bus::Entry;
use crate::graphql::event::{Feed, Passes, Writer};
use crate::graphql::{CadenzaSchema, RequestId};
use crate::http::payload::Payload;
use crate::http::run::named;

/// How many results are handed on together, where so many are ready.
pub const TOGETHER: usize = 64;

/// A result with the number of its event; without one it is an error, and the last.
pub type Numbered = (Option<i64>, Payload);

/// The results of a subscription over these entries, as many together as are ready, and never none.
/// `passed_over` hears of entries that have no result; those that it hears of may come before results
/// of earlier ones do.
pub fn results(
    schema: &CadenzaSchema,
    ask: &Arc<Ask>,
    entries: impl Stream<Item = Vec<Entry>> + Send + 'static,
    passed_over: impl Fn(i64) + Send + Sync + 'static,
) -> BoxStream<'static, Vec<Numbered>> {
    let Some(writer) = Writer::of(&ask.root) else {
        let entries = entries.map(stream::iter).flatten();
        let results = by_library(schema, ask, entries, passed_over);
        return results.ready_chunks(TOGETHER).boxed();
    };
    let (schema, ask) = (schema.clone(), Arc::clone(ask));
    let results = async move {
        let passes = match passes(&schema, &ask).await {
            Ok(passes) => passes,
            Err(refused) => return stream::iter(refused.map(|last| vec![(None, last)])).boxed(),
        };
        let writing = Writing {
            schema,
            ask,
            writer,
            passes,
            passed_over,
        };
        // A reader of the log takes more at once than is to be kept for who listens.
        let entries = entries.flat_map(|handful| {
            let some = handful.chunks(TOGETHER).map(<[Entry]>::to_vec);
            stream::iter(some.collect::<Vec<_>>())
        });
        stream::unfold(
            (Box::pin(entries), writing),
            |(mut entries, mut writing)| async move {
                let handful = entries.next().await?;
                Some((writing.write(handful).await, (entries, writing)))
            },
        )
        .filter(|results| std::future::ready(!results.is_empty()))
        .boxed()
    };
    stream::once(results).flatten().boxed()
}

/// Which entries a subscription answers. The library judges the document and the arguments, as it does
/// for every other; what it answers instead is the last result.
async fn passes(schema: &CadenzaSchema, ask: &Ask) -> Result<Passes, Option<Payload>> {
    let (feed, mut told) = Feed::ask();
    let answer = schema.execute_stream(request(ask, feed)).next().await;
    match (answer, told.try_recv()) {
        (None, Ok(passes)) => Ok(passes),
        (answer, _) => Err(answer.map(|answer| Payload::from(&answer))),
    }
}

/// Writes results without the library.
struct Writing<P> {
    schema: CadenzaSchema,
    ask: Arc<Ask>,
    writer: Writer,
    passes: Passes,
    passed_over: P,
}

impl<P: Fn(i64)> Writing<P> {
    async fn write(&mut self, entries: Vec<Entry>) -> Vec<Numbered> {
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            if !(self.passes)(&entry) {
                (self.passed_over)(entry.seq);
                continue;
            }
            let seq = entry.seq;
            let payload = match self.writer.write(&entry) {
                Some(json) => Payload::written(json),
                // Something is wrong with it, and the library says what.
                None => match self.by_library(entry).await {
                    Some(payload) => payload,
                    None => continue,
                },
            };
            results.push((Some(seq), payload));
        }
        results
    }

    async fn by_library(&self, entry: Entry) -> Option<Payload> {
        let one = stream::iter([entry]);
        let mut results = by_library(&self.schema, &self.ask, one, |_| {});
        results.next().await.map(|(_, payload)| payload)
    }
}

fn by_library(
    schema: &CadenzaSchema,
    ask: &Ask,
    entries: impl Stream<Item = Entry> + Send + 'static,
    passed_over: impl Fn(i64) + Send + Sync + 'static,
) -> BoxStream<'static, Numbered> {
    // Events are resolved one after the other: their results come in the order of the numbers.
    let numbers = Arc::new(Mutex::new(VecDeque::new()));
    let judged = Arc::clone(&numbers);
    let feed = Feed::new(entries, move |seq, passes| {
        if passes {
            judged
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(seq);
        } else {
            passed_over(seq);
        }
    });
    let numbered = move |answer: Response| {
        let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
        (numbers.pop_front(), Payload::from(&answer))
    };
    let request = request(ask, feed);
    let id = RequestId::mint(schema.services());
    let request = request.data(id.clone());
    named(schema.execute_stream(request), &id)
        .map(numbered)
        .boxed()
}

fn request(ask: &Ask, feed: Feed) -> Request {
    let mut request = Request::new(&ask.key.document)
        .variables(ask.variables.clone())
        .data(ask.caller.clone())
        .data(feed);
    request.operation_name.clone_from(&ask.key.operation_name);
    request
}
