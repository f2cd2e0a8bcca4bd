//! What one request may see: tenants, and of each the streams and masks that its grants leave.
//!
//! ```text
//! stream ─▶ grants that show it ─ none ─▶ hidden
//!                 └─ some ─▶ masked by the rules that all of them have
//! ```
//!
//! Several grants add up: what one of them shows plainly is shown plainly.

use std::sync::Arc;

use super::action::Action;
use super::mask::Mask;
use super::roles::Grant;
use crate::types::audit_stream::is_audit_stream;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;

/// The label that tells the tenants of one answer apart.
pub const TENANT_LABEL: &str = "__tenant_id__";

/// What one request may see. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scope(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    who: Arc<str>,
    of_server: bool,
    /// At least one, in order, each once.
    views: Vec<TenantView>,
    key: Arc<str>,
}

/// One tenant, as a scope shows it.
#[derive(Debug, Clone)]
pub struct TenantView {
    tenant: TenantId,
    /// None: everything, as it is, `hides_audit` aside.
    grants: Option<Arc<[Arc<Grant>]>>,
    /// Whether the stream of audit records is hidden although nothing else is.
    hides_audit: bool,
}

/// How a stream is shown.
#[derive(Debug, Clone)]
pub enum Sight {
    Hidden,
    Shown(Option<Mask>),
}

impl Scope {
    /// Everything of one tenant: for the server's own work, such as rules. Never for what a caller asks.
    pub fn of_server(tenant: TenantId) -> Self {
        Scope::of(Arc::from("millrace"), vec![TenantView::clear(tenant)], true)
    }

    pub(super) fn new(who: Arc<str>, views: Vec<TenantView>) -> Self {
        Scope::of(who, views, false)
    }

    fn of(who: Arc<str>, mut views: Vec<TenantView>, of_server: bool) -> Self {
        views.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        views.dedup_by(|a, b| a.tenant == b.tenant);
        let key: Vec<String> = views.iter().map(TenantView::key).collect();
        Scope(Arc::new(Inner { who, of_server, views, key: key.join("\u{4}").into() }))
    }

    /// Who asks.
    pub fn who(&self) -> &str {
        &self.0.who
    }

    /// Whether the server asks for itself: limits of tenants do not count.
    pub fn is_of_server(&self) -> bool {
        self.0.of_server
    }

    /// What a cache must keep answers of different scopes apart by.
    pub fn key(&self) -> &Arc<str> {
        &self.0.key
    }

    /// The tenants, each once, in order; at least one.
    pub fn views(&self) -> &[TenantView] {
        &self.0.views
    }

    pub fn tenants(&self) -> impl ExactSizeIterator<Item = &TenantId> {
        self.0.views.iter().map(TenantView::tenant)
    }

    /// The tenants as a request names them: `a|b`.
    pub fn tenants_text(&self) -> String {
        self.tenants().map(TenantId::as_str).collect::<Vec<_>>().join("|")
    }

    /// The only tenant; none for several.
    pub fn only_tenant(&self) -> Option<&TenantId> {
        match self.0.views.as_slice() {
            [view] => Some(&view.tenant),
            _ => None,
        }
    }

    /// Whether all of its tenants are shown whole and plain.
    pub fn is_clear(&self) -> bool {
        self.0.views.iter().all(TenantView::is_clear)
    }
}

impl TenantView {
    pub(super) fn clear(tenant: TenantId) -> Self {
        TenantView { tenant, grants: None, hides_audit: false }
    }

    pub(super) fn of_grants(tenant: TenantId, grants: Vec<Arc<Grant>>) -> Self {
        let mut clear = grants.iter().filter(|grant| grant.shows_all_streams() && grant.mask.is_none()).peekable();
        if clear.peek().is_none() {
            return TenantView { tenant, grants: Some(grants.into()), hides_audit: false };
        }
        if clear.any(|grant| grant.actions.has(Action::Audit)) {
            return TenantView::clear(tenant);
        }
        // Another grant may show it, masked or not.
        match grants.iter().any(|grant| grant.actions.has(Action::Audit)) {
            true => TenantView { tenant, grants: Some(grants.into()), hides_audit: false },
            false => TenantView { tenant, grants: None, hides_audit: true },
        }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Whether everything is shown as it is, audit records aside.
    pub fn is_clear(&self) -> bool {
        let is_clear = |grant: &Arc<Grant>| grant.shows_all_streams() && grant.mask.is_none();
        self.grants.as_ref().is_none_or(|grants| grants.iter().any(is_clear))
    }

    /// Whether every stream there is, whatever it is, is shown as it is.
    pub fn shows_everything(&self) -> bool {
        self.grants.is_none() && !self.hides_audit
    }

    /// Whether the stream of audit records is all that is hidden.
    pub fn hides_audit_alone(&self) -> bool {
        self.hides_audit
    }

    /// Whether every stream is shown, masked or not.
    pub fn shows_all_streams(&self) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.iter().any(|grant| grant.shows_all_streams()))
    }

    /// How the stream with these labels, as they are stored, is shown.
    pub fn sight(&self, labels: &Labels) -> Sight {
        let Some(grants) = &self.grants else {
            return if self.hides_audit && is_audit_stream(labels) { Sight::Hidden } else { Sight::Shown(None) };
        };
        let mut showing = grants.iter().filter(|grant| grant.shows(labels));
        let Some(first) = showing.next() else { return Sight::Hidden };
        let mut mask = first.mask.clone();
        for grant in showing {
            mask = match (mask, &grant.mask) {
                (Some(one), Some(other)) => {
                    let common =
                        one.rules().iter().filter(|rule| other.rules().iter().any(|own| own.name == rule.name));
                    Mask::of(common.cloned().collect())
                }
                _ => None,
            };
        }
        Sight::Shown(mask)
    }

    fn key(&self) -> String {
        let mut keys: Vec<&str> =
            self.grants.iter().flat_map(|grants| grants.iter()).map(|grant| &*grant.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let audit = if self.hides_audit { "\u{3}-" } else { "" };
        format!("{}{audit}\u{3}{}", self.tenant, keys.join("\u{3}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::settings::{AccessConfig, GrantConfig};
    use crate::access::{Action, Principal, roles};

    fn grant(streams: &[&str], masks: &[&str]) -> GrantConfig {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        GrantConfig {
            tenants: texts(&["*"]),
            actions: vec![Action::Read],
            streams: texts(streams),
            masks: texts(masks),
        }
    }

    fn scope(roles: &[Vec<GrantConfig>]) -> Scope {
        let mut config = AccessConfig::default();
        for (at, grants) in roles.iter().enumerate() {
            config.roles.insert(format!("r{at}"), grants.clone());
        }
        let roles = roles::compile(&config).expect("good roles");
        let principal = Principal::new("ana", roles.into_values().collect());
        principal.scope(Action::Read, &[TenantId::single()]).expect("allowed")
    }

    fn seen(scope: &Scope, app: &str) -> String {
        match scope.views()[0].sight(&Labels::from_pairs([("app", app)])) {
            Sight::Hidden => "hidden".to_owned(),
            Sight::Shown(mask) => mask.map_or("a@b.de".into(), |mask| mask.line("a@b.de").into_owned()),
        }
    }

    #[test]
    fn grants_add_up() {
        let mine = grant(&[r#"{app=~"mine-.*"}"#, r#"{app="shared"}"#], &["emails"]);
        let check = |roles: &[Vec<GrantConfig>], app: &str, expected: &str| {
            assert_eq!(seen(&scope(roles), app), expected, "{app}");
        };
        check(&[vec![mine.clone()]], "mine-a", "***REDACTED_EMAIL***");
        check(&[vec![mine.clone()]], "shared", "***REDACTED_EMAIL***");
        check(&[vec![mine.clone()]], "other", "hidden");
        check(&[vec![mine.clone()], vec![grant(&[], &["emails"])]], "other", "***REDACTED_EMAIL***");
        check(&[vec![mine.clone()], vec![grant(&[r#"{app="mine-a"}"#], &[])]], "mine-a", "a@b.de");
        check(&[vec![mine.clone(), grant(&[], &[])]], "mine-a", "a@b.de");
        assert!(scope(&[vec![mine.clone(), grant(&[], &[])]]).is_clear());
        assert!(!scope(&[vec![mine]]).is_clear());
    }

    #[test]
    fn audit_records_are_shown_to_those_who_may_see_them() {
        let audit = crate::types::audit_stream::audit_stream("w");
        let with_audit = |grant: GrantConfig| GrantConfig { actions: vec![Action::Read, Action::Audit], ..grant };
        let all = grant(&[], &[]);
        let only = with_audit(grant(&[r#"{service="millrace", logger="audit"}"#], &[]));
        let check = |roles: &[Vec<GrantConfig>], sees_audit: bool, sees_app: bool| {
            let scope = scope(roles);
            let view = &scope.views()[0];
            assert_eq!(!matches!(view.sight(&audit), Sight::Hidden), sees_audit, "{roles:?}");
            assert_eq!(seen(&scope, "x") != "hidden", sees_app, "{roles:?}");
        };
        check(&[vec![all.clone()]], false, true);
        check(&[vec![with_audit(all.clone())]], true, true);
        check(&[vec![only.clone()]], true, false);
        check(&[vec![all.clone()], vec![only.clone()]], true, true);
        check(&[vec![grant(&[r#"{logger="audit"}"#], &[])]], false, false);
        assert!(scope(&[vec![all.clone()]]).views()[0].hides_audit_alone());
        assert!(scope(&[vec![with_audit(all.clone())]]).views()[0].shows_everything());
        assert!(scope(&[vec![all.clone()], vec![only.clone()]]).is_clear());
        let keys = [vec![all.clone()], vec![with_audit(all)], vec![only]].map(|grants| scope(&[grants]).key().clone());
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
    }

    #[test]
    fn keys_tell_scopes_apart() {
        let key = |roles: &[Vec<GrantConfig>]| scope(roles).key().clone();
        let plain = key(&[vec![GrantConfig { actions: vec![Action::Read, Action::Audit], ..grant(&[], &[]) }]]);
        let a = key(&[vec![grant(&[r#"{app="a"}"#], &[])]]);
        let b = key(&[vec![grant(&[r#"{app="b"}"#], &[])]]);
        let a_masked = key(&[vec![grant(&[r#"{app="a"}"#], &["emails"])]]);
        assert!(plain != a && a != b && a != a_masked);
        assert_eq!(a, key(&[vec![grant(&[r#"{ app = "a" }"#], &[])]]));
        assert_eq!(plain, *Scope::of_server(TenantId::single()).key());
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let config = AccessConfig {
            roles: [("dev".to_owned(), vec![GrantConfig { tenants: vec!["a".to_owned()], ..grant(&[], &[]) }])].into(),
            ..AccessConfig::default()
        };
        let roles = roles::compile(&config).expect("good roles");
        let ana = Principal::new("ana", roles.into_values().collect());
        let tenant = |name: &str| TenantId::parse(name).expect("valid");
        assert!(ana.scope(Action::Read, &[tenant("a")]).is_ok());
        let refused = ana.scope(Action::Read, &[tenant("a"), tenant("b")]).expect_err("not in b");
        assert_eq!(refused.to_string(), "ana may not read in tenant b: no role of theirs allows it");
        assert!(ana.scope(Action::Delete, &[tenant("a")]).is_err());
        assert_eq!(ana.only_tenant(), Some(tenant("a")));
        assert!(ana.check_anywhere(Action::Admin).is_err());
        assert!(Principal::of_open_server().check_anywhere(Action::Admin).is_ok());
    }
}
