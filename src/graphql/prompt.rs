//! Objects most of whose fields wait for nothing.
//!
//! The library makes a future and a task for every field of every object, though nearly all fields
//! are a column of a row that is there already. An object that is shown [`Promptly`] resolves those in
//! their place and in their order, by the same resolvers, and waits only for the others. What the
//! objects of a list are asked for is read once for all of them ([`Patterns`]).

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Polling, Poll, Waker};

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::{ContainerType, resolve_container, resolve_list};
use async_graphql::{
    Context, ContextSelectionSet, Name, OutputType, Positioned, ServerResult, Value,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use super::loader::Asking;

/// An object of more fields than this is left to the library, which wakes each of them by itself.
const FIELDS_MAX: usize = 64;
/// How many patterns of one request are remembered.
const PATTERNS_MAX: usize = 32;

/// An object of which some fields are known to wait for nothing.
pub trait Prompt: ContainerType {
    /// Those fields, by their names in the schema: scalars without arguments, of which the resolver
    /// is ready when it is asked first and does nothing but tell.
    const AT_ONCE: &'static [&'static str];

    /// Fields without arguments that wait for the request's loaders and for nothing else, each key by
    /// itself (`load_one`), for they are asked again and again until they are there; and answer an
    /// object; with the fields of that object that wait for nothing.
    const SOON: &'static [(&'static str, &'static [&'static str])] = &[];

    /// Asks for what one of the fields that are there soon asks the loaders for first, for all of a
    /// list at once, so that not every object has to be asked before there is anything to be had.
    /// `false` where each is to be asked.
    fn ahead<'a>(_soon: &str, _of: &mut dyn Iterator<Item = &'a Self>, _asking: &Asking) -> bool
    where
        Self: 'a,
    {
        false
    }
}

impl<T: Prompt> Prompt for &T {
    const AT_ONCE: &'static [&'static str] = T::AT_ONCE;
    const SOON: &'static [(&'static str, &'static [&'static str])] = T::SOON;

    fn ahead<'a>(soon: &str, of: &mut dyn Iterator<Item = &'a Self>, asking: &Asking) -> bool
    where
        Self: 'a,
    {
        T::ahead(soon, &mut of.copied(), asking)
    }
}

/// Shows an object as the library does, and sooner.
pub struct Promptly<T>(pub T);

impl<T: Prompt> OutputType for Promptly<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        match Pattern::of::<T>(ctx) {
            Some(pattern) => {
                let showing = Showing::of(ctx, &self.0, &pattern);
                Ok(showing.show(&pattern).await)
            }
            None => resolve_container(ctx, &self.0).await,
        }
    }
}

/// Shows a list of objects, each [`Promptly`]. Where nothing has to be waited for but the request's
/// loaders, the list waits for all of them as one, and not for each object by itself.
pub struct Prompts<T>(pub Vec<T>);

impl<T: Prompt> OutputType for Prompts<T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<Promptly<T>>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<Promptly<T>>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<Promptly<T>>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let objects = &self.0;
        let pattern = Pattern::of::<T>(ctx);
        let Some(pattern) = pattern.filter(|pattern| !pattern.fields.contains(&Readiness::Later))
        else {
            let each = objects.iter().map(Promptly);
            return resolve_list(ctx, field, each, Some(objects.len())).await;
        };
        let places: Vec<_> = (0..objects.len())
            .map(|index| ctx.with_index(index))
            .collect();
        let mut showings = Vec::with_capacity(objects.len());
        let mut waiting = Vec::new();
        for (ctx, object) in places.iter().zip(objects) {
            let mut showing = Showing::of(ctx, object, &pattern);
            let (mut soon, mut later) = (Vec::new(), Vec::new());
            showing.ask_all(&pattern, &mut soon, &mut later);
            if !later.is_empty() {
                showing.wait(later).await;
            }
            waiting.extend(soon.into_iter().map(|index| (showings.len(), index)));
            showings.push(showing);
        }
        // The fields for which all was asked ahead: until it is there, one of each is enough to wait.
        let mut ahead = ask_ahead(ctx, objects, &pattern);
        poll_fn(|cx| {
            let mut heard = Vec::new();
            waiting.retain(|(of, index)| {
                if ahead.contains(index) && heard.contains(index) {
                    return true;
                }
                let showing: Option<&mut Showing<'_, T>> = showings.get_mut(*of);
                let waits = showing.is_some_and(|showing| !showing.is_there(*index, cx));
                if waits {
                    heard.push(*index);
                }
                waits
            });
            ahead.clear();
            if waiting.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        Ok(Value::List(
            showings.into_iter().map(Showing::end).collect(),
        ))
    }
}

/// Asks for what the objects of a list need that is there soon; answers which fields that settles.
fn ask_ahead<T: Prompt>(
    ctx: &ContextSelectionSet<'_>,
    objects: &[T],
    pattern: &Pattern,
) -> Vec<usize> {
    let Some(asking) = ctx.data_opt::<Asking>().filter(|_| objects.len() > 1) else {
        return Vec::new();
    };
    let fields = pattern.fields.iter().enumerate();
    let soon = fields.filter(|(_, readiness)| **readiness == Readiness::Soon);
    soon.map(|(index, _)| index)
        .filter(|index| {
            field(ctx, *index).is_some_and(|field| {
                T::ahead(field.node.name.node.as_str(), &mut objects.iter(), asking)
            })
        })
        .collect()
}

/// What an object of one type is asked for, by a selection that is nothing but fields, each once.
struct Pattern {
    /// The answer with null in every place.
    empty: IndexMap<Name, Value>,
    fields: Vec<Readiness>,
}

/// When a field is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// It is the name of the type.
    Known,
    /// When it is asked first.
    AtOnce,
    /// When the loaders have what it asks them for; it can be dropped and asked anew before.
    Soon,
    /// When it says so.
    Later,
}

impl Pattern {
    /// The pattern of the selection, if it is as simple as that.
    fn of<T: Prompt>(ctx: &ContextSelectionSet<'_>) -> Option<Arc<Self>> {
        let set = &ctx.item.node;
        let keeps = || ctx.data_opt::<Asking>().is_some_and(Asking::keeps);
        match ctx.data_opt::<Patterns>() {
            Some(patterns) => patterns.of::<T>(set, keeps),
            None => Self::read::<T>(set, keeps()).map(Arc::new),
        }
    }

    fn read<T: Prompt>(set: &SelectionSet, keeps: bool) -> Option<Self> {
        if set.items.len() > FIELDS_MAX {
            return None;
        }
        let mut empty = IndexMap::with_capacity(set.items.len());
        let mut fields = Vec::with_capacity(set.items.len());
        for item in &set.items {
            let field = plain(&item.node)?;
            let key = field.node.response_key().node.clone();
            if empty.insert(key, Value::Null).is_some() {
                return None;
            }
            fields.push(readiness::<T>(&field.node, keeps));
        }
        Some(Self { empty, fields })
    }
}

/// A selected field without directives.
fn plain(selection: &Selection) -> Option<&Positioned<Field>> {
    match selection {
        Selection::Field(field) if field.node.directives.is_empty() => Some(field),
        _ => None,
    }
}

fn readiness<T: Prompt>(field: &Field, keeps: bool) -> Readiness {
    let name = field.name.node.as_str();
    if name == "__typename" {
        return Readiness::Known;
    }
    if T::AT_ONCE.contains(&name) {
        return Readiness::AtOnce;
    }
    let is_at_once = |of: &&[&str]| {
        let mut below = field.selection_set.node.items.iter();
        below.all(|item| {
            plain(&item.node).is_some_and(|field| {
                let name = field.node.name.node.as_str();
                name == "__typename" || of.contains(&name)
            })
        })
    };
    let soon = T::SOON.iter().find(|(soon, _)| *soon == name);
    if keeps && soon.is_some_and(|(_, of)| is_at_once(of)) {
        Readiness::Soon
    } else {
        Readiness::Later
    }
}

/// The patterns of one request; in its data.
#[derive(Default)]
pub struct Patterns(Mutex<Vec<(Place, Option<Arc<Pattern>>)>>);

/// Where in memory a selection of the request's document stands, which does not move while the request
/// is there, and where the fields are listed that are known of the type. Compared, never followed.
type Place = [usize; 3];

impl Patterns {
    fn of<T: Prompt>(
        &self,
        set: &SelectionSet,
        keeps: impl FnOnce() -> bool,
    ) -> Option<Arc<Pattern>> {
        let place = [
            std::ptr::from_ref(set).addr(),
            T::AT_ONCE.as_ptr().addr(),
            T::SOON.as_ptr().addr(),
        ];
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pattern)) = known.iter().find(|(of, _)| *of == place) {
            return pattern.clone();
        }
        let pattern = Pattern::read::<T>(set, keeps()).map(Arc::new);
        if known.len() < PATTERNS_MAX {
            known.push((place, pattern.clone()));
        }
        pattern
    }
}

/// An object on its way to be shown.
struct Showing<'a, T> {
    ctx: &'a ContextSelectionSet<'a>,
    object: &'a T,
    values: IndexMap<Name, Value>,
    failed: Vec<usize>,
}

impl<'a, T: Prompt> Showing<'a, T> {
    fn of(ctx: &'a ContextSelectionSet<'a>, object: &'a T, pattern: &Pattern) -> Self {
        Self {
            ctx,
            object,
            values: pattern.empty.clone(),
            failed: Vec::new(),
        }
    }

    /// Asks for everything, and waits for what has to be waited for.
    async fn show(mut self, pattern: &Pattern) -> Value {
        let (mut soon, mut later) = (Vec::new(), Vec::new());
        self.ask_all(pattern, &mut soon, &mut later);
        if later.is_empty() {
            poll_fn(|cx| {
                soon.retain(|index| !self.is_there(*index, cx));
                if soon.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        } else {
            later.append(&mut soon);
            self.wait(later).await;
        }
        self.end()
    }

    /// Asks for what waits for nothing, and tells apart what does.
    fn ask_all(&mut self, pattern: &Pattern, soon: &mut Vec<usize>, later: &mut Vec<usize>) {
        for (index, readiness) in pattern.fields.iter().enumerate() {
            match readiness {
                Readiness::Known => {
                    let name = self.object.introspection_type_name().into_owned();
                    self.settle(index, Ok(Some(Value::String(name))));
                }
                Readiness::AtOnce => {
                    // Nobody is woken: what is not ready now is asked again and waited for.
                    if !self.is_there(index, &mut Polling::from_waker(Waker::noop())) {
                        later.push(index);
                    }
                }
                Readiness::Soon => soon.push(index),
                Readiness::Later => later.push(index),
            }
        }
    }

    /// Asks for a field anew; settles it if it is ready.
    fn is_there(&mut self, index: usize, cx: &mut Polling<'_>) -> bool {
        match self.ask(index, cx) {
            Poll::Ready(resolved) => {
                self.settle(index, resolved);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Waits for fields that must not be asked twice.
    async fn wait(&mut self, later: Vec<usize>) {
        let (ctx, object) = (self.ctx, self.object);
        let waiting = later.into_iter().filter_map(|index| {
            let field = field(ctx, index)?;
            let resolve =
                async move { (index, object.resolve_field(&ctx.with_field(field)).await) };
            Some(resolve.boxed())
        });
        let waiting: Vec<BoxFuture<'_, _>> = waiting.collect();
        for (index, resolved) in join_all(waiting).await {
            self.settle(index, resolved);
        }
    }

    fn ask(&self, index: usize, cx: &mut Polling<'_>) -> Poll<ServerResult<Option<Value>>> {
        let Some(field) = field(self.ctx, index) else {
            return Poll::Ready(Ok(None));
        };
        let ctx: Context<'_> = self.ctx.with_field(field);
        pin!(self.object.resolve_field(&ctx)).poll(cx)
    }

    fn settle(&mut self, index: usize, resolved: ServerResult<Option<Value>>) {
        match resolved {
            Ok(value) => {
                if let Some((_, place)) = self.values.get_index_mut(index) {
                    *place = value.unwrap_or_default();
                }
            }
            Err(error) => {
                self.ctx.add_error(error);
                self.failed.push(index);
            }
        }
    }

    /// What failed is left out, as the library does; the plan of the answer says what it means.
    fn end(mut self) -> Value {
        self.failed.sort_unstable();
        for index in self.failed.into_iter().rev() {
            self.values.shift_remove_index(index);
        }
        if self.values.is_empty() {
            Value::Null
        } else {
            Value::Object(self.values)
        }
    }
}

/// The field at a place of a selection that has a pattern.
fn field<'a>(ctx: &ContextSelectionSet<'a>, index: usize) -> Option<&'a Positioned<Field>> {
    let item = ctx.item.node.items.get(index)?;
    plain(&item.node)
}

#[cfg(test)]
mod tests;
