//! The streams that a scope shows, as one list: of one tenant or several, some hidden, some with masked labels.
//!
//! ```text
//! tenant a: refs 0 1 2 ─ hidden 1 ─┐
//! tenant b: refs 0 1 ──────────────┴─▶ view refs 0 (1) 2 | 3 4        a view ref is the tenant's own plus its offset
//! ```
//!
//! Selectors, pipelines, labels and counts work on view refs and on labels as they are shown, so that what is hidden or
//! masked cannot be asked for. Only scans, which read what is stored, go back to a tenant's own refs.
//!
//! Invariant: one query has one view from beginning to end; rows of streams that came after it was made are not in it.

use std::sync::Arc;

use crate::access::{Mask, Scope, Sight, TENANT_LABEL, TenantView};
use crate::query::matchers::{Selector, StreamSet};
use crate::streams::{Stream, StreamRef, Streams, TenantStreams};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;

/// Streams as the asker sees them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct VisibleStreams {
    /// By view ref.
    streams: Arc<TenantStreams>,
    parts: Arc<[VisiblePart]>,
}

/// The streams of one tenant in a view.
#[derive(Debug)]
pub struct VisiblePart {
    pub tenant: TenantId,
    /// What is added to the tenant's own refs.
    pub offset: u32,
    /// None: every stream that is known, as it is stored.
    sights: Option<Sights>,
    /// The tenant's own refs that are in the view are below; all, also those that come later, when nothing is hidden.
    known: usize,
    /// Without sights, the few that are hidden: audit records.
    audit: Vec<StreamRef>,
}

#[derive(Debug)]
struct Sights {
    /// By the tenant's own ref.
    shown: Vec<bool>,
    /// By the tenant's own ref; none when there are no masks at all.
    masks: Option<Arc<[Option<Mask>]>>,
}

/// What a selector chooses of one tenant, in the tenant's own refs.
#[derive(Debug)]
pub struct ChosenPart {
    pub tenant: TenantId,
    pub offset: u32,
    pub streams: StreamSet,
    /// Whether there is something that must not be told of, not even its number.
    pub hides: bool,
    /// By own ref; none when there are no masks at all.
    pub masks: Option<Arc<[Option<Mask>]>>,
}

impl VisibleStreams {
    /// The view of `scope` over the streams known now.
    pub fn new(scope: &Scope, streams: &Streams) -> Self {
        if let [view] = scope.views()
            && let Some((known, audit)) = plainly_known(view, &streams.tenant(view.tenant()))
        {
            let part = VisiblePart { tenant: view.tenant().clone(), offset: 0, sights: None, known, audit };
            return VisibleStreams { streams: streams.tenant(view.tenant()), parts: Arc::from([part]) };
        }
        let several = scope.views().len() > 1;
        let mut list = Vec::new();
        let mut parts = Vec::new();
        for view in scope.views() {
            let offset = u32::try_from(list.len()).expect("fewer than 2^32 streams fit in memory");
            let stored = streams.tenant(view.tenant()).all();
            let sights = look(view, &stored, several, &mut list);
            let known = sights.shown.len();
            parts.push(VisiblePart {
                tenant: view.tenant().clone(),
                offset,
                sights: Some(sights),
                known,
                audit: Vec::new(),
            });
        }
        VisibleStreams { streams: Arc::new(TenantStreams::detached(list)), parts: parts.into() }
    }

    /// Labels by view ref, as they are shown; hidden ones are among them, so ask [`VisiblePart::shows`] first.
    pub fn streams(&self) -> &Arc<TenantStreams> {
        &self.streams
    }

    pub fn parts(&self) -> &[VisiblePart] {
        &self.parts
    }

    /// The shown streams that `selector` matches.
    pub fn choose(&self, selector: &Selector) -> Arc<[ChosenPart]> {
        let chosen = self.streams.chosen(selector.text(), |labels| selector.matches(labels));
        let choose = |part: &VisiblePart| {
            let from = part.offset as usize;
            let to = part.sights.as_ref().map_or(chosen.len(), |sights| from + sights.shown.len());
            let flags: Arc<[bool]> = match part.shows_all_of(to) {
                true => chosen.clone(),
                false => (from..to).map(|at| chosen[at] && part.shows_own(at - from)).collect(),
            };
            ChosenPart {
                tenant: part.tenant.clone(),
                offset: part.offset,
                streams: StreamSet::from_flags(flags),
                hides: part.hides(),
                masks: part.sights.as_ref().and_then(|sights| sights.masks.clone()),
            }
        };
        self.parts.iter().map(choose).collect()
    }
}

impl VisiblePart {
    /// Whether the tenant's stream `own` is shown.
    pub fn shows(&self, own: StreamRef) -> bool {
        self.shows_own(own.0 as usize)
    }

    /// Masks by the tenant's own refs; none when there are none at all.
    pub fn masks(&self) -> Option<&Arc<[Option<Mask>]>> {
        self.sights.as_ref()?.masks.as_ref()
    }

    /// Whether the tenant's stream `own` was judged, and not stored later.
    pub fn knows(&self, own: StreamRef) -> bool {
        (own.0 as usize) < self.known
    }

    /// Whether any of the tenant's streams is not shown.
    pub fn hides(&self) -> bool {
        match &self.sights {
            None => !self.audit.is_empty(),
            Some(sights) => sights.shown.iter().any(|shown| !shown),
        }
    }

    /// Whether it is the whole view, and its first `count` streams are all shown.
    fn shows_all_of(&self, count: usize) -> bool {
        self.sights.is_none() && self.audit.is_empty() && count <= self.known
    }

    /// The view ref of the tenant's stream `own`.
    pub fn view_ref(&self, own: StreamRef) -> StreamRef {
        StreamRef(own.0 + self.offset)
    }

    fn shows_own(&self, own: usize) -> bool {
        match &self.sights {
            None => own < self.known && self.audit.iter().all(|audit| audit.0 as usize != own),
            Some(sights) => sights.shown.get(own).copied().unwrap_or(false),
        }
    }
}

/// How many of a tenant's streams are shown as they are stored, but for a few; none when each must be looked at.
fn plainly_known(view: &TenantView, streams: &TenantStreams) -> Option<(usize, Vec<StreamRef>)> {
    if view.shows_everything() {
        return Some((usize::MAX, Vec::new()));
    }
    // Audit records that come after this have later refs.
    view.hides_audit_alone().then(|| streams.len_and_audit())
}

/// Appends the streams of one tenant, as they are shown.
fn look(view: &TenantView, stored: &[Arc<Stream>], several: bool, list: &mut Vec<Arc<Stream>>) -> Sights {
    let mut shown = Vec::with_capacity(stored.len());
    let mut masks = Vec::with_capacity(stored.len());
    for stream in stored {
        let (is_shown, mask) = match view.sight(&stream.labels) {
            Sight::Hidden => (false, None),
            Sight::Shown(mask) => (true, mask),
        };
        let changed = is_shown && (several || mask.is_some());
        list.push(match changed.then(|| shown_labels(view.tenant(), &stream.labels, mask.as_ref(), several)) {
            Some(labels) if labels != stream.labels => Arc::new(Stream::new(labels)),
            _ => stream.clone(),
        });
        shown.push(is_shown);
        masks.push(mask);
    }
    let masks = masks.iter().any(Option::is_some).then(|| masks.into());
    Sights { shown, masks }
}

/// Source: Loki's multi-tenant querier keeps a label that has the name of its own as `original___tenant_id__`.
fn shown_labels(tenant: &TenantId, stored: &Labels, mask: Option<&Mask>, several: bool) -> Labels {
    let mut pairs: Vec<(String, String)> = Vec::with_capacity(stored.len() + 1);
    for (name, value) in stored.iter() {
        let value = mask.map_or(value.into(), |mask| mask.value(name, value));
        let renamed = several && name == TENANT_LABEL;
        let name = if renamed { format!("original_{name}") } else { name.to_owned() };
        pairs.push((name, value.into_owned()));
    }
    if several {
        pairs.push((TENANT_LABEL.to_owned(), tenant.to_string()));
    }
    Labels::from_pairs_with_empty(pairs)
}
