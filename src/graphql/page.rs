//! Pages of a list: Relay connections by keyset.
//!
//! A cursor is the key of a row, signed for one list of one workspace, so that whoever alters it is
//! refused instead of being shown something odd. A page reads one row more than it shows, to know
//! whether there are others, and rows that are inserted meanwhile move nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_graphql::{Context, Object, Result, TypeName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::ContextExt;
use super::error::bad_input;
use super::prompt::{Prompt, Promptly, Prompts};
use crate::domain::id::WorkspaceId;
use crate::secrets::Secrets;
use crate::store::StoreError;

/// The rows of a page where nothing is said.
pub const PAGE_DEFAULT: u64 = 50;
/// The most rows of a page.
pub const PAGE_MAX: u64 = 250;

/// The arguments of every paged field, as they come.
#[derive(Debug, Clone, Default)]
pub struct PageArgs {
    /// The first so many.
    pub first: Option<i32>,
    /// Of those after this cursor.
    pub after: Option<String>,
    /// The last so many.
    pub last: Option<i32>,
    /// Of those before this cursor.
    pub before: Option<String>,
}

/// A page to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<K> {
    /// How many rows it shows, 1..=[`PAGE_MAX`].
    pub limit: u64,
    /// Only rows after the one with this key.
    pub after: Option<K>,
    /// Only rows before the one with this key.
    pub before: Option<K>,
    /// The last rows instead of the first: read in descending order.
    pub backward: bool,
}

impl PageArgs {
    /// Reads the arguments of the list called `list`; its cursors hold keys of the type `K`.
    ///
    /// # Errors
    /// BAD_USER_INPUT for a size out of bounds, for `first` together with `last`, and for a cursor
    /// that is not one of this list.
    pub fn read<K: DeserializeOwned>(self, ctx: &Context<'_>, list: &str) -> Result<Page<K>> {
        let workspace = ctx.caller_within()?.workspace;
        self.read_for(&ctx.services().secrets, workspace, list)
    }

    fn read_for<K: DeserializeOwned>(
        self,
        secrets: &Secrets,
        workspace: WorkspaceId,
        list: &str,
    ) -> Result<Page<K>> {
        let (size, backward, name) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(bad_input(
                    "Give `first` or `last`, not both: they ask for two pages.",
                ));
            }
            (None, Some(last)) => (Some(last), true, "last"),
            // Whoever pages back means the page before, not the beginning of the list.
            (None, None) => (None, self.before.is_some() && self.after.is_none(), "first"),
            (first, None) => (first, false, "first"),
        };
        let limit = size.map_or(Ok(PAGE_DEFAULT), |size| page_size(size, name))?;
        let key = |cursor: Option<String>, name: &str| -> Result<Option<K>> {
            let Some(cursor) = cursor else {
                return Ok(None);
            };
            let bytes = secrets.verify(workspace, list, &cursor);
            let key = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            key.map(Some).ok_or_else(|| {
                bad_input(format!(
                    "`{name}` is not a cursor of this list; take it from an edge or from pageInfo."
                ))
            })
        };
        Ok(Page {
            limit,
            after: key(self.after, "after")?,
            before: key(self.before, "before")?,
            backward,
        })
    }
}

/// Checks the size of a page; `name` is the argument's.
///
/// # Errors
/// BAD_USER_INPUT out of bounds.
pub fn page_size(size: i32, name: &str) -> Result<u64> {
    u64::try_from(size)
        .ok()
        .filter(|size| (1..=PAGE_MAX).contains(size))
        .ok_or_else(|| {
            bad_input(format!(
                "`{name}` is {size}, and a page has from 1 to {PAGE_MAX} entries."
            ))
        })
}

impl<K> Page<K> {
    /// How many rows to read: one more than is shown.
    pub fn fetch(&self) -> u64 {
        self.limit + 1
    }
}

impl<K: Serialize + Send + Sync + 'static> Page<K> {
    /// Makes the connection of the rows that were read (at most [`Page::fetch`]; in descending
    /// order where the page is backward). `key` tells a row's key, `node` what is shown of it.
    pub fn connection<R, T>(
        self,
        list: &str,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
        node: impl Fn(R) -> T,
    ) -> Connection<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        if self.backward {
            rows.reverse();
        }
        let places: Arc<dyn Places> = Arc::new(PlacesOf {
            list: list.to_owned(),
            keys: rows.iter().map(key).collect(),
        });
        let edges = rows
            .into_iter()
            .enumerate()
            .map(|(index, row)| Edge {
                place: Place {
                    of: Arc::clone(&places),
                    index,
                },
                node: node(row),
            })
            .collect::<Vec<_>>();
        // There certainly is something on the side that the page was asked from.
        let (has_previous_page, has_next_page) = if self.backward {
            (more, self.before.is_some())
        } else {
            (self.after.is_some(), more)
        };
        let page_info = PageInfo {
            has_previous_page,
            has_next_page,
            start: edges.first().map(|edge: &Edge<T>| edge.place.clone()),
            end: edges.last().map(|edge| edge.place.clone()),
        };
        Connection {
            edges,
            page_info,
            count: None,
        }
    }
}

/// A place in a list. Its cursor is written and signed only where it is asked for, which costs more
/// than most of what a row is shown with.
#[derive(Clone)]
struct Place {
    of: Arc<dyn Places>,
    index: usize,
}

/// The places of a page.
trait Places: Send + Sync {
    /// The cursor of one of them.
    fn cursor(&self, index: usize, secrets: &Secrets, workspace: WorkspaceId) -> String;
}

struct PlacesOf<K> {
    list: String,
    keys: Vec<K>,
}

impl<K: Serialize + Send + Sync> Places for PlacesOf<K> {
    fn cursor(&self, index: usize, secrets: &Secrets, workspace: WorkspaceId) -> String {
        let key = serde_json::to_vec(&self.keys.get(index)).unwrap_or_default();
        secrets.sign(workspace, &self.list, &key)
    }
}

impl Place {
    fn cursor(&self, secrets: &Secrets, workspace: WorkspaceId) -> String {
        self.of.cursor(self.index, secrets, workspace)
    }

    fn shown(&self, ctx: &Context<'_>) -> Result<String> {
        let workspace = ctx.caller_within()?.workspace;
        Ok(self.cursor(&ctx.services().secrets, workspace))
    }
}

type Counting = Pin<Box<dyn Future<Output = Result<i64, StoreError>> + Send>>;

/// A page of a list.
pub struct Connection<T> {
    edges: Vec<Edge<T>>,
    page_info: PageInfo,
    count: Option<Box<dyn Fn() -> Counting + Send + Sync>>,
}

impl<T> Connection<T> {
    /// The same with a way to count the whole list, which is done only where `totalCount` is
    /// selected.
    #[must_use]
    pub fn counted<F>(mut self, count: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<i64, StoreError>> + Send + 'static,
    {
        self.count = Some(Box::new(move || Box::pin(count())));
        self
    }
}

impl<T: Prompt> TypeName for Connection<T> {
    fn type_name() -> std::borrow::Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

/// A page of a list. Pages are asked for by `first` and `after`, or by `last` and `before`.
#[Object(name_type)]
impl<T: Prompt> Connection<T> {
    /// The entries of the page, each with its cursor.
    async fn edges(&self) -> &[Edge<T>] {
        &self.edges
    }

    /// The entries of the page without their cursors.
    async fn nodes(&self) -> Prompts<&T> {
        Prompts(self.edges.iter().map(|edge| &edge.node).collect())
    }

    /// Where the page begins and ends, and whether there are others.
    async fn page_info(&self) -> Promptly<&PageInfo> {
        Promptly(&self.page_info)
    }

    /// How many entries the whole list has; counted only when asked for. Null where it cannot be
    /// told.
    async fn total_count(&self) -> Result<Option<i32>> {
        match &self.count {
            Some(count) => Ok(i32::try_from(count().await?).ok()),
            None => Ok(None),
        }
    }
}

/// An entry of a page.
pub struct Edge<T> {
    place: Place,
    node: T,
}

impl<T: Prompt> TypeName for Edge<T> {
    fn type_name() -> std::borrow::Cow<'static, str> {
        format!("{}Edge", T::type_name()).into()
    }
}

/// An entry of a page with its place in the list.
#[Object(name_type)]
impl<T: Prompt> Edge<T> {
    /// The place of the entry, for `after` and `before`. Opaque.
    async fn cursor(&self, ctx: &Context<'_>) -> Result<String> {
        self.place.shown(ctx)
    }

    /// The entry.
    async fn node(&self) -> Promptly<&T> {
        Promptly(&self.node)
    }
}

/// Where a page begins and ends.
#[derive(Clone)]
pub struct PageInfo {
    has_next_page: bool,
    has_previous_page: bool,
    start: Option<Place>,
    end: Option<Place>,
}

/// Where a page begins and ends.
#[Object]
impl PageInfo {
    /// Whether there is a page after this one.
    async fn has_next_page(&self) -> bool {
        self.has_next_page
    }

    /// Whether there is a page before this one.
    async fn has_previous_page(&self) -> bool {
        self.has_previous_page
    }

    /// The cursor of the first entry; null on an empty page.
    async fn start_cursor(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        self.start
            .as_ref()
            .map(|place| place.shown(ctx))
            .transpose()
    }

    /// The cursor of the last entry; null on an empty page.
    async fn end_cursor(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        self.end.as_ref().map(|place| place.shown(ctx)).transpose()
    }
}

impl Prompt for PageInfo {
    const AT_ONCE: &'static [&'static str] =
        &["hasNextPage", "hasPreviousPage", "startCursor", "endCursor"];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (Secrets, WorkspaceId) {
        (
            Secrets::from_key([1; 32]),
            WorkspaceId::from_uuid(uuid::Uuid::from_u128(1)),
        )
    }

    fn read(args: PageArgs, list: &str) -> Result<Page<(i64, String)>> {
        let (secrets, workspace) = place();
        args.read_for(&secrets, workspace, list)
    }

    #[test]
    fn sizes_have_bounds() {
        let of = |first, last| {
            read(
                PageArgs {
                    first,
                    last,
                    ..PageArgs::default()
                },
                "leads",
            )
        };
        assert_eq!(of(None, None).expect("a page").limit, 50);
        assert_eq!(of(Some(250), None).expect("a page").limit, 250);
        assert!(of(None, Some(1)).expect("a page").backward);
        for (first, last) in [
            (Some(0), None),
            (Some(251), None),
            (None, Some(-1)),
            (Some(1), Some(1)),
        ] {
            assert!(of(first, last).is_err(), "{first:?} {last:?}");
        }
    }

    #[test]
    fn a_page_shows_what_was_asked_and_its_cursors_lead_on() {
        let (secrets, workspace) = place();
        let connect = |page: Page<(i64, String)>, rows: Vec<i64>| {
            let key = |row: &i64| (*row, format!("k{row}"));
            page.connection("leads", rows, key, |row| row)
        };
        let page = read(
            PageArgs {
                first: Some(2),
                ..PageArgs::default()
            },
            "leads",
        );
        let shown = connect(page.expect("a page"), vec![1, 2, 3]);
        assert_eq!(
            shown.edges.iter().map(|edge| edge.node).collect::<Vec<_>>(),
            [1, 2]
        );
        assert!(shown.page_info.has_next_page && !shown.page_info.has_previous_page);
        let end = shown.page_info.end.as_ref();
        let after = end.map(|place| place.cursor(&secrets, workspace));
        let next = read(
            PageArgs {
                after: after.clone(),
                ..PageArgs::default()
            },
            "leads",
        );
        assert_eq!(next.expect("a page").after, Some((2, "k2".into())));
        assert!(
            read(
                PageArgs {
                    after,
                    ..PageArgs::default()
                },
                "people"
            )
            .is_err()
        );

        let page = read(
            PageArgs {
                last: Some(2),
                ..PageArgs::default()
            },
            "leads",
        );
        let shown = connect(page.expect("a page"), vec![9, 8, 7]);
        assert_eq!(
            shown.edges.iter().map(|edge| edge.node).collect::<Vec<_>>(),
            [8, 9]
        );
        assert!(!shown.page_info.has_next_page && shown.page_info.has_previous_page);
    }
}
